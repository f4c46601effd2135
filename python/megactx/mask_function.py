"""Masks as Python functions of positions, as FlexAttention's `mask_mod`, written out as patterns.

A function is called once, with symbols: what it computes of them is the text of a `where` pattern, for which the compiler finds the
intervals and strides.
"""

import operator

from .tools import Error


_LOOKUP = "pattern: a mask's function may not look positions up in a table; for documents in one sequence there is the pattern 'segments'"


class Term:
    """An integer or truth of the head, the batch and the positions of query and key."""

    __slots__ = ("text",)
    __array_ufunc__ = None  # arrays leave operators to it

    def __init__(self, text):
        self.text = text

    def __bool__(self):
        raise Error("pattern: a mask's function is called once, with symbols: write & for `and`, | for `or`, ~ for `not`, torch.where for `if`")

    def __index__(self):
        raise Error(_LOOKUP)

    __int__ = __float__ = __index__
    __hash__ = None

    def new_ones(self, *_, **__):
        """A tensor of true, as combinators of masks begin with."""
        return Truth("1")

    def new_zeros(self, *_, **__):
        return Truth("0")

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        name = getattr(function, "__name__", str(function)).strip("_")
        if name == "getitem":
            raise Error(_LOOKUP)
        if name not in _FUNCTIONS:
            raise Error(f"pattern: a mask's function may not call {name}; it has comparisons, + - * // %, & | ~ and of torch {', '.join(sorted(_FUNCTIONS))}")
        return _FUNCTIONS[name](*(value if value is None else _symbol(value) for value in arguments), **(options or {}))


class Number(Term):
    def __neg__(self):
        return 0 - self

    def __abs__(self):
        return _call("max", self, 0 - self)

    def clamp(self, min=None, max=None):
        low = self if min is None else _call("max", self, min)
        return low if max is None else _call("min", low, max)

    abs = __abs__


class Truth(Term):
    def __invert__(self):
        return Truth(f"not({self.text})")

    logical_not = __invert__


def _symbol(value):
    """Of an integer or truth, also in a tensor: whose operators would ask torch again."""
    if isinstance(value, Term):
        return value
    scalar = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(scalar, int):
        return (Truth if isinstance(scalar, bool) else Number)(str(int(scalar)))
    raise Error(f"pattern: a mask's function computes with integers and positions, but got {value!r}")


def _text(value):
    return _symbol(value).text


def _call(name, a, b):
    return Number(f"{name}({_text(a)}, {_text(b)})")


def _where(condition, a, b):
    """One of two truths; a number would need a branch."""
    if isinstance(a, Number) or isinstance(b, Number):
        raise Error("pattern: torch.where of a mask's function chooses between masks, not between numbers; torch.minimum, torch.maximum and clamp are numbers")
    return condition & a | ~condition & b


def _operator(word, result, swapped=False):
    def apply(self, other):
        left, right = (other, self) if swapped else (self, other)
        return result(f"({_text(left)} {word} {_text(right)})")

    return apply


for _name, _word in dict(add="+", sub="-", mul="*", floordiv="floordiv", mod="mod").items():
    setattr(Number, f"__{_name}__", _operator(_word, Number))
    setattr(Number, f"__r{_name}__", _operator(_word, Number, swapped=True))
for _name, _word in dict(eq="==", ne="ne", lt="lt", le="le", gt="gt", ge="ge").items():
    setattr(Number, f"__{_name}__", _operator(_word, Truth))
    setattr(Truth, f"__{_name}__", _operator(_word, Truth))
for _name, _word in {"and": "and", "or": "or", "xor": "ne"}.items():
    setattr(Truth, f"__{_name}__", _operator(_word, Truth))
    setattr(Truth, f"__r{_name}__", _operator(_word, Truth, swapped=True))

_OPERATORS = dict(add="add", sub="sub", mul="mul", floor_divide="floordiv", remainder="mod", eq="eq", ne="ne", lt="lt", le="le", gt="gt", ge="ge",
                  logical_and="and_", logical_or="or_", bitwise_and="and_", bitwise_or="or_", logical_xor="xor", bitwise_xor="xor")
_FUNCTIONS = {name: getattr(operator, function) for name, function in _OPERATORS.items()}
_FUNCTIONS |= {"abs": abs, "logical_not": operator.invert, "bitwise_not": operator.invert, "where": _where, "clamp": Number.clamp,
               "minimum": lambda a, b: _call("min", a, b), "maximum": lambda a, b: _call("max", a, b)}


def text_of_function(function):
    """The pattern of `function(batch, head, query, key)`, which gives a truth."""
    try:
        result = function(*map(Number, "bhpk"))
    except IndexError:
        raise Error(_LOOKUP) from None
    except (TypeError, AttributeError) as error:
        raise Error(f"pattern: a mask's function takes batch, head, query and key, as FlexAttention's mask_mod does: {error}") from error
    if isinstance(result, Number):
        raise Error(f"pattern: expected a mask's function to give a comparison, but it gives the number {result.text}")
    return f"where<condition = {_text(result)}>"
