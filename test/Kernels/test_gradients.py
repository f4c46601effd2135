"""Gradients of attention, by kernels and by the generic lowering, against a float64 reference: patterns, ragged sizes, dtypes, run-time offsets."""

import dataclasses

import numpy as np
import pytest

import attention
import gradients
import sources
from test_kernels import BLOCK_PATTERNS, PATTERNS


@pytest.fixture
def check(program):
    """A spec, or several that differ in the pattern alone, and sizes -> nothing; an AssertionError where gradients are wrong."""

    def run(specs, *sizes, **more):
        specs = specs if isinstance(specs, list) else [dataclasses.replace(specs, given=True)]
        options = ["--generic"] if specs[0].generic else []
        gradients.check(program(attention.together([spec.module() for spec in specs]), *options), specs, *sizes, **more)

    return run


# Tests of one piece per element are tested of attention: one is enough here.
@pytest.mark.parametrize("half", [0, 1])
def test_patterns_at_ragged_sizes(half, check):
    chosen = [pattern for pattern in PATTERNS if "random" not in pattern] + PATTERNS[13:14]
    for queries, keys in [(1, 1), (33, 33), (131, 131), (5, 70), (150, 20), (0, 3), (3, 0)]:
        check([gradients.Spec(pattern=pattern) for pattern in chosen[half::2]], 2, queries, keys)


@pytest.mark.parametrize("more", [dict(), dict(softcap=3.0), dict(dtype="bf16", head_dim=33, value_dim=17), dict(offset_per_batch=True, lengths=True), dict(segments=True, pattern="segments")], ids=str)
def test_generic_lowering(more, check):
    spec = gradients.Spec(**dict(pattern="causal and (window<left = 6, right = 0> or strided<stride = 5>)", generic=True) | more)
    for queries, keys in [(33, 33), (5, 70), (3, 0)] if not spec.segments else [(33, 33)]:
        check(spec, 2, queries, keys, offset=[0, 40] if spec.offset_per_batch else 0)


@pytest.mark.parametrize("dtype, head_dim, value_dim", [("f32", 33, 17), ("f32", 64, 64), ("f16", 64, 64), ("bf16", 33, 17), ("f32", 520, 16)])
def test_head_dim(dtype, head_dim, value_dim, check):
    check(gradients.Spec(pattern="causal and (window<left = 40, right = 0> or strided<stride = 8>)", dtype=dtype, head_dim=head_dim, value_dim=value_dim), 1, 177, 177)


@pytest.mark.parametrize("head_dim, value_dim, chosen", [(16, 64, [0, 3]), (80, 48, [1, 2, 8])])
def test_bf16_in_multiples_of_tiles(head_dim, value_dim, chosen, check):
    """Whose products a CPU with AMX has by tiles: blocks of 64 rows, of which a masked one may end anywhere."""
    shape = dict(dtype="bf16", head_dim=head_dim, value_dim=value_dim)
    for queries, keys in [(64, 64), (131, 131), (70, 300), (300, 129)]:
        check([gradients.Spec(pattern, **shape) for pattern in [*(PATTERNS[i] for i in chosen), BLOCK_PATTERNS[1]]], 2, queries, keys)
    check(gradients.Spec("window<left = 70, right = 9>", bias=True, softcap=3.0, lengths=True, **shape), 2, 200, 200, bias=(4, 0, 2))


def test_long_rows_of_many_blocks(check):
    check(gradients.Spec(pattern="causal and window<left = 100, right = 0>", heads=2, key_heads=1, head_dim=32, value_dim=32), 1, 700, 700)


def test_query_offset(check):
    patterns = ["causal and (window<left = 6, right = 0> or strided<stride = 5>)", "block_local<block = 8>", "columns<block = 6, first = 1, count = 2>"]
    for past, new in [(0, 9), (20, 1), (63, 5), (100, 40), (-7, 30)]:
        check([gradients.Spec(pattern, offset=True) for pattern in patterns], 1, new, max(new, past + new), offset=past)


@pytest.mark.parametrize("pattern, more", list(zip(BLOCK_PATTERNS, [dict(softcap=3.0, bias=True), dict(), dict(dtype="bf16"), dict()], strict=True)))
def test_tests_in_blocks(pattern, more, check):
    for queries, past in [(333, 0), (100, 233), (0, 5)]:
        check(gradients.Spec(pattern=pattern, offset=True, **more), 1, queries, past + queries, offset=past, bias=(4, 0, 1) if "bias" in more else None)


def test_query_offset_of_each_batch_and_lengths(check):
    spec = gradients.Spec(pattern="causal and strided<stride = 5>", offset_per_batch=True, lengths=True)
    for new, keys in [(9, 80), (40, 90)]:
        check(spec, 3, new, keys, offset=[0, keys // 3, keys - new])


def test_segments(check):
    patterns = ["causal and segments", "segments and window<left = 5, right = 5>"]
    check([gradients.Spec(pattern, segments=True) for pattern in patterns], 2, 90, 90)


def test_steps(check):
    check(gradients.Spec(pattern="causal and window<left = 30, right = 0>", query_step=2, key_step=3), 1, 60, 41)


def test_softcap(check):
    check(gradients.Spec(pattern="causal", softcap=3.0), 1, 150, 150)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (1, 0, 1), (4, 0, 2)], ids=str)
def test_bias(shape, check):
    """shape: heads, queries (0 = all), batch of the bias; keys are never broadcast."""
    check(gradients.Spec(pattern="causal", bias=True), 2, 85, 85, bias=shape)


@pytest.mark.parametrize("shape, bias_type", [((4, 0, 2), "tensor<?x4x?x?xf32>"), ((1, 0, 1), "tensor<1x1x?x?xf32>"), ((4, 1, 1), "tensor<1x4x1x?xf32>")], ids=str)
def test_gradient_of_a_bias(shape, bias_type, check):
    check(gradients.Spec(pattern="causal or window<left = 3, right = 3>", bias=True, bias_type=bias_type, bias_gradients=True), 2, 40, 40, bias=shape)


def test_generic_lowering_on_a_gpu(gpu_program):
    spec = gradients.Spec(pattern="causal and strided<stride = 4>", dtype="f16", bias=True, bias_gradients=True, bias_type="tensor<?x4x?x?xf32>")
    gradients.check(gpu_program(spec.module(), "--generic"), [spec], 1, 24, 24, bias=(4, 0, 1))


CAUSAL = "causal and (window<left = 9, right = 0> or strided<stride = 4>)"


@pytest.mark.parametrize("pattern, more", [
    (CAUSAL, dict(dtype="bf16", head_dim=128, value_dim=96, heads=3, key_heads=3)),
    (CAUSAL, dict(dtype="f16", head_dim=40, value_dim=24)),
    (PATTERNS[6], dict(dtype="bf16")),
    (PATTERNS[7], dict(dtype="f32", value_dim=8)),
    (PATTERNS[8], dict(dtype="f16")),
    (PATTERNS[10], dict(dtype="bf16")),
    (PATTERNS[11], dict(dtype="f16")),
    (PATTERNS[17], dict(dtype="bf16")),
], ids=lambda x: str(x)[:60])
def test_gpu_kernels(pattern, more, gpu_program):
    spec = gradients.Spec(pattern=pattern, given=True, **more)
    run = gpu_program(spec.module())
    for sizes in [(2, 131, 131), (1, 5, 70), (1, 150, 20), (1, 3, 0), (1, 0, 3)]:
        gradients.check(run, [spec], *sizes)


@pytest.mark.parametrize("pattern, more, offset, bias", [
    (BLOCK_PATTERNS[1], dict(dtype="f16", offset=True), 70, None),
    (BLOCK_PATTERNS[3], dict(dtype="bf16", softcap=3.0, bias=True), 0, (1, 0, 2)),
    ("causal and strided<stride = 5>", dict(dtype="f16", offset_per_batch=True, lengths=True), [0, 200], None),
    ("causal and segments", dict(dtype="f16", segments=True), 0, None),
    ("causal and window<left = 30, right = 0>", dict(dtype="bf16", bias=True, bias_per_key=True, bias_type="tensor<?x?x1x?xf32>"), 0, (4, 1, 1)),
], ids=["blocks", "blocks, softcap, bias", "offsets, lengths", "segments", "bias per key"])
def test_gpu_kernels_of_more_operands(pattern, more, offset, bias, gpu_program):
    spec = gradients.Spec(pattern=pattern, given=True, **more)
    queries = 163
    past = max(offset) if isinstance(offset, list) else offset
    gradients.check(gpu_program(spec.module()), [spec], 2, queries, queries + past, offset=offset, bias=bias)


@pytest.mark.parametrize("pattern, bias, bias_type, more", [
    (CAUSAL, (4, 0, 1), "tensor<1x4x?x?xf32>", dict(dtype="bf16", diagonals=True)),
    (PATTERNS[6], (1, 0, 1), "tensor<1x1x?x?xf32>", dict(dtype="f32", softcap=3.0, diagonals=True)),
    (CAUSAL, (1, 1, 1), "tensor<1x1x1x?xf32>", dict(dtype="f16", softcap=3.0)),
    (BLOCK_PATTERNS[1], (1, 0, 2), "tensor<?x1x?x?xf32>", dict(dtype="f16", head_dim=128, value_dim=96)),
    ("causal", (4, 0, 2, 1), "tensor<?x4x?x1xf32>", dict(dtype="bf16")),
], ids=str)
def test_gpu_kernels_of_gradients_of_biases(pattern, bias, bias_type, more, gpu_program):
    """By distance, per key, a matrix, per query: each also summed over heads, or the batch."""
    spec = gradients.Spec(pattern=pattern, given=True, bias=True, bias_gradients=True, bias_type=bias_type, **more)
    run = gpu_program(spec.module())
    for queries, keys in [(131, 131), (5, 70), (150, 20), (3, 0), (0, 3)]:
        gradients.check(run, [spec], 2, queries, keys, bias=bias)


def test_gpu_kernels_far_from_the_first_position(gpu_program):
    """Queries are numbered by rows, not by positions."""
    spec = gradients.Spec(pattern="strided<stride = 4>", dtype="f16", given=True, offset=True)
    gradients.check(gpu_program(spec.module()), [spec], 1, 10, 10, offset=2**33 + 1)


def test_gpu_kernels_of_scores_far_below_zero(gpu_program):
    """Queries past the end are zeros, whose scores then are far above all others."""
    spec = gradients.Spec(pattern="dense", dtype="f16", given=True)
    gradients.check(gpu_program(spec.module()), [spec], 1, 70, 64, apart=8)


@pytest.mark.parametrize("target, others", [("program", ()), ("gpu_program", (sources.Source("causal and window<left = 9, right = 0>", key_step=3),))], ids=["cpu", "gpu"])
def test_sources_at_positions_of_their_own(target, others, request):
    """Blocks of keys whose first is not at position 0, and queries in no order."""
    spec = sources.Spec((sources.Source("causal", positions=True, lengths=True), *others), positions=True, gradients=True)
    random = np.random.default_rng()
    run = request.getfixturevalue(target)(spec.module())
    at, own = random.integers(0, 150, (2, 70)), np.sort(random.integers(20, 150, (2, 80)), axis=1)
    at[:, ::2] += 2**40  # far, and further than 32 bits count
    own[:, 60:] += 2**40
    given = sources.inputs(spec, random, 2, 70, [80, 40][:1 + len(others)], at, [own], [np.array([80, 3])])
    dout, dlse = random.standard_normal((2, 2, 70, 16)).astype(np.float32), random.standard_normal((2, 2, 70)).astype(np.float32)
    for got, want in zip(run([*given, dout, dlse]), sources.gradients_of(spec, given, dout, dlse), strict=True):
        assert np.abs(got - want).max() < 3e-5 * max(1, np.abs(want).max())
