"""Weights whose element type has 4 bits, two in a byte of the file."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import reference
from test_corners import results

rng = np.random.default_rng(4)


def numbers(dtype, *shape):
    low = -8 if dtype == ml_dtypes.int4 else 0
    return rng.integers(low, low + 16, shape).astype(dtype)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def model_of(nodes, constants, sizes=("n", 6)):
    graph = helper.make_graph(nodes, "halves", [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes), helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None), helper.make_tensor_value_info("rows", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)


def product_and_table(dtype, zeros, blocks=0):
    """A product by weights [6, 5], scales of columns or of blocks of rows, and a table of 9 rows in blocks."""
    sizes = (6 // blocks, 5) if blocks else (5,)
    constants = {"w": numbers(dtype, 6, 5), "s": abs(random(*sizes)), "t": numbers(dtype, 9, 32), "ts": random(9, 2)}
    if zeros:
        constants |= {"z": numbers(dtype, *sizes), "tz": numbers(dtype, 9, 2)}
    given = ["z"] if zeros else []
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", *given], ["wide"], axis=0 if blocks else 1, block_size=blocks), helper.make_node("MatMul", ["x", "wide"], ["y"]),
             helper.make_node("GatherBlockQuantized", ["t", "ids", "ts", *(["tz"] if zeros else [])], ["rows"], block_size=16, gather_axis=0, quantize_axis=1, domain="com.microsoft")]
    return model_of(nodes, constants)


INPUTS = {"x": random(4, 6), "ids": rng.integers(0, 9, (4, 3))}


@pytest.mark.parametrize("dtype, zeros, blocks, external", [
    (ml_dtypes.int4, False, 0, False), (ml_dtypes.int4, True, 3, False), (ml_dtypes.uint4, True, 0, False), (ml_dtypes.uint4, False, 2, True), (ml_dtypes.int4, True, 2, True)], ids=str)
def test_halves_equal_onnxruntime(dtype, zeros, blocks, external, tool, tmp_path):
    model = product_and_table(dtype, zeros, blocks)
    want = reference.session(model).run(None, INPUTS)
    if external:
        onnx.save(model, tmp_path / "aside.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
        model = onnx.load(tmp_path / "aside.onnx", load_external_data=False)
    got = results(tool, tmp_path, model, INPUTS)
    for name, value in zip(("y", "rows"), want):
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


def test_an_odd_number_of_them(tool, tmp_path):
    constants = {"w": numbers(ml_dtypes.int4, 3), "s": np.array(0.5, np.float32)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["wide"]), helper.make_node("Add", ["x", "wide"], ["y"]), helper.make_node("Cast", ["ids"], ["rows"], to=1)]
    model, given = model_of(nodes, constants, sizes=["n", 3]), {"x": random(4, 3), "ids": INPUTS["ids"]}
    np.testing.assert_allclose(results(tool, tmp_path, model, given)["y"], given["x"] + constants["w"].astype(np.float32) * 0.5)


@pytest.mark.parametrize("cut, reason", [
    (lambda model: model.graph.initializer[0].ClearField("raw_data"), "initializer 'w': expected 15 bytes of data, but got 0"),
    (lambda model: model.graph.initializer[0].dims.append(2), "initializer 'w': expected 30 bytes of data, but got 15"),
    (lambda model: model.graph.node.append(helper.make_node("Cast", ["w"], ["z"], to=1)), "input 'w': numbers of 4 bits are read as weights of DequantizeLinear"),
    (lambda model: model.graph.node.append(helper.make_node("QuantizeLinear", ["x", "s", "w"], ["z"])), "input 'w': numbers of 4 bits are read as weights of DequantizeLinear")], ids=range(4))
def test_halves_that_are_refused(cut, reason, tool, tmp_path):
    model = product_and_table(ml_dtypes.int4, True)
    cut(model)
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    assert done.status == 1 and "error: " in done.err and reason in done.err, done.err
