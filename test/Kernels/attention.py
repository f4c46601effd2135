"""Attention alone: a module for megactx-compile, random inputs, and the float64 reference."""

import dataclasses
import json
import re
import subprocess

import numpy as np

import patterns

ELEMENT = {"f32": np.float32, "f16": np.float16, "bf16": np.float32}
TOLERANCE = {"f32": 2e-5, "f16": 4e-3, "bf16": 3e-2}


def tensor(heads, dim, element):
    return f"tensor<?x{heads}x?x{dim}x{element}>"


@dataclasses.dataclass(frozen=True)
class Spec:
    pattern: str
    dtype: str = "f32"
    heads: int = 4
    key_heads: int = 2
    head_dim: int = 16
    value_dim: int = 16
    offset: bool = False
    offset_per_batch: bool = False
    bias: bool = False
    bias_per_key: bool = False  # known when compiled
    bias_type: str = "tensor<?x?x?x?xf32>"
    segments: bool = False
    softcap: float = 0.0
    lengths: bool = False
    query_step: int = 1
    key_step: int = 1
    scale_factor: float | None = None  # instead of 1 / sqrt(head_dim)
    generic: bool = False  # through linalg instead of kernels

    @property
    def scale(self):
        return self.head_dim**-0.5 if self.scale_factor is None else self.scale_factor

    def operands(self):
        """The arguments of the module, lines that make of them %q, %k, %v's narrow forms and the source %s, the query with its type, the source's type,
        and what of `offset` follows the sources, with its types. f16 and bf16 come in and go out as f32, so that files need no such types."""
        q, k, v = [(self.heads, self.head_dim), (self.key_heads, self.head_dim), (self.key_heads, self.value_dim)]
        args = [f"%q: {tensor(*q, 'f32')}", f"%k: {tensor(*k, 'f32')}", f"%v: {tensor(*v, 'f32')}"]
        args += ["%o: tensor<i64>"] if self.offset else []
        args += ["%o: tensor<?xi64>"] if self.offset_per_batch else []
        args += [f"%bias: {self.bias_type}"] if self.bias else []
        args += ["%lengths: tensor<?xi64>"] if self.lengths else []
        args += ["%segments: tensor<?x?xi64>"] if self.segments else []
        lines = []
        query, key, value = (self.narrowed(name, shape, lines) for name, shape in (("q", q), ("k", k), ("v", v)))
        offset = ""
        if self.offset:
            lines += ["%oi = tensor.extract %o[] : tensor<i64>", "%p = arith.index_cast %oi : i64 to index"]
            offset = " offset(%p)"
        if self.offset_per_batch:
            lines.append("%p = arith.index_cast %o : tensor<?xi64> to tensor<?xindex>")
            offset = " offset(%p)"
        if self.lengths:
            lines.append("%l = arith.index_cast %lengths : tensor<?xi64> to tensor<?xindex>")
        if self.segments:
            lines.append("%g = arith.index_cast %segments : tensor<?x?xi64> to tensor<?x?xindex>")
        source = f"!megactx.source<{key[1]}, {value[1]}>"
        bias = " bias(%bias)" if self.bias else ""
        bias += " lengths(%l)" * self.lengths + " segments(%g)" * self.segments
        types = [key[1], value[1]] + ([self.bias_type] if self.bias else [])
        types += ["tensor<?xindex>"] * self.lengths + ["tensor<?x?xindex>"] * self.segments
        lines.append(f"%s = megactx.source {key[0]}, {value[0]}{bias} "
                     f"pattern(#megactx.pattern<{self.pattern}>) {{key_step = {self.key_step} : i64}} "
                     f": ({', '.join(types)}) -> {source}")
        return args, lines, query, source, offset, (["index"] if self.offset else []) + (["tensor<?xindex>"] if self.offset_per_batch else [])

    def narrowed(self, name, shape, lines):
        """%name of the shape in the dtype, and its type."""
        narrow = tensor(*shape, self.dtype)
        if self.dtype == "f32":
            return f"%{name}", narrow
        lines.append(f"%n{name} = arith.truncf %{name} : {tensor(*shape, 'f32')} to {narrow}")
        return f"%n{name}", narrow

    def widened(self, value, shape, lines):
        """A value of the shape in the dtype as f32."""
        if self.dtype == "f32":
            return value
        name = f"%w{value[1:].replace('#', '_')}"
        lines.append(f"{name} = arith.extf {value} : {tensor(*shape, self.dtype)} to {tensor(*shape, 'f32')}")
        return name

    @property
    def attributes(self):
        cap = f", softcap = {self.softcap!r} : f32" if self.softcap else ""
        return f"{{scale = {self.scale!r} : f32{cap}, query_step = {self.query_step} : i64}}"

    def module(self):
        args, lines, query, source, offset, types = self.operands()
        o = (self.heads, self.value_dim)
        lines.append(f"%r = megactx.attention {query[0]}, %s{offset} {self.attributes} : ({', '.join([query[1], source, *types])}) -> {tensor(*o, self.dtype)}")
        result = self.widened("%r", o, lines)
        body = "\n  ".join(lines)
        return (f"func.func @main({', '.join(args)}) -> {tensor(*o, 'f32')} {{\n  {body}\n"
                f"  return {result} : {tensor(*o, 'f32')}\n}}\n")


def together(modules):
    """One module whose main returns what those of modules that take the same inputs do, one after the other: what their kernels have in common
    is compiled once."""
    heads = [re.match(r"func\.func @main\((.*?)\) -> \(?(.*?)\)? {", module).groups() for module in modules]
    arguments, given = heads[0][0], ", ".join(re.findall(r"%\w+", heads[0][0]))
    types = ", ".join(re.findall(r": ([^,]+)", arguments))
    results = [result.split(", ") for _, result in heads]
    lines = [f"  %r{i}:{len(of)} = call @main{i}({given}) : ({types}) -> ({', '.join(of)})" for i, of in enumerate(results)]
    values = ", ".join(f"%r{i}#{j}" for i, of in enumerate(results) for j in range(len(of)))
    made = ", ".join(type for of in results for type in of)
    functions = [module.replace("@main", f"private @main{i}") for i, module in enumerate(modules)]
    main = [f"func.func @main({arguments}) -> ({made}) {{", *lines, f"  return {values} : {made}", "}", ""]
    return "".join(functions) + "\n".join(main)


@dataclasses.dataclass
class Kernel:
    """Of specifications that differ in the pattern alone."""

    specs: list
    run: object  # inputs -> an output for each

    @property
    def spec(self):
        return self.specs[0]


def rounded(array, dtype):
    """To the nearest value of the dtype, as float32."""
    if dtype == "bf16":
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return array.astype(ELEMENT[dtype]).astype(np.float32)


def scores_of(spec, q, k, offset=0, bias=None, lengths=None, key_offset=0, segments=None):
    """The definition, in float64: scores, -inf where the pattern does not hold; and their slope by the products of queries and keys."""
    products = np.einsum("bhid,bhjd->bhij", q, k) * spec.scale
    scores, slope = products, np.full_like(products, spec.scale)
    if spec.softcap:
        scores = spec.softcap * np.tanh(products / spec.softcap)
        slope *= 1 - np.tanh(products / spec.softcap) ** 2
    if bias is not None:
        scores = scores + bias
    offsets = np.broadcast_to(offset, len(q))
    allowed = np.zeros(scores.shape, dtype=bool)
    for batch, length in enumerate([k.shape[2]] * len(q) if lengths is None else lengths):
        queries = np.arange(q.shape[2]) * spec.query_step + offsets[batch]
        keys = np.arange(length) * spec.key_step + key_offset
        ids = None if segments is None else segments[batch][:length]
        allowed[batch, ..., :length] = patterns.relation(spec.pattern, queries, keys, spec.heads, spec.key_step, ids)
    return np.where(allowed, scores, -np.inf), slope


def softmax(scores):
    """The weights, and the log-sum-exp: of rows without a key 0 and -inf."""
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (top + np.log(total))[..., 0]
    return weights / np.where(total == 0, 1, total), lse


def reference(spec, q, k, v, *more, **named):
    """The output and log-sum-exp, in float64; `more`: as of scores_of."""
    repeat = spec.heads // spec.key_heads
    q, k, v = q.astype(np.float64), np.repeat(k, repeat, 1).astype(np.float64), np.repeat(v, repeat, 1).astype(np.float64)
    weights, lse = softmax(scores_of(spec, q, k, *more, **named)[0])
    return np.einsum("bhij,bhjd->bhid", weights, v), lse


def draw_inputs(spec, batch, queries, keys, offset=0, bias=None):
    """The kernel's inputs, and the arguments of `reference`."""
    random = np.random.default_rng()
    draw = lambda heads, rows, dim: rounded(random.standard_normal((batch, heads, rows, dim)), spec.dtype)
    q, k, v = draw(spec.heads, queries, spec.head_dim), draw(spec.key_heads, keys, spec.head_dim), draw(spec.key_heads, keys, spec.value_dim)
    inputs = [q, k, v] + ([np.array(offset, dtype=np.int64)] if spec.offset or spec.offset_per_batch else [])
    added = None
    if bias is not None:
        heads, rows, many, *columns = bias
        added = random.standard_normal((batch if many != 1 else 1, heads, rows or queries, *(columns or [keys]))).astype(np.float32)
        added[..., ::5] = -np.inf
        added[..., :1] = 0
        inputs.append(added)
    lengths = None
    if spec.lengths:
        lengths = random.integers(0, keys + 1, batch)
        inputs.append(lengths)
    segments = None
    if spec.segments:
        segments = np.sort(random.integers(0, 5, (batch, keys)), axis=1)
        inputs.append(segments)
    return inputs, (q, k, v, offset, added, lengths, 0, segments)


def check(kernel, batch, queries, keys, offset=0, bias=None):
    inputs, given = draw_inputs(kernel.spec, batch, queries, keys, offset, bias)
    outputs, wrong = kernel.run(inputs), []
    for spec, got in zip(kernel.specs, outputs, strict=True):
        want, _ = reference(spec, *given)
        assert got.shape == want.shape
        error = np.abs(got - want).max(initial=0)
        wrong += [] if error <= TOLERANCE[spec.dtype] else [f"{spec.pattern}: error {error:.1e}"]
    assert not wrong, f"{queries} queries, {keys} keys: {'; '.join(wrong)}"
