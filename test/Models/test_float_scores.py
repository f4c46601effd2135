"""Attention of models that are quantized throughout, found and made sparse where `--float-scores` leaves its scores unrounded."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import reference

# By name: the scale by which it is made narrow. Scores and probabilities are so coarse that it shows.
SCALES = {"q": 0.03, "k": 0.03, "v": 0.03, "scores": 0.5, "masked": 0.5, "p": 0.1}
HEADS, DIM, TOKENS = 2, 16, 75


def quantized_attention():
    """Of [batch, heads, tokens, dim]; padding masks with -100."""
    nodes, weights = [], {"root": np.float32(0.25), "zero": np.int8(0)}

    def rounded(name):
        weights["s_" + name] = np.float32(SCALES[name])
        nodes.append(helper.make_node("QuantizeLinear", [name, "s_" + name, "zero"], [name + "8"]))
        nodes.append(helper.make_node("DequantizeLinear", [name + "8", "s_" + name, "zero"], [name + "_wide"]))
        return name + "_wide"

    q, k, v = map(rounded, "qkv")
    nodes.append(helper.make_node("Transpose", [k], ["turned"], perm=[0, 1, 3, 2]))
    nodes.append(helper.make_node("MatMul", [q, "turned"], ["scores"]))
    nodes.append(helper.make_node("Mul", [rounded("scores"), "root"], ["scaled"]))
    nodes.append(helper.make_node("Add", ["scaled", "mask"], ["masked"]))
    nodes.append(helper.make_node("Softmax", [rounded("masked")], ["p"], axis=-1))
    nodes.append(helper.make_node("MatMul", [rounded("p"), v], ["y"]))
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [*(value(name, "b", HEADS, "n", DIM) for name in "qkv"), value("mask", "b", 1, 1, "n")],
                              [value("y", "b", HEADS, "n", DIM)], [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)


def attention(inputs, allowed, narrow):
    """In float64; `narrow` rounds scores and probabilities."""
    around = lambda x, name: np.clip(np.rint(x / SCALES[name]), -128, 127) * SCALES[name]
    q, k, v = (around(inputs[name].astype(np.float64), name) for name in "qkv")
    between = around if narrow else lambda x, name: x
    scores = between(between(q @ k.swapaxes(2, 3), "scores") * 0.25 + inputs["mask"], "masked")
    p = np.exp(scores - scores.max(-1, keepdims=True)) * allowed
    return between(p / p.sum(-1, keepdims=True), "p") @ v


@pytest.mark.parametrize("pattern", [None, "causal and window<left = 9, right = 0>"])
def test_float_scores(tool, tmp_path, pattern):
    random = np.random.default_rng()
    inputs = {name: random.standard_normal((2, HEADS, TOKENS, DIM)).astype(np.float32) for name in "qkv"}
    inputs["mask"] = np.where(np.arange(TOKENS) < np.array([[TOKENS], [TOKENS - 5]]), 0, -50).astype(np.float32)[:, None, None]
    onnx.save(quantized_attention(), tmp_path / "model.onnx")
    reference.save_tensors(tmp_path / "in", "input", list(inputs.items()))

    def result(*options):
        done = tool("megactx-compile", tmp_path / "model.onnx", *options, "-o", tmp_path / "model.mctx")
        assert done.status == 0, done
        ran = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
        assert ran.status == 0, ran
        (_, y), = reference.load_tensors(tmp_path / "out", "output")
        return y, done.err

    i, j = np.arange(TOKENS)[:, None], np.arange(TOKENS)
    exact = attention(inputs, (0 <= i - j) & (i - j <= 9) if pattern else np.ones((TOKENS, TOKENS)), narrow=False)
    y, told = result("--float-scores", *(["--pattern", pattern] if pattern else []))
    assert "raised 1 attentions" in told
    # Numbers that lie between two bytes may become either.
    assert np.linalg.norm(y - exact) <= 2e-3 * np.linalg.norm(exact)
    if pattern:
        return
    y, told = result()
    assert "raised 0 attentions" in told
    as_quantized = attention(inputs, 1.0, narrow=True)
    same = lambda x: np.isclose(x, as_quantized, atol=1e-4).all(-1).mean()
    assert same(y) > 0.9 > 0.5 > same(exact), (same(y), same(exact))


def test_nothing_is_rounded(tool, tmp_path):
    nodes = [helper.make_node("Softmax", ["x"], ["y"])]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 4])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value("x")], [value("y")]), opset_imports=[helper.make_opsetid("", 21)], ir_version=9), tmp_path / "model.onnx")
    for name in "compile", "explain":
        done = tool("megactx-" + name, tmp_path / "model.onnx", "--float-scores", *(["-o", tmp_path / "m.mctx"] if name == "compile" else []))
        assert done.status == 0 and "warning: no scores or probabilities of attention are rounded" in done.err, done
