"""Which keys a pattern's positions are of, where keys are not one row for each query's token: the sparse model equals the dense one with a mask at the scores.

Learned keys stand nowhere, and so do summaries of blocks behind the tokens' own keys: every query sees them. A class token's queries, every second row's, keys that are pooled, and rows that were
reversed, sorted or moved around have no places that a pattern knows: their attention stays dense. Scores may have their axes in any order.
"""

import importlib.util

import numpy as np
import onnx
import pytest

import reference
from conftest import ROOT
from patterns import relation

SPEC = importlib.util.spec_from_file_location("graph", ROOT / "python" / "models" / "graph.py")
graph = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(graph)

HEADS, DIM = 2, 8
WIDTH = HEADS * DIM
PATTERN = "window<left = 3, right = 1>"


def projected(g, x, name, width=WIDTH):
    with g.module(name):
        return g.linear(x, WIDTH, width)


def heads_of(g, x, name):
    return g.op("Transpose", g.reshape(projected(g, x, name), 0, 0, HEADS, DIM), perm=[0, 2, 1, 3])


def all_heads_of(g, x):
    return (heads_of(g, x, name) for name in "qkv")


def merged(g, out):
    return g.reshape(g.op("Transpose", out, perm=[0, 2, 1, 3]), 0, 0, WIDTH)


def attended(g, q, k, v, mask):
    scores = mask(g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), g.const(DIM**-0.5)))
    return merged(g, g.op("MatMul", g.op("Softmax", scores, axis=-1), v))


def null_key(g, x, mask):
    """A learned key before those of tokens."""
    def behind(rows, name):
        one = g.expand(g.weight(name, 1, HEADS, 1, DIM, scale=1.0), g.size(x, 0), HEADS, 1, DIM)
        return g.op("Concat", one, rows, axis=2)
    q, k, v = all_heads_of(g, x)
    return attended(g, q, behind(k, "null_key"), behind(v, "null_value"), mask)


def row_of_zeros(g, x, mask):
    pads = g.ints(0, 0, 1, 0, 0, 0, 0, 0)
    q, k, v = all_heads_of(g, x)
    return attended(g, q, g.op("Pad", k, pads, mode="constant"), g.op("Pad", v, pads, mode="constant"), mask)


def memory(g, x, mask):
    """Several learned keys behind those of tokens."""
    def before(rows, name):
        return g.op("Concat", rows, g.expand(g.weight(name, 1, HEADS, 3, DIM, scale=1.0), g.size(x, 0), HEADS, 3, DIM), axis=2)
    q, k, v = all_heads_of(g, x)
    return attended(g, q, before(k, "keys"), before(v, "values"), mask)


def summaries(g, x, mask):
    """Keys of two tokens each behind those of one (DeepSeek-V4); half of each head is rotated, as it were."""
    pooled = g.op("Transpose", g.op("AveragePool", g.op("Transpose", x, perm=[0, 2, 1]), kernel_shape=[2], strides=[2]), perm=[0, 2, 1])
    def own(name):
        rows = heads_of(g, x, name)
        return g.op("Concat", g.slice(rows, 3, 0, DIM // 2), g.op("Neg", g.slice(rows, 3, DIM // 2, DIM)), axis=3)
    k, v = (g.op("Concat", own(name), heads_of(g, pooled, "of_blocks_" + name), axis=2) for name in "kv")
    return attended(g, own("q"), k, v, mask)


def class_token(g, x, mask):
    """The first row alone looks at all."""
    first = g.slice(x, 1, 0, 1)
    return attended(g, heads_of(g, first, "q"), heads_of(g, x, "k"), heads_of(g, x, "v"), as_they_are)


def every_second(g, x, mask):
    rows = g.op("Slice", heads_of(g, x, "q"), g.ints(0), g.ints(2**63 - 1), g.ints(2), g.ints(2))
    return attended(g, rows, heads_of(g, x, "k"), heads_of(g, x, "v"), as_they_are)


def as_they_are(scores):
    return scores


def last_rows(g, x, mask):
    """At most three, whose positions are those of the last keys: windows here have no more rows."""
    last = g.op("Slice", heads_of(g, x, "q"), g.ints(-3), g.ints(2**63 - 1), g.ints(2))
    return attended(g, last, heads_of(g, x, "k"), heads_of(g, x, "v"), lambda scores: mask(scores, -3))


def moved(*operands):
    """A form in which these of x, q, k and v are moved along their rows."""
    def build(move):
        def form(g, x, mask):
            x = move(g, x, 1) if "x" in operands else x
            q, k, v = (move(g, rows, 2) if name in operands else rows for name, rows in zip("qkv", all_heads_of(g, x)))
            return attended(g, q, k, v, as_they_are)
        return form
    return build


def reversed_rows(g, rows, axis):
    return g.op("Slice", rows, g.ints(-1), g.ints(-(2**63 - 1)), g.ints(axis), g.ints(-1))


def reversed_by_indices(g, rows, axis):
    size = g.size(rows, axis)
    return g.op("Gather", rows, g.op("Sub", g.op("Sub", size, g.int(1)), g.range(size)), axis=axis)


def rolled(g, rows, axis):
    return g.op("Concat", g.slice(rows, axis, -2, 2**63 - 1), g.slice(rows, axis, 0, -2), axis=axis)


def sorted_rows(g, rows, axis):
    """Tokens by their first channel."""
    first = g.slice(rows, 2, 0, 1)
    _, order = g.op("TopK", first, g.unsqueeze(g.size(rows, axis), 0), outputs=2, axis=axis)
    return g.op("GatherElements", rows, g.op("Expand", order, g.op("Shape", rows)), axis=axis)


def mixed(g, rows, axis):
    return g.op("Add", rows, reversed_rows(g, rows, axis))


def repeated(g, rows, axis):
    return g.op("Concat", rows, rows, axis=axis)


def second_stream(g, x, mask):
    """Queries of a second stream look at the keys of the first and at their own, as ProphetNet's do."""
    other = g.op("Tanh", x)
    keys, values = (g.op("Concat", heads_of(g, x, name), heads_of(g, other, name + "_other"), axis=2) for name in "kv")
    return attended(g, heads_of(g, other, "q"), keys, values, as_they_are)


def keys_second(g, x, mask):
    """Scores [query, key, batch, head], as Transformer-XL's are."""
    q, k, v = all_heads_of(g, x)
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Transpose", mask(scores), perm=[2, 3, 0, 1])
    p = g.op("Softmax", g.op("Mul", scores, g.const(DIM**-0.5)), axis=1)
    return merged(g, g.op("MatMul", g.op("Transpose", p, perm=[2, 3, 0, 1]), v))


def heads_as_rows(g, x, mask):
    """Heads that share keys and values, "bhij,bjd->bihd"."""
    q = heads_of(g, x, "q")
    k, v = (g.unsqueeze(projected(g, x, name, DIM), 1) for name in "kv")
    p = g.op("Softmax", mask(g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))), axis=-1)
    return g.reshape(g.op("MatMul", g.op("Transpose", p, perm=[0, 2, 1, 3]), v), 0, 0, WIDTH)


# The form, how many other keys are before those of tokens and behind them (of so many tokens), and how many attentions become sparse.
CASES = {
    "null_key": (null_key, 1, 0, 1),
    "row_of_zeros": (row_of_zeros, 1, 0, 1),
    "memory": (memory, 0, 3, 1),
    "summaries": (summaries, 0, lambda tokens: tokens // 2, 1),
    "class_token": (class_token, 0, 0, 0),
    "every_second": (every_second, 0, 0, 0),
    "last_rows": (last_rows, 0, 0, 1),
    "reversed_queries": (moved("q")(reversed_rows), 0, 0, 0),
    "reversed_keys": (moved("k", "v")(reversed_by_indices), 0, 0, 0),
    "reversed_sequence": (moved("x")(reversed_rows), 0, 0, 0),
    "rolled_keys": (moved("k", "v")(rolled), 0, 0, 0),
    "sorted_sequence": (moved("x")(sorted_rows), 0, 0, 0),
    "repeated_sequence": (moved("x")(repeated), 0, 0, 0),
    "second_stream": (second_stream, 0, 0, 0),
    "mixed_queries": (moved("q")(mixed), 0, 0, 0),
    "keys_second": (keys_second, 0, 0, 1),
    "heads_as_rows": (heads_as_rows, 0, 0, 1),
}


def built(form, tokens=None, before=0, behind=0):
    """The model; for so many tokens with the pattern's mask at its scores."""
    g = graph.Graph("torchscript", 17, 5)
    x = g.input("x", np.float32, ["batch", "tokens", WIDTH])

    def mask(scores, first=0):
        if tokens is None:
            return scores
        seen = relation(PATTERN, np.arange(tokens)[first:], np.arange(tokens), 1)[0]
        last = behind(tokens) if callable(behind) else behind
        seen = np.pad(seen, ((0, 0), (before, last)), constant_values=True)
        return g.op("Add", scores, g.tensor("mask", np.where(seen, 0, -np.inf).astype(np.float32)))

    g.output(form(g, x, mask), np.float32, ["batch", "rows", WIDTH])
    return g.model("positions")


@pytest.mark.parametrize("name", CASES)
def test_form(name, tool, tmp_path):
    form, before, behind, sparse = CASES[name]
    onnx.save(built(form), tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "--pattern", PATTERN, "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    assert f"raised 1 attentions, sparsified {sparse}" in done.err
    rng = np.random.default_rng(7)
    for batch, tokens in (1, 14), (3, 6):
        x = rng.standard_normal((batch, tokens, WIDTH)).astype(np.float32)
        reference.save_tensors(tmp_path / f"in{batch}", "input", [("x", x)])
        done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / f"in{batch}", "--outputs", tmp_path / f"out{batch}")
        assert done.status == 0, done
        ((_, got),) = reference.load_tensors(tmp_path / f"out{batch}", "output")
        want = reference.session(built(form, tokens, before, behind)).run(None, {"x": x})[0]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
