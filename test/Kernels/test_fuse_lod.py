"""Pooling and rotary embedding fused with attention: against attention.py and lod.py, and against the same program without fusion."""

import dataclasses
import pathlib

import numpy as np
import pytest

import attention
import emulated
import lod
import patterns

HEADS, KEY_HEADS, D, RATIO = 4, 2, 16, 32
WIDTH = HEADS * D
ROWS = 1024  # of attention at a time, of all heads and batch rows


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Attention over sources, heads joined, optionally a projection that is added to its rows; pooled."""

    sources: tuple = ("causal and window<left = 40, right = 0>",)
    kind: str = "mean"
    dtype: str = "f32"
    ratio: int = RATIO
    bias: bool = False
    lengths: bool = False
    positions: bool = False
    projected: bool = False

    def module(self):
        t = self.dtype
        tensor = lambda heads: f"tensor<?x{heads}x?x{D}x{t}>"
        wide = lambda heads: f"tensor<?x{heads}x?x{D}xf32>"
        rows, q, k = f"tensor<?x?x{WIDTH}x{t}>", tensor(HEADS), tensor(KEY_HEADS)
        arguments = [f"%fq: {wide(HEADS)}", f"%fk: {wide(KEY_HEADS)}", f"%fv: {wide(KEY_HEADS)}", "%bias: tensor<?x?x?x?xf32>",
                     "%flengths: tensor<?xi64>", "%fpositions: tensor<?x?xi64>", f"%fw: tensor<{WIDTH}xf32>", f"%m: tensor<1x{WIDTH}x{WIDTH}xf32>"]
        narrow = lambda name, of: [f"%{name} = arith.truncf %f{name} : {of('f32')} to {of(t)}"] if t != "f32" else []
        lines = [*narrow("q", lambda e: f"tensor<?x{HEADS}x?x{D}x{e}>"), *narrow("k", lambda e: f"tensor<?x{KEY_HEADS}x?x{D}x{e}>"),
                 *narrow("v", lambda e: f"tensor<?x{KEY_HEADS}x?x{D}x{e}>"), *narrow("w", lambda e: f"tensor<{WIDTH}x{e}>"),
                 "%lengths = arith.index_cast %flengths : tensor<?xi64> to tensor<?xindex>",
                 "%positions = arith.index_cast %fpositions : tensor<?x?xi64> to tensor<?x?xindex>",
                 "%c0 = arith.constant 0 : index", "%c2 = arith.constant 2 : index",
                 f"%b = tensor.dim %fq, %c0 : {wide(HEADS)}", f"%n = tensor.dim %fq, %c2 : {wide(HEADS)}"]
        name = (lambda x: f"%{x}") if t != "f32" else (lambda x: f"%f{x}")
        source = f"!megactx.source<{k}, {k}>"
        more = " bias(%bias)" * self.bias + " lengths(%lengths)" * self.lengths + " positions(%positions)" * self.positions
        types = [k, k] + ["tensor<?x?x?x?xf32>"] * self.bias + ["tensor<?xindex>"] * self.lengths + ["tensor<?x?xindex>"] * self.positions
        for i, pattern in enumerate(self.sources):
            lines.append(f"%s{i} = megactx.source {name('k')}, {name('v')}{more} pattern(#megactx.pattern<{pattern}>) : ({', '.join(types)}) -> {source}")
        at = (" positions(%positions)", ", tensor<?x?xindex>") if self.positions else ("", "")
        lines += [f"%o = megactx.attention {name('q')}, {', '.join(f'%s{i}' for i in range(len(self.sources)))}{at[0]} {{scale = {D**-0.5!r} : f32}} "
                  f": ({', '.join([q] + [source] * len(self.sources))}{at[1]}) -> {q}",
                  f"%e = tensor.empty(%b, %n) : tensor<?x?x{HEADS}x{D}x{t}>",
                  f"%x = linalg.transpose ins(%o : {q}) outs(%e : tensor<?x?x{HEADS}x{D}x{t}>) permutation = [0, 2, 1, 3]",
                  f"%joined = tensor.collapse_shape %x [[0], [1], [2, 3]] : tensor<?x?x{HEADS}x{D}x{t}> into {rows}"]
        if self.projected:
            lines += ["%zero = arith.constant 0.0 : f32", f"%d = tensor.empty(%b, %n) : {rows}", f"%zeros = linalg.fill ins(%zero : f32) outs(%d : {rows}) -> {rows}",
                      f"%p = linalg.generic {{indexing_maps = [affine_map<(b, i, o, c) -> (b, i, c)>, affine_map<(b, i, o, c) -> (0, c, o)>, affine_map<(b, i, o, c) -> (b, i, o)>], "
                      f'iterator_types = ["parallel", "parallel", "parallel", "reduction"]}} ins(%joined, %m : {rows}, tensor<1x{WIDTH}x{WIDTH}xf32>) outs(%zeros : {rows}) {{',
                      "^bb0(%l: f32, %r: f32, %acc: f32):", "  %lr = arith.mulf %l, %r : f32", "  %sum = arith.addf %acc, %lr : f32", "  linalg.yield %sum : f32",
                      f"}} -> {rows}", f"%y = arith.addf %p, %joined : {rows}"]
        pooled = "%y" if self.projected else "%joined"
        weight = (f" weight({name('w')})", f", tensor<{WIDTH}x{t}>") if self.kind == "query" else ("", "")
        lines.append(f"%g = megactx.gist_pool {self.kind} {pooled}{weight[0]} {{ratio = {self.ratio}}} : ({rows}{weight[1]}) -> {rows}")
        lines += [f"%wide = arith.extf %g : {rows} to tensor<?x?x{WIDTH}xf32>"] if t != "f32" else []
        result = "%wide" if t != "f32" else "%g"
        return (f"func.func @main({', '.join(arguments)}) -> tensor<?x?x{WIDTH}xf32> {{\n  " + "\n  ".join(lines) +
                f"\n  return {result} : tensor<?x?x{WIDTH}xf32>\n}}\n")

    def draw(self, batch, rows):
        random = np.random.default_rng()
        draw = lambda *shape: attention.rounded(random.standard_normal(shape), self.dtype)
        positions = np.cumsum(random.integers(0, 3, (batch, rows)), 1)
        return [draw(batch, HEADS, rows, D), draw(batch, KEY_HEADS, rows, D), draw(batch, KEY_HEADS, rows, D),
                random.standard_normal((batch, 1, rows, rows) if self.bias else (1, 1, 1, 1)).astype(np.float32),
                random.integers(0, rows + 1, batch), positions, draw(WIDTH), (0.1 * random.standard_normal((1, WIDTH, WIDTH))).astype(np.float32)]

    def want(self, q, k, v, bias, lengths, positions, w, m):
        batch, rows = len(q), q.shape[2]
        q, k, v = q.astype(np.float64), np.repeat(k, HEADS // KEY_HEADS, 1).astype(np.float64), np.repeat(v, HEADS // KEY_HEADS, 1).astype(np.float64)
        scores = q @ k.swapaxes(2, 3) * D**-0.5 + (bias if self.bias else 0)
        parts = []
        for pattern in self.sources:
            allowed = np.zeros(scores.shape, bool)
            for b in range(batch):
                at = positions[b] if self.positions else np.arange(rows)
                some = lengths[b] if self.lengths else rows
                allowed[b, ..., :some] = patterns.relation(pattern, at, at[:some], HEADS, 1)
            parts.append(np.where(allowed, scores, -np.inf))
        scores, values = np.concatenate(parts, -1), np.concatenate([v] * len(self.sources), 2)
        top = scores.max(-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isinf(top), 0, top))
        total = weights.sum(-1, keepdims=True)
        out = (weights / np.where(total == 0, 1, total) @ values).swapaxes(1, 2).reshape(batch, rows, WIDTH)
        if self.projected:
            out = out @ m[0].astype(np.float64) + out
        return lod.gist_pool(out, self.ratio, self.kind, w)


CASES = {
    "mean": Pooled(), "query": Pooled(kind="query"), "cls": Pooled(kind="cls"), "f16": Pooled(dtype="f16"), "bf16": Pooled(dtype="bf16", kind="query"),
    "ratio 5": Pooled(ratio=5), "a gist longer than a block": Pooled(ratio=1100),
    "strided": Pooled(("causal and (window<left = 9, right = 0> or strided<stride = 24>)",)),
    "columns, heads, rows": Pooled(("per_head<[causal and fixed<block = 64, count = 8>, window<left = 3, right = 3> or global_queries<first = 2>]>",)),
    "hashed": Pooled(("random<block = 16, count = 2, seed = 7> and causal",)),
    "several sources": Pooled(("causal and window<left = 9, right = 0>", "strided<stride = 50> and causal")),
    "bias": Pooled(bias=True), "lengths": Pooled(lengths=True), "positions": Pooled(positions=True), "projected": Pooled(projected=True, kind="query"),
}


@pytest.fixture
def in_blocks(tools):
    """A module -> the same, its pooling fused so many rows at a time."""

    def make(module, rows, pieces=""):
        passes = ["--megactx-pieces-pipeline", f"--megactx-fuse-attention-pieces={pieces}", f"--megactx-fuse-lod=rows={rows}"]
        module = emulated.call(tools / "megactx-opt", *passes, text=module.encode()).decode()
        assert "scf.for" in module and "megactx.fused_attention" in module
        return module

    return make


@pytest.mark.parametrize("case", CASES)
def test_pooled_attention(case, program, in_blocks):
    spec = CASES[case]
    fused, plain = program(in_blocks(spec.module(), ROWS), "--fuse-lod=false"), program(spec.module(), "--fuse-lod=false")
    tolerance = attention.TOLERANCE[spec.dtype] * (4 if spec.projected else 1)
    block = max(1, ROWS // HEADS // spec.ratio) * spec.ratio
    for batch, rows in [(1, 2 * block + 77), (2, block + spec.ratio - 1), (1, spec.ratio), (2, spec.ratio - 1), (0, 3)]:
        inputs = spec.draw(batch, rows)
        got, = fused(inputs)
        want = spec.want(*inputs)
        assert got.shape == want.shape == (batch, rows // spec.ratio, WIDTH)
        error = np.abs(got - want).max(initial=0)
        assert error <= tolerance, f"{batch} x {rows} rows: error {error:.1e}"
        np.testing.assert_allclose(got, plain(inputs)[0], atol=tolerance / 2)


def test_pooled_attention_as_it_is_compiled(program):
    spec = Pooled()
    inputs = spec.draw(1, 32768 // HEADS + 100)
    np.testing.assert_allclose(program(spec.module())(inputs)[0], program(spec.module(), "--fuse-lod=false")(inputs)[0], atol=1e-5)


def rotated_module(keys=True):
    """Attention of gaussian rotary embeddings: rows [B, W, heads D] to heads, halves turned, joined; keys are as they are where not `keys`."""
    table, heads = f"tensor<?x?x{D // 2}xf32>", lambda h, d=D: f"tensor<?x{h}x?x{d}xf32>"
    lines = [f"%cos, %sin = megactx.gaussian_rope %p, %l {{ratio = 4, dim = {D}}} : (tensor<?x?xi64>, tensor<?x?xi64>) -> ({table}, {table})",
             "%c0 = arith.constant 0 : index", "%c1 = arith.constant 1 : index", "%b = tensor.dim %p, %c0 : tensor<?x?xi64>", "%n = tensor.dim %p, %c1 : tensor<?x?xi64>"]
    every = 'iterator_types = ["parallel", "parallel", "parallel", "parallel"]'
    maps = "affine_map<(b, h, i, d) -> (b, h, i, d)>, affine_map<(b, h, i, d) -> (b, i, d)>"
    for name, count in (("q", HEADS), ("k", KEY_HEADS)):
        whole, half = heads(count), heads(count, D // 2)
        lines += [f"%{name}s = tensor.expand_shape %{name} [[0], [1], [2, 3]] output_shape [%b, %n, {count}, {D}] : tensor<?x?x{count * D}xf32> into tensor<?x?x{count}x{D}xf32>",
                  f"%{name}e = tensor.empty(%b, %n) : {whole}",
                  f"%{name}t = linalg.generic {{indexing_maps = [affine_map<(b, h, i, d) -> (b, i, h, d)>, affine_map<(b, h, i, d) -> (b, h, i, d)>], {every}}} "
                  f"ins(%{name}s : tensor<?x?x{count}x{D}xf32>) outs(%{name}e : {whole}) {{", "^bb0(%in: f32, %out: f32):", "  linalg.yield %in : f32", f"}} -> {whole}",
                  f"%{name}h = tensor.empty(%b, %n) : {half}"]
        sizes = f"[%b, {count}, %n, {D // 2}] [1, 1, 1, 1]"
        for part, at in (("low", 0), ("high", D // 2)):
            lines.append(f"%{name}{part} = tensor.extract_slice %{name}t[0, 0, 0, {at}] {sizes} : {whole} to {half}")
        for part, first, second, sign in (("left", "low", "high", "subf"), ("right", "high", "low", "addf")):
            lines += [f"%{name}{part} = linalg.generic {{indexing_maps = [{maps}, {maps}, affine_map<(b, h, i, d) -> (b, h, i, d)>], {every}}} "
                      f"ins(%{name}{first}, %cos, %{name}{second}, %sin : {half}, {table}, {half}, {table}) outs(%{name}h : {half}) {{",
                      "^bb0(%x: f32, %c: f32, %y: f32, %s: f32, %out: f32):", "  %xc = arith.mulf %x, %c : f32", "  %ys = arith.mulf %y, %s : f32",
                      f"  %r = arith.{sign} %xc, %ys : f32", "  linalg.yield %r : f32", f"}} -> {half}"]
        lines += [f"%{name}i = tensor.insert_slice %{name}left into %{name}e[0, 0, 0, 0] {sizes} : {half} into {whole}",
                  f"%{name}r = tensor.insert_slice %{name}right into %{name}i[0, 0, 0, {D // 2}] {sizes} : {half} into {whole}"]
    q, k = heads(HEADS), heads(KEY_HEADS)
    source = f"!megactx.source<{k}, {k}>"
    lines += [f"%src = megactx.source {'%kr' if keys else '%kt'}, %v pattern(#megactx.pattern<dense>) : ({k}, {k}) -> {source}",
              f"%o = megactx.attention %qr, %src {{scale = {D**-0.5!r} : f32}} : ({q}, {source}) -> {q}"]
    arguments = f"%q: tensor<?x?x{WIDTH}xf32>, %k: tensor<?x?x{KEY_HEADS * D}xf32>, %v: {k}, %p: tensor<?x?xi64>, %l: tensor<?x?xi64>"
    return f"func.func @main({arguments}) -> {q} {{\n  " + "\n  ".join(lines) + f"\n  return %o : {q}\n}}\n"


def rotated_reference(q, k, v, positions, lods, keys=True):
    cos, sin = lod.gaussian_rope(positions, lods, 4, D, 10000.0)

    def headed(rows):
        return rows.reshape(*rows.shape[:2], rows.shape[2] // D, D).transpose(0, 2, 1, 3).astype(np.float64)

    def turned(rows):
        x = headed(rows)
        low, high = x[..., :D // 2], x[..., D // 2:]
        return np.concatenate([low * cos[:, None] - high * sin[:, None], high * cos[:, None] + low * sin[:, None]], -1)

    spec = attention.Spec("dense", heads=HEADS, key_heads=KEY_HEADS, head_dim=D, value_dim=D)
    return attention.reference(spec, turned(q), turned(k) if keys else headed(k), v)[0]


@pytest.mark.parametrize("options", [(), ("--fuse-lod=false",), ("--generic",)], ids=["fused", "plain", "generic"])
@pytest.mark.parametrize("keys", [True, False], ids=["queries and keys", "queries"])
def test_rotated_attention(keys, options, program):
    run, random = program(rotated_module(keys), *options), np.random.default_rng()
    for batch, rows in [(2, 150), (1, 1), (3, 33), (1, 0)]:
        q, k = (random.standard_normal((batch, rows, h * D)).astype(np.float32) for h in (HEADS, KEY_HEADS))
        v = random.standard_normal((batch, KEY_HEADS, rows, D)).astype(np.float32)
        lods = random.integers(0, 3, (batch, rows))
        positions = np.cumsum(4**lods, 1) - 1
        got, = run([q, k, v, positions, lods])
        want = rotated_reference(q, k, v, positions, lods, keys)
        error = np.abs(got - want).max(initial=0)
        assert got.shape == want.shape and error <= attention.TOLERANCE["f32"], f"{batch} x {rows}: error {error:.1e}"


def test_rotated_attention_on_a_gpu(gpu_program):
    test_rotated_attention(False, (), gpu_program)


@pytest.mark.parametrize("case", ["mean", "query", "strided", "several sources", "bias", "projected"])
def test_pooled_attention_on_a_gpu(case, gpu_program, in_blocks):
    spec = dataclasses.replace(CASES[case], ratio=8)
    module = in_blocks(spec.module(), 64, "max-head-dim=256 head-dim-multiple=8")
    run = gpu_program(module, "--fuse-lod=false")
    for batch, rows in [(1, 70), (2, 41), (1, 7)]:
        inputs = spec.draw(batch, rows)
        np.testing.assert_allclose(run(inputs)[0], spec.want(*inputs), atol=1e-4)
