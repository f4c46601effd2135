"""Sizes that a model's numbers say and no memory holds, or that are no numbers: one error when compiled or when run, no signal."""

import numpy as np
import onnx
import pytest
from onnx import helper

from test_corners import model_of, random, result, rng
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


OPERATOR = [helper.make_node("Attention", ["q", "k", "v", "m"], ["y"])]
PARTS = [helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "kt"], ["s"]),
         helper.make_node("Add", ["s", "m"], ["x"]), helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("MatMul", ["p", "v"], ["y"])]
# Ids other than 0 hide their keys.
COMPUTED = [helper.make_node("Cast", ["ids"], ["c"], to=onnx.TensorProto.BOOL), helper.make_node("Where", ["c", "least", "zero"], ["b"]),
            helper.make_node("Unsqueeze", ["b", "axes"], ["m"])] + PARTS
# Sizes of q, k, v and of the mask, or of what it is computed of; the same is right with those of GOOD.
GOOD = {"q": (2, 3, 5, 8), "k": (2, 3, 6, 8), "v": (2, 3, 6, 8), "m": (2, 1, 5, 6), "ids": (2, 6)}
MISFITS = {
    "batch of a mask": ("m", (4, 1, 5, 6)), "rows of a mask": ("m", (2, 1, 4, 6)), "columns of a mask": ("m", (2, 1, 5, 5)),
    "batch of queries": ("q", (1, 3, 5, 8)), "batch of keys": ("k", (3, 3, 6, 8)), "keys and values": ("v", (2, 3, 5, 8)),
    "batch of ids": ("ids", (3, 6)), "length of ids": ("ids", (2, 7)),
}


@pytest.fixture(scope="module", params=["operator", "parts", "computed"])
def attention(request, tool, tmp_path_factory):
    """An attention that knows no size, but for heads and head dims."""
    nodes = {"operator": OPERATOR, "parts": PARTS, "computed": COMPUTED}[request.param]
    folder = tmp_path_factory.mktemp("sizes")
    names = ["q", "k", "v", "ids" if request.param == "computed" else "m"]
    constants = {"zero": np.float32(0), "least": np.float32(-np.inf), "axes": INT64(1, 2)} if "ids" in names else {}
    model = model_of(nodes, {n: np.zeros(GOOD[n], np.int64 if n == "ids" else np.float32) for n in names}, np.float32, constants, opset=23)
    for tensor in model.graph.input:
        for i, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if i in (0, 2) or i == len(GOOD[tensor.name]) - 1 and tensor.name in ("m", "ids"):
                dim.dim_param = f"{tensor.name}{i}"
    onnx.save(model, folder / "model.onnx")
    done = tool("megactx-compile", folder / "model.onnx", "-o", folder / "model.mctx")
    assert done.status == 0 and "raised 1 attention" in done.err, done

    def run(sizes):
        inputs = {n: np.arange(np.prod(sizes[n])).reshape(sizes[n]) % 3 if n == "ids" else random(*sizes[n]) for n in names}
        reference.save_tensors(folder / "in", "input", list(inputs.items()))
        done = tool("megactx-run", folder / "model.mctx", "--inputs", folder / "in", "--outputs", folder / "out")
        if done.status == 0:
            (_, got), = reference.load_tensors(folder / "out", "output")
            # Its operator does not broadcast rows.
            inputs |= {n: np.broadcast_to(inputs[n], GOOD[n]) for n in names[3:]}
            np.testing.assert_allclose(got, reference.session(model).run(None, inputs)[0], rtol=1e-4, atol=1e-4)
        return done

    run.names = names
    return run


def test_operands_that_fit_when_run(attention):
    for sizes in {}, {"m": (1, 1, 5, 6)}, {"m": (1, 1, 1, 6), "ids": (1, 6)}:
        done = attention(GOOD | sizes)
        assert done.status == 0, done


@pytest.mark.parametrize("misfit", MISFITS)
def test_operands_that_do_not_fit_when_run(misfit, attention):
    name, sizes = MISFITS[misfit]
    if name in attention.names:
        done = attention(GOOD | {name: sizes})
        assert done.status == 1 and ("expected" in done.err or "a mask has other sizes" in done.err), done
