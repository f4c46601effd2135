"""The PTX in a module that the compiler wrote."""

import re


def texts(module):
    """Of each kernel module, in its order."""
    for text in re.findall(r'assembly = "((?:[^"\\]|\\.)*)"', module):
        yield re.sub(r"\\([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text).rstrip("\0")
