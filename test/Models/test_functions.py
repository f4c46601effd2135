"""Functions that a model defines for itself, as PyTorch's exporters write some modules."""

import numpy as np
import onnx
import pytest
from onnx import helper

import reference


@pytest.mark.parametrize("opset", [17, 24])
def test_a_function_calls_another(tool, tmp_path, opset):
    """Whether or not the model has to be converted to another opset first."""
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    node = helper.make_node
    inner = helper.make_function("local", "Inner", ["a"], ["b"], [node("Mul", ["a", "a"], ["b"])], opsets)
    outer = helper.make_function("local", "Outer", ["c"], ["d"],
                                 [node("Inner", ["c"], ["t"], domain="local"), node("Neg", ["t"], ["d"])], opsets)
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([node("Outer", ["x"], ["y"], domain="local"), node("Inner", ["y"], ["z"], domain="local")], "g", [value("x")], [value("z")])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, functions=[inner, outer], opset_imports=opsets, ir_version=10), path)
    done = tool("megactx-compile", path, "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    x = np.float32([1, -2, 3])
    reference.save_tensors(tmp_path / "in", "input", [("x", x)])
    done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 0, done
    (_, got), = reference.load_tensors(tmp_path / "out", "output")
    np.testing.assert_array_equal(got, x**4)
