"""A second, slow evaluator of the pattern grammar, for tests.

It shares nothing with the C++ library: every pattern is written down once more, straight from its
definition, as a comparison of whole numpy grids of query and key positions.

    relation("causal and window<left = 3, right = 0>", queries, keys, heads=4)   # bool [heads, queries, keys]
"""

import ast
import functools
import re

import numpy as np

TOKEN = re.compile(r"\s*(?:(-?\d+)|([A-Za-z_]\w*)|(.))")


class Grid:
    """The positions of all query rows against all key rows, for one head."""

    def __init__(self, queries, keys, head, key_step=1, ids=None):
        self.key_step, self.ids = key_step, ids
        self.p = np.asarray(queries, dtype=np.int64)[:, None]
        self.k = np.asarray(keys, dtype=np.int64)[None, :]
        self.head = head

    def fill(self, value):
        return np.full((self.p.size, self.k.size), value)

    def spread(self, value):
        return np.broadcast_to(value, (self.p.size, self.k.size))


def within(value, left, right):
    """-left <= value <= right, where -1 leaves a side open."""
    low = np.ones_like(value, dtype=bool) if left < 0 else value >= -left
    high = np.ones_like(value, dtype=bool) if right < 0 else value <= right
    return low & high


def segments(g):
    """Of the key at a position, or the nearest one; keys are at 0, 1, 2 and on."""
    return g.ids[np.clip(g.p, 0, len(g.ids) - 1)] == g.ids[g.k] if len(g.ids) else g.fill(False)


def window(g, left=-1, right=-1):
    return within(g.k - g.p, left, right)


def strided(g, stride):
    return (g.p - g.k) % stride == 0


def dilated(g, dilation, left=-1, right=-1):
    side = lambda s: s if s < 0 else s * dilation
    return strided(g, dilation) & window(g, side(left), side(right))


def block_local(g, block, left=0, right=0):
    return within(g.k // block - g.p // block, left, right)


def columns(g, block, first, count):
    return g.spread((g.k % block >= first) & (g.k % block < first + count))


def neighborhood(g, grid, radii, first=0):
    p, k = g.p - first, g.k - first
    near = (p >= 0) & (k >= 0)
    for size, radius in zip([*grid[::-1], None], radii[::-1], strict=True):
        step = size or np.iinfo(np.int64).max
        near = near & (abs(p % step - k % step) <= radius)
        p, k = p // step, k // step
    return near


def fixed(g, block, count, slot=0):
    if slot == "head":
        slot = g.head % (block // count)
    return block_local(g, block) | columns(g, block, block - count * (slot + 1), count)


def chosen(positions, first, indices):
    return positions < first if indices is None else np.isin(positions, indices)


def global_keys(g, first=0, indices=None):
    return g.spread(chosen(g.k, first, indices))


def recent_keys(g, count):
    return g.spread(g.k > g.k.max(initial=-1) - count)


def global_queries(g, first=0, indices=None):
    return g.spread(chosen(g.p, first, indices))


def blocks(g, block, row_ptr, col_idx):
    table = np.zeros((len(row_ptr) - 1, max([*col_idx, 0]) + 1), dtype=bool)
    for row in range(len(row_ptr) - 1):
        table[row, col_idx[row_ptr[row]:row_ptr[row + 1]]] = True
    row, column = g.spread(g.p // block), g.spread(g.k // block)
    inside = (row >= 0) & (row < table.shape[0]) & (column >= 0) & (column < table.shape[1])
    return inside & table[np.where(inside, row, 0), np.where(inside, column, 0)]


def pyramid(g, ratio, windows):
    levels = [level for level in range(len(windows) + 1) if ratio**level == g.key_step]
    if not levels:
        return g.fill(False)
    level, ends = levels[0], [g.p + 1]
    for depth, width in enumerate(windows, start=1):
        ends.append(ratio**depth * np.maximum(0, ends[-1] // ratio**depth - width))
    ends.append(np.zeros_like(g.p))
    return (ends[level + 1] <= g.k) & (g.k < ends[level])


def mix(seed, a, b):
    """The documented hash of `random`, in 32-bit arithmetic: murmur3's finalizer, halved."""
    word = lambda x: np.asarray(x).astype(np.uint64) & np.uint64(0xFFFFFFFF)
    x = word(seed) ^ word(word(a) * np.uint64(0x9E3779B1)) ^ word(word(b) * np.uint64(0x85EBCA77))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = word((x ^ (x >> np.uint64(shift))) * np.uint64(factor))
    return ((x ^ (x >> np.uint64(16))) >> np.uint64(1)).astype(np.int64)


def random(g, block, count, seed):
    """One key block of each of `count` strata of the key blocks, per query block; all where there are no more."""
    total = (int(g.k.max(initial=-1)) + 1 + block - 1) // block
    row, column = g.p // block, g.k // block
    if total <= count:
        return g.fill(True) & (column >= 0)
    chosen = g.fill(False)
    for stratum in range(count):
        begin, end = stratum * total // count, (stratum + 1) * total // count
        chosen = chosen | (column == begin + mix(seed, row, stratum) % (end - begin))
    return chosen


def where(g, condition):
    """`condition` is a function of a grid, as `Parser.value` makes it."""
    return g.spread(condition(g)).astype(bool)


NAMED = {f.__name__: f for f in (segments, window, strided, dilated, block_local, columns, neighborhood, fixed, global_keys, recent_keys, global_queries, blocks, pyramid, random, where)}
NAMED["dense"] = lambda g: g.fill(True)
NAMED["causal"] = lambda g: g.k <= g.p


WORDS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "ne": "!=", "floordiv": "//", "mod": "%", "in": "isin", "not": "logical_not"}
FUNCTIONS = {"min": np.minimum, "max": np.maximum, "isin": lambda values, x: np.isin(x, values), "logical_not": np.logical_not, "hash": mix}


class OfArrays(ast.NodeTransformer):
    """`and` and `or`, which bind as weakly as in patterns, element by element."""

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        return functools.reduce(lambda a, b: ast.BinOp(a, operator, b), node.values)


class Parser:
    """Recursive descent over the grammar; an expression becomes a function of a Grid."""

    def __init__(self, text):
        self.tokens = [m.group(1) or m.group(2) or m.group(3) for m in TOKEN.finditer(text) if m.group(0).strip()]
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        if token is None or (expected is not None and token != expected):
            raise ValueError(f"expected {expected!r}, found {token!r}")
        self.at += 1
        return token

    def accept(self, token):
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def expression(self):
        left = self.conjunction()
        while self.accept("or"):
            left = (lambda a, b: lambda g: a(g) | b(g))(left, self.conjunction())
        return left

    def conjunction(self):
        left = self.primary()
        while self.peek() in ("and", "minus"):
            keep = self.take() == "and"
            left = (lambda a, b, keep: lambda g: a(g) & (b(g) if keep else ~b(g)))(left, self.primary(), keep)
        return left

    def primary(self):
        if self.accept("("):
            inner = self.expression()
            self.take(")")
            return inner
        name = self.take()
        if name == "per_head":
            return self.per_head()
        arguments = {}
        if self.accept("<"):
            while not self.accept(">"):
                key = self.take()
                self.take("=")
                arguments[key] = self.value()
                self.accept(",")
        return lambda g: NAMED[name](g, **arguments)

    def condition(self):
        """To the end of the pattern's arguments, as Python writes it."""
        words, depth = [], 0
        while depth or self.peek() != ">":
            token = self.take()
            depth += (token in ("(", "[")) - (token in (")", "]"))
            words.append(WORDS.get(token, token))
        tree = OfArrays().visit(ast.parse(" ".join(words).replace("= =", "=="), mode="eval"))
        code = compile(ast.fix_missing_locations(tree), "condition", "eval")
        return lambda g: eval(code, FUNCTIONS, dict(p=g.p, k=g.k, h=g.head, b=0, nk=g.k.max(initial=-1) + 1))

    def value(self):
        if self.tokens[self.at - 2] == "condition":
            return self.condition()
        if not self.accept("["):
            token = self.take()
            return token if token == "head" else int(token)
        items = []
        while not self.accept("]"):
            items.append(int(self.take()))
            self.accept(",")
        return items

    def per_head(self):
        self.take("<")
        if self.accept("["):
            entries = []
            while not self.accept("]"):
                entries.append(self.expression())
                self.accept(",")
            self.take(">")
            return lambda g: entries[g.head % len(entries)](g)
        ranges = []
        while not self.accept(">"):
            first = last = int(self.take())
            if self.accept("-"):
                last = None if self.peek() == ":" else int(self.take())
            elif self.peek() != ":":  # "0-3" reads as the numbers 0 and -3
                last = -int(self.take())
            self.take(":")
            ranges.append((first, last, self.expression()))
            self.accept(",")

        def evaluate(g):
            for first, last, entry in ranges:
                if g.head >= first and (last is None or g.head <= last):
                    return entry(g)
            raise ValueError(f"no entry for head {g.head}")

        return evaluate


def relation(text, queries, keys, heads, key_step=1, ids=None):
    """Which (head, query, key) attend: bool [heads, len(queries), len(keys)]; queries and keys are positions, `ids` the keys' segments."""
    parser = Parser(text)
    evaluate = parser.expression()
    if parser.peek() is not None:
        raise ValueError(f"unexpected {parser.peek()!r}")
    return np.stack([np.array(evaluate(Grid(queries, keys, head, key_step, ids))) for head in range(heads)])
