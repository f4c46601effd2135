"""Symbols of positions: functions of batch, head, query and key are called once with them, and say what they compute.

A term knows how it is computed, so that it can be computed again of numbers; the text that a `where` pattern has for it, where there
is one; and what of the positions it depends on.
"""

import contextlib
import contextvars
import dataclasses
import math
import operator
import sys

from .tools import Error

NO_TENSOR = "pattern: a function of positions looks these up only in tensors of PyTorch, and calls none of Python's functions of numbers with them"
LOOKUP = "a mask's function may look positions up in a table only as table[q] == table[k], of a tensor of PyTorch whose integers do not decrease: the pattern 'segments', of documents in one sequence"


@dataclasses.dataclass(frozen=True)
class Reach:
    """Which of batch, head, query and key ("bhpk") a term depends on, and how.

    slope: of a term that is slope[0] * query + slope[1] * key and more that depends on neither. by_distance: it is the same wherever
    query and key are, as long as the distance between them is."""

    of: frozenset = frozenset()
    slope: tuple | None = (0, 0)
    by_distance: bool = True

    @staticmethod
    def together(terms, slope=None):
        of = frozenset().union(*(term.reach.of for term in terms))
        slope = (0, 0) if not of & {"p", "k"} else slope
        return Reach(of, slope, slope is not None and sum(slope) == 0 or all(term.reach.by_distance for term in terms))


def _slope(function, terms):
    """Of a sum, a difference and a product with a number."""
    slopes = [term.reach.slope for term in terms]
    if None in slopes or len(terms) != 2:
        return None
    (a, b), (c, d) = slopes
    if function in (operator.add, operator.sub):
        sign = 1 if function is operator.add else -1
        return a + sign * c, b + sign * d
    if function is operator.mul:
        for (x, y), other in ((slopes[0], terms[1]), (slopes[1], terms[0])):
            if isinstance(other.call, (int, float)):
                return x * other.call, y * other.call
    return None


class Term:
    """A number or truth of batch, head and the positions of query and key."""

    __slots__ = ("call", "text", "why", "reach", "pattern", "table")
    __array_ufunc__ = None  # arrays leave operators to it
    __hash__ = None
    device = None  # which functions ask for, to make tensors

    def __init__(self, call, text=None, why="", reach=Reach(), pattern=None, table=None):
        self.call = call  # a letter, a number, or (function, arguments, options)
        self.text, self.why, self.reach = text, why, reach
        self.pattern = pattern or (f"where<condition = {text}>" if text else None)
        self.table = table  # of documents, for the pattern 'segments'

    def __bool__(self):
        raise Error("pattern: a mask's function is called once, with symbols: write & for `and`, | for `or`, ~ for `not`, torch.where for `if`")

    def __repr__(self):
        return self.text or "a number that is real, or of a table"

    def __index__(self):
        raise Error(NO_TENSOR)

    __int__ = __float__ = __index__

    def new_ones(self, *_, **__):
        """A tensor of true, as combinators of masks begin with."""
        return Truth(True, "1")

    def new_zeros(self, *_, **__):
        return Truth(False, "0")

    def to(self, *where, **named):
        """To a device, which changes nothing, or to a type."""
        dtype = next((getattr(x, "dtype", x) for x in (*where, *named.values()) if hasattr(getattr(x, "dtype", x), "is_floating_point")), None)
        return self if dtype is None else self.of_type(dtype)

    def of_type(self, dtype):
        why = f"a mask's function computes with integers and positions, but got {self!r} as {dtype}"
        slope = self.reach.slope if str(dtype) in ("torch.float32", "torch.float64") else None
        kind = Truth if str(dtype) == "torch.bool" else Real
        return kind((_of_type, (self, dtype), {}), why=why, reach=Reach.together([self], slope))

    def float(self):
        return self.of_type(_dtype("float32"))

    def long(self):
        return self.of_type(_dtype("int64"))

    def int(self):
        return self.of_type(_dtype("int32"))

    def bool(self):
        return self.of_type(_dtype("bool"))

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        name = getattr(function, "__name__", str(function)).strip("_")
        everything = [*arguments, *(options or {}).values()]
        scores = next((x for x in everything if hasattr(x, "of_torch")), None)
        if scores is not None:
            return scores.of_torch(name, arguments, options)
        if name == "getitem":
            return looked_up(*arguments)
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(value if value is None else symbol(value) for value in arguments), **(options or {}))
        why = f"a mask's function may not call {name}; it has comparisons, + - * // %, & | ~ and of torch {', '.join(sorted(_FUNCTIONS))}"
        if name not in _ELEMENTWISE:
            raise Error(f"pattern: {why}")
        terms = [value for value in everything if isinstance(value, Term)]
        return Real((function, arguments, options or {}), why=why, reach=Reach.together(terms))

    def evaluate(self, values):
        """Computed with tensors for the letters b, h, p and k."""
        if isinstance(self.call, str):
            return values[self.call]
        if not isinstance(self.call, tuple):
            return self.call
        function, arguments, options = self.call
        is_torchs = function.__module__ not in ("_operator", __name__)
        return function(*(_evaluated(argument, values, is_torchs) for argument in arguments), **{name: _evaluated(x, values, is_torchs) for name, x in options.items()})


def _evaluated(value, values, as_tensor):
    """as_tensor: for functions of PyTorch that take no numbers."""
    if isinstance(value, Term):
        result = value.evaluate(values)
        return _torch().as_tensor(result) if as_tensor else result
    return tuple(_evaluated(x, values, as_tensor) for x in value) if isinstance(value, tuple) else value


class Real(Term):
    """What no pattern can be made of: real numbers, and entries of tables."""

    __slots__ = ()

    def clamp(self, min=None, max=None):
        terms = [symbol(x) for x in (self, min, max) if x is not None]
        return Real((_clamped, (self, min, max), {}), why=_why(terms), reach=Reach.together(terms))


class Number(Term):
    """An integer."""

    __slots__ = ()

    def __init__(self, call, text=None, **more):
        if isinstance(call, str) and len(call) == 1 and "reach" not in more:
            slope = {"p": (1, 0), "k": (0, 1)}.get(call, (0, 0))
            more["reach"] = Reach(frozenset(call), slope, slope == (0, 0))
        super().__init__(call, call if text is None and isinstance(call, str) else text, **more)

    def clamp(self, min=None, max=None):
        low = self if min is None else _call("max", self, min)
        return low if max is None else _call("min", low, max)

    def of_type(self, dtype):
        return self if str(dtype) in ("torch.int64", "torch.int32") else super().of_type(dtype)


class Truth(Term):
    __slots__ = ()

    def __invert__(self):
        pattern = None if self.text or not self.pattern else f"dense minus ({self.pattern})"
        return Truth((_not, (self,), {}), self.text and f"not({self.text})", self.why, Reach.together([self]), pattern, self.table)

    logical_not = __invert__

    def of_type(self, dtype):
        return self if str(dtype) == "torch.bool" else super().of_type(dtype)

    def parts(self):
        """A pattern, or None, and truths of which there is none: all of which have to hold."""
        if self.pattern:
            return self.pattern, self.table, []
        if not isinstance(self.call, tuple) or self.call[0] is not operator.and_:
            return None, None, [self]
        a, b = self.call[1]
        (pattern, table, without), (pattern_b, table_b, without_b) = (side.parts() if isinstance(side, Truth) else (None, None, [side]) for side in (a, b))
        if table is not None and table_b is not None and table_b is not table:
            pattern_b, table_b, without_b = None, None, [b]
        patterns = [f"({one})" for one in (pattern, pattern_b) if one]
        return " and ".join(patterns) or None, table_b if table is None else table, without + without_b


def _not(truth):
    return not truth if isinstance(truth, bool) else ~truth


def _torch():
    import torch

    return torch


def _dtype(name):
    """PyTorch's, by its name where there is no PyTorch."""
    torch = sys.modules.get("torch")
    return getattr(torch, name) if torch else f"torch.{name}"


def _of_type(value, dtype):
    return _torch().as_tensor(value).to(dtype) if "torch" in sys.modules else value


def symbol(value):
    """Of a number or truth, also in a tensor: whose operators would ask torch again."""
    if isinstance(value, Term):
        return value
    scalar = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(scalar, int):
        return (Truth if isinstance(scalar, bool) else Number)(scalar, str(int(scalar)))
    why = f"a mask's function computes with integers and positions, but got {value!r}"
    if isinstance(scalar, float):  # a tensor may want gradients
        return Real(scalar if scalar is value or not getattr(value, "requires_grad", False) else (lambda: value, (), {}), why=why)
    raise Error(f"pattern: {why}")


def _why(terms):
    return next((term.why for term in terms if term.text is None), "")


def text_of(term):
    """The text of an integer or truth in a pattern; an Error says why there is none."""
    if term.text is None:
        raise Error(f"pattern: {term.why}")
    return term.text


def _call(name, a, b):
    terms = symbol(a), symbol(b)
    if any(isinstance(term, Real) for term in terms):
        kind, text = Real, None
    else:
        kind, text = Number, f"{name}({text_of(terms[0])}, {text_of(terms[1])})"
    return kind((_extreme, (name + "imum", *terms), {}), text, why=_why(terms), reach=Reach.together(terms))


def _chosen(condition, a, b):
    return _torch().where(_torch().as_tensor(condition), a, b)


def _clamped(x, low, high):
    return _torch().clamp(_torch().as_tensor(x), low, high)


def _extreme(name, a, b):
    torch = _torch()
    return getattr(torch, name)(torch.as_tensor(a), torch.as_tensor(b))


def _absolute(x):
    if isinstance(x, Number):
        return Number((operator.abs, (x,), {}), _call("max", x, -x).text, reach=Reach.together([x]))
    return Real((operator.abs, (x,), {}), why=_why([x]), reach=Reach.together([x]))


def where(condition, a, b):
    """torch.where, of truths or numbers."""
    terms = condition, symbol(a), symbol(b)
    if all(isinstance(term, Truth) for term in terms):
        return condition & terms[1] | ~condition & terms[2]
    why = "torch.where of a mask's function chooses between masks, not between numbers; torch.minimum, torch.maximum and clamp are numbers"
    return Real((_chosen, terms, {}), why=why, reach=Reach.together(terms))


def _joined(word, a, b):
    """The pattern of two, where one is a pattern but no condition."""
    parts = a.pattern, b.pattern
    if None in parts or None not in (a.text, b.text):
        return None
    a, b = (f"({part})" for part in parts)
    return f"({a} minus {b}) or ({b} minus {a})" if word == "ne" else f"{a} {word} {b}"


def _table_of(terms):
    """The table of documents that terms compare, and whether it is one."""
    tables = [term.table for term in terms if term.table is not None]
    return tables[0] if tables else None, all(table is tables[0] for table in tables)


def _least(term):
    """What an integer is not below, as far as that is seen: minus infinity where it is not. Positions, heads and batches are not below 0."""
    if not isinstance(term.call, tuple):
        return 0 if isinstance(term.call, str) else term.call
    function, arguments, _ = term.call
    if function is _extreme:
        return (min if arguments[0] == "minimum" else max)(map(_least, arguments[1:]))
    if function not in (operator.add, operator.mul, operator.floordiv, operator.mod):
        return -math.inf
    a, b = map(_least, arguments)
    if function is operator.add:
        return a + b
    return -math.inf if a < 0 or b < 0 else a * b if function is operator.mul else 0


def _operator(function, word, swapped=False):
    def apply(self, other):
        if hasattr(other, "of_torch"):
            return NotImplemented
        terms = (symbol(other), self) if swapped else (self, symbol(other))
        is_truth = word in _TRUTHS
        known = all(term.text is not None for term in terms)
        divides = known and word in ("floordiv", "mod")
        known = known and not (divides and _least(terms[1]) < 1)
        kind = Truth if is_truth else Number if known and word not in ("/", "**") else Real
        text = f"({terms[0].text} {word} {terms[1].text})" if known and kind is not Real else None
        why = _why(terms) or ("a mask's function divides integers by //, not by /" if not divides else f"expected a positive divisor, but got {terms[1].text}")
        reach = Reach.together(terms, _slope(operator.sub if is_truth else function, terms))  # what is compared is the difference
        reach = dataclasses.replace(reach, slope=None) if is_truth and reach.slope != (0, 0) else reach
        logical = word in ("and", "or") or word == "ne" and all(isinstance(term, Truth) for term in terms)
        pattern = table = None
        if logical:
            table, is_one = _table_of(terms)
            pattern, why = (_joined(word, *terms), why) if is_one else (None, "a mask's function compares documents by one table, not by several")
        elif word == "==" and _are_documents(*terms):
            pattern, table = "segments", terms[0].call[1][0]
            reach = reach if _packed.get() is None else dataclasses.replace(reach, by_distance=True)
        table = table if pattern else None
        return kind((function, terms, {}), text, why=why, reach=reach, pattern=pattern, table=table)

    return apply


_TRUTHS = {"==", "ne", "lt", "le", "gt", "ge", "and", "or"}
_NUMBERS = dict(add="+", sub="-", mul="*", floordiv="floordiv", mod="mod", truediv="/", pow="**")
for _name, _word in _NUMBERS.items():
    for _kind in (Number, Real):
        setattr(_kind, f"__{_name}__", _operator(getattr(operator, _name), _word))
        setattr(_kind, f"__r{_name}__", _operator(getattr(operator, _name), _word, swapped=True))
for _name, _word in dict(eq="==", ne="ne", lt="lt", le="le", gt="gt", ge="ge").items():
    for _kind in (Number, Truth, Real):
        setattr(_kind, f"__{_name}__", _operator(getattr(operator, _name), _word))
for _name, (_function, _word) in {"and": (operator.and_, "and"), "or": (operator.or_, "or"), "xor": (operator.xor, "ne")}.items():
    setattr(Truth, f"__{_name}__", _operator(_function, _word))
    setattr(Truth, f"__r{_name}__", _operator(_function, _word, swapped=True))
for _kind in (Number, Real):
    _kind.__neg__ = lambda self: 0 - self
    _kind.__abs__ = _kind.abs = _absolute

_OPERATORS = dict(floordiv="floordiv", mod="mod", xor="xor", **{"and": "and_", "or": "or_"}, add="add", sub="sub", mul="mul", floor_divide="floordiv", remainder="mod", eq="eq", ne="ne", lt="lt", le="le", gt="gt", ge="ge",
                  logical_and="and_", logical_or="or_", bitwise_and="and_", bitwise_or="or_", logical_xor="xor", bitwise_xor="xor")
_FUNCTIONS = {name: getattr(operator, function) for name, function in _OPERATORS.items()}
_FUNCTIONS |= {"abs": abs, "logical_not": operator.invert, "bitwise_not": operator.invert, "where": where, "clamp": lambda x, *ends, **named: x.clamp(*ends, **named),
               "minimum": lambda a, b: _call("min", a, b), "maximum": lambda a, b: _call("max", a, b)}
# Of real numbers, which become biases.
_ELEMENTWISE = set("exp exp2 log log2 log10 log1p expm1 sqrt rsqrt square pow sin cos tanh sigmoid relu sign floor ceil round neg reciprocal div true_divide truediv rtruediv rpow rsub rdiv".split())


_packed = contextvars.ContextVar("packed", default=None)  # tables of positions that were met, while they are to be taken for the places in them


@contextlib.contextmanager
def packed_positions():
    """Within this, entries of tables that count up and then start anew, as positions of documents that follow each other do, are taken for the
    places where they are: what a mask makes of the distance in a document is the same. Gives the list of such tables, for whoever checks that."""
    tables = []
    token = _packed.set(tables)
    try:
        yield tables
    finally:
        _packed.reset(token)


def _count(table):
    steps = table.diff()
    return table.ndim > 0 and not table.is_floating_point() and bool((steps < 0).any() or (steps == 1).all())


def looked_up(table, index):
    """An entry of a tensor, by positions."""
    places = index if isinstance(index, tuple) else (index,)
    terms = [symbol(place) for place in places]
    if len(terms) < table.ndim:
        return Rows(table, places)
    if len(terms) > table.ndim:
        raise Error(f"pattern: a table of {table.ndim} dims is looked up by {len(terms)} positions")
    reach = Reach.together(terms)
    if reach.of <= {"b", "h"} and table.numel() and str(table.dtype) in ("torch.int64", "torch.int32") and bool((table == table.flatten()[0]).all()):
        return symbol(table.flatten()[0])
    if _packed.get() is not None and terms[-1].reach.of & {"p", "k"} and _count(table):
        _packed.get().append(table)
        return terms[-1]
    kind = Truth if str(table.dtype) == "torch.bool" else Real
    return kind((operator.getitem, (table, tuple(terms) if isinstance(index, tuple) else terms[0]), {}), why=LOOKUP, reach=reach)


class Rows:
    """What a table has for its first dims alone: its entries have more."""

    __slots__ = ("table", "index")

    def __init__(self, table, index):
        self.table, self.index = table, index

    def __repr__(self):
        return "a row of a table"

    def __getitem__(self, index):
        return looked_up(self.table, (*self.index, *(index if isinstance(index, tuple) else (index,))))


def _are_documents(a, b):
    """Whether two are one table's entries, of the query and the key, and of the batch where it has several."""
    if any(not isinstance(term.call, tuple) or term.call[0] is not operator.getitem for term in (a, b)) or a.call[1][0] is not b.call[1][0]:
        return False
    table = a.call[1][0]
    if table.is_floating_point() or str(table.dtype) == "torch.bool" or bool((table.diff() < 0).any()):
        return False
    indices = [term.call[1][1] if isinstance(term.call[1][1], tuple) else (term.call[1][1],) for term in (a, b)]
    letters = [[place.call for place in index] for index in indices]
    return all(ls[:-1] in ([], ["b"]) for ls in letters) and letters[0][:-1] == letters[1][:-1] and {ls[-1] for ls in letters if isinstance(ls[-1], str)} == {"p", "k"}
