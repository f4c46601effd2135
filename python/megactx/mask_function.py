"""Masks as Python functions of positions, as FlexAttention's `mask_mod`, written out as patterns.

A function is called once, with symbols: what it computes of them is the text of a `where` pattern, for which the compiler finds the
intervals and strides.
"""

from .symbols import NO_TENSOR, Number, Real, symbol, text_of
from .tools import Error


def called(function, arguments, takes):
    """What a function of symbols gives; `takes`: what it is and has to take, for the error where it does not."""
    try:
        return function(*arguments)
    except Error:
        raise
    except IndexError:
        raise Error(NO_TENSOR) from None
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise Error(f"{takes}: {error}") from error


def truth_of_function(function):
    """What `function(batch, head, query, key)` gives, in symbols; it may have no pattern."""
    result = symbol(called(function, map(Number, "bhpk"), "pattern: a mask's function takes batch, head, query and key, as FlexAttention's mask_mod does"))
    if isinstance(result, (Number, Real)):
        raise Error(f"pattern: expected a mask's function to give a comparison, but it gives the number {text_of(result)}")
    return result


def mask_of_function(function):
    """The same, of which there is a pattern: its `pattern`, and the `table` of its documents, if it has one."""
    result = truth_of_function(function)
    if result.pattern is None:
        raise Error(f"pattern: {result.why}; megactx.flex_attention takes such masks, too, as biases")
    return result


def text_of_function(function):
    """The pattern of `function(batch, head, query, key)`, which gives a truth."""
    return mask_of_function(function).pattern


def documents_of(table, batch, keys):
    """The ids of documents that a mask compares, [batch, keys], or None: its tensor may have more than there are keys, and one row for all."""
    if table is None:
        return None
    if table.ndim == 2 and table.shape[0] not in (1, batch):
        raise Error(f"pattern: a mask's function looks documents up in a table of {table.shape[0]} batches, but there are {batch}")
    if table.shape[-1] < keys:
        raise Error(f"pattern: a mask's function looks documents up in a table of {table.shape[-1]} positions, but there are {keys} keys")
    return table[..., :keys].expand(batch, keys).contiguous()
