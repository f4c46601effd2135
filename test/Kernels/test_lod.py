"""Level-of-detail ops, compiled, against lod.py: ragged and dynamic sizes, element types, and values that are wrong at run time."""

import numpy as np
import pytest

import attention
import lod


@pytest.fixture(params=["cpu", "gpu"])
def program(request, program):
    """On the CPU, and as a GPU would run it."""
    return program if request.param == "cpu" else request.getfixturevalue("gpu_program")


def near(got, want, tolerance):
    assert got.shape == want.shape
    error = np.abs(got - want).max(initial=0)
    assert error <= tolerance, f"error {error:.1e}"


def narrowed(names, dtype):
    """Lines that make %n_x of this type from %x of f32, and the type of x: (text, name of x, type of x)."""
    if dtype == "f32":
        return "", lambda name: f"%{name}"
    text = "".join(f"  %n_{name} = arith.truncf %{name} : {shape}xf32> to {shape}x{dtype}>\n" for name, shape in names.items())
    return text, lambda name: f"%n_{name}"


def widened(name, shape, dtype):
    if dtype == "f32":
        return f"  return {name} : {shape}xf32>\n"
    return f"  %wide = arith.extf {name} : {shape}x{dtype}> to {shape}xf32>\n  return %wide : {shape}xf32>\n"


def pool_module(kind, ratio, dtype, shape="tensor<?x?x?", out="tensor<?x?x?"):
    text, of = narrowed({"x": shape, **({"w": "tensor<?"} if kind == "query" else {})}, dtype)
    weight = (f" weight({of('w')})", f", tensor<?x{dtype}>") if kind == "query" else ("", "")
    return (f"func.func @main(%x: {shape}xf32>{', %w: tensor<?xf32>' if kind == 'query' else ''}) -> {out}xf32> {{\n{text}"
            f"  %r = megactx.gist_pool {kind} {of('x')}{weight[0]} {{ratio = {ratio}}} : ({shape}x{dtype}>{weight[1]}) -> {out}x{dtype}>\n"
            f"{widened('%r', out, dtype)}}}\n")


@pytest.mark.parametrize("kind", ["mean", "query", "cls"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_gist_pool(kind, dtype, program):
    ratio = 5
    run = program(pool_module(kind, ratio, dtype))
    random = np.random.default_rng()
    for batch, rows, width in [(1, 5, 1), (3, 44, 7), (2, 40, 33), (2, 4, 8), (1, 0, 3), (0, 11, 3), (2, 1003, 16)]:
        x, w = (attention.rounded(random.standard_normal(s), dtype) for s in [(batch, rows, width), width])
        got, = run([x, w] if kind == "query" else [x])
        near(got, lod.gist_pool(x, ratio, kind, w), attention.TOLERANCE[dtype])


@pytest.mark.parametrize("kind", ["mean", "query", "cls"])
def test_gist_pool_of_static_size(kind, program):
    run = program(pool_module(kind, 32, "f32", shape="tensor<2x100x8", out="tensor<2x3x8"))
    random = np.random.default_rng()
    x, w = random.standard_normal((2, 100, 8)).astype(np.float32), random.standard_normal(8).astype(np.float32)
    x[:, 96:] = np.nan  # an incomplete block is not read
    near(run([x, w] if kind == "query" else [x])[0], lod.gist_pool(x, 32, kind, w), 2e-5)


def test_gist_pool_of_large_scores(program):
    run = program(pool_module("query", 4, "f32"))
    x = np.array([[[1e4], [3.0], [-1e4], [9999.0]]], dtype=np.float32)
    near(run([x, np.array([5], dtype=np.float32)])[0], np.array([[[1e4]]]), 1e-2)


def rope_module(positions, ratio=32, dim=16, base=10000.0):
    return f"""func.func @main(%p: tensor<?x?x{positions}>, %l: tensor<?x?xi64>) -> (tensor<?x?x{dim // 2}xf32>, tensor<?x?x{dim // 2}xf32>) {{
  %c, %s = megactx.gaussian_rope %p, %l {{base = {base!r} : f32, dim = {dim}, ratio = {ratio}}} : (tensor<?x?x{positions}>, tensor<?x?xi64>) -> (tensor<?x?x{dim // 2}xf32>, tensor<?x?x{dim // 2}xf32>)
  return %c, %s : tensor<?x?x{dim // 2}xf32>, tensor<?x?x{dim // 2}xf32>
}}
"""


@pytest.mark.parametrize("positions", ["i64", "i32", "f32"])
def test_gaussian_rope(positions, program):
    run = program(rope_module(positions))
    random = np.random.default_rng()
    for shape in [(1, 1), (3, 65), (2, 0)]:
        p = random.integers(0, 2_000_000, shape).astype({"i64": np.int64, "i32": np.int32, "f32": np.float32}[positions])
        if positions == "f32":
            p = p / np.float32(8)
        l = random.integers(-1, 4, shape)
        for got, want in zip(run([p, l]), lod.gaussian_rope(p, np.maximum(l, 0), 32, 16, 10000.0)):
            near(got, want, 1e-6)


def test_gaussian_rope_is_not_plain_at_lod_0(program):
    cos, sin = program(rope_module("i64"))([np.zeros((1, 1), np.int64), np.array([[0]])])
    near(cos[0, 0, :1], np.array([np.exp(-0.5)]), 1e-6)
    assert not sin.any()


GATHER = """func.func @main(%l: tensor<?x?xi64>, %p: tensor<?x?xi64>, %x: tensor<?x?x?xf32>, %g: tensor<?x?x?xf32>, %h: tensor<?x?x?xf32>, %k: tensor<?xi64>) -> tensor<?x?x?xf32> {
  %n = arith.index_cast %k : tensor<?xi64> to tensor<?xindex>
  %c = megactx.lod_gather %l, %p levels(%x, %g, %h) lengths(%n) {ratio = 4}
      : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x?xf32>, tensor<?x?x?xf32>, tensor<?x?x?xf32>, tensor<?xindex>) -> tensor<?x?x?xf32>
  return %c : tensor<?x?x?xf32>
}
"""


def gather_inputs(batch, entries, tokens, width):
    random = np.random.default_rng()
    levels = [random.standard_normal((batch, tokens // 4**l, width)).astype(np.float32) for l in range(3)]
    lods = random.integers(0, 1 + max(l for l in range(3) if tokens >= 4**l), (batch, entries))
    positions = random.integers(0, tokens // 4**lods * 4**lods)
    return [lods, positions, *levels, random.integers(0, entries + 1, batch)]


def test_lod_gather(program):
    run = program(GATHER)
    for shape in [(2, 7, 50, 3), (1, 1, 1, 1), (3, 0, 16, 2), (4, 100, 15, 20), (1, 9, 64, 5)]:
        lods, positions, *levels, lengths = inputs = gather_inputs(*shape)
        for b, length in enumerate(lengths):  # what is no entry may hold anything
            lods[b, length:], positions[b, length:] = -1, 10**9
        near(run(inputs)[0], lod.lod_gather(lods, positions, levels, lengths, 4), 0)


@pytest.mark.parametrize("wrong", [("lod", 3), ("lod", -1), ("lod", 2**40), ("position", -1), ("position", 50), ("position", 2**62), ("position", 48)])
def test_lod_gather_of_no_row(wrong, program):
    lods, positions, *rest = inputs = gather_inputs(2, 7, 50, 3)
    rest[-1][:] = 7
    if wrong == ("position", 48):
        lods[1, 3] = 2  # 50 tokens make 3 whole blocks of 16
    (lods if wrong[0] == "lod" else positions)[1, 3] = wrong[1]
    with pytest.raises(AssertionError, match="megactx.lod_gather: an entry has a lod that is no level's or a position past the level's rows"):
        program(GATHER)(inputs)


def lens_module(dtype):
    shapes = {"f": "tensor<?x?x?", "w": "tensor<?"}
    text, of = narrowed(shapes, dtype)
    bias = "" if dtype == "f32" else f"  %n_c = arith.truncf %c : tensor<f32> to tensor<{dtype}>\n"
    return f"""func.func @main(%f: tensor<?x?x?xf32>, %w: tensor<?xf32>, %c: tensor<f32>, %l: tensor<?x?xi32>) -> tensor<?x?xf32> {{
{text}{bias}  %s = megactx.lens_score {of('f')}, {of('w')} bias({of('c')}) lods(%l) {{top = 2}} : (tensor<?x?x?x{dtype}>, tensor<?x{dtype}>, tensor<{dtype}>, tensor<?x?xi32>) -> tensor<?x?xf32>
  return %s : tensor<?x?xf32>
}}
"""


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_lens_score(dtype, program):
    run = program(lens_module(dtype))
    random = np.random.default_rng()
    for batch, entries, width in [(2, 50, 8), (1, 1, 1), (3, 7, 65), (2, 0, 4)]:
        f, w, c = (attention.rounded(random.standard_normal(s), dtype) for s in [(batch, entries, width), width, ()])
        lods = random.integers(-1, 4, (batch, entries)).astype(np.int32)
        got, = run([f, w, c, lods])
        near(got, lod.lens_score(f, w, c, lods, 2), 1e-5)
        assert (got[lods <= 0] <= 0).all() and (got[lods >= 2] >= 0).all()


def test_lens_score_keeps_nan(program):
    f = np.full((1, 3, 1), np.nan, np.float32)
    got, = program(lens_module("f32"))([f, np.ones(1, np.float32), np.float32(0), np.array([[0, 1, 2]], np.int32)])
    assert np.isnan(got).all()
