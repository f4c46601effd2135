"""Attention in windows that is spelled out in overlapping chunks, as Longformer and LED are exported, against onnxruntime: it is found, and is a window."""

import importlib.util

import numpy as np
import onnx
import pytest

import megactx
import reference
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location("graph", ROOT / "python" / "models" / "graph.py")
graph = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(graph)

HEADS, DIM = 2, 8
WIDTH = HEADS * DIM


def chunks(g, rows, tokens, side):
    """unfold: parts of 2 * side rows, each side rows after the one before: [G, N, D] to [G, C, 2 * side, D]."""
    starts = range(0, tokens - 2 * side + 1, side)
    parts = [g.op("Transpose", g.slice(rows, 1, start, start + 2 * side), perm=[0, 2, 1]) for start in starts]
    return g.op("Transpose", g.op("Concat", *[g.unsqueeze(part, 1) for part in parts], axis=1), perm=[0, 1, 3, 2])


def assigned(g, data, updates, sizes, starts):
    """data[starts + i] = updates[i], by a grid of indices."""
    grid = []
    for axis, (size, start) in enumerate(zip(sizes, starts)):
        index = np.arange(start, start + size).reshape([-1 if i == axis else 1 for i in range(4)])
        grid.append(g.unsqueeze(g.expand(g.const(index, np.int64), *sizes), 4))
    return g.op("ScatterND", data, g.op("Concat", *grid, axis=-1), g.reshape(updates, *sizes))


def part(g, value, *bounds):
    for axis, (start, end) in enumerate(bounds):
        if (start, end) != (0, None):
            value = g.slice(value, axis, start, graph.LAST if end is None else end)
    return value


def windowed(g, queries, keys, batch, tokens, heads, depth, side):
    """[B, N, H, D] twice to scores [B, N, H, 2 * side + 1], minus infinity where there are no keys."""
    groups, count, width = batch * heads, tokens // side, 2 * side + 1
    rows = [g.reshape(g.op("Transpose", x, perm=[0, 2, 1, 3]), groups, tokens, depth) for x in (queries, keys)]
    square = g.op("Einsum", *[chunks(g, x, tokens, side) for x in rows], equation="bcxd,bcyd->bcxy")
    square = g.op("Pad", square, g.ints(0, 0, 0, 0, 0, 0, 1, 0))
    skewed = g.reshape(square, groups, count - 1, 2 * side, width)
    every, whole = (0, None), (0, groups)
    scores = g.const(np.zeros([groups, count, side, width]))
    scores = assigned(g, scores, part(g, skewed, every, every, (0, side), (0, side + 1)), [groups, count - 1, side, side + 1], [0, 0, 0, side])
    scores = assigned(g, scores, part(g, skewed, every, (count - 2, count - 1), (side, None), (0, side + 1)), [groups, 1, side, side + 1], [0, count - 1, 0, side])
    scores = assigned(g, scores, part(g, skewed, every, every, (-side - 1, -1), (side + 1, None)), [groups, count - 1, side, side], [0, 1, 0, 0])
    scores = assigned(g, scores, part(g, skewed, every, (0, 1), (0, side - 1), (1 - side, None)), [groups, 1, side - 1, side - 1], [0, 0, 1, 1])
    scores = g.op("Transpose", g.reshape(scores, batch, heads, tokens, width), perm=[0, 2, 1, 3])
    lower = g.op("Trilu", g.const(np.ones([side, side + 1])), g.int(0), upper=0)
    before = g.op("Slice", lower, g.ints(-1), g.ints(-graph.LAST), g.ints(0), g.ints(-1))
    after = g.const(np.tril(np.ones([side, side + 1]))[:, ::-1])  # that flip twice, folded
    for start, first, mask in ((0, 0, before), (tokens - side, side, after)):
        here = part(g, scores, every, (start, start + side), every, (first, first + side + 1))
        mask = g.cast(g.expand(g.unsqueeze(mask, 0, 2), batch, side, heads, side + 1), bool)
        masked = g.op("Where", mask, g.const(-np.inf), here)
        scores = assigned(g, scores, masked, [batch, side, heads, side + 1], [0, start, 0, first])
    return scores


def weighted(g, weights, values, batch, tokens, side):
    """Probabilities [B, N, H, 2 * side + 1] and values [B, N, H, D] to [B, N, H, D]."""
    groups, count = batch * HEADS, tokens // side
    weights = g.reshape(g.op("Transpose", weights, perm=[0, 2, 1, 3]), groups, count, side, 2 * side + 1)
    weights = g.op("Pad", weights, g.ints(0, 0, 0, 0, 0, 0, 0, side + 1))
    weights = g.reshape(g.slice(g.reshape(weights, groups, count, -1), 2, 0, -side), groups, count, side, 3 * side + 1)
    weights = g.slice(weights, 3, 0, -1)
    rows = g.reshape(g.op("Transpose", values, perm=[0, 2, 1, 3]), groups, tokens, DIM)
    padded = g.op("Pad", rows, g.ints(0, side, 0, 0, side, 0), g.const(-1))
    # as_strided: a sum of indices times strides, each counted by NonZero.
    index = None
    for axis, (size, stride) in enumerate([(groups, (tokens + 2 * side) * DIM), (count, side * DIM), (3 * side, DIM), (DIM, 1)]):
        ones = g.op("ConstantOfShape", g.ints(size), value=onnx.helper.make_tensor("value", onnx.TensorProto.INT64, [1], [1]))
        places = g.op("Squeeze", g.op("Transpose", g.op("NonZero", ones), perm=[1, 0]), g.ints(1))
        own = g.op("Mul", g.reshape(places, *[-1 if i == axis else 1 for i in range(4)]), g.ints(stride))
        index = own if index is None else g.op("Add", index, own)
    context = g.op("Einsum", weights, g.op("Gather", g.reshape(padded, -1), index), equation="bcwd,bcdh->bcwh")
    return g.op("Transpose", g.reshape(context, batch, HEADS, tokens, DIM), perm=[0, 2, 1, 3])


def projected(g, x, name):
    with g.module(name):
        return g.linear(x, WIDTH, WIDTH)


def layer(g, x, hides, batch, tokens, side):
    """x [N, B, W]; hides [B, N], true for keys and queries that are padding."""
    q, k, v = (projected(g, x, name) for name in ("query", "key", "value"))
    q = g.op("Div", q, g.const(DIM**0.5))
    q, k, v = (g.op("Transpose", g.reshape(r, tokens, batch, HEADS, DIM), perm=[1, 0, 2, 3]) for r in (q, k, v))
    scores = windowed(g, q, k, batch, tokens, HEADS, DIM, side)
    column = g.unsqueeze(hides, 2, 3)
    numbers = g.op("Where", column, g.const(np.finfo(np.float32).min), g.cast(column, np.float32))
    ones = g.const(np.ones([batch, tokens, 1, 1]))
    scores = g.op("Add", scores, windowed(g, ones, numbers, batch, tokens, 1, 1, side))
    weights = g.op("Where", column, g.const(0.0), g.op("Softmax", scores, axis=-1))
    context = g.op("Transpose", weighted(g, weights, v, batch, tokens, side), perm=[1, 0, 2, 3])
    return g.op("Add", x, projected(g, g.reshape(context, tokens, batch, WIDTH), "output"))


def made(batch, tokens, sides):
    g = graph.Graph("torchscript", 17, 0)
    x, mask = g.input("x", np.float32, [batch, tokens, WIDTH]), g.input("mask", np.int64, [batch, tokens])
    hides = g.op("Equal", mask, g.int(0))
    x = g.op("Transpose", x, perm=[1, 0, 2])
    for i, side in enumerate(sides):
        with g.module(f"layer.{i}"):
            x = layer(g, x, hides, batch, tokens, side)
    g.output(g.op("Transpose", x, perm=[1, 0, 2]), np.float32, [batch, tokens, WIDTH])
    return g.model("chunked")


@pytest.mark.parametrize("batch,tokens,sides", [(1, 16, [4]), (2, 48, [4, 6]), (3, 20, [2])])
def test_windows(batch, tokens, sides, tool, tmp_path):
    model = made(batch, tokens, sides)
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0 and f"raised {len(sides)} attentions" in done.err, done
    for side in sides:
        assert f"window<left = {side}, right = {side}>" in done.err, done
    ours, session = megactx.load(tmp_path / "m.mctx"), reference.session(model)
    rng = np.random.default_rng(0)
    masks = [np.ones([batch, tokens]), rng.integers(0, 2, [batch, tokens]), np.arange(tokens) + np.zeros([batch, 1]) < tokens // 3]
    masks.append(1 - masks[2])
    for mask in masks:
        feeds = {"x": rng.standard_normal([batch, tokens, WIDTH]).astype(np.float32), "mask": mask.astype(np.int64)}
        np.testing.assert_allclose(ours.run(feeds)["output"], session.run(None, feeds)[0], rtol=1e-4, atol=1e-5)
