"""Attention kernels and the generic lowering against a float64 reference: patterns, ragged sizes, dtypes, run-time offsets."""

import dataclasses

import numpy as np
import pytest

import attention
import patterns
import sources

PATTERNS = [
    "dense",
    "causal",
    "window<left = 5, right = 3>",
    "causal and (window<left = 9, right = 0> or strided<stride = 4>)",
    "strided<stride = 7>",
    "causal and fixed<block = 8, count = 2>",
    "causal and fixed<block = 8, count = 2, slot = head>",
    "columns<block = 6, first = 1, count = 2>",
    "window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>",
    "window<left = 2, right = 2> or global_keys<indices = [4, 9]> or global_queries<indices = [1, 5]>",
    "block_local<block = 16> minus window<left = 1, right = 1>",
    "per_head<[causal, strided<stride = 3>, window<left = 4, right = 0>]>",
    "per_head<0: dense, 1-2: strided<stride = 2>, 3-: block_local<block = 5>>",
    "random<block = 4, count = 2, seed = 7> and causal",
    "random<block = 4, count = 3, seed = 7> and strided<stride = 3>",
    "blocks<block = 8, row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 1, 2]>",
    "strided<stride = 4> and columns<block = 6, first = 0, count = 3>",
    "strided<stride = 2> and columns<block = 2, first = 1, count = 1>",  # one class, and rows in none
    "causal minus causal",
    "neighborhood<grid = [9], radii = [2, 3]>",
    "where<condition = k floordiv 3 le p floordiv 2 and (p mod 5 == 2 or (p - k) * (h + 2) lt 40)>",
    "neighborhood<grid = [4, 6], radii = [1, 1, 2], first = 1> or global_keys<first = 1> or global_queries<first = 1>",
]

# Tests that are the same for whole blocks of queries and keys.
BLOCK_PATTERNS = [
    "random<block = 16, count = 3, seed = 7> and causal",
    "window<left = 20, right = 20> or global_keys<first = 16> or global_queries<first = 5> or random<block = 24, count = 2, seed = 1>",
    "per_head<[random<block = 100, count = 2, seed = 2>, blocks<block = 32, row_ptr = [0, 2, 3, 5, 6], col_idx = [0, 3, 1, 0, 2, 3]>]>",
    "dense minus random<block = 128, count = 1, seed = 5>",
]


@pytest.fixture(params=["kernels", "generic"])
def compiled(request, compiled):
    """Specifications -> Kernel, by both lowerings."""
    return lambda *specs: compiled(*(dataclasses.replace(spec, generic=request.param == "generic") for spec in specs))


# What the generic lowering makes no difference of.
of_kernels = pytest.mark.parametrize("compiled", ["kernels"], indirect=True)


def test_patterns_at_ragged_sizes(compiled):
    kernel = compiled(*map(attention.Spec, PATTERNS))
    for queries, keys in [(1, 1), (7, 7), (33, 33), (64, 64), (131, 131), (5, 70), (150, 20), (0, 3), (3, 0)]:
        attention.check(kernel, batch=2, queries=queries, keys=keys)


@pytest.mark.parametrize("dtype, head_dim, value_dim", [("f32", 8, 8), ("bf16", 8, 8), ("f32", 33, 17), ("f16", 33, 17), ("bf16", 33, 17), ("f32", 64, 64), ("bf16", 64, 64),
                                                        ("f16", 64, 64), ("bf16", 128, 128), ("f16", 256, 256), ("f32", 256, 256), ("bf16", 520, 16)])
def test_head_dim(dtype, head_dim, value_dim, compiled):
    spec = attention.Spec(pattern="causal and (window<left = 40, right = 0> or strided<stride = 8>)", dtype=dtype,
                          head_dim=head_dim, value_dim=value_dim)
    attention.check(compiled(spec), batch=1, queries=77, keys=77)


@of_kernels
@pytest.mark.parametrize("head_dim, value_dim, chosen", [(16, 64, [0, 1, 3, 5, 7]), (80, 48, [2, 4, 6, 8]), (64, 16, [1, 2, 13])])
def test_bf16_in_multiples_of_tiles(head_dim, value_dim, chosen, compiled):
    """Whose products a CPU with AMX has by tiles: blocks of 64 keys, of which a masked one may end anywhere."""
    shape = dict(dtype="bf16", head_dim=head_dim, value_dim=value_dim)
    kernel = compiled(*(attention.Spec(pattern, **shape) for pattern in [*(PATTERNS[i] for i in chosen), BLOCK_PATTERNS[1], "causal minus strided<stride = 50>"]))
    for queries, keys in [(64, 64), (65, 63), (131, 131), (150, 20), (70, 300), (300, 129)]:
        attention.check(kernel, batch=2, queries=queries, keys=keys)
    kernel = compiled(*(attention.Spec(pattern, bias=True, softcap=softcap, lengths=True, **shape) for pattern, softcap in [("causal", 0.0), ("window<left = 70, right = 9>", 3.0)]))
    for queries, bias in [(90, (4, 0, 2)), (200, (1, 1, 1))]:
        attention.check(kernel, batch=2, queries=queries, keys=200, bias=bias)


@pytest.mark.parametrize("factor", [-0.125, 0.0])
def test_scales_of_any_sign_in_bf16(factor, compiled):
    """A maximum of scores times a negative factor is that of the lowest."""
    kernel = compiled(attention.Spec("causal", dtype="bf16", head_dim=64, value_dim=32, scale_factor=factor))
    attention.check(kernel, batch=1, queries=200, keys=200)


@of_kernels
def test_many_rows_in_bf16(compiled):
    """Of which blocks of 128 read the same keys."""
    kernel = compiled(*(attention.Spec(pattern, dtype="bf16", head_dim=32, value_dim=32, heads=2) for pattern in ["causal", "window<left = 100, right = 40>"]))
    attention.check(kernel, batch=1, queries=1100, keys=1100)


@of_kernels
@pytest.mark.parametrize("head_dim, value_dim", [(64, 64), (80, 48)])
def test_few_rows_of_heads_in_bf16(head_dim, value_dim, compiled):
    """Rows of heads that share keys in the lanes of one vector, and keys shared among tasks in parts of any length."""
    shape = dict(dtype="bf16", heads=8, key_heads=1, head_dim=head_dim, value_dim=value_dim, offset=True)
    kernel = compiled(*(attention.Spec(pattern, **shape) for pattern in ["causal", "causal and window<left = 1000, right = 0>", "causal and strided<stride = 3>"]))
    for queries, keys in [(1, 3000), (2, 1100), (2, 50)]:
        attention.check(kernel, batch=1, queries=queries, keys=keys, offset=keys - queries)


@pytest.mark.parametrize("at", [0, 70, 199])
def test_what_is_no_number_stays_none_in_bf16(at, compiled):
    """Rows whose scores are none, whatever their blocks make of a maximum that is none."""
    kernel = compiled(attention.Spec("causal", dtype="bf16", head_dim=32, value_dim=32, heads=2))
    inputs, given = attention.draw_inputs(kernel.spec, 1, 200, 200)
    inputs[0][0, 0, at] = np.nan
    want, _ = attention.reference(kernel.spec, *given)
    assert np.isnan(want[0, 0, at]).all() and not np.isnan(np.delete(want[0, 0], at, 0)).any()
    got = kernel.run(inputs)[0]
    assert np.isnan(got[0, 0, at]).all()
    np.testing.assert_allclose(np.delete(got[0, 0], at, 0), np.delete(want[0, 0], at, 0), atol=attention.TOLERANCE["bf16"])


def test_query_offset_of_a_cache(compiled):
    kernel = compiled(attention.Spec(pattern="causal and (window<left = 6, right = 0> or strided<stride = 5>)", offset=True))
    for past, new in [(0, 9), (20, 1), (63, 5), (100, 40)]:
        attention.check(kernel, batch=1, queries=new, keys=past + new, offset=past)


def test_query_offset_of_each_batch(compiled):
    patterns = ["causal", "causal and window<left = 6, right = 0>", "causal and strided<stride = 5>", "block_local<block = 8>"]
    kernel = compiled(*(attention.Spec(pattern, offset_per_batch=True, lengths=True) for pattern in patterns))
    for new, keys in [(1, 70), (9, 80), (40, 90), (2, 3000)]:
        attention.check(kernel, batch=3, queries=new, keys=keys, offset=[0, keys // 3, keys - new])


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (1, 0, 1), (4, 0, 1)], ids=str)
def test_bias_broadcasts(shape, compiled):
    """shape: heads, queries (0 = all), batch of the bias; keys are never broadcast."""
    kernel = compiled(attention.Spec(pattern="causal", bias=True))
    attention.check(kernel, batch=2, queries=21, keys=21, bias=shape)


@pytest.mark.parametrize("rows", [1, 40])
def test_biases_as_large_as_numbers_are(rows, compiled):
    """A row whose biases are all the least number weighs its keys alike, as the sums of scores and biases do; the largest takes all."""
    kernel = compiled(attention.Spec(pattern="causal", bias=True))
    inputs, given = attention.draw_inputs(kernel.spec, 2, 40, 40, bias=(1, 0 if rows > 1 else 1, 1))
    bias, limits = inputs[-1], np.finfo(np.float32)
    bias[...] = limits.min
    bias[..., :rows // 2, 3] = limits.max
    with np.errstate(over="ignore"):
        want, _ = attention.reference(kernel.spec, *given)
    np.testing.assert_allclose(kernel.run(inputs)[0], want, atol=1e-5)


@pytest.mark.parametrize("least", [-1e20, np.finfo(np.float32).min])
@pytest.mark.parametrize("queries", [1, 5])
def test_parts_of_keys_that_a_finite_bias_hides(queries, least, compiled):
    """Few queries of many keys: of a row that the bias hides altogether all keys weigh alike, however many are in each part; other rows have none of theirs."""
    kernel = compiled(attention.Spec(pattern="causal", bias=True, offset=True))
    inputs, given = attention.draw_inputs(kernel.spec, 2, queries, 3001, 3001 - queries, bias=(1, 0, 2))
    bias = inputs[-1]
    bias[0], bias[1, ..., :2000] = least, least
    want, _ = attention.reference(kernel.spec, *given)
    np.testing.assert_allclose(kernel.run(inputs)[0], want, atol=1e-5)


@pytest.mark.parametrize("pattern, more", list(zip(BLOCK_PATTERNS, [dict(), dict(softcap=3.0, bias=True), dict(lengths=True, dtype="bf16"), dict()], strict=True)))
def test_tests_in_blocks(pattern, more, compiled):
    kernel = compiled(attention.Spec(pattern=pattern, offset=True, **more))
    for queries, past in [(333, 0), (100, 233), (3, 1300), (1, 2599), (0, 5)]:
        attention.check(kernel, 2, queries, past + queries, offset=past, bias=(4, 0, 2) if kernel.spec.bias else None)


def test_softcap(compiled):
    attention.check(compiled(attention.Spec(pattern="causal", softcap=3.0)), batch=1, queries=50, keys=50)


def test_lengths(compiled):
    patterns = ["dense", "causal", "strided<stride = 3>", "random<block = 4, count = 1, seed = 3>"]
    kernel = compiled(*(attention.Spec(pattern, lengths=True) for pattern in patterns))
    for queries, keys in [(1, 1), (19, 19), (70, 150)]:
        attention.check(kernel, batch=4, queries=queries, keys=keys)


@pytest.mark.parametrize("pattern", ["segments", "causal and segments", "segments and (window<left = 5, right = 5> or strided<stride = 4>)"])
def test_segments(pattern, compiled):
    kernel = compiled(attention.Spec(pattern, segments=True, offset=True, lengths="window" not in pattern))
    for queries, keys in (70, 70), (100, 300), (1, 90):
        attention.check(kernel, 2, queries, keys, offset=keys - queries)


@pytest.mark.parametrize("query_step, key_step", [(1, 4), (4, 1), (2, 3)])
def test_steps(query_step, key_step, compiled):
    patterns = ["causal", "causal and strided<stride = 6>", "columns<block = 8, first = 3, count = 4>"]
    # Sources of a pyramid have steps that are powers of its ratio.
    patterns += ["pyramid<ratio = 4, windows = [2, 2]>"] if key_step in (1, 4) else []
    kernel = compiled(*(attention.Spec(pattern, query_step=query_step, key_step=key_step, offset=True) for pattern in patterns))
    for queries, keys, offset in [(9, 9, 0), (50, 77, 5)]:
        attention.check(kernel, batch=1, queries=queries, keys=keys, offset=offset)


@pytest.mark.parametrize("pattern, dtype", [("causal", "f32"), ("causal", "bf16"), ("window<left = 1999, right = 0>", "f32"),
                                            ("causal and strided<stride = 3>", "bf16"),
                                            ("causal and (window<left = 700, right = 0> or strided<stride = 16>)", "f32"),
                                            ("random<block = 64, count = 20, seed = 5> and causal", "bf16")])
@of_kernels
def test_few_queries_share_their_keys_among_tasks(pattern, dtype, compiled):
    """Decoding: parts of a row's keys are merged, also into what earlier links of a chain have left."""
    kernel = compiled(attention.Spec(pattern=pattern, dtype=dtype, head_dim=24, value_dim=20, offset=True))
    for batch, queries, past in [(1, 1, 4999), (1, 3, 2600), (2, 9, 1291), (1, 1, 1023), (1, 2, 0)]:
        attention.check(kernel, batch=batch, queries=queries, keys=past + queries, offset=past)


@of_kernels
def test_few_queries_share_keys_of_ragged_lengths(compiled):
    kernel = compiled(attention.Spec(pattern="dense", lengths=True, bias=True))
    attention.check(kernel, batch=5, queries=2, keys=3000, bias=(4, 0, 5))


@of_kernels
@pytest.mark.parametrize("heads, key_heads", [(20, 1), (21, 3), (8, 8), (12, 2)], ids=str)
def test_few_queries_of_all_heads_that_share_keys(heads, key_heads, compiled):
    """Rows of several heads stand in the lanes together, and more heads than have a place there are several tasks'."""
    patterns = ["causal and (window<left = 40, right = 0> or strided<stride = 3>)", "per_head<[causal, strided<stride = 2>]>", "random<block = 64, count = 3, seed = 5> and causal"]
    shape = dict(heads=heads, key_heads=key_heads, head_dim=40, value_dim=24, dtype="f16")
    for kernel in [compiled(*(attention.Spec(pattern, offset=True, **shape) for pattern in patterns)),
                   compiled(attention.Spec("causal and strided<stride = 3>", offset_per_batch=True, lengths=True, **shape))]:
        for queries, keys in [(1, 1500), (2, 99), (3, 200), (5, 64), (17, 90)]:
            past = keys - queries
            attention.check(kernel, batch=2, queries=queries, keys=keys, offset=past if kernel.spec.offset else [past, past // 2])


@of_kernels
@pytest.mark.parametrize("bias", [(1, 1, 1), (6, 1, 2), (1, 0, 2), (6, 0, 1)], ids=str)
def test_biases_of_rows_of_several_heads(bias, compiled):
    """bias: heads, queries (0 = all) and batch of it; those of one head are for all."""
    kernel = compiled(attention.Spec("causal", heads=6, key_heads=2, offset=True, bias=True))
    for queries, keys in [(1, 30), (2, 700), (7, 60)]:
        attention.check(kernel, batch=2, queries=queries, keys=keys, offset=keys - queries, bias=bias)


@pytest.mark.parametrize("first", [-8, -37])
def test_random_blocks_of_keys_before_the_first_position(first, program):
    """No row sees them, whatever the blocks of the others."""
    spec = sources.Spec((sources.Source("random<block = 8, count = 3, seed = 2>", positions=True),), positions=True)
    rows = np.arange(60)[None]
    given = sources.inputs(spec, np.random.default_rng(), 1, 60, [60], rows, [rows + first])
    for got, want in zip(program(spec.module())(given), sources.reference(spec, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
