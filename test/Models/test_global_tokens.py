"""Tokens that all queries see beside those of their block or window, as Pegasus-X, Longformer and LED are exported, against onnxruntime: one Softmax over both is one attention."""

import numpy as np
import onnx
import pytest

import megactx
import reference
from test_chunked_attention import DIM, HEADS, WIDTH, graph, made, projected, weighted, windowed

LEAST = np.finfo(np.float32).min


# --- Pegasus-X: blocks, and tokens of their own ---


def heads(g, x, batch, count, name):
    return g.heads(projected(g, x, name), batch, count, HEADS, DIM)


def joined(g, x, perm, *sizes):
    return g.reshape(g.op("Transpose", x, perm=perm), *sizes)


def memory_layer(g, memory, x, mask, batch, tokens, count):
    """The tokens that all see, who see all."""
    q, k, v = (heads(g, memory, batch, count, f"memory_{n}") for n in "qkv")
    own = [heads(g, x, batch, tokens, n) for n in "kv"]
    keys, values = (g.op("Concat", a, b, axis=2) for a, b in zip((k, v), own))
    scores = g.op("Einsum", q, keys, equation="bhgf,bhxf->bhgx")
    scores = g.op("Add", scores, g.unsqueeze(g.op("Pad", mask, g.ints(0, count, 0, 0)), 1, 1))
    out = g.op("Einsum", g.op("Softmax", scores, axis=-1), values, equation="bhgx,bhxf->bhgf")
    return k, v, own, g.op("Add", memory, projected(g, joined(g, out, [0, 2, 1, 3], batch, count, WIDTH), "memory_out"))


def block_layer(g, x, memory, mask, batch, tokens, count, block):
    """x [B, N, W], memory [B, G, W], mask [B, N]."""
    k, v, own, updated = memory_layer(g, memory, x, mask, batch, tokens, count)
    q = g.op("Mul", heads(g, x, batch, tokens, "q"), g.const(DIM**-0.5))
    blocks = [g.reshape(t, batch, HEADS, tokens // block, block, DIM) for t in (q, *own)]
    rows = g.op("Einsum", blocks[0], k, equation="bhnkf,bhgf->bhnkg")
    square = g.op("Einsum", blocks[0], blocks[1], equation="bhnkf,bhnxf->bhnkx")
    masks = g.op("Pad", g.reshape(mask, batch, tokens // block, block), g.ints(0, 0, count, 0, 0, 0), g.const(0.0))
    scores = g.op("Add", g.op("Concat", rows, square, axis=-1), g.unsqueeze(masks, 1, 3))
    weights = g.op("Softmax", scores, axis=-1)
    seen = g.op("Einsum", g.slice(weights, 4, 0, count), v, equation="bhnkg,bhgf->bhnkf")
    near = g.op("Einsum", g.slice(weights, 4, count, graph.LAST), blocks[2], equation="bhnkx,bhnxf->bhnkf")
    out = joined(g, g.op("Add", seen, near), [0, 2, 3, 1, 4], batch, tokens, WIDTH)
    return g.op("Add", x, projected(g, out, "out")), updated


def of_blocks(batch, tokens, count, block, layers):
    """Every second layer's blocks begin in the middle of one."""
    g = graph.Graph("torchscript", 17, 0)
    x, mask = g.input("x", np.float32, [batch, tokens, WIDTH]), g.input("mask", np.int64, [batch, tokens])
    inverse = g.op("Sub", g.const(1.0), g.cast(mask, np.float32))
    fills = g.op("Where", g.cast(inverse, bool), g.const(LEAST), inverse)
    memory = g.expand(g.unsqueeze(g.weight("memory", count, WIDTH), 0), batch, -1, -1)
    for i in range(layers):
        shift = block // 2 if i % 2 else 0
        with g.module(f"layer.{i}"):
            if shift:
                x = g.op("Pad", x, g.ints(0, shift, 0, 0, shift, 0))
            here = g.op("Pad", fills, g.ints(0, shift, 0, shift), g.const(LEAST)) if shift else fills
            x, memory = block_layer(g, x, memory, here, batch, tokens + 2 * shift, count, block)
            if shift:
                x = g.slice(x, 1, shift, -shift)
    g.output(x, np.float32, [batch, tokens, WIDTH])
    g.output(memory, np.float32, [batch, count, WIDTH])
    return g.model("blocks")


# --- Longformer: windows, and tokens that a run chooses ---


def listed(g, mask):
    """torch.nonzero(as_tuple=True) of [B, N]."""
    pairs = g.op("Transpose", g.op("NonZero", mask), perm=[1, 0])
    return [g.op("Squeeze", part, g.ints(1)) for part in g.op("Split", pairs, g.ints(1, 1), outputs=2, axis=1)]


def pairs(g, *columns):
    return g.op("Concat", *[g.unsqueeze(column, -1) for column in columns], axis=-1)


class Chosen:
    """Where the chosen tokens [B, N] are, and their slots [B, most]: those that a batch's entry has no token for come last."""

    def __init__(self, g, flags):
        self.flags = flags
        counts = g.op("ReduceSum", g.cast(flags, np.int64), g.ints(1), keepdims=0)
        self.most = g.op("ReduceMax", counts, keepdims=0)
        self.tokens = listed(g, flags)
        isUsed = g.op("Less", g.range(self.most), g.unsqueeze(counts, 1))
        self.slots, self.rest = listed(g, isUsed), listed(g, g.op("Equal", g.cast(isUsed, np.int64), g.int(0)))


def gathered(g, rows, chosen, batch, *sizes):
    """[B, N, ..] to [B, most, ..], zeros where there is none."""
    size = g.op("Concat", g.element(batch), g.unsqueeze(chosen.most, 0), g.ints(*sizes), axis=0)
    zeros = g.op("ConstantOfShape", size, value=onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [0]))
    return g.op("ScatterND", zeros, pairs(g, *chosen.slots), g.op("GatherND", rows, pairs(g, *chosen.tokens)))


def hidden_slots(g, scores, chosen, tokens):
    """scores [B, most, H, N]: the least number in the slots of no token."""
    grid = [g.reshape(chosen.rest[0], -1, 1, 1), g.reshape(chosen.rest[1], -1, 1, 1)]
    grid += [g.const(np.arange(HEADS)[:, None], np.int64), g.const(np.arange(tokens), np.int64)]
    total = grid[0]
    for index in grid[1:]:
        total = g.op("Add", total, index)
    size = g.op("Shape", total)
    index = pairs(g, *[g.op("Expand", index, size) for index in grid])
    return g.op("ScatterND", scores, index, g.op("Expand", g.const(LEAST), size))


def own_rows(g, x, hides, chosen, batch, tokens):
    """The chosen tokens' own attention to all, projected by weights of their own."""
    rows = gathered(g, x, chosen, batch, WIDTH)
    q = g.op("Transpose", g.op("Reshape", projected(g, rows, "own_q"), g.ints(batch, -1, HEADS, DIM)), perm=[0, 2, 1, 3])
    k, v = (heads(g, x, batch, tokens, f"own_{n}") for n in "kv")
    scores = g.op("MatMul", g.op("Div", q, g.const(DIM**0.5)), g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Transpose", hidden_slots(g, g.op("Transpose", scores, perm=[0, 2, 1, 3]), chosen, tokens), perm=[0, 2, 1, 3])
    scores = g.op("Where", g.unsqueeze(hides, 1, 2), g.const(LEAST), scores)
    out = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    return g.op("GatherND", g.op("Transpose", out, perm=[0, 2, 1, 3]), pairs(g, *chosen.slots))


def window_layer(g, x, hides, chosen, batch, tokens, side):
    """x [B, N, W]; hides [B, N] the keys and queries that are padding."""
    q, k, v = (g.reshape(projected(g, x, name), batch, tokens, HEADS, DIM) for name in "qkv")
    q = g.op("Div", q, g.const(DIM**0.5))
    near = windowed(g, q, k, batch, tokens, HEADS, DIM, side)
    column = g.unsqueeze(g.op("Or", hides, chosen.flags), 2, 3)
    numbers = g.op("Where", column, g.const(LEAST), g.cast(column, np.float32))
    ones = g.const(np.ones([batch, tokens, 1, 1]))
    near = g.op("Add", near, windowed(g, ones, numbers, batch, tokens, 1, 1, side))
    keys = gathered(g, k, chosen, batch, HEADS, DIM)
    seen = g.op("Einsum", q, keys, equation="blhd,bshd->blhs")
    seen = g.op("Transpose", hidden_slots(g, g.op("Transpose", seen, perm=[0, 3, 2, 1]), chosen, tokens), perm=[0, 3, 2, 1])
    weights = g.op("Softmax", g.op("Concat", seen, near, axis=-1), axis=-1)
    weights = g.op("Where", g.unsqueeze(hides, 2, 3), g.const(0.0), weights)
    most = g.unsqueeze(chosen.most, 0)
    first = g.op("Slice", weights, g.ints(0), most, g.ints(3))
    values = gathered(g, v, chosen, g.size(weights, 0), HEADS, DIM)
    out = g.op("MatMul", g.op("Transpose", first, perm=[0, 2, 1, 3]), g.op("Transpose", values, perm=[0, 2, 1, 3]))
    rest = g.op("Slice", weights, most, g.op("Slice", g.op("Shape", weights), g.ints(-1), g.ints(graph.LAST), g.ints(0)), g.ints(3))
    rest = g.reshape(rest, batch, tokens, HEADS, 2 * side + 1)
    out = g.op("Add", g.op("Transpose", out, perm=[0, 2, 1, 3]), weighted(g, rest, v, batch, tokens, side))
    out = g.reshape(out, batch, tokens, HEADS, DIM)
    out = g.op("ScatterND", out, pairs(g, *chosen.tokens), own_rows(g, x, hides, chosen, batch, tokens))
    return g.op("Add", x, projected(g, g.reshape(out, batch, tokens, WIDTH), "out"))


def by_number(g, flags, batch, tokens):
    """flags [B, N] read by the numbers of their elements, as torch.vmap is exported."""
    numbers = g.op("Add", g.const(np.arange(tokens), np.int64), g.op("Mul", g.const(np.arange(batch)[:, None], np.int64), g.int(tokens)))
    return g.op("Gather", g.reshape(flags, batch * tokens), numbers, axis=0)


def of_windows(batch, tokens, sides):
    g = graph.Graph("torchscript", 17, 0)
    x = g.input("x", np.float32, [batch, tokens, WIDTH])
    mask, flags = (g.input(name, np.int64, [batch, tokens]) for name in ("mask", "chosen"))
    hides = by_number(g, g.op("Equal", mask, g.int(0)), batch, tokens)
    flags = g.op("Greater", flags, g.int(0))
    for i, side in enumerate(sides):
        with g.module(f"layer.{i}"):
            x = window_layer(g, x, hides, Chosen(g, flags), batch, tokens, side)
    g.output(x, np.float32, [batch, tokens, WIDTH])
    return g.model("windows")


# --- tests ---


def masks_of(rng, batch, tokens):
    lengths = rng.integers(1, tokens + 1, [batch, 1])
    padded = np.arange(tokens) < lengths
    yield from (np.ones([batch, tokens]), padded, padded[:, ::-1], rng.integers(0, 2, [batch, tokens]))


def compiled(tool, model, tmp_path, *flags):
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", *flags, "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    return done.err, megactx.load(tmp_path / "m.mctx")


def check(ours, session, feeds):
    results = ours.run(feeds)
    for node, wanted in zip(session.get_outputs(), session.run(None, feeds)):
        np.testing.assert_allclose(results[node.name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch,tokens,count,block,layers", [(1, 16, 3, 4, 1), (2, 40, 5, 8, 2), (3, 24, 1, 6, 2), (2, 8, 8, 8, 2)])
def test_blocks(batch, tokens, count, block, layers, tool, tmp_path):
    model = of_blocks(batch, tokens, count, block, layers)
    told, ours = compiled(tool, model, tmp_path)
    assert f"raised {2 * layers} attentions" in told, told
    assert f"block_local<block = {block}>, with a bias" in told or tokens == block, told
    session, rng = reference.session(model), np.random.default_rng(0)
    for mask in masks_of(rng, batch, tokens):
        check(ours, session, {"x": rng.standard_normal([batch, tokens, WIDTH]).astype(np.float32), "mask": mask.astype(np.int64)})


@pytest.mark.parametrize("batch,tokens,sides", [(1, 16, [4]), (2, 48, [4, 6]), (3, 20, [2])])
def test_windows(batch, tokens, sides, tool, tmp_path):
    model = of_windows(batch, tokens, sides)
    told, ours = compiled(tool, model, tmp_path)
    assert f"raised {2 * len(sides)} attentions" in told, told
    for side in sides:
        assert f"window<left = {side}, right = {side}>, with a bias" in told, told
    session, rng = reference.session(model), np.random.default_rng(0)
    for mask in masks_of(rng, batch, tokens):
        for share in (0.05, 0.3):
            chosen = (rng.random([batch, tokens]) < share) * mask
            chosen[0, tokens // 2] = mask[0, tokens // 2] = 1
            feeds = {"x": rng.standard_normal([batch, tokens, WIDTH]).astype(np.float32)}
            check(ours, session, feeds | {"mask": mask.astype(np.int64), "chosen": chosen.astype(np.int64)})


@pytest.mark.parametrize("made", [of_windows, made])
def test_nothing_is_as_large_as_scores(made, tool, tmp_path):
    """Scores are not computed where only their sizes are asked for, and masks are of keys, not of pairs."""
    onnx.save(made(2, 48, [4, 6]), tmp_path / "m.onnx")
    done = tool("megactx-compile", "--compile-to=attention", tmp_path / "m.onnx", "-o", tmp_path / "m.mlir")
    assert done.status == 0, done
    text = (tmp_path / "m.mlir").read_text()
    assert "onnx.Softmax" not in text and "48x48x" not in text


def test_policy_leaves_tokens_that_all_see(tool, tmp_path):
    tokens, chosen = 48, 30
    told, ours = compiled(tool, of_windows(1, tokens, [4]), tmp_path, "--pattern", "window<left = 1, right = 1>")
    assert "sparsified 1" in told, told
    flags = (np.arange(tokens) == chosen)[None].astype(np.int64)
    feeds = {"x": np.random.default_rng(0).standard_normal([1, tokens, WIDTH]).astype(np.float32), "mask": np.ones_like(flags), "chosen": flags}

    def changed_by(token):
        other = feeds["x"].copy()
        other[0, token] += 1
        rows = ours.run(feeds)["output"] != ours.run(feeds | {"x": other})["output"]
        return set(np.flatnonzero(rows[0].any(axis=-1)))

    assert changed_by(10) == {9, 10, 11, chosen}
    assert changed_by(chosen) == set(range(tokens))
