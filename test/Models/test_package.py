"""The package as pip installs it: commands and libraries of a build inside it, which need neither build nor checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import megactx
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build(request):
    return pathlib.Path(request.config.getoption("--build")).resolve()


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory):
    """A folder as of an environment, which holds the package alone."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "python" / "megactx", folder / "python" / "megactx")
    subprocess.run([sys.executable, "setup.py", "-q", "build", "--build-lib", "site"], cwd=folder, check=True,
                   env={**os.environ, "MEGACTX_BUILD": str(build)})
    return folder / "site"


def run(installed, code):
    return subprocess.run([sys.executable, "-c", code], cwd=installed, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True)


def called(installed, entry, *command):
    """What pip's command does."""
    module, function = entry.split(":")
    return run(installed, f"import sys; sys.argv = {list(command)!r}; from {module} import {function}; sys.exit({function}())")


def test_commands(installed, build):
    """Each that is built, with its arguments and exit status."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        entries = tomllib.load(file)["project"]["scripts"]
    assert entries.keys() == {path.name for path in (build / "bin").glob("megactx-*")}
    for name, entry in entries.items():
        done = called(installed, entry, f"/elsewhere/{name}", "--version")
        assert done.returncode == 0 and done.stdout.startswith(f"megactx {megactx.__version__}"), f"{name}: {done.stderr}"
    done = called(installed, entries["megactx-compile"], "megactx-compile", "none.onnx", "-o", "none.mctx")
    assert done.returncode == 1 and "none.onnx" in done.stderr
    done = called(installed, entries["megactx-compile"], "megactx-none")
    assert done.returncode == 1 and done.stderr.startswith("error: No such file") and "tools/dev/build" in done.stderr


def test_compiles_and_runs(installed):
    code = """if True:
        import megactx, numpy as np
        from megactx import tools
        assert tools.build() == tools.PACKAGE / "native", tools.build()
        x = np.random.default_rng(0).standard_normal((1, 2, 20, 16), np.float32)
        print(megactx.attention(x, x, x, "causal").shape)"""
    done = run(installed, code)
    assert done.stdout == "(1, 2, 20, 16)\n", done.stderr
    needed = subprocess.run(["ldd", installed / "megactx" / "native" / "bin" / "megactx-compile"], capture_output=True, text=True).stdout
    assert str(installed / "megactx" / "native") in needed and "not found" not in needed, needed
