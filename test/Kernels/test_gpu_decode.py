"""GPU kernels where rows are few and keys many: heads that share keys in one block, keys in parts, and the kernel that merges those.

As test_gpu_emulated.py, whose bounds and reference these tests use; with --device also on a GPU.
"""

import numpy as np
import pytest

import emulated
from test_gpu_emulated import UNIT, check, check_what_is_no_number, emulate, inside, reference, replaced, spec_of  # noqa: F401  emulate is a fixture


@pytest.fixture(params=["sm_80", "sm_90a"])
def arch(request):
    return request.param


def schedule(warps, columns, product="mma_sync", held="true", grouped="true", split=100000):
    return (f"#nvx.schedule<rows = {16 * warps}, columns = {columns}, warps = {warps}, stages = 2, product = {product}, held = {held}, "
            f"blocks = 1, grouped = {grouped}, split = {split}>")


@pytest.mark.parametrize("dtype, dim, heads, key_heads", [("f32", 64, 4, 1), ("f16", 64, 2, 2), ("bf16", 64, 7, 1), ("bf16", 128, 8, 2), ("f16", 128, 7, 1),
                                                          ("f16", 72, 4, 1), ("bf16", 40, 2, 2), ("f32", 128, 14, 2), ("f16", 72, 40, 1)])
def test_decode(dtype, dim, heads, key_heads, emulate):
    """One query at the end of a cache: of one tile, of one part, of several."""
    kernel = emulate(spec_of("causal", dtype, dim, heads=heads, key_heads=key_heads))
    for keys in (1, 75, 523, 1301):
        check(kernel, batch=2 if keys < 1000 else 1, queries=1, keys=keys, offset=keys - 1)


@pytest.mark.parametrize("queries, keys", [(5, 1100), (16, 600), (17, 1030), (40, 2100)])
@pytest.mark.parametrize("heads, key_heads", [(2, 2), (4, 1), (7, 1)])
def test_few_queries_of_a_long_cache(queries, keys, heads, key_heads, emulate):
    """Several blocks of a group; more rows than are few, which are not grouped and have parts of their own."""
    kernel = emulate(spec_of("causal", "bf16", 32, heads=heads, key_heads=key_heads))
    check(kernel, batch=1, queries=queries, keys=keys, offset=keys - queries)


@pytest.mark.parametrize("pattern", [
    "causal and window<left = 700, right = 0>",
    "causal and strided<stride = 7>",
    "causal and (window<left = 40, right = 0> or strided<stride = 3>)",  # a row is in parts twice, the second time added to the first
    "causal and fixed<block = 32, count = 8>",
    "causal and fixed<block = 32, count = 8, slot = head>",  # pieces that depend on the head
    "per_head<[causal, window<left = 600, right = 0>]>",
    "window<left = 2, right = 2> or global_keys<first = 600> or global_queries<first = 2>",
    "random<block = 32, count = 30, seed = 7> and causal",
    "strided<stride = 2> and columns<block = 2, first = 1, count = 1>",  # rows of one residue see no key
])
def test_patterns(pattern, emulate):
    kernel = emulate(spec_of(pattern, "f16", 32, heads=4, key_heads=2))
    for queries, offset in [(1, 1400), (6, 1395), (30, 3)]:
        check(kernel, batch=1, queries=queries, keys=1401, offset=offset)


@pytest.mark.parametrize("pattern", ["causal and (window<left = 4, right = 0> or strided<stride = 3>)", "causal and strided<stride = 3>"])
def test_classes_of_few_and_of_more_rows(pattern, emulate):
    """A kernel each for up to 16 rows of a class, for 32, and for any."""
    kernel = emulate(spec_of(pattern, "bf16", 64, heads=2, key_heads=1))
    for rows in (16, 17, 32, 33, 70):
        check(kernel, batch=1, queries=3 * rows - 1, keys=3 * rows - 1)


def test_what_is_no_number_stays_none(emulate):
    """Through parts and their merge."""
    kernel = emulate(spec_of("causal and (window<left = 40, right = 0> or strided<stride = 3>)", "f16", 32, heads=4, key_heads=2))
    check_what_is_no_number(kernel, queries=6, keys=1401, offset=1395)


@pytest.mark.parametrize("pattern, keys", [("causal", 1200), ("dense", 900)])
def test_lengths(pattern, keys, emulate):
    """The first batch has no key at all, others fewer than parts are made for."""
    check(emulate(spec_of(pattern, "f16", 32, heads=4, key_heads=1, lengths=True)), batch=4, queries=3, keys=keys, offset=keys - 3)


@pytest.mark.parametrize("pattern", ["causal", "causal and window<left = 300, right = 0>", "causal and strided<stride = 3>"])
def test_offset_of_each_batch(pattern, emulate):
    """Caches of several lengths: decoding, and more rows than are few."""
    kernel = emulate(spec_of(pattern, "f16", 32, heads=4, key_heads=1, lengths=True, offset_per_batch=True))
    for queries in (1, 20):
        check(kernel, batch=3, queries=queries, keys=800, offset=[0, 410, 800 - queries])


def test_rows_before_and_after_all_keys(emulate):
    kernel = emulate(spec_of("causal and window<left = 900, right = 0>", "bf16", 32, heads=4, key_heads=2))
    for offset, key_offset in [(0, 4), (5000, 0), (1300, 7)]:
        check(kernel, batch=1, queries=9, keys=1200, offset=offset, key_offset=key_offset)


@pytest.mark.parametrize("query_step, key_step", [(1, 4), (3, 1)])
def test_steps(query_step, key_step, emulate):
    kernel = emulate(spec_of("causal", "f16", 32, heads=2, key_heads=1, query_step=query_step, key_step=key_step))
    check(kernel, batch=1, queries=7, keys=1100, offset=1100 * key_step - 9)


@pytest.mark.parametrize("dtype, shape", [("f16", (0, 0, 0, 0)), ("bf16", (1, 0, 1, 0)), ("f32", (1, 1, 0, 0))], ids=str)
def test_bias_of_each_head(dtype, shape, emulate):
    kernel = emulate(spec_of("causal", dtype, 32, heads=8, key_heads=1, bias=True, bias_per_key=shape[2] == 1, softcap=20.0))
    check(kernel, batch=2, queries=2, keys=1100, offset=1098, bias=shape)


@pytest.mark.parametrize("least", [-1e20, np.finfo(np.float32).min])
def test_parts_of_keys_that_a_finite_bias_hides(least, emulate):
    """All keys of a row weigh alike, however many are in each part."""
    kernel = emulate(spec_of("causal", "f32", 32, heads=2, bias=True, bias_per_key=True))
    random = np.random.default_rng()
    q, k, v = (random.standard_normal((2, 2, rows, 32)).astype(np.float32) for rows in (1, 1101, 1101))
    bias = np.zeros((2, 1, 1, 1101), np.float32)
    bias[0], bias[1, ..., :700] = least, least
    out, _ = kernel.run(q, [k], [v], offset=1100, bias=bias)
    want, _, magnitude = reference(kernel, q, [k], [v], None, 1100, 0, bias, None)
    assert np.linalg.norm(out - want) <= 2 * UNIT["f32"] * np.linalg.norm(magnitude)


def test_test_per_element(emulate):
    kernel = emulate(spec_of("causal minus strided<stride = 5000>", "f16", 64, heads=3, key_heads=1))
    check(kernel, batch=1, queries=4, keys=1100, offset=1096)


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_sources_share_a_softmax(dtype, emulate):
    kernel = emulate(spec_of("causal", dtype, 32, heads=4, key_heads=2), more=("dense", "causal and strided<stride = 3>"))
    check(kernel, batch=1, queries=3, keys=[1100, 3, 1500], offset=1097)


@pytest.mark.parametrize("arch, dtype, chosen", [
    ("sm_80", "f16", schedule(1, 16)), ("sm_80", "bf16", schedule(4, 32, held="false")), ("sm_80", "f32", schedule(2, 16, "fma")),
    ("sm_80", "f16", schedule(1, 64, grouped="false", split=12)), ("sm_90a", "bf16", schedule(4, 64, "wgmma", "false")),
    ("sm_90a", "f16", schedule(8, 16, "wgmma", split=0)), ("sm_90a", "f16", schedule(1, 32, split=0))], ids=str)
def test_schedule(arch, dtype, chosen, emulate):
    """Groups of rows that several blocks have; as many parts as there are keys for."""
    kernel = emulate(spec_of("causal", dtype, 32, heads=6, key_heads=2), schedule=chosen)
    for queries, keys in [(1, 1100), (23, 2100)]:
        check(kernel, batch=1, queries=queries, keys=keys, offset=keys - queries)


def without_barrier(text):
    lines = text.splitlines(keepends=True)
    del lines[next(i for i, line in enumerate(lines) if "barrier.cta.sync" in line)]
    return "".join(lines)


MUTATIONS = {
    "every second part of a warp left out": (inside("mctx_merge", replaced(r"(add i64 %\d+, )4\b", r"\g<1>8")), "error"),
    "shares of the first 32 lanes' parts by another step": (inside("mctx_merge", replaced(r"(add i64 %\d+, )32\b", r"\g<1>1")), "error|lse"),
    "sums of other warps before they are there": (inside("mctx_merge", without_barrier), "no barrier between|which nothing wrote"),
    "weights of one warp": (inside("mctx_merge", replaced(r"(shfl\.sync\.bfly\.f32\([^\n]*, i32) 16, ", r"\1 8, ")), "error|lse"),
}


@pytest.mark.parametrize("arch, name", [("sm_80", name) for name in MUTATIONS])
def test_mutation_is_refused(arch, name, emulate):
    mutate, message = MUTATIONS[name]
    kernel = emulate(spec_of("causal", dim=72, heads=4, key_heads=1), mutate)
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=1, keys=3000, offset=2999)
