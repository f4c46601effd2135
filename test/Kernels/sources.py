"""Attention over several sources, rows at steps or at positions of their own: the module, and the reference that lays
the entries of all sources out in one row."""

import dataclasses

import numpy as np

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

    def module(self):
        """main(q, [query positions], (k, v, [positions], [lengths]) of each source) -> out, lse; all files hold f32 and i64."""
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
        rows, lse, out = f"tensor<?x{self.heads}x?xf32>", "%r#1", "%r#0"
        lines.append(f"%r:2 = megactx.attention {query}, {', '.join(names)}{where} {{scale = {self.dim**-0.5!r} : f32}} "
                     f": ({', '.join([narrow(self.heads), *types] + ([at_type] if at else []))}) -> ({narrow(self.heads)}, {rows})")
        if self.dtype != "f32":
            lines.append(f"%w = arith.extf %r#0 : {narrow(self.heads)} to {wide(self.heads)}")
            out = "%w"
        body = "\n  ".join(lines)
        return f"func.func @main({', '.join(arguments)}) -> ({wide(self.heads)}, {rows}) {{\n  {body}\n  return {out}, {lse} : {wide(self.heads)}, {rows}\n}}\n"


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


def reference(spec, given):
    """out [B, H, Nq, D] and lse [B, H, Nq] in float64: the keys of all sources side by side, one softmax."""
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
    k, v, seen = (np.concatenate(parts, axis) for parts, axis in ((keys, 2), (values, 2), (allowed, 3)))
    out, lse = np.zeros_like(q), np.full(q.shape[:3], -np.inf)
    for b, h in np.ndindex(batch, heads):
        scores = np.where(seen[b, h], q[b, h] @ k[b, h].T * dim**-0.5, -np.inf)
        top = scores.max(1, keepdims=True, initial=-1e30)
        weights = np.exp(scores - top)
        total = weights.sum(1, keepdims=True)
        out[b, h] = weights @ v[b, h] / np.where(total == 0, 1, total)
        some = total[:, 0] > 0
        lse[b, h, some] = (top + np.log(np.where(total == 0, 1, total)))[some, 0]
    return out, lse
