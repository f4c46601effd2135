"""If nodes whose condition is known once shapes are: the branch that they take becomes part of the graph."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import megactx

FLOAT = onnx.TensorProto.FLOAT


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def branching(condition, inputs):
    """y = relu(2 x) where the condition holds, else relu(-x); the product's weight is of the branch alone."""
    weight = numpy_helper.from_array(np.eye(40, dtype=np.float32) * 2, "w")
    then = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["t"])], "then", [], [value("t")], [weight])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [value("e")])
    nodes = [*condition, helper.make_node("If", ["c"], ["b"], name="if", then_branch=then, else_branch=other), helper.make_node("Relu", ["b"], ["y"])]
    constants = [numpy_helper.from_array(np.array(1), "one"), numpy_helper.from_array(np.array(40), "forty")]
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 40]), *inputs], [value("y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("compare", ["Equal", "Less"])
def test_condition_of_shapes(compare, tool, tmp_path):
    condition = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "one"], ["d"]),
                 helper.make_node(compare, ["d", "forty"], ["c"])]
    onnx.save(branching(condition, []), tmp_path / "m.onnx")
    assert tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx").status == 0
    x = np.arange(80, dtype=np.float32).reshape(2, 40) - 20
    got = megactx.load(tmp_path / "m.mctx").run({"x": x})["y"]
    np.testing.assert_array_equal(got, np.maximum(2 * x if compare == "Equal" else -x, 0))


def test_condition_of_data_is_refused(tool, tmp_path):
    onnx.save(branching([], [value("c", [], onnx.TensorProto.BOOL)]), tmp_path / "m.onnx")
    done = tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 1 and "node 'if' (If)" in done.err and "only a run knows" in done.err, done
