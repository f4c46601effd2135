import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "Models"))

import attention


def pytest_addoption(parser):
    parser.addoption("--build", default="build/dev", help="build folder")


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"


@pytest.fixture(scope="session")
def compiled(request, tmp_path_factory):
    """spec -> Kernel; each spec is compiled once."""
    tools = pathlib.Path(request.config.getoption("--build")).resolve() / "bin"
    kernels = {}

    def make(spec):
        if spec in kernels:
            return kernels[spec]
        folder = tmp_path_factory.mktemp("kernel")
        (folder / "in.mlir").write_text(spec.module())
        lowering = ["--generic"] if spec.generic else []
        call(tools / "megactx-compile", folder / "in.mlir", *lowering, "-o", folder / "k.mctx")

        def run(inputs):
            for i, array in enumerate(inputs):
                np.save(folder / f"input_{i}.npy", np.asarray(array, order="C"))
            call(tools / "megactx-run", folder / "k.mctx", "--inputs", folder, "--outputs", folder / "out")
            proto = onnx.TensorProto()
            proto.ParseFromString((folder / "out" / "output_0.pb").read_bytes())
            return numpy_helper.to_array(proto)

        kernels[spec] = attention.Kernel(spec, run)
        return kernels[spec]

    return make
