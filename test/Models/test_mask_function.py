"""Masks as functions of positions: the pattern selects what the function says of numbers."""

import math
import types

import numpy as np
import pytest

import megactx
from megactx import Pattern
from megactx.symbols import Number, Truth, text_of

W = 6


@pytest.fixture(autouse=True)
def build(request):
    megactx.use_build(request.config.getoption("--build"))


def inward_windows(b, h, q, k):
    """Neighborhood Attention as FlexAttention has it: windows of an image move inward at its sides."""
    column = q % W
    middle = column.clamp(1, W - 2) if isinstance(column, Number) else np.clip(column, 1, W - 2)
    return (abs(middle - k % W) <= 1) & (abs(q // W - k // W) <= 1)


FUNCTIONS = {
    "causal": lambda b, h, q, k: q >= k,
    "window": lambda b, h, q, k: abs(q - k) <= 4,
    "strided": lambda b, h, q, k: (q >= k) & ((q - k < 3) | ((q - k) % 5 == 0)),
    "document_blocks": lambda b, h, q, k: (q // 7 == k // 7) & (k <= q),
    "prefix": lambda b, h, q, k: (k < 5) | (q >= k),
    "by_head": lambda b, h, q, k: ((h % 2 == 0) & (q >= k)) | ((h % 2 != 0) & (q <= k)),
    "dilated_by_head": lambda b, h, q, k: (q - k) % (h + 1) == 0,
    "numbers_first": lambda b, h, q, k: (3 <= 10 - k) ^ (1 + 2 * k > q),
    "squares": lambda b, h, q, k: q * q < 7 * k,
    "not_self": lambda b, h, q, k: ~(q == k) & True,
    "numpy": lambda b, h, q, k: np.int64(4) + k > q,
    "inward_windows": inward_windows,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("queries, keys", [(29, 29), (5, 17)])
def test_relation(name, queries, keys):
    function, heads = FUNCTIONS[name], 3
    h, q, k = np.ogrid[:heads, :queries, :keys]
    want = np.broadcast_to(function(0, h, q, k), (heads, queries, keys))
    got = Pattern(function).relation(queries, keys, heads)
    for head in range(heads):
        for row in range(queries):
            assert got[head, row] == set(np.flatnonzero(want[head, row])), (head, row)


@pytest.mark.parametrize("name", ["strided", "dilated_by_head", "squares", "inward_windows"])
def test_attention(name):
    """Also of what no bound says, and the batch."""
    function = FUNCTIONS[name]
    q, k, v = np.random.default_rng(4).standard_normal((3, 2, 3, 29, 8), dtype=np.float32)
    out = megactx.attention(q, k, v, lambda b, h, i, j: function(b, h, i, j) & ((b == 0) | (j != 3)))
    batch, h, i, j = np.ogrid[:2, :3, :29, :29]
    kept = np.broadcast_to(function(batch, h, i, j) & ((batch == 0) | (j != 3)), (2, 3, 29, 29))
    weights = np.where(kept, np.exp(q.astype(float) @ k.swapaxes(2, 3) / np.sqrt(8)), 0)
    sums = weights.sum(-1, keepdims=True)
    want = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0) @ v
    np.testing.assert_allclose(out, want, atol=1e-5)


def test_bounds_are_those_of_names(tool):
    def pieces(pattern):
        done = tool("megactx-pattern", str(pattern), "--print=pieces")
        assert done.status == 0, done
        return done.out

    for name, same in [("causal", "causal"), ("window", "window<left = 4, right = 4>"), ("document_blocks", "block_local<block = 7> and causal"),
                       ("strided", "causal and (window<left = 2, right = -1> or strided<stride = 5>)")]:
        assert pieces(Pattern(FUNCTIONS[name])) == pieces(same), name


def called(name, *arguments):
    """What torch.NAME does with a symbol; its functions and tensors ask the symbol's class."""
    return text_of(Number.__torch_function__(types.SimpleNamespace(__name__=name), (), arguments))


def test_functions_of_torch():
    p, k = Number("p"), Number("k")
    assert called("abs", p) == "max(p, (0 - p))"
    assert called("minimum", p, 3) == "min(p, 3)"
    assert called("__le__", np.array(3), p) == "(3 le p)"
    assert called("clamp", p, 1, 5) == "min(max(p, 1), 5)"
    assert called("logical_and", np.array(True), p == k) == "(1 and (p == k))"
    assert called("where", p < k, p == 1, True) == "(((p lt k) and (p == 1)) or (not((p lt k)) and 1))"
    assert p.new_ones((), dtype=bool).text == "1" and isinstance(p.new_zeros(()), Truth)


IDS = np.arange(40) // 9


@pytest.mark.parametrize("function, reason", [
    (lambda b, h, q, k: IDS[q] == IDS[k], "looks these up only in tensors of PyTorch"),
    (lambda b, h, q, k: [0, 1, 0][q] == 0, "looks these up only in tensors of PyTorch"),
    (lambda b, h, q, k: math.sqrt(q) < k, "calls none of Python's functions"),
    (lambda b, h, q, k: called("__getitem__", IDS, q), "may look positions up in a table only"),
    (lambda b, h, q, k: q >= k and q < 3, "write & for `and`"),
    (lambda b, h, q, k: k < 3 if h < 1 else q >= k, "torch.where for `if`"),
    (lambda b, h, q, k: q / k < 2, "divides integers by //"),
    (lambda h, q, k: q >= k, "takes batch, head, query and key, .* 3 positional arguments but 4"),
    (lambda b, h, q, k: q < 1.5, "computes with integers and positions, but got 1.5"),
    (lambda b, h, q, k: q < np.float32(1), "computes with integers and positions"),
    (lambda b, h, q, k: q < np.arange(4), "computes with integers and positions"),
    (lambda b, h, q, k: None, "computes with integers and positions, but got None"),
    (lambda b, h, q, k: q + k, r"expected .* to give a comparison, but it gives the number \(p \+ k\)"),
    (lambda b, h, q, k: called("sin", q), "may not call sin; it has comparisons"),
    (lambda b, h, q, k: called("where", q < k, q, k), "chooses between masks, not between numbers"),
    (lambda b, h, q, k: k % 0 == 0, "expected a positive divisor"),
    (lambda b, h, q, k: q * q * q < k, r"expected values below 2\^62"),
    (lambda b, h, q, k: q < 1 << 80, "integer out of range"),
])
def test_what_is_refused(function, reason):
    with pytest.raises(megactx.Error, match=reason):
        Pattern(function).check()
