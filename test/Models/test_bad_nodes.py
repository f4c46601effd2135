"""Nodes that their operators' schemas do not allow: one message with the node's name, exit status 1, no output file."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(nodes, opset, inputs=(("x", FLOAT, [2, 3]),), output=("y", FLOAT, None), initializers=()):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs], [helper.make_tensor_value_info(*output)],
                              initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def compile_(tool, tmp_path, made):
    path, out = tmp_path / "odd.onnx", tmp_path / "odd.mctx"
    path.write_bytes(made.SerializeToString())
    done = tool("megactx-compile", path, "-o", out, timeout=60)
    assert done.status in (0, 1) and out.exists() == (done.status == 0), done
    return done


# Operators that the version converter turns into newer ones, with what it reads of them left out.
MISSING = {
    "no inputs, axes": (helper.make_node("ReduceSum", [], ["y"], name="odd", axes=[0]), 11, "input size 0"),
    "an empty input": (helper.make_node("Unsqueeze", [""], ["y"], name="odd", axes=[0]), 11, "empty string"),
    "no pads": (helper.make_node("Pad", ["x"], ["y"], name="odd"), 10, "pads"),
    "no k": (helper.make_node("TopK", ["x"], ["y", "z"], name="odd"), 9, "k"),
    "no starts": (helper.make_node("Slice", ["x"], ["y"], name="odd", ends=[1]), 9, "starts"),
    "axes of another type": (helper.make_node("Squeeze", ["x"], ["y"], name="odd", axes=1.5), 11, "axes"),
    "one of many is left out": (helper.make_node("Concat", ["x", ""], ["y"], name="odd", axis=0), 17, "operand 1 is left out"),
    "too many inputs": (helper.make_node("Clip", ["x", "x", "x"], ["y"], name="odd"), 6, "input size 3"),
}


@pytest.mark.parametrize("node, opset, words", MISSING.values(), ids=MISSING)
def test_node_and_schema(node, opset, words, tool, tmp_path):
    done = compile_(tool, tmp_path, model([node], opset))
    assert done.status == 1 and f"node 'odd' ({node.op_type}, opset {opset})" in done.err and words in done.err, done


def test_node_of_a_subgraph(tool, tmp_path):
    branch = helper.make_graph([helper.make_node("Unsqueeze", [], ["b"], name="odd", axes=[0])], "b", [],
                               [helper.make_tensor_value_info("b", FLOAT, None)])
    nodes = [helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch, else_branch=branch)]
    done = compile_(tool, tmp_path, model(nodes, 11, inputs=[("c", onnx.TensorProto.BOOL, [])]))
    assert done.status == 1 and "node 'odd' (Unsqueeze, opset 11)" in done.err, done


def test_attribute_that_no_schema_knows_is_let_be(tool, tmp_path):
    assert compile_(tool, tmp_path, model([helper.make_node("Relu", ["x"], ["y"], mine=3)], 17)).status == 0


def test_output_without_a_type(tool, tmp_path):
    """As a value that the file says nothing of, which no operator's inference knows."""
    done = compile_(tool, tmp_path, model([helper.make_node("Max", ["x", "x"], ["y"])], 17, output=("y", 0, None)))
    assert done.status == 0 or "got '!onnx.untyped'" in done.err, done


def test_list_of_absurd_length(tool, tmp_path):
    """Inference takes what has one dim for a shape, and makes as many entries."""
    nodes = [helper.make_node("Gather", ["x", "i"], ["y"], name="large")]
    index = numpy_helper.from_array(np.array([0], np.int64), "i")
    made = model(nodes, 17, inputs=[("x", INT64, [2**31])], output=("y", INT64, None), initializers=[index])
    assert compile_(tool, tmp_path, made).status == 0


def test_lengths_without_a_type(tool, tmp_path):
    """Of a damaged file: an input that says nothing of itself."""
    inputs = [("x", FLOAT, [1, 2, 5, 8]), ("n", FLOAT, [1, 2])]
    node = helper.make_node("Attention", ["x", "x", "x", "", "", "", "n"], ["y"], name="odd")
    made = model([node], 24, inputs=inputs)
    assert compile_(tool, tmp_path, made).status == 1
    made.graph.input[1].type.Clear()
    assert compile_(tool, tmp_path, made).status == 1


BITS = {"K": 64, "N": 4, "bits": 4, "block_size": 32}
WEIGHTS = [numpy_helper.from_array(array, name) for name, array in (
    ("w", np.arange(128, dtype=np.uint8).reshape(4, 2, 16)), ("s", np.ones(8, np.float32)), ("wide", np.ones((1, 1, 1, 4), np.float32)),
    ("three", np.ones(3, np.float32)), ("ints", np.ones(4, np.int64)))]
# onnxruntime's operators without an input that they need, or with one that does not fit.
CONTRIB = {
    "one input": ("MatMulNBits", ["x"], BITS, "input size 1"),
    "no weights": ("MatMulNBits", ["x", "", "s"], BITS, "empty string"),
    "wide bias": ("MatMulNBits", ["x", "w", "s", "", "", "wide"], BITS, "bias of rank 1"),
    "short bias": ("MatMulNBits", ["x", "w", "s", "", "", "three"], BITS, "bias and N differ: 3 and 4"),
    "bias of integers": ("MatMulNBits", ["x", "w", "s", "", "", "ints"], BITS, "element type 'f32'"),
    "no factor": ("FusedMatMul", ["x", ""], {}, "MatMul"),
    "no skip": ("SkipLayerNormalization", ["x", "", "s"], {}, "Add"),
    "no tables": ("EmbedLayerNormalization", ["x"], {}, "Gather"),
    "no matrix": ("DynamicQuantizeMatMul", ["x", ""], {}, "error"),
}


@pytest.mark.parametrize("operator, inputs, attributes, words", CONTRIB.values(), ids=CONTRIB)
def test_contrib_node(operator, inputs, attributes, words, tool, tmp_path):
    node = helper.make_node(operator, inputs, ["y"], name="odd", domain="com.microsoft", **attributes)
    made = model([node], 17, inputs=[("x", FLOAT, [2, 64])], initializers=WEIGHTS)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    done = compile_(tool, tmp_path, made)
    assert done.status == 1 and words in done.err, done


def test_parts_of_a_negative_size(tool, tmp_path):
    nodes = [helper.make_node("Shape", ["x"], ["sizes"]), helper.make_node("Split", ["sizes", "parts"], ["y", "z"], name="odd")]
    parts = numpy_helper.from_array(np.array([-1, 3], np.int64), "parts")
    done = compile_(tool, tmp_path, model(nodes, 17, output=("y", INT64, None), initializers=[parts]))
    assert done.status == 1 and "error" in done.err, done


def test_matrices_of_bytes_that_do_not_fit_when_run(tool, tmp_path):
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    kind = onnx.TensorProto.UINT8
    made = model([node], 17, inputs=[("a", kind, ["m", "k"]), ("b", kind, ["l", "n"])], output=("y", onnx.TensorProto.INT32, None))
    assert compile_(tool, tmp_path, made).status == 0
    for i, shape in enumerate(((2, 3), (8, 2))):
        np.save(tmp_path / f"input_{i}.npy", np.ones(shape, np.uint8))
    done = tool("megactx-run", tmp_path / "odd.mctx", "--inputs", tmp_path, "--outputs", tmp_path / "out")
    assert done.status == 1 and "inner dims of the matrices" in done.err, done
