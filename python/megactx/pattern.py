"""Sparse attention patterns as objects, with pictures. The algebra is megactx-pattern's."""

import json
import re

from .mask_function import text_of_function
from .tools import Error, run

_LONGEST = 100_000  # characters that a command line takes


class Pattern:
    """A relation of query and key positions: text, or a function of batch, head, query and key as FlexAttention's `mask_mod`.

    >>> local = Pattern("window<left = 127, right = 0>")
    >>> sparse = Pattern("causal") & (local | Pattern(lambda b, h, q, k: (q - k) % 128 == 0))
    >>> print(sparse.picture(queries=16))
    """

    def __init__(self, text):
        self.text = text_of_function(text) if callable(text) else str(text)

    def __str__(self):
        return self.text

    def __repr__(self):
        return f"Pattern({self.text!r})"

    def __eq__(self, other):
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self):
        return hash(self.text)

    def __and__(self, other):
        return Pattern(f"({self}) and ({other})")

    def __or__(self, other):
        return Pattern(f"({self}) or ({other})")

    def __sub__(self, other):
        return Pattern(f"({self}) minus ({other})")

    def check(self):
        """Raises Error, with the place in the text, where this is no pattern."""
        for at, character in enumerate(self.text):
            if not (" " <= character <= "~" or character in "\t\n\r"):
                line = self.text[:at].rpartition("\n")[2]
                raise Error(f"expected a pattern in ASCII, but got {character!r}\n  {line}{character if character.isprintable() else ''}\n  {' ' * len(line)}^")
        if len(self.text) < _LONGEST:
            run("megactx-pattern", "--print=relation", "--queries=0", "--heads=0", "--", self.text)

    def _print(self, what, queries, keys, heads):
        options = [f"--print={what}", "--queries", queries]
        options += ["--keys", keys] if keys is not None else []
        options += ["--heads", heads] if heads is not None else []
        return run("megactx-pattern", self.text, *options)

    def picture(self, queries=32, keys=None, heads=None):
        """The relation as text."""
        return self._print("ascii", queries, keys, heads)

    def svg(self, queries=64, keys=None, heads=None):
        """The relation as an SVG image."""
        return self._print("svg", queries, keys, heads)

    def _repr_svg_(self):
        return self.svg()

    def statistics(self, queries, keys=None, heads=None):
        """Pairs, density, FLOPs and reach, as a dictionary."""
        return json.loads(self._print("stats", queries, keys, heads))

    def relation(self, queries, keys=None, heads=1):
        """{(head, query row): set of key rows}."""
        found = {}
        for line in self._print("relation", queries, keys, heads).splitlines():
            place, _, ranges = line.partition(":")
            head, row = map(int, place.split())
            ends = [[int(end) for end in part.split("-")] for part in ranges.split(",") if part.strip()]
            found[head, row] = {key for span in ends for key in range(span[0], span[-1] + 1)}
        return found


def compares_documents(text):
    """Whether a pattern asks for the ids of documents."""
    return re.search(r"\bsegments\b", text) is not None


def text_of(pattern):
    """Of what a caller gave as a pattern."""
    if isinstance(pattern, (str, Pattern)) or callable(pattern):
        return str(Pattern(pattern))
    got = "a mask" if hasattr(pattern, "shape") else repr(pattern)
    raise Error(f"pattern: expected text such as 'causal and window<left = 127, right = 0>', a megactx.Pattern, or a function of batch, head, query and key, but got {got}; docs/patterns.md has what there is")
