"""Sizes that a model's numbers say and no memory holds, or that are no numbers: one error when compiled or when run, no signal."""

import numpy as np
import onnx
import pytest
from onnx import helper

from test_corners import model_of, random, result
import reference

INT64 = lambda *numbers: np.array(numbers, np.int64)
SCALAR = lambda number, dtype=np.int64: np.array(number, dtype)

# Operator: inputs, and which of them says the size.
BEYOND = {
    "OneHot": ({"x": INT64(1, 2), "depth": SCALAR(2**62), "values": np.float32([0, 1])}, "depth"),
    "ConstantOfShape": ({"sizes": INT64(2**31, 2**31)}, "sizes"),
    "ConstantOfShape, a product of 0": ({"sizes": INT64(2**32, 2**32)}, "sizes"),
    "Expand": ({"x": random(1), "sizes": INT64(2**31, 2**31)}, "sizes"),
    "Tile": ({"x": random(2, 2), "repeats": INT64(2**31, 2**31)}, "repeats"),
    "Pad": ({"x": random(2, 2), "pads": INT64(0, 0, 2**61, 2**61)}, "pads"),
    "Range": ({"from": SCALAR(0), "to": SCALAR(2**62), "step": SCALAR(1)}, "to"),
    "Range, floats": ({"from": SCALAR(0, np.float32), "to": SCALAR(np.inf, np.float32), "step": SCALAR(1, np.float32)}, "to"),
}


@pytest.mark.parametrize("is_constant", [False, True], ids=["run", "compiled"])
@pytest.mark.parametrize("case", BEYOND)
def test_sizes_beyond_memory(case, is_constant, tool, tmp_path):
    tensors, size = BEYOND[case]
    operator = case.split(",")[0]
    dtype = tensors.get("values", tensors.get("x", tensors.get("from", np.float32(0)))).dtype
    constants = {name: value for name, value in tensors.items() if name == size and is_constant}
    inputs = {name: value for name, value in tensors.items() if name not in constants} or {"unused": random(1)}
    model = model_of([helper.make_node(operator, list(tensors), ["y"], name="large")], inputs, dtype, constants)
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx", timeout=60)
    if done.status == 0:
        reference.save_tensors(tmp_path / "in", "input", list(inputs.items()))
        done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", timeout=60)
    elif is_constant:
        assert "'large'" in done.err and not (tmp_path / "model.mctx").exists(), done
    assert done.status == 1 and "does not fit into memory" in done.err and operator in done.err, done


@pytest.mark.parametrize("name", ["from", "to", "step"])
@pytest.mark.parametrize("is_constant", [False, True])
def test_range_of_no_number(name, is_constant, tool, tmp_path):
    tensors = {"from": np.float32(0), "to": np.float32(4), "step": np.float32(1)} | {name: np.float32(np.nan)}
    constants = {name: tensors[name]} if is_constant else {}
    inputs = {other: value for other, value in tensors.items() if other not in constants}
    model = model_of([helper.make_node("Range", list(tensors), ["y"])], inputs, np.float32, constants)
    assert result(tool, tmp_path, model, inputs).shape == (0,)
