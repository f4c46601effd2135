"""Attention of vision models, as their exports spell it, against onnxruntime: MViT's assigned biases, ConViT's gates, and what is none over tokens."""

import importlib.util

import numpy as np
import onnx
import pytest

import reference
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location("graph", ROOT / "python" / "models" / "graph.py")
graph = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(graph)

HEADS, DIM, HIGH, WIDE = 2, 8, 4, 6
TOKENS, WIDTH = HIGH * WIDE, HEADS * DIM


def projected(g, x, order, parts=3):
    """Queries, keys and values of one projection, each in an order of [B, N, 3, H, D]."""
    batch = g.size(x, 0)
    split = g.reshape(g.linear(x, WIDTH, parts * WIDTH), batch, -1, parts, HEADS, DIM)
    moved = g.op("Transpose", split, perm=order)
    return [g.op("Gather", moved, g.int(i), axis=0) for i in range(parts)]


def keys_last(g, k):
    return g.op("Transpose", k, perm=[0, 1, 3, 2])


def merged_heads(g, out):
    return g.reshape(g.op("Transpose", out, perm=[0, 2, 1, 3]), g.size(out, 0), -1, WIDTH)


def assigned(g, x):
    """scores[:, :, :, :] = scores + bias, of queries' rows and columns and keys'."""
    q, k, v = projected(g, x, [2, 0, 3, 1, 4])
    scores = g.op("MatMul", g.op("Mul", q, g.const(DIM**-0.5)), keys_last(g, k))
    batch = g.size(scores, 0)
    grid = g.reshape(q, batch, HEADS, HIGH, WIDE, DIM)
    rows = g.op("Einsum", grid, g.weight("rows", HIGH, HIGH, DIM, scale=1.0), equation="byhwc,hkc->byhwk")
    columns = g.op("Einsum", grid, g.weight("columns", WIDE, WIDE, DIM, scale=1.0), equation="byhwc,wkc->byhwk")
    all = g.op("Add", g.reshape(scores, batch, HEADS, HIGH, WIDE, HIGH, WIDE), g.unsqueeze(rows, -1))
    all = g.reshape(g.op("Add", all, g.unsqueeze(columns, -2)), batch, HEADS, TOKENS, TOKENS)
    sizes = [g.size(scores, axis) for axis in range(4)]
    places = [g.unsqueeze(g.range(size), *(a for a in range(4) if a != axis)) for axis, size in enumerate(sizes)]
    shape = g.shape(*sizes)
    index = g.op("Concat", *(g.unsqueeze(g.op("Expand", place, shape), -1) for place in places), axis=-1)
    return merged_heads(g, g.op("MatMul", g.op("Softmax", g.op("ScatterND", scores, index, all), axis=-1), v))


def gated(g, x):
    """A gate for each head between probabilities of content and of positions."""
    q, k, v = projected(g, x, [2, 0, 3, 1, 4])
    content = g.op("Softmax", g.op("Mul", g.op("MatMul", q, keys_last(g, k)), g.const(DIM**-0.5)), axis=-1)
    places = g.expand(g.weight("places", 1, TOKENS, TOKENS, HEADS, scale=1.0), g.size(x, 0), TOKENS, TOKENS, HEADS)
    places = g.op("Softmax", g.op("Transpose", places, perm=[0, 3, 1, 2]), axis=-1)
    gate = g.op("Sigmoid", g.weight("gate", 1, HEADS, 1, 1, scale=1.0))
    all = g.op("Add", g.op("Mul", g.op("Sub", g.const(1.0), gate), content), g.op("Mul", gate, places))
    sums = g.unsqueeze(g.op("ReduceSum", all, g.ints(-1), keepdims=0), -1)
    return merged_heads(g, g.op("MatMul", g.op("Div", all, sums), v))


def channels(g, x):
    """XCiT's: normalised queries and keys are channels."""
    q, k, v = projected(g, x, [2, 0, 3, 4, 1])
    q, k = (g.op("Div", part, g.op("ReduceL2", part, axes=[-1], keepdims=1)) for part in (q, k))
    weights = g.op("Softmax", g.op("MatMul", q, keys_last(g, k)), axis=-1)
    out = g.op("MatMul", weights, v)
    return g.reshape(g.op("Transpose", out, perm=[0, 3, 1, 2]), g.size(x, 0), -1, WIDTH)


def linear(g, x):
    """Keys' softmax over tokens, times values, before queries meet them."""
    q, k, v = projected(g, x, [2, 0, 3, 1, 4])
    return merged_heads(g, g.op("MatMul", q, g.op("MatMul", keys_last(g, g.op("Softmax", k, axis=2)), v)))


# The form, the number of attentions, and what is said of a Softmax that is left.
CASES = {
    "assigned": (assigned, 1, None),
    "gated": (gated, 1, "its scores are computed of weights alone"),
    "channels": (channels, 0, "its queries and keys are channels, whose products sum tokens"),
    "linear": (linear, 0, "is a projection of one tensor: pairs of a query and a key have no scores"),
}


@pytest.mark.parametrize("name", CASES)
def test_form(name, tool, tmp_path):
    form, attentions, reason = CASES[name]
    g = graph.Graph("torchscript", 17, 5)
    x = g.input("x", np.float32, ["batch", TOKENS, WIDTH])
    g.output(form(g, x), np.float32, ["batch", TOKENS, WIDTH])
    model = g.model(name)
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    assert f"raised {attentions} attentions" in done.err
    told = tool("megactx-explain", tmp_path / "model.mctx").out
    assert (reason in told) if reason else ("not raised" not in told)
    rng = np.random.default_rng(7)
    for batch in 1, 3:
        x = rng.standard_normal((batch, TOKENS, WIDTH)).astype(np.float32)
        reference.save_tensors(tmp_path / f"in{batch}", "input", [("x", x)])
        done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / f"in{batch}", "--outputs", tmp_path / f"out{batch}")
        assert done.status == 0, done
        ((_, got),) = reference.load_tensors(tmp_path / f"out{batch}", "output")
        np.testing.assert_allclose(got, reference.session(model).run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
