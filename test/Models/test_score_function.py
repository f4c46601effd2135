"""Scores as functions: what becomes scale, softcap, bias and pattern of them, in symbols; tensors are test_flex.py's."""

import math
import types

import pytest

import megactx
from megactx.score_function import score_of_function
from megactx.symbols import Term

MINUS_INFINITY = -math.inf


def of_torch(name, *arguments):
    """What torch.NAME does with symbols."""
    return Term.__torch_function__(types.SimpleNamespace(__name__=name), (), arguments)


def tanh(x):
    return of_torch("tanh", x)


def test_numbers():
    score = score_of_function(lambda s, b, h, q, k: 2 * (30 * tanh(s * 0.5 / 30)) + 1 - k)
    assert math.isclose(score.inner, 0.5 / 30) and score.outer == 60 and len(score.terms) == 2 and score.mask is None
    score = score_of_function(lambda s, b, h, q, k: 3 * (1 - s) / 2)
    assert score.inner == -1.5 and score.outer is None
    (term,) = score.terms
    assert term.evaluate({}) == 1.5


@pytest.mark.parametrize("function, of, by_distance", [
    (lambda b, h, q, k: 0.5 * (k - q), "pk", True),
    (lambda b, h, q, k: (h + 1) * abs(q - k), "hpk", True),
    (lambda b, h, q, k: (q - k).clamp(-3, 3) // 2 * 0.5, "pk", True),
    (lambda b, h, q, k: q * 2.0 - (k + k) * 1, "pk", True),
    (lambda b, h, q, k: of_torch("exp", (q.float() - k.float()) / 7.0), "pk", True),
    (lambda b, h, q, k: of_torch("where", q - k < 3, 1.0, h * 0.1), "hpk", True),
    (lambda b, h, q, k: q * k * 0.1, "pk", False),
    (lambda b, h, q, k: 1.0 * (q + k), "pk", False),
    (lambda b, h, q, k: q % 3 - k % 3, "pk", False),
    (lambda b, h, q, k: (q - 2 * k) * 0.5, "pk", False),
    (lambda b, h, q, k: of_torch("where", q < 3, 1.0, 2.0), "p", False),
    (lambda b, h, q, k: b + h, "bh", True),
])
def test_what_a_bias_depends_on(function, of, by_distance):
    (term,) = score_of_function(lambda s, *at: s - function(*at)).terms
    assert term.reach.of == set(of) and term.reach.by_distance == by_distance
    if "exp" not in repr(function.__code__.co_consts) and "where" not in repr(function.__code__.co_consts) and "clamp" not in function.__code__.co_names:
        at = dict(b=1, h=3, p=11, k=4)
        assert term.evaluate(at) == -function(*at.values())


def test_masks():
    score = score_of_function(lambda s, b, h, q, k: of_torch("where", q >= k, s + 1, MINUS_INFINITY))
    assert score.mask.pattern == "where<condition = (p ge k)>" and len(score.terms) == 1
    score = score_of_function(lambda s, b, h, q, k: of_torch("where", q < k, MINUS_INFINITY, s).masked_fill(k == 2, MINUS_INFINITY))
    assert score.mask.pattern == "where<condition = (not((p lt k)) and not((k == 2)))>"
    score = score_of_function(lambda s, b, h, q, k: of_torch("where", q < k, s + h, s - 0.5))
    assert score.mask is None and score.terms[0].reach.of == {"h", "p", "k"}
    score = score_of_function(lambda s, b, h, q, k: of_torch("where", (q >= k) & (0.5 * q >= k) & (h < 3), s, MINUS_INFINITY))
    pattern, table, (without,) = score.mask.parts()
    assert pattern == "((where<condition = (p ge k)>)) and (where<condition = (h lt 3)>)" and table is None and without.evaluate(dict(p=5, k=3)) is False


@pytest.mark.parametrize("function, reason", [
    (lambda s, b, h, q, k: s * s, "may be multiplied only by a number"),
    (lambda s, b, h, q, k: s * h, "may be multiplied only by a number"),
    (lambda s, b, h, q, k: s / 0, "divided by 0"),
    (lambda s, b, h, q, k: s + s, "may not be added to a score"),
    (lambda s, b, h, q, k: tanh(s + 1), "biases and masks come after a softcap"),
    (lambda s, b, h, q, k: tanh(tanh(s)), "biases and masks come after a softcap"),
    (lambda s, b, h, q, k: of_torch("exp", s), "may not go to exp; there is"),
    (lambda s, b, h, q, k: s.exp(), "takes score, batch, head, query and key, .* no attribute 'exp'"),
    (lambda s, b, h, q, k: of_torch("where", q >= k, s, -1e9), "chooses between a score and -inf"),
    (lambda s, b, h, q, k: of_torch("where", q >= k, s, 2 * s), "chooses between a score and -inf"),
    (lambda s, b, h, q, k: s if q >= k else MINUS_INFINITY, "torch.where for `if`"),
    (lambda s, b, h, q, k: s or 0, "nothing by the score"),
    (lambda s, b, h, q, k: math.sin(q) + s, "looks these up only in tensors of PyTorch, and calls none"),
    (lambda s, b, h, q, k: None, "expected the function to give a score, but it gives None"),
    (lambda s, b, h, q, k: h, "expected the function to give a score, but it gives h"),
    (lambda s, q, k: s, "takes score, batch, head, query and key, .* 3 positional arguments but 5"),
    (lambda s, b, h, q, k: s + "1", "computes with integers and positions, but got '1'"),
    (lambda s, b, h, q, k: s + of_torch("sum", q), "may not call sum"),
])
def test_what_is_refused(function, reason):
    with pytest.raises(megactx.Error, match=reason):
        score_of_function(function)
