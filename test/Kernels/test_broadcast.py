"""Products of matrices in a graph broadcast batch and heads, and operands of lower rank: what is raised from them gives the same numbers."""

import numpy as np
import pytest

CASES = {
    "keys shared by a batch": ("?x2", "1x2", "?x2"),
    "keys of lower rank": ("?x2", "2", "?x2"),
    "keys without heads": ("?x2", "", "?x2"),
    "queries shared by a batch": ("1x2", "?x2", "?x2"),
    "values shared by a batch": ("?x2", "?x2", "1x2"),
    "only values of a batch": ("2", "2", "?x2"),
    "one head of queries": ("?x1", "?x2", "?x2"),
    "one head of keys": ("?x2", "?x1", "?x2"),
    "one head of values": ("?x2", "?x2", "?x1"),
    "one head of keys and values": ("?x2", "?x1", "?x1"),
}


def module(outer, dim, value_dim):
    q, k, v = (f"tensor<{dims}{'x' * bool(dims)}{{}}xf32>" for dims in outer)
    q, k, v, s, o = q.format(f"?x{dim}"), k.format(f"{dim}x?"), v.format(f"?x{value_dim}"), "tensor<?x2x?x?xf32>", f"tensor<?x2x?x{value_dim}xf32>"
    return f"""func.func @main(%q: {q}, %k: {k}, %v: {v}) -> {o} {{
  %s = onnx.MatMul %q, %k : ({q}, {k}) -> {s}
  %p = onnx.Softmax %s {{axis = -1 : i64}} : ({s}) -> {s}
  %o = onnx.MatMul %p, %v : ({s}, {v}) -> {o}
  return %o : {o}
}}
"""


@pytest.mark.parametrize("case", CASES)
def test_broadcast(case, program):
    random, run = np.random.default_rng(), program(module(CASES[case], 8, 4), "--generic")
    for batch, queries, keys in [(3, 7, 11), (1, 20, 5)]:
        sizes = [[batch if d == "?" else int(d) for d in dims.split("x") if d] for dims in CASES[case]]
        q, k, v = (random.standard_normal([*outer, *inner]).astype(np.float32) for outer, inner in zip(sizes, [(queries, 8), (8, keys), (keys, 4)]))
        scores = q.astype(np.float64) @ k
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        want = weights / weights.sum(-1, keepdims=True) @ v
        got, = run([q, k, v])
        assert got.shape == want.shape and np.abs(got - want).max() <= 2e-5
