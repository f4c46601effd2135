"""A model's compilation can be stopped at every level, read back and gone on with."""

import numpy as np
import onnx
from onnx import numpy_helper

from conftest import generated

LEVELS = ["input", "attention", "linalg", "pieces", "fused", "memref", "loops", "llvm"]
PATTERN = "window<left = 5, right = 5> or strided<stride = 4>"


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


def test_each_level_goes_on_to_the_next(request, tool, tmp_path):
    """From level to level, each read back, to the outputs of an uninterrupted compilation."""
    folder = generated(request.config.getoption("--build")) / "gpt_sdpa_ts17"
    model, data = folder / "model.onnx", folder / "test_data_set_0"
    steps = [("megactx-compile", model, "--pattern", PATTERN, "-o", tmp_path / "whole.mctx")]
    source = model
    for number, level in enumerate(LEVELS):
        pattern = ["--pattern", PATTERN] if number == 1 else []  # where attentions are found, here of what was read back
        written, read = tmp_path / f"{level}.mlir", tmp_path / f"{level}-again.mlir"
        steps += [("megactx-compile", source, *pattern, f"--compile-to={level}", "-o", written), ("megactx-opt", written, "-o", read)]
        source = read
    for step in [*steps, ("megactx-compile", source, "-o", tmp_path / "m.mctx")]:
        done = tool(*step)
        assert done.status == 0, done
    got, want = (outputs(tool, tmp_path / name, data, tmp_path) for name in ("m.mctx", "whole.mctx"))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
