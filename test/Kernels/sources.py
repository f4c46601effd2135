"""Attention over several sources, rows at steps or at positions of their own: the module, and the reference that lays
the entries of all sources out in one row."""

import dataclasses

import numpy as np

import attention
import patterns


@dataclasses.dataclass(frozen=True)
class Source:
    pattern: str
    key_step: int = 1
    positions: bool = False  # an operand instead of step and offset
    lengths: bool = False

    @property
    def offset(self):
        return self.key_step - 1  # a gist stands at its last token


@dataclasses.dataclass(frozen=True)
class Spec:
    sources: tuple
    positions: bool = False  # of queries
    heads: int = 2
    key_heads: int = 1
    dim: int = 16
    dtype: str = "f32"
    gradients: bool = False

    def module(self):
        """main(q, [query positions], (k, v, [positions], [lengths]) of each source) -> out, lse, or, with dout and dlse behind the others,
        dq, (dk, dv) of each source; all files hold f32 and i64."""
        wide, narrow = (lambda heads, t=t: f"tensor<?x{heads}x?x{self.dim}x{t}>" for t in ("f32", self.dtype))
        arguments, lines, names, types = [], [], [], []

        def value(name, heads):
            arguments.append(f"%{name}: {wide(heads)}")
            if self.dtype == "f32":
                return f"%{name}"
            lines.append(f"%n_{name} = arith.truncf %{name} : {wide(heads)} to {narrow(heads)}")
            return f"%n_{name}"

        def indices(name, dims):
            arguments.append(f"%{name}: tensor<{dims}xi64>")
            lines.append(f"%n_{name} = arith.index_cast %{name} : tensor<{dims}xi64> to tensor<{dims}xindex>")
            return f"%n_{name}", f"tensor<{dims}xindex>"

        query = value("q", self.heads)
        at, at_type = indices("p", "?x?") if self.positions else (None, None)
        for i, source in enumerate(self.sources):
            made, operands, ends = f"!megactx.source<{narrow(self.key_heads)}, {narrow(self.key_heads)}>", "", []
            rows = ", ".join(value(f"{kind}{i}", self.key_heads) for kind in "kv")
            if source.positions:
                where, kind = indices(f"p{i}", "?x?")
                operands, ends = f" positions({where})", [kind]
            elif source.offset:
                lines.append(f"%o{i} = arith.constant {source.offset} : index")
                operands, ends = f" offset(%o{i})", ["index"]
            if source.lengths:
                many, kind = indices(f"n{i}", "?")
                operands, ends = f" lengths({many}){operands}", [kind, *ends]
            lines.append(f"%s{i} = megactx.source {rows}{operands} pattern(#megactx.pattern<{source.pattern}>) {{key_step = {source.key_step} : i64}} "
                         f": ({', '.join([narrow(self.key_heads)] * 2 + ends)}) -> {made}")
            names.append(f"%s{i}")
            types.append(made)
        where = f" positions({at})" if at else ""
        lse, ends = f"tensor<?x{self.heads}x?xf32>", [at_type] if at else []
        lines.append(f"%r:2 = megactx.attention {query}, {', '.join(names)}{where} {{scale = {self.dim**-0.5!r} : f32}} "
                     f": ({', '.join([narrow(self.heads), *types, *ends])}) -> ({narrow(self.heads)}, {lse})")
        results = [("%r#0", self.heads), ("%r#1", None)]
        if self.gradients:
            dout = value("dout", self.heads)
            arguments.append(f"%dlse: {lse}")
            results = [(f"%x#{i}", heads) for i, heads in enumerate([self.heads] + [self.key_heads] * 2 * len(names))]
            out = narrow(self.heads)
            lines.append(f"%x:{len(results)} = megactx.attention_backward {query}, {', '.join(names)} out(%r#0) lse(%r#1) dout({dout}) dlse(%dlse){where} {{scale = {self.dim**-0.5!r} : f32}} "
                         f": ({', '.join([out, *types, out, lse, out, lse, *ends])}) -> ({', '.join(narrow(heads) for _, heads in results)})")
        given = []
        for i, (result, heads) in enumerate(results):
            if self.dtype != "f32" and heads:
                lines.append(f"%w{i} = arith.extf {result} : {narrow(heads)} to {wide(heads)}")
                result = f"%w{i}"
            given.append((result, wide(heads) if heads else lse))
        body, made = "\n  ".join(lines), ", ".join(kind for _, kind in given)
        return f"func.func @main({', '.join(arguments)}) -> ({made}) {{\n  {body}\n  return {', '.join(result for result, _ in given)} : {made}\n}}\n"


def pyramid(ratio, windows, lengths=False, **rest):
    text = f"pyramid<ratio = {ratio}, windows = {list(windows)}>"
    return Spec(tuple(Source(text, ratio**level, lengths=lengths) for level in range(len(windows) + 1)), **rest)


def level_rows(spec, tokens):
    """How many rows each source of a pyramid has over so many tokens."""
    return [tokens // source.key_step for source in spec.sources]


def inputs(spec, random, batch, queries, rows, query_positions=None, positions=(), lengths=()):
    """Random operands in the module's order; `positions` and `lengths` are of the sources that have them, in order."""
    draw = lambda heads, many: random.standard_normal((batch, heads, many, spec.dim)).astype(np.float32)
    given, positions, lengths = [draw(spec.heads, queries)], iter(positions), iter(lengths)
    if spec.positions:
        given.append(query_positions)
    for source, many in zip(spec.sources, rows):
        given += [draw(spec.key_heads, many), draw(spec.key_heads, many)]
        given += [next(positions)] if source.positions else []
        given += [next(lengths)] if source.lengths else []
    return given


def rows_of(spec, given):
    """Queries, keys, values and who sees whom, in float64: the keys of all sources side by side."""
    given = iter(given)
    q = next(given).astype(np.float64)
    batch, heads, queries, dim = q.shape
    at = next(given) if spec.positions else np.tile(np.arange(queries), (batch, 1))
    keys, values, allowed = [], [], []
    for source in spec.sources:
        k, v = (np.repeat(next(given), heads // spec.key_heads, 1).astype(np.float64) for _ in range(2))
        rows = k.shape[2]
        where = next(given) if source.positions else np.tile(np.arange(rows) * source.key_step + source.offset, (batch, 1))
        lengths = next(given) if source.lengths else np.full(batch, rows)
        seen = np.zeros((batch, heads, queries, rows), dtype=bool)
        for b, length in enumerate(np.clip(lengths, 0, rows)):
            seen[b, ..., :length] = patterns.relation(source.pattern, at[b], where[b, :length], heads, source.key_step)
        keys, values, allowed = [*keys, k], [*values, v], [*allowed, seen]
    return q, *(np.concatenate(parts, axis) for parts, axis in ((keys, 2), (values, 2), (allowed, 3)))


def reference(spec, given):
    """out [B, H, Nq, D] and lse [B, H, Nq] in float64: one softmax."""
    q, k, v, seen = rows_of(spec, given)
    out, lse = np.zeros_like(q), np.full(q.shape[:3], -np.inf)
    for b, h in np.ndindex(q.shape[:2]):
        scores = np.where(seen[b, h], q[b, h] @ k[b, h].T * spec.dim**-0.5, -np.inf)
        top = scores.max(1, keepdims=True, initial=-1e30)
        weights = np.exp(scores - top)
        total = weights.sum(1, keepdims=True)
        out[b, h] = weights @ v[b, h] / np.where(total == 0, 1, total)
        some = total[:, 0] > 0
        lse[b, h, some] = (top + np.log(np.where(total == 0, 1, total)))[some, 0]
    return out, lse


def gradients_of(spec, given, dout, dlse):
    """dq, then dk and dv of each source, in float64."""
    q, k, v, seen = rows_of(spec, given)
    weights, _ = attention.softmax(np.where(seen, q @ k.swapaxes(2, 3) * spec.dim**-0.5, -np.inf))
    slopes = dout @ v.swapaxes(2, 3)
    slopes = weights * (slopes - (weights * slopes).sum(3, keepdims=True) + dlse[..., None]) * spec.dim**-0.5
    dk, dv = (x.swapaxes(2, 3) @ y for x, y in ((slopes, q), (weights, dout)))
    rows = [source.shape[2] for source in given if source.ndim == 4][2::2]
    ends = np.cumsum(rows)[:-1]
    of_sources = [np.split(x.reshape(len(q), spec.key_heads, -1, *x.shape[2:]).sum(2), ends, axis=2) for x in (dk, dv)]
    return [slopes @ k, *(x for pair in zip(*of_sources) for x in pair)]
