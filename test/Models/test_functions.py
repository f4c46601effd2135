"""Functions that a model defines for itself, as PyTorch's exporters write some modules."""

import numpy as np
import onnx
import pytest
from onnx import helper

import megactx
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


def test_attributes_left_to_defaults(tool, tmp_path):
    """Of a call in the graph, in a branch and in another function."""
    onnx.save(onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21, "local": 1]>
m (float[n] x, bool p) => (float[n] y, float[n] z) {
  y = local.Scaled(x)
  z = If(p) <then_branch = t () => (float[n] a) { a = local.Outer(x) }, else_branch = e () => (float[n] b) { b = local.Scaled <by = 5.0> (x) }>
}
<opset_import: ["": 21], domain: "local">
Scaled <by: float = 3.0> (x) => (y) {
  factor = Constant <value_float: float = @by> ()
  y = Mul(x, factor)
}
<opset_import: ["": 21, "local": 1], domain: "local">
Outer (x) => (y) { y = local.Scaled(x) }"""), tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    x = np.float32([1, -2, 3])
    for way, factor in ((True, 3), (False, 5)):
        got = megactx.load(tmp_path / "m.mctx").run({"x": x, "p": np.array(way)})
        np.testing.assert_array_equal(got["y"], 3 * x)
        np.testing.assert_array_equal(got["z"], factor * x)
