"""Attention with a pattern as a function of arrays, for those who have no model file, only queries, keys and values."""

import dataclasses
import functools
import math
import os
import pathlib
import re
import struct
import sys
import threading

import numpy as np

from . import dlpack, driver
from .artifacts import Artifacts
from .runtime import load
from .tools import Error

_ELEMENTS = {"float32": "f32", "float": "f32", "float16": "f16", "bfloat16": "bf16"}
_INTEGERS = {"int32": "i32", "int64": "i64"}
_MOST_KERNELS = 256  # that stay loaded
_MOST_OFFSET = 1 << 48  # tokens

_lock = threading.Lock()
_models = {}


def _element(name, value, known):
    dtype = getattr(value.dtype, "name", None) or str(value.dtype).split(".")[-1]  # "torch.float32"
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


@dataclasses.dataclass(frozen=True)
class _Operand:
    """An argument of the module: [B, heads, N, dim] of an element type, in memory perhaps [B, N, heads, dim]."""

    element: str
    heads: int
    dim: int
    heads_inside: bool = False

    @property
    def type(self):
        return f"tensor<?x{self.heads}x?x{self.dim}x{self.element}>"

    @property
    def stored(self):
        return f"tensor<?x?x{self.heads}x{self.dim}x{self.element}>" if self.heads_inside else self.type

    def transposed(self, name, source, source_type, target, target_type):
        """Lines that make %name, of the target type, from %source."""
        sizes = (f"%{name}_b = tensor.dim %{source}, %c0 : {source_type}", f"%{name}_n = tensor.dim %{source}, %c{'1' if target == self.type else '2'} : {source_type}")
        return [*sizes, f"%{name}_e = tensor.empty(%{name}_b, %{name}_n) : {target_type}",
                f"%{name} = linalg.transpose ins(%{source} : {source_type}) outs(%{name}_e : {target_type}) permutation = [0, 2, 1, 3]"]


@dataclasses.dataclass(frozen=True)
class _Signature:
    """What a kernel is compiled for; everything but batch and lengths."""

    pattern: str
    query: _Operand
    key: _Operand
    value: _Operand
    scale: float
    softcap: float
    biases: tuple  # of each (element, which dims are 1): four, or three of a bias by distance
    lengths: str  # their element type, or ""
    segments: str  # the same
    offset: str  # the same; of one for all, "scalar"
    lse: bool
    target: str

    @property
    def out(self):
        return dataclasses.replace(self.query, dim=self.value.dim)

    def module(self):
        arguments, lines = [], [f"%c{i} = arith.constant {i} : index" for i in (0, 1, 2)]
        for name in ("query", "key", "value"):
            operand = getattr(self, name)
            arguments.append(f"%{name}{'_stored' * operand.heads_inside}: {operand.stored}")
            if operand.heads_inside:
                lines += operand.transposed(name, f"{name}_stored", operand.stored, operand.type, operand.type)
        source = f"!megactx.source<{self.key.type}, {self.value.type}>"
        given, types = "", [self.key.type, self.value.type]
        if self.biases:
            types += [self._bias(i, arguments, lines) for i in range(len(self.biases))]
            given = f" bias({', '.join(f'%bias{i}' for i in range(len(self.biases)))})"
        if self.lengths:
            arguments.append(f"%lengths_given: tensor<?x{self.lengths}>")
            lines.append(f"%lengths = arith.index_cast %lengths_given : tensor<?x{self.lengths}> to tensor<?xindex>")
            given, types = given + " lengths(%lengths)", [*types, "tensor<?xindex>"]
        if self.segments:
            arguments.append(f"%segments_given: tensor<?x?x{self.segments}>")
            lines.append(f"%segments = arith.index_cast %segments_given : tensor<?x?x{self.segments}> to tensor<?x?xindex>")
            given, types = given + " segments(%segments)", [*types, "tensor<?x?xindex>"]
        lines.append(f"%source = megactx.source %key, %value{given} pattern(#megactx.pattern<{self.pattern}>) : ({', '.join(types)}) -> {source}")
        offset, types = "", [self.query.type, source]
        if self.offset == "scalar":
            arguments.append("%offset_given: tensor<i64>")
            lines += ["%offset_number = tensor.extract %offset_given[] : tensor<i64>", "%offset = arith.index_cast %offset_number : i64 to index"]
            offset, types = " offset(%offset)", [*types, "index"]
        elif self.offset:
            arguments.append(f"%offset_given: tensor<?x{self.offset}>")
            lines.append(f"%offset = arith.index_cast %offset_given : tensor<?x{self.offset}> to tensor<?xindex>")
            offset, types = " offset(%offset)", [*types, "tensor<?xindex>"]
        number = lambda value: f"0x{struct.pack('>f', value).hex()} : f32"
        softcap = f", softcap = {number(self.softcap)}" if self.softcap else ""
        results = [(f"%{'attended' if self.out.heads_inside else 'out'}", self.out.type)]
        results += [("%lse", f"tensor<?x{self.query.heads}x?xf32>")] * self.lse
        names, made = zip(*results)
        lines.append(f"{', '.join(names)} = megactx.attention %query, %source{offset} {{scale = {number(self.scale)}{softcap}}} "
                     f": ({', '.join(types)}) -> ({', '.join(made)})")
        if self.out.heads_inside:
            lines += self.out.transposed("out", "attended", self.out.type, self.out.stored, self.out.stored)
        names, made = ("%out", *names[1:]), (self.out.stored, *made[1:])
        body = "\n  ".join([*lines, f"return {', '.join(names)} : {', '.join(made)}"])
        return f"func.func @main({', '.join(arguments)}) -> ({', '.join(made)}) {{\n  {body}\n}}\n"

    def _bias(self, number, arguments, lines):
        """The type of %bias<number>, of which an argument and lines are made."""
        element, ones = self.biases[number]
        by_distance = len(ones) == 3
        dims = ["1" if one else "?" for one in ones[: 2 if by_distance else 4]]
        tensor = lambda sizes, element="f32": f"tensor<{'x'.join(sizes)}x{element}>"
        given = [*dims, "?"] if by_distance else dims
        full = [*dims, "?", "?"] if by_distance else dims
        name = source = f"%bias{number}"
        if by_distance:
            source = f"{name}_table"
            lines += [f"{name}_rows = tensor.dim %query, %c2 : {self.query.type}", f"{name}_columns = tensor.dim %key, %c2 : {self.key.type}"]
        if element != "f32":
            lines.append(f"{source} = arith.extf {source}_given : {tensor(given, element)} to {tensor(given)}")
        if by_distance:
            lines.append(f"{name} = megactx.toeplitz_view {source} sizes({name}_rows, {name}_columns) : {tensor(given)} to {tensor(full)}")
        arguments.append(f"{source}{'_given' * (element != 'f32')}: {tensor(given, element)}")
        return tensor(full)


@functools.cache
def _artifacts():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return Artifacts(cache / "megactx" / "attention")


def _model(signature):
    if signature not in _models:
        with _lock:
            if signature not in _models:
                try:
                    made = load(_artifacts().of_module(signature.module(), target=signature.target))
                except Error as error:
                    said = re.search(r"error: (.*)", str(error))  # without the place in a text that the caller never saw
                    raise Error(f"attention: {said[1] if said else error}") from None
                while len(_models) >= _MOST_KERNELS:
                    del _models[next(iter(_models))]
                _models[signature] = made
                return made
    return _models[signature]


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
    places = {name: tuple(map(int, array.__dlpack_device__())) for name, array in arrays.items()}
    if len(set(places.values())) > 1:
        raise Error(f"expected all arrays on one device, but got {', '.join(f'{name} on {kind}:{number}' for name, (kind, number) in places.items())}"
                    " (DLPack's kind, where 1 is the CPU and 2 CUDA, and number)")
    kind, number = places["query"]
    if kind not in (dlpack.CPU, dlpack.CUDA):
        raise Error(f"expected arrays in the memory of the CPU or of an NVIDIA GPU, but got DLPack's kind {kind}")
    return driver.architecture(number) if kind == dlpack.CUDA else "cpu"


def run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, return_lse):
    """`attention` of arrays that are not PyTorch's, or are detached: the runtime's output, and whether it is [B, N, H, D]; then the log-sum-exp."""
    query, key, value = map(_array, (query, key, value))
    biases = [_array(bias) for bias in biases]
    arrays = dict(query=query, key=key, value=value, **{f"bias {i}": bias for i, bias in enumerate(biases)})
    lengths, segments = (None if array is None else _array(array) for array in (lengths, segments))
    offsets = None if offset is None or isinstance(offset, int) else _array(offset)
    _check_shapes(query, key, value, biases, lengths=lengths, segments=segments, offset=offsets)
    operands = [_Operand(_element(name, arrays[name], _ELEMENTS), arrays[name].shape[1], arrays[name].shape[3], _heads_inside(arrays[name]))
                for name in ("query", "key", "value")]
    if len({operand.element for operand in operands}) > 1:
        raise Error(f"expected one element type, but got {', '.join(operand.element for operand in operands)}")
    scale = 1 / math.sqrt(max(1, query.shape[3])) if scale is None else float(scale)
    softcap = float(softcap or 0)
    for name, number in (("scale", scale), ("softcap", softcap)):
        if not abs(number) <= float(np.finfo(np.float32).max):
            raise Error(f"{name}: expected a finite number of float32, but got {number}")
    if softcap < 0 or 0 < softcap < float(np.finfo(np.float32).tiny):
        raise Error(f"softcap: expected a positive number, but got {softcap}")
    if isinstance(offset, int) and abs(offset) > _MOST_OFFSET:
        raise Error(f"offset: expected at most {_MOST_OFFSET} tokens, but got {offset}")
    signature = _Signature(
        str(pattern), *operands, scale, softcap,
        tuple((_element("bias", bias, _ELEMENTS), tuple(n == 1 for n in bias.shape)) for bias in biases),
        *("" if array is None else _element(name, array, _INTEGERS) for name, array in (("lengths", lengths), ("segments", segments))),
        "" if offset is None else "scalar" if offsets is None else _element("offset", offsets, _INTEGERS), bool(return_lse), _target(arrays))
    given = [array.swapaxes(1, 2) if operand.heads_inside else array for array, operand in zip((query, key, value), operands)]
    given += [array for array in (*biases, lengths, segments, np.array(offset, np.int64) if signature.offset == "scalar" else offsets) if array is not None]
    model = _model(signature)
    return [*model.run(dict(zip(model.inputs, given))).values()], signature.out.heads_inside


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

    A row without keys gives 0 and -inf. The first call for a pattern, element type, numbers of heads and dims compiles (seconds) and keeps the
    kernel in ~/.cache/megactx; batch and numbers of tokens are free. There is no gradient. Raises Error.
    """
    torch = sys.modules.get("torch")
    biases = [] if bias is None else list(bias) if isinstance(bias, (tuple, list)) and bias and hasattr(bias[0], "shape") else [bias]
    if offset is not None and not isinstance(offset, int) and getattr(offset, "ndim", 1) == 0:
        offset = int(offset)
    if torch and isinstance(query, torch.Tensor):
        from .attention_torch import attention as operation

        for name, array in [("key", key), ("value", value), *(("bias", bias) for bias in biases)]:
            if not isinstance(array, torch.Tensor):
                raise Error(f"{name}: expected a tensor of PyTorch, as the query is, but got {type(array).__name__}")
        numbers = [x if x is None or isinstance(x, int) else torch.as_tensor(x, device=query.device) for x in (lengths, offset, segments)]
        if isinstance(lengths, int):
            raise Error(f"lengths: expected [{query.shape[0]}], but got []")
        one, each = (numbers[1], None) if isinstance(numbers[1], int) else (None, numbers[1])
        out, lse = operation(query, key, value, str(pattern), scale, softcap, biases, numbers[0], numbers[2], one, each)
        return (out, lse) if return_lse else out
    (out, *lse), heads_inside = run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, return_lse)
    out = out.swapaxes(1, 2) if heads_inside and isinstance(out, np.ndarray) else out
    return (out, *lse) if return_lse else out
