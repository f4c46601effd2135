"""The part of the package that is not Python: commands and libraries, of the folder MEGACTX_BUILD or else of the newest build."""

import os
import pathlib
import subprocess
import sys

import setuptools
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "python" / "megactx"))
import tools


class BuildWithCommands(build_py):
    """An editable package takes them from the build itself."""

    def run(self):
        super().run()
        if not self.editable_mode:
            folder = pathlib.Path(self.build_lib, "megactx", "native").resolve()
            subprocess.run(["cmake", "--install", os.environ.get("MEGACTX_BUILD") or tools.build(), "--prefix", folder, "--strip"], check=True)


class WheelOfMachine(bdist_wheel):
    """For any Python 3: none of its libraries is an extension of Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class NoPurePython(setuptools.Distribution):
    def has_ext_modules(self):
        return True


setuptools.setup(cmdclass={"build_py": BuildWithCommands, "bdist_wheel": WheelOfMachine}, distclass=NoPurePython)
