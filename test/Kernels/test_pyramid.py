"""Attention over several sources with one softmax, and rows at positions of their own."""

import itertools

import numpy as np
import pytest

import attention
import sources
from sources import Source, Spec

GENERIC = pytest.mark.parametrize("options", [(), ("--generic",)], ids=["kernels", "generic"])


def check(program, spec, given, options=(), tolerance=None):
    return check_result(spec, given, program(spec.module(), *options)(given), tolerance)


def check_result(spec, given, result, tolerance=None):
    got, lse = result
    want, want_lse = sources.reference(spec, given)
    tolerance = tolerance or attention.TOLERANCE[spec.dtype]
    error = np.abs(got - want).max(initial=0)
    assert got.shape == want.shape and error <= tolerance, f"{[source.pattern for source in spec.sources]}: error {error:.1e}"
    assert (np.isinf(lse) == np.isinf(want_lse)).all()
    some = np.isfinite(want_lse)
    assert np.abs(lse[some] - want_lse[some]).max(initial=0) <= tolerance
    return want


@pytest.mark.parametrize("windows", [(8, 8), (4, 1), (1, 1)])
def test_three_levels_at_4096(windows, program):
    spec = sources.pyramid(32, windows, heads=1, dim=64)
    check(program, spec, sources.inputs(spec, np.random.default_rng(), 1, 4096, sources.level_rows(spec, 4096)), tolerance=1e-5)


@GENERIC
@pytest.mark.parametrize("ratio, windows", [(4, (2, 1)), (3, (1, 0, 2)), (2, (0, 3))])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_ragged_lengths_and_empty_levels(ratio, windows, dtype, options, program):
    spec = sources.pyramid(ratio, windows, heads=4, key_heads=2, dtype=dtype)
    for batch, tokens in [(2, 61), (1, 1), (1, ratio - 1), (2, ratio ** len(windows)), (1, 150)]:
        given = sources.inputs(spec, np.random.default_rng(), batch, tokens, sources.level_rows(spec, tokens))
        check(program, spec, [attention.rounded(x, dtype) for x in given], options)


@GENERIC
def test_lengths_of_levels_differ_in_a_batch(options, program):
    spec = sources.pyramid(4, (2, 2), lengths=True)
    random = np.random.default_rng()
    rows = sources.level_rows(spec, 100)
    # A branch without level 2, one without gists, one with all of them, one without anything.
    lengths = np.array([[100, 25, 0], [100, 0, 0], [100, 25, 6], [0, 0, 0]]).T
    check(program, spec, sources.inputs(spec, random, 4, 100, rows, lengths=lengths), options)
    lengths = [random.integers(0, many + 1, 3) for many in rows]
    check(program, spec, sources.inputs(spec, random, 3, 100, rows, lengths=lengths), options)


def working_contexts(random, batch, entries, ratio=4):
    """Positions [B, W] of entries of random lods that tile a timeline, and how many entries there are; -1 behind them."""
    positions, lengths = np.full((batch, entries), -1), random.integers(0, entries + 1, batch)
    for row, length in zip(positions, lengths):
        row[:length] = np.cumsum(ratio ** np.sort(random.integers(0, 3, length))[::-1]) - 1
    return positions, lengths


IRREGULAR = ["causal", "causal and window<left = 40, right = 0>", "window<left = 9, right = 30>", "dense", "causal and strided<stride = 4>",
             "causal and (window<left = 5, right = 0> or columns<block = 16, first = 15, count = 1>)", "block_local<block = 16>",
             "recent_keys<count = 20> or global_keys<first = 20>", "global_queries<first = 30> or window<left = 3, right = 3>",
             "per_head<[causal, window<left = 10, right = 10>]>", "causal and random<block = 8, count = 3, seed = 2>"]


@GENERIC
def test_working_contexts_at_irregular_positions(options, program):
    specs = [Spec((Source(pattern, positions=True, lengths=True),), positions=True) for pattern in IRREGULAR]
    random = np.random.default_rng()
    for batch, entries in [(3, 70), (1, 1), (2, 17), (1, 300)]:
        positions, lengths = working_contexts(random, batch, entries)
        given = sources.inputs(specs[0], random, batch, entries, [entries], positions, [positions], [lengths])
        results = program(attention.together([spec.module() for spec in specs]), *options)(given)
        assert len(results) == 2 * len(specs)
        for i, spec in enumerate(specs):
            check_result(spec, given, results[2 * i:2 * i + 2])


@pytest.mark.parametrize("pattern, dtype", list(zip(IRREGULAR, itertools.cycle(["f32", "bf16"]))))
def test_working_context_on_a_gpu(pattern, dtype, gpu_program):
    """By kernels: scores are in no memory."""
    spec = Spec((Source(pattern, positions=True, lengths=True),), positions=True, dtype=dtype)
    random = np.random.default_rng()
    for batch, entries in [(3, 70), (1, 1), (2, 17), (1, 200)]:
        positions, lengths = working_contexts(random, batch, entries)
        # Those of rows that are none are anything.
        positions[positions < 0] = random.choice([-1, 2**40, -(2**40)], (positions < 0).sum())
        given = sources.inputs(spec, random, batch, entries, [entries], positions, [positions], [lengths])
        check(gpu_program, spec, [attention.rounded(x, dtype) if x.dtype == np.float32 else x for x in given])


@pytest.mark.parametrize("queries", [1, 3, 100])
def test_tokens_at_positions_see_gists_at_steps_on_a_gpu(queries, gpu_program):
    test_tokens_at_positions_see_gists_at_steps(queries, gpu_program)


@pytest.mark.parametrize("queries", [1, 3, 100])
def test_tokens_at_positions_see_gists_at_steps(queries, program):
    """Queries anywhere on the timeline, in no order; one level at steps, the other at positions that repeat."""
    random = np.random.default_rng()
    spec = Spec((Source("causal", key_step=4), Source("causal", positions=True)), positions=True)
    at, own = random.integers(0, 200, (2, queries)), np.sort(random.integers(0, 200, (2, 33)))
    check(program, spec, sources.inputs(spec, random, 2, queries, [50, 33], at, [own]))


def test_no_keys_at_positions_on_a_gpu(gpu_program):
    test_no_keys_at_positions(gpu_program)


def test_no_keys_at_positions(program):
    spec = Spec((Source("causal or recent_keys<count = 3>", positions=True),), positions=True)
    none = np.zeros((1, 0), np.int64)
    want = check(program, spec, sources.inputs(spec, np.random.default_rng(), 1, 5, [0], np.arange(5)[None], [none]))
    assert not want.any()


@GENERIC
def test_positions_that_decrease_end_the_run(options, program):
    spec = Spec((Source("causal", positions=True, lengths=True),), positions=True)
    random = np.random.default_rng()
    positions = np.array([[0, 3, 7, 8], [0, 5, 4, 9]])
    given = sources.inputs(spec, random, 2, 4, [4], positions, [positions], [np.array([4, 4])])
    with pytest.raises(AssertionError, match="megactx.attention: the positions of keys decrease"):
        program(spec.module(), *options)(given)
    given[-1] = np.array([4, 2])  # what is past a row's length may hold anything
    check(program, spec, given, options)
