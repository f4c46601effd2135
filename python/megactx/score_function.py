"""Scores as Python functions, as FlexAttention's `score_mod`: of a score, batch, head, query and key.

A function is called once, with symbols. What it does to the score becomes attention's scale, softcap and biases, what it hides a pattern.
"""

import math

from .mask_function import called
from .symbols import Number, Real, Term, symbol, where
from .tools import Error

_FUNCTIONS = {"tanh": "tanh", "where": "chosen", "add": "plus", "sub": "minus", "mul": "times", "div": "over", "true_divide": "over", "masked_fill": "masked_fill"}


def _is_minus_infinity(value):
    scalar = value.item() if getattr(value, "ndim", None) == 0 else value
    return isinstance(scalar, float) and scalar == -math.inf


def _factor(value):
    """Of a score: kernels multiply all alike."""
    scalar = value.call if isinstance(value, Term) else value.item() if getattr(value, "ndim", None) == 0 and not value.requires_grad else value
    if isinstance(scalar, (int, float)) and not isinstance(scalar, bool):
        return float(scalar)
    raise Error("score_mod: a score may be multiplied only by a number that is one for all: not by a tensor or by what depends on heads or positions")


class Score:
    """outer * tanh(inner * score) + terms, or without outer inner * score + terms, where the mask holds: elsewhere minus infinity."""

    __slots__ = ("inner", "outer", "terms", "mask")
    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, inner=1.0, outer=None, terms=(), mask=None):
        self.inner, self.outer, self.terms, self.mask = inner, outer, terms, mask

    def __bool__(self):
        raise Error("score_mod: the function is called once, with symbols: torch.where chooses by position, and nothing by the score")

    def with_terms(self, terms):
        return Score(self.inner, self.outer, tuple(terms), self.mask)

    def plus(self, other):
        if isinstance(other, Score):
            raise Error("score_mod: a score may not be added to a score")
        return self.with_terms([*self.terms, symbol(other)])

    def minus(self, other):
        return self.plus(-1.0 * symbol(other) if not isinstance(other, Score) else other)

    def times(self, factor):
        factor = _factor(factor)
        if self.mask is not None and factor <= 0:
            raise Error(f"score_mod: a score that may be -inf is multiplied by {factor}")
        terms = [term.float() * factor for term in self.terms]
        return Score(self.inner, self.outer * factor, terms, self.mask) if self.outer is not None else Score(self.inner * factor, None, terms, self.mask)

    def over(self, divisor):
        divisor = _factor(divisor)
        if divisor == 0:
            raise Error("score_mod: a score is divided by 0")
        return self.times(1 / divisor)

    def tanh(self):
        if self.terms or self.outer is not None or self.mask is not None:
            raise Error("score_mod: tanh may only be of the score, times a number: biases and masks come after a softcap")
        return Score(self.inner, 1.0)

    def chosen(self, condition, other):
        """Itself where the condition holds, else the other."""
        if _is_minus_infinity(other):
            return Score(self.inner, self.outer, self.terms, condition if self.mask is None else self.mask & condition)
        if not isinstance(other, Score) or (self.inner, self.outer) != (other.inner, other.outer) or self.mask is not None or other.mask is not None:
            raise Error("score_mod: torch.where chooses between a score and -inf, or between scores that differ in what is added to them")
        return self.with_terms([where(condition, *(sum(score.terms, start=Real(0.0)) for score in (self, other)))])

    def masked_fill(self, mask, value):
        return self.chosen(~mask, value)

    def float(self):
        return self

    def to(self, *where, **named):
        if str(next(iter((*where, *named.values())), "")) in ("torch.float32", "torch.float64"):
            return self
        raise Error("score_mod: a score stays of float32")

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        return Term.__torch_function__(function, types, arguments, options)

    @staticmethod
    def of_torch(name, arguments, options=None):
        """A function of PyTorch's, or an operator of its tensors, one of whose arguments is a score."""
        if options:
            raise Error(f"score_mod: torch.{name} of a score takes no {', '.join(options)}")
        swapped = name in ("radd", "rsub", "rmul", "rdiv", "rtruediv")
        name = {"iadd": "add", "isub": "sub", "imul": "mul", "truediv": "div"}.get(name, name)
        if name not in _FUNCTIONS and not swapped:
            raise Error(f"score_mod: a score may not go to {name}; there is + - * /, and of torch {', '.join(sorted(_FUNCTIONS))}")
        if name == "where":
            condition, yes, no = arguments
            condition = symbol(condition)
            return yes.chosen(condition, no) if isinstance(yes, Score) else no.chosen(~condition, yes)
        if swapped:
            return getattr(arguments[0], f"__{name}__")(*arguments[1:])
        first, *rest = arguments
        if isinstance(first, Score):
            return getattr(first, _FUNCTIONS[name])(*rest)
        return getattr(rest[0], f"__r{name}__")(first)

    __add__ = __radd__ = plus
    __sub__ = minus
    __mul__ = __rmul__ = times
    __truediv__ = over

    def __neg__(self):
        return self.times(-1.0)

    def __rsub__(self, other):
        return self.times(-1.0).plus(other)


def score_of_function(function):
    """What `function(score, batch, head, query, key)` makes of a score."""
    takes = "score_mod: the function takes score, batch, head, query and key, as FlexAttention's score_mod does"
    result = called(function, [Score(), *map(Number, "bhpk")], takes)
    if not isinstance(result, Score):
        raise Error(f"score_mod: expected the function to give a score, but it gives {result!r}")
    return result
