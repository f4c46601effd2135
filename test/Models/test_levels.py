"""A model's compilation can be stopped at every level, read back and gone on with."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import generated

LEVELS = ["input", "attention", "linalg", "pieces", "fused", "memref", "loops", "llvm"]
PATTERN = "window<left = 5, right = 5> or strided<stride = 4>"


@pytest.fixture(scope="module")
def whole(request, tool, tmp_path_factory):
    """The model, the folder of its first inputs, and the outputs of an uninterrupted compilation."""
    folder = generated(request.config.getoption("--build")) / "gpt_sdpa_ts17"
    out = tmp_path_factory.mktemp("whole")
    model, data = folder / "model.onnx", folder / "test_data_set_0"
    done = tool("megactx-compile", model, "--pattern", PATTERN, "-o", out / "m.mctx")
    assert done.status == 0, done
    return model, data, outputs(tool, out / "m.mctx", data, out)


def outputs(tool, artifact, data, out):
    done = tool("megactx-run", artifact, "--inputs", data, "--outputs", out / "outputs")
    assert done.status == 0, done
    arrays = []
    for path in sorted((out / "outputs").glob("output_*.pb")):
        proto = onnx.TensorProto()
        proto.ParseFromString(path.read_bytes())
        arrays.append(numpy_helper.to_array(proto))
    assert arrays
    return arrays


@pytest.mark.parametrize("level", LEVELS)
def test_level_goes_on(level, whole, tool, tmp_path):
    model, data, want = whole
    pattern = ["--pattern", PATTERN]
    before, after = (pattern, []) if level != "input" else ([], pattern)
    steps = [("megactx-compile", model, *before, f"--compile-to={level}", "-o", tmp_path / "level.mlir"),
             ("megactx-opt", tmp_path / "level.mlir", "-o", tmp_path / "again.mlir"),
             ("megactx-compile", tmp_path / "again.mlir", *after, "-o", tmp_path / "m.mctx")]
    for step in steps:
        done = tool(*step)
        assert done.status == 0, done
    got = outputs(tool, tmp_path / "m.mctx", data, tmp_path)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
