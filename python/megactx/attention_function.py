"""Attention with a pattern as a function of arrays, for those who have no model file, only queries, keys and values."""

import functools
import math
import operator
import os
import pathlib
import re
import sys
import threading
import warnings

import numpy as np

from . import dlpack, driver
from .artifacts import Artifacts, Unwritable
from .attention_module import BackwardSignature, Operand, Signature
from .mask_function import documents_of, mask_of_function
from .pattern import Pattern, compares_documents, text_of
from .tools import Error

_ELEMENTS = {"float32": "f32", "float": "f32", "float16": "f16", "bfloat16": "bf16"}
_INTEGERS = {"int32": "i32", "int64": "i64"}
_MOST_KERNELS = 256  # that stay loaded
_MOST_OFFSET = 1 << 48  # tokens
_LEAST, _LARGEST = (float(getattr(np.finfo(np.float32), end)) for end in ("tiny", "max"))

_lock = threading.Lock()  # of the two dictionaries
_models = {}  # by signature
_turns = {}  # a lock for each signature that is compiled now


@functools.cache
def _dtype_name(dtype):
    return getattr(dtype, "name", None) or str(dtype).split(".")[-1]  # "torch.float32"


def _element(name, value, known):
    dtype = _dtype_name(value.dtype)
    if dtype not in known:
        raise Error(f"{name}: expected {', '.join(n for n in known if n != 'float')}, but got {dtype}")
    return known[dtype]


def _array(value):
    """What knows its dtype and shape: arrays of other libraries as they are, else numpy's."""
    return value if hasattr(value, "__dlpack_device__") else np.asarray(value)


def _is_dense(value):
    return value.flags.c_contiguous if isinstance(value, np.ndarray) else not hasattr(value, "is_contiguous") or value.is_contiguous()


def _heads_inside(value):
    """Whether memory holds [B, N, H, D] where the array is [B, H, N, D], as projections leave it."""
    return hasattr(value, "swapaxes") and not _is_dense(value) and _is_dense(value.swapaxes(1, 2))


@functools.cache
def _instead_of(folder, reason, process):
    """What ends with the process, with a warning."""
    warnings.warn(f"{reason}; kernels of megactx.attention stay in this process. XDG_CACHE_HOME names another folder than '{folder}'", RuntimeWarning)
    return Artifacts()


def _load(signature):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    try:
        return Artifacts(cache / "megactx" / "attention").load_module(signature.module(), target=signature.target)
    except Unwritable as error:
        if error.full:
            raise Error(f"{error}; make room there, or name another folder by XDG_CACHE_HOME") from None
        with _lock:
            artifacts = _instead_of(cache, str(error), os.getpid())
    return artifacts.load_module(signature.module(), target=signature.target)


def _reason(signature, error):
    """What a caller can make use of: the place in a pattern, and none in a module, which is not the caller's."""
    try:
        Pattern(signature.pattern).check()
    except Error as fault:
        return str(fault).removeprefix("error: ")
    said = re.search(r"error: (?:'megactx\.\w+' op )?(.*)", str(error))
    return said[1] if said else error


def _make(signature):
    try:
        made = _load(signature)
    except Error as error:
        raise Error(f"attention: {_reason(signature, error)}") from None
    with _lock:
        while len(_models) >= _MOST_KERNELS:
            del _models[next(iter(_models))]
        _models[signature] = made
    return made


def _model(signature):
    made = _models.get(signature)
    if made:
        return made
    with _lock:
        turn = _turns.setdefault(signature, threading.Lock())
    with turn:
        try:
            return _models.get(signature) or _make(signature)
        finally:
            with _lock:
                _turns.pop(signature, None)


def _after_fork():
    """The threads that hold the locks are none of the child's."""
    global _lock
    _lock = threading.Lock()
    _turns.clear()


os.register_at_fork(after_in_child=_after_fork)


def _whole(offset):
    """One offset for all as an int; others as they are."""
    if offset is None or isinstance(offset, int) or getattr(offset, "ndim", 0 if isinstance(offset, float) else 1):
        return offset
    try:
        return operator.index(offset)
    except TypeError:
        raise Error(f"offset: expected whole tokens, but got {offset}") from None


def check_offset(offset):
    if abs(offset) > _MOST_OFFSET:
        raise Error(f"offset: expected at most {_MOST_OFFSET} tokens, but got {offset}")


def _check_shapes(query, key, value, biases, **per_batch):
    for name, array in (("query", query), ("key", key), ("value", value)):
        if len(array.shape) != 4:
            raise Error(f"{name}: expected [batch, heads, tokens, dim], but got {list(array.shape)}")
    (batch, heads, rows, dim), (_, key_heads, keys, _) = query.shape, key.shape
    for name, array, want in (("key", key, [batch, key_heads, keys, dim]), ("value", value, [batch, key_heads, keys, value.shape[3]])):
        if list(array.shape) != want:
            raise Error(f"{name}: expected {want}, but got {list(array.shape)}, with queries {list(query.shape)} and keys {list(key.shape)}")
    if not key_heads or heads % key_heads:
        raise Error(f"expected a multiple of the {key_heads} heads of keys, but got {heads} heads of queries")
    for bias in biases:
        by_distance = len(bias.shape) == 3
        wanted = [batch, heads, max(0, rows + keys - 1)] if by_distance else [batch, heads, rows, keys]
        if len(bias.shape) != len(wanted) or any(n not in (1, want) for n, want in zip(bias.shape, wanted)) or by_distance and bias.shape[2] != wanted[2]:
            raise Error(f"bias: expected dims 1 or those of {wanted}{', an entry for each distance' * by_distance}, but got {list(bias.shape)}")
    for name, array in per_batch.items():
        wanted = [batch, keys] if name == "segments" else [batch]
        if array is not None and list(array.shape) != wanted:
            raise Error(f"{name}: expected {wanted}, but got {list(array.shape)}")


def _target(arrays):
    """The target, and that all arrays are where it reads them."""
    places = {name: dlpack.place(array) for name, array in arrays.items()}
    if len(set(places.values())) > 1:
        raise Error(f"expected all arrays on one device, but got {', '.join(f'{name} on {kind}:{number}' for name, (kind, number) in places.items())}"
                    " (DLPack's kind, where 1 is the CPU and 2 CUDA, and number)")
    kind, number = places["query"]
    if kind not in (dlpack.CPU, dlpack.CUDA):
        raise Error(f"expected arrays in the memory of the CPU or of an NVIDIA GPU, but got DLPack's kind {kind}")
    return driver.architecture(number) if kind == dlpack.CUDA else "cpu"


def _call(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset):
    """The fields of a Signature but for its results, and the arrays in its arguments' order, which lines up with theirs."""
    query, key, value = map(_array, (query, key, value))
    if any(bias is None for bias in biases):
        raise Error("bias: expected arrays, but got None among them")
    biases = [_array(bias) for bias in biases]
    arrays = dict(query=query, key=key, value=value, **{f"bias {i}": bias for i, bias in enumerate(biases)})
    lengths, segments = (None if array is None else _array(array) for array in (lengths, segments))
    offsets = None if offset is None or isinstance(offset, int) else _array(offset)
    _check_shapes(query, key, value, biases, lengths=lengths, segments=segments, offset=offsets)
    text = text_of(pattern)
    if segments is None and compares_documents(text):
        raise Error("segments: expected [B, M], ids of the documents that the pattern compares, but got none; torch.compile does not look into a mask's function for them")
    operands = [_operand(name, arrays[name]) for name in ("query", "key", "value")]
    if len({operand.element for operand in operands}) > 1:
        raise Error(f"expected one element type, but got {', '.join(operand.element for operand in operands)}")
    scale = 1 / math.sqrt(max(1, query.shape[3])) if scale is None else real_number("scale", scale)
    softcap = real_number("softcap", 0 if softcap is None else softcap)
    if softcap < 0 or 0 < softcap < _LEAST:
        raise Error(f"softcap: expected a positive number, but got {softcap}")
    fields = dict(
        pattern=text, query=operands[0], key=operands[1], value=operands[2], scale=scale, softcap=softcap,
        biases=tuple((_element("bias", bias, _ELEMENTS), tuple(n == 1 for n in bias.shape)) for bias in biases),
        lengths="" if lengths is None else _element("lengths", lengths, _INTEGERS), segments="" if segments is None else _element("segments", segments, _INTEGERS),
        offset="" if offset is None else "scalar" if offsets is None else _element("offset", offsets, _INTEGERS), target=_target(arrays))
    given = [_stored(array) for array in (query, key, value)]
    for many in [offset] if isinstance(offset, int) else [offsets.min(initial=0), offsets.max(initial=0)] if isinstance(offsets, np.ndarray) else []:
        check_offset(int(many))
    given += [array for array in (*biases, lengths, segments, np.array(offset, np.int64) if fields["offset"] == "scalar" else offsets) if array is not None]
    return fields, given


def real_number(name, number):
    """Of a number that kernels have in units of log2."""
    if getattr(number, "requires_grad", False):
        raise Error(f"{name}: expected a number, but got a tensor that requires gradients, which attention has not by its {name}: pass {name}.item()"
                    + ", or multiply the queries by it" * (name == "scale"))
    try:
        real = float(number)
    except OverflowError:
        real = math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise Error(f"{name}: expected a number, but got {number!r}") from error
    if not abs(real) * math.log2(math.e) <= _LARGEST:
        raise Error(f"{name}: expected a finite number of float32, but got {real}")
    return real


_operand_of = functools.cache(Operand)


def _operand(name, array):
    return _operand_of(_element(name, array, _ELEMENTS), array.shape[1], array.shape[3], _heads_inside(array))


def _stored(array):
    return array.swapaxes(1, 2) if _heads_inside(array) else array


def run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, return_lse):
    """`attention` of arrays that are not PyTorch's, or are detached: the runtime's output, and whether it is [B, N, H, D]; then the log-sum-exp."""
    fields, given = _call(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset)
    signature = Signature(**fields, lse=bool(return_lse))
    model = _model(signature)
    return [*model.run(dict(zip(model.inputs, given))).values()], signature.out.heads_inside


def attention_backward(dout, query, key, value, out, lse, pattern="dense", *, dlse=None, scale=None, softcap=None, bias=None, lengths=None, segments=None,
                       offset=None, bias_gradients=False):
    """The gradients (dq, dk, dv) of `attention`, from what it took and gave and the gradients of its results; only pairs of the pattern are computed.

        out, lse = megactx.attention(q, k, v, pattern, return_lse=True)
        dq, dk, dv = megactx.attention_backward(dout, q, k, v, out, lse, pattern)

    dout [B, Hq, N, Dv] is that of `out`, dlse [B, Hq, N] in float32 (default: zero) that of `lse`; other arguments are those of `attention`. The results have
    the shapes and types of query, key and value. bias_gradients: also a list of those of the biases, in float32, summed over dims of 1: True, of all, or for
    each whether it is wanted, None where it is not. Sums are in float32, in an order that is the same each time, but for those of biases on a GPU.
    PyTorch's autograd calls it for `attention`. Raises Error.
    """
    biases = _listed(bias)
    wanted = (bool(bias_gradients),) * len(biases) if isinstance(bias_gradients, (bool, np.bool_)) else tuple(map(bool, bias_gradients))
    if len(wanted) != len(biases):
        raise Error(f"bias_gradients: expected one for each of {len(biases)} biases, but got {len(wanted)}")
    query, key, value = map(_array, (query, key, value))
    if callable(pattern):
        pattern, segments = _of_function(pattern, segments, query, key)
    fields, given = _call(query, key, value, pattern, scale, softcap, biases, lengths, segments, _whole(offset))
    dout, out, lse = map(_array, (dout, out, lse))
    dlse = None if dlse is None else _array(dlse)
    like = [query.shape[0], query.shape[1], query.shape[2], value.shape[3]]
    for name, array, want in (("dout", dout, like), ("out", out, like), ("lse", lse, like[:3]), ("dlse", dlse, like[:3])):
        if array is None:
            continue
        if list(array.shape) != want:
            raise Error(f"{name}: expected {want}, but got {list(array.shape)}")
        element = _element(name, array, _ELEMENTS)
        if element != ("f32" if len(want) == 3 else fields["query"].element):
            raise Error(f"{name}: expected {'float32' if len(want) == 3 else 'the type of queries'}, but got {array.dtype}")
    _target({"query": _array(query), "dout": dout, "out": out, "lse": lse, **({} if dlse is None else {"dlse": dlse})})
    signature = BackwardSignature(**fields, lse=True, out_given=_operand("out", out), dout=_operand("dout", dout), dlse=dlse is not None,
                                  bias_gradients=wanted if any(wanted) else ())
    model = _model(signature)
    given += [_stored(out), lse, _stored(dout)] + ([] if dlse is None else [dlse])
    dq, dk, dv, *dbiases = model.run(dict(zip(model.inputs, given))).values()
    made = iter(dbiases)
    return (dq, dk, dv, [next(made) if each else None for each in wanted]) if bias_gradients else (dq, dk, dv)


def _of_function(pattern, segments, query, key):
    """The text of a mask's function, and the documents that it compares where none are given."""
    mask = mask_of_function(pattern)
    if segments is not None or mask.table is None or len(query.shape) != 4 or len(key.shape) != 4:
        return mask.pattern, segments
    if query.shape[2] > key.shape[2]:
        raise Error(f"pattern: a mask's function compares documents, which are those of the keys: expected as many as queries, {query.shape[2]}, but got {key.shape[2]}")
    return mask.pattern, documents_of(mask.table, key.shape[0], key.shape[2])


def _listed(bias):
    return [] if bias is None else list(bias) if isinstance(bias, (tuple, list)) and bias and any(b is None or hasattr(b, "shape") for b in bias) else [bias]


def attention(query, key, value, pattern="dense", *, scale=None, softcap=None, bias=None, lengths=None, segments=None, offset=None, return_lse=False):
    """softmax(scale · q kᵀ) v over the keys that the pattern selects; only these are computed.

        out = megactx.attention(q, k, v, "causal and (window<left = 127, right = 0> or strided<stride = 128>)")

    query [B, Hq, N, D], key [B, Hkv, M, D], value [B, Hkv, M, Dv] of float32, float16 or bfloat16: numpy arrays, PyTorch's tensors or
    others with `__dlpack__`, in the memory of the CPU or of one NVIDIA GPU; Hq is a multiple of Hkv. The result [B, Hq, N, Dv] is
    PyTorch's for PyTorch's, else a numpy array or, on a GPU, a DeviceTensor. Arrays that are views of [B, N, H, D] are read in place, and the
    result of such queries is such a view (a DeviceTensor: [B, N, H, D] itself).

    pattern: a Pattern, or its text. Query row i stands at position i + offset (0), key row j at position j (tokens). offset: one for all,
    or [B], integers, such as the lengths of caches before their new rows.
    scale: 1 / sqrt(D) by default. softcap: scores become softcap · tanh(score / softcap).
    bias: added to the scores, [B, Hq, N, M] or 1 in any of these dims; or by the distance from query to key, [B or 1, Hq or 1, N + M - 1], of
    which the score of row i and key row j gets entry j - i + N - 1. A tuple of such biases is added together. lengths [B], integers: keys from there on do not exist.
    segments [B, M], integers that do not decrease: which document each key belongs to, and a query at its position, for the pattern `segments`.
    return_lse: also the log-sum-exp of each row's scores, [B, Hq, N] in float32.

    A row without keys gives 0 and -inf, one that sees a score that is NaN gives NaN. The first call for a pattern, element type, numbers of
    heads and dims compiles (seconds; the first `backward` too) and keeps the kernel in ~/.cache/megactx; batch and numbers of tokens are free. PyTorch's tensors have
    gradients, by `attention_backward`. Raises Error.
    """
    torch = sys.modules.get("torch")
    biases = _listed(bias)
    offset = _whole(offset)
    if callable(pattern) and not (torch and torch.compiler.is_compiling()):
        pattern, segments = _of_function(pattern, segments, query, key)
    if torch and isinstance(query, torch.Tensor):
        from .attention_torch import attend, constant_text_of

        out, lse = attend(query, key, value, constant_text_of(pattern), scale, softcap, biases, lengths, segments, offset)
        return (out, lse) if return_lse else out
    (out, *lse), heads_inside = run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, return_lse)
    out = out.swapaxes(1, 2) if heads_inside and isinstance(out, np.ndarray) else out
    return (out, *lse) if return_lse else out
