"""What ptxas is known to compile wrongly, found in PTX.

Of a quotient by multiplication it subtracts wrongly:

    mul.hi.u32 %r1, %r0, 429496730;      // %r0 / 10, of a small %r0
    cvt.u64.u32 %d1, %r1;
    sub.s64 %d2, %d1, %d0;               // 2^32 too small where the lower half of %d0 is 0

IMAD.HI adds a negated lower half to the product, and the carry that belongs to the negation of 0 is lost. Read in what ptxas 12.9, 13.0 and
13.4 make of these lines for sm_80 and sm_90; on an H200 a kernel with them read memory 2^32 rows away. Emulation of the IR before ptxas
cannot show it, so no kernel may have such lines.
"""

import re

_LINE = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)\s+(%\w+),\s*([^;]*);", re.MULTILINE)


def wrong_subtractions(ptx):
    """The lines of a module that subtract a 64-bit register from what mul.hi.u32 gave, or from sums with it."""
    # Registers have their names within a function.
    return [line for function in re.split(r"(?=\.(?:entry|func)\b)", ptx) for line in _wrong_in(function)]


def _wrong_in(ptx):
    lines = [(m[0].strip(), m[1], m[2], [operand.strip() for operand in m[3].split(",")]) for m in _LINE.finditer(ptx)]
    high, negated, size = set(), set(), -1
    while size < len(high) + len(negated):
        size = len(high) + len(negated)
        for _, name, result, operands in lines:
            if name == "mul.hi.u32" or name in ("cvt.u64.u32", "mov.b32", "mov.b64", "add.s64") and high.intersection(operands):
                high.add(result)
            elif name == "neg.s64":
                negated.add(result)
    return [text for text, name, _, operands in lines
            if name == "sub.s64" and operands[0] in high and operands[1].startswith("%")
            or name == "add.s64" and high.intersection(operands) and negated.intersection(operands)]
