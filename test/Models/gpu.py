"""Models for a GPU where there is none: with the tests' CUDA driver and cuBLASLt, which run kernels under the emulator."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "Kernels"))
from on_device import compile_artifact  # noqa: E402


class FakeGPU:
    """`settings` are those of test/lib/FakeCuda/FakeCalls.h: capability, devices, memory, fail."""

    def __init__(self, build, tool):
        self.build, self.tool = build, tool

    def compile(self, source, artifact, *options, arch="sm_80", **more):
        """An artifact whose kernels the driver can run."""
        compile_artifact(self.build / "bin", arch, source, artifact, *options, format="llvm", **more)

    def environment(self, settings="", log="", libraries=None):
        """`log`: a file that gets the driver's calls; `libraries`: a folder instead of the driver's."""
        found = {**os.environ, "LD_LIBRARY_PATH": str(libraries or self.build / "lib" / "fake-cuda"), "MEGACTX_FAKE_CUDA": settings}
        return found | ({"MEGACTX_FAKE_CUDA_LOG": str(log)} if log else {})

    def run(self, artifact, *arguments, **environment):
        """megactx-run."""
        return self.tool("megactx-run", artifact, *arguments, environment=self.environment(**environment))

    def python(self, script, *arguments, **environment):
        """A script of Python that has megactx, with this build in use."""
        begin = f"import sys; sys.path.insert(0, {str(HERE.parents[1] / 'python')!r}); import megactx; megactx.use_build({str(self.build)!r})\n"
        return self.tool(sys.executable, "-c", begin + script, *arguments, environment=self.environment(**environment))
