"""GPU kernels, run by the emulator on the host, against the float64 reference; and mutations of them, which it must refuse.

Errors are measured against what rounding explains: with u the unit roundoff of the dtype, weights and output are rounded once each,
so |got - want| <= 2 u sum(weight |value|) / sum(weight) in the Frobenius norm. Log-sum-exp is f32 throughout, and a sum over n keys may be
off by n / 8 of its roundings.
"""

import dataclasses
import functools
import re

import numpy as np
import pytest

import attention
import emulated
from test_kernels import BLOCK_PATTERNS

UNIT = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-20}  # f32: what ex2.approx and sums of products leave
LSE = 1e-5

# Every shape of pieces that the target has kernels for.
PATTERNS = [
    "dense",
    "causal",
    "window<left = 5, right = 3>",
    "strided<stride = 7>",
    "causal and strided<stride = 6>",
    "dilated<dilation = 3, left = 4, right = 0>",
    "columns<block = 6, first = 1, count = 2>",
    "columns<block = 8, first = 0, count = 2> or columns<block = 8, first = 5, count = 2>",  # residues that do not follow each other
    "strided<stride = 4> and columns<block = 6, first = 0, count = 3>",
    "causal and (window<left = 9, right = 0> or strided<stride = 4>)",  # two kernels, the second accumulates
    "causal and fixed<block = 8, count = 2>",
    "causal and fixed<block = 8, count = 2, slot = head>",
    "window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>",
    "block_local<block = 16> minus window<left = 1, right = 1>",
    "per_head<[causal, strided<stride = 3>, window<left = 4, right = 0>]>",
    "per_head<0: causal, 1-2: strided<stride = 2>, 3-: block_local<block = 5>>",
    "strided<stride = 2> and columns<block = 2, first = 1, count = 1>",  # rows of one residue see no key, and are written
    "strided<stride = 3> and columns<block = 3, first = 1, count = 2>",
    "random<block = 4, count = 2, seed = 7> and causal",
    "blocks<block = 8, row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 1, 2]>",
    "causal and (window<left = 2, right = 0> or random<block = 8, count = 1, seed = 3> or global_keys<indices = [4, 9]>)",
    "causal minus strided<stride = 5000>",  # a period without views
    "causal and window<left = 3, right = 0> and global_queries<indices = [1, 5, 70, 71]>",
    "neighborhood<grid = [12], radii = [1, 3], first = 1> or global_keys<first = 1> or global_queries<first = 1>",
    "where<condition = k floordiv 3 le p floordiv 2 and (p mod 5 == 2 or (p - k) * (h + 2) lt 40)>",
]


@pytest.fixture(params=["sm_80", "sm_90a"])
def arch(request):
    """mma.sync for blocks of 64 rows; wgmma for blocks of 128."""
    return request.param


@pytest.fixture
def emulate(emulate, arch, request):
    option = request.config.getoption
    if option("--device") == "emulator":
        return functools.partial(emulate, arch=arch)
    if (arch == "sm_90a") != (option("--target") == "sm_90a"):
        pytest.skip(f"not for {option('--target')}")
    return emulate


SHAPES = [("f16", 64), ("bf16", 32), ("f16", 32), ("bf16", 16)]


def spec_of(pattern, dtype="f16", dim=64, value_dim=None, **more):
    return attention.Spec(pattern=pattern, dtype=dtype, head_dim=dim, value_dim=value_dim or dim, **more)


def check(kernel, batch, queries, keys, offset=0, key_offset=0, bias=None, rise=0.0):
    """`bias`: its [batch, heads, rows, keys], 0 where it is as large as the scores. With several sources, `keys` is a list. `rise`: of the
    scores before scaling, from one key to the next."""
    spec = kernel.spec
    random = np.random.default_rng()
    draw = lambda heads, rows, dim: attention.rounded(random.standard_normal((batch, heads, rows, dim)), spec.dtype)
    counts = keys if isinstance(keys, list) else [keys]
    q, k, v = draw(spec.heads, queries, spec.head_dim), *([draw(spec.key_heads, n, d) for n in counts] for d in (spec.head_dim, spec.value_dim))
    if rise:
        q[..., 0] = 2
        k[0][..., 0] = attention.rounded(rise / 2 * np.arange(counts[0]), spec.dtype)
    lengths = added = None
    if spec.lengths:
        lengths = random.integers(0, keys + 1, batch)
        lengths[0] = 0
    segments = np.sort(random.integers(0, 4, (batch, counts[0])), 1) if spec.segments else None
    if bias:
        added = random.standard_normal([size or whole for size, whole in zip(bias, (batch, spec.heads, queries, keys))]).astype(np.float32)
        added[..., ::5] = -np.inf
    out, lse = kernel.run(q, k, v, lengths, offset, key_offset, added, segments)
    want, want_lse, magnitude = reference(kernel, q, k, v, lengths, offset, key_offset, added, segments)
    at = f"{queries} queries from {offset} on, {keys} keys from {key_offset} on"
    empty = np.isinf(want_lse)
    assert (np.isneginf(lse) == empty).all(), f"{at}: rows without keys differ"
    assert not out[empty].any(), f"{at}: rows without keys are not 0"
    assert np.isfinite(out).all(), at
    error, bound = np.linalg.norm(out - want), 2 * UNIT[spec.dtype] * np.linalg.norm(magnitude) * np.sqrt(len(kernel.launches))
    assert error <= bound, f"{at}: error {error:.1e}, expected at most {bound:.1e}"
    lse_error = np.abs(lse[~empty] - want_lse[~empty]).max(initial=0)
    assert lse_error <= LSE + sum(counts) * 2.0**-27, f"{at}: error of lse {lse_error:.1e}"


def reference(kernel, q, k, v, lengths, offset, key_offset, bias, segments):
    """Output, log-sum-exp, and the output of |v|: one softmax over all sources."""
    parts = []
    for pattern, k, v in zip(kernel.patterns, k, v):
        spec = dataclasses.replace(kernel.spec, pattern=pattern)
        of = lambda v: attention.reference(spec, q, k, v, offset, bias, lengths, key_offset, segments)
        parts.append((*of(v), of(np.abs(v))[0]))
    with np.errstate(invalid="ignore"):
        lse = np.logaddexp.reduce([part[1] for part in parts])
        shares = [np.nan_to_num(np.exp(part[1] - lse))[..., None] for part in parts]
    total = lambda i: sum(share * part[i] for share, part in zip(shares, parts))
    return total(0), lse, total(2)


def check_what_is_no_number(kernel, queries, keys, offset=0):
    """A row that sees a score that is NaN is NaN, and no other."""
    spec, random = kernel.spec, np.random.default_rng()
    q, k, v = (random.standard_normal((1, heads, rows, spec.head_dim)).astype(np.float16).astype(np.float32)
               for heads, rows in [(spec.heads, queries), (spec.key_heads, keys), (spec.key_heads, keys)])
    q[0, 0, queries // 2, 3] = k[0, -1, keys - 2, 1] = np.nan
    out, lse = kernel.run(q, [k], [v], offset=offset)
    with np.errstate(invalid="ignore"):
        want = attention.reference(dataclasses.replace(spec, pattern=kernel.patterns[0]), q, k, v, offset)[1]
    assert np.isnan(want).any() and not np.isnan(want).all()
    assert (np.isnan(lse) == np.isnan(want)).all() and (np.isnan(out) == np.isnan(want)[..., None]).all()


@pytest.mark.parametrize("pattern", ["causal", "causal and (window<left = 9, right = 0> or strided<stride = 4>)"])
@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_what_is_no_number_stays_none(pattern, dtype, emulate):
    check_what_is_no_number(emulate(spec_of(pattern, dtype, heads=2, key_heads=2)), queries=100, keys=100)


@pytest.mark.parametrize("number", range(len(PATTERNS)), ids=lambda i: PATTERNS[i])
def test_pieces_at_ragged_sizes(number, emulate):
    heads = 4 if "head" in PATTERNS[number] else 2
    kernel = emulate(spec_of(PATTERNS[number], *SHAPES[number % len(SHAPES)], heads=heads, key_heads=heads // 2))
    for queries, keys in [(131, 131), (5, 70), (70, 5), (1, 1)]:
        check(kernel, batch=1, queries=queries, keys=keys)


@pytest.mark.parametrize("dtype, dim, value_dim", [("bf16", 32, 32), ("bf16", 64, 64), ("f16", 128, 128), ("f16", 8, 72), ("bf16", 80, 24),
                                                   ("f16", 256, 256), ("f32", 32, 40), ("f32", 256, 128)])
def test_head_dim(dtype, dim, value_dim, emulate):
    kernel = emulate(spec_of("causal and window<left = 70, right = 0>", dtype, dim, value_dim, heads=2, key_heads=1))
    check(kernel, batch=1, queries=77, keys=77)


@pytest.mark.parametrize("pattern", ["dense", "causal", "strided<stride = 3>"])
def test_lengths(pattern, emulate):
    """The first batch has no key at all."""
    check(emulate(spec_of(pattern, "f16", 32, lengths=True)), batch=3, queries=20, keys=90)


@pytest.mark.parametrize("pattern", ["causal", "causal and (window<left = 6, right = 0> or strided<stride = 5>)"])
def test_offsets(pattern, emulate):
    """Queries at the end of a cache; before all keys; after all of them."""
    kernel = emulate(spec_of(pattern, "bf16", 32))
    for offset, key_offset, queries, keys in [(100, 0, 9, 109), (0, 40, 70, 60), (300, 7, 66, 50)]:
        check(kernel, batch=1, queries=queries, keys=keys, offset=offset, key_offset=key_offset)


@pytest.mark.parametrize("query_step, key_step, pattern", [(1, 4, "causal and window<left = 50, right = 0>"),
                                                           (3, 1, "causal and window<left = 50, right = 0>"),
                                                           (2, 3, "causal and strided<stride = 5>")])
def test_steps(query_step, key_step, pattern, emulate):
    kernel = emulate(spec_of(pattern, "f16", 32, query_step=query_step, key_step=key_step))
    check(kernel, batch=1, queries=70, keys=77, offset=5)


@pytest.mark.parametrize("heads, key_heads", [(1, 1), (6, 2), (3, 3)])
def test_heads(heads, key_heads, emulate):
    check(emulate(spec_of("causal", "f16", 32, heads=heads, key_heads=key_heads)), batch=2, queries=33, keys=33)


BIASED = "causal and (window<left = 40, right = 0> or strided<stride = 4>)"


@pytest.mark.parametrize("rise", [2.0, -2.0])
@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_maxima_that_move(dtype, rise, emulate):
    """By 2^16 and more from one tile to the next: the output so far shrinks, or what comes adds nothing."""
    check(emulate(spec_of("dense", dtype, 32)), batch=1, queries=40, keys=100, rise=rise)


@pytest.mark.parametrize("dtype, shape", [("f16", (0, 0, 0, 0)), ("bf16", (1, 1, 0, 0)), ("f16", (0, 0, 1, 0)), ("f32", (1, 0, 0, 0))], ids=str)
def test_bias(dtype, shape, emulate):
    kernel = emulate(spec_of(BIASED, dtype, 32, heads=2, bias=True, bias_per_key=shape[2] == 1))
    check(kernel, batch=2, queries=70, keys=75, offset=5, bias=shape)


@pytest.mark.parametrize("least", [-1e20, np.finfo(np.float32).min])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_rows_whose_keys_a_finite_bias_hides(dtype, least, emulate):
    """They count alike."""
    kernel = emulate(spec_of("causal and window<left = 5, right = 0>", dtype, 32, heads=2, bias=True))
    random = np.random.default_rng()
    q, k, v = (attention.rounded(random.standard_normal((2, 2, 40, 32)), dtype) for _ in range(3))
    bias = np.zeros((2, 1, 1, 40), np.float32)
    bias[1, ..., 20:] = least
    out, _ = kernel.run(q, [k], [v], bias=bias)
    want, _, magnitude = reference(kernel, q, [k], [v], None, 0, 0, bias, None)
    assert np.linalg.norm(out - want) <= 2 * UNIT[dtype] * np.linalg.norm(magnitude)


@pytest.mark.parametrize("pattern, dtype", [("segments", "f16"), ("causal and segments", "bf16"), ("causal and segments and (window<left = 40, right = 0> or strided<stride = 4>)", "f16"),
                                            ("causal and segments", "f32")])
def test_segments(pattern, dtype, emulate):
    kernel = emulate(spec_of(pattern, dtype, 32, heads=2, segments=True))
    for queries, keys, offset in (150, 150, 0), (9, 200, 150), (1, 90, 89):
        check(kernel, batch=2, queries=queries, keys=keys, offset=offset)


def test_segments_and_lengths(emulate):
    """Queries past the last key that exists belong to its document."""
    kernel = emulate(spec_of("segments and (global_queries<indices = [3, 62, 130]> or window<left = 9, right = 2>)", "f16", 32, heads=2, segments=True, lengths=True))
    for queries, keys, offset in (150, 150, 0), (98, 187, 89):
        check(kernel, batch=4, queries=queries, keys=keys, offset=offset)


@pytest.mark.parametrize("dtype, cap", [("f16", 0.5), ("bf16", 30.0), ("f32", 2.0)])
def test_softcap(dtype, cap, emulate):
    check(emulate(spec_of("causal", dtype, 32, heads=2, softcap=cap)), batch=1, queries=70, keys=139, offset=69)


def test_bias_softcap_test_and_lengths_together(emulate):
    pattern = "random<block = 4, count = 3, seed = 1> or window<left = 3, right = 3>"
    kernel = emulate(spec_of(pattern, "f16", 32, heads=2, bias=True, softcap=2.0, lengths=True))
    check(kernel, batch=3, queries=40, keys=90, bias=(1, 0, 0, 0))


@pytest.mark.parametrize("pattern, dtype, more", [(pattern, *of) for pattern, of in zip(BLOCK_PATTERNS, [
    ("bf16", dict()), ("f16", dict(lengths=True, bias=True)), ("bf16", dict()), ("f32", dict())], strict=True)])
def test_tests_in_blocks(pattern, dtype, more, emulate):
    """Tiles for which a test holds nowhere are left out, and rows may begin within a block."""
    kernel = emulate(spec_of(pattern, dtype, 32, heads=2, **more))
    bias = (1, 0, 0, 0) if more else None
    for queries, past, key_offset in [(200, 0, 0), (70, 150, 0), (70, 100, 10)]:
        check(kernel, 2, queries, past + queries, past + key_offset, key_offset, bias)


@pytest.mark.parametrize("arch, chosen", [
    ("sm_80", "rows = 16, columns = 16, warps = 1, stages = 3, product = mma_sync, held = true, blocks = 1"),
    ("sm_90a", "rows = 64, columns = 32, warps = 4, stages = 4, product = wgmma, held = false, blocks = 1, loads = tma")])
def test_tests_in_blocks_with_more_stages(arch, chosen, emulate):
    kernel = emulate(spec_of("random<block = 16, count = 4, seed = 7> and causal", "f16", 64, heads=2), schedule=f"#nvx.schedule<{chosen}>")
    check(kernel, batch=1, queries=140, keys=400, offset=260)


@functools.cache
def two_blocks_a_row(count=170):
    """A pattern of blocks of 16, two of many in each row: no key is seen in most spans of the tiles that a block of threads asks for at once."""
    random = np.random.default_rng(count)
    columns = [int(column) for _ in range(count) for column in sorted(random.choice(count, 2, replace=False))]
    return f"blocks<block = 16, row_ptr = {list(range(0, 2 * count + 1, 2))}, col_idx = {columns}>"


@pytest.mark.parametrize("arch, dtype, warps, columns, product", [("sm_80", "f32", 1, 16, "fma"), ("sm_80", "f16", 2, 16, "mma_sync"),
                                                                  ("sm_90a", "bf16", 4, 16, "wgmma"), ("sm_90a", "f16", 8, 32, "wgmma")])
def test_more_tiles_than_threads_ask_for_at_once(arch, dtype, warps, columns, product, emulate):
    kernel = emulate(spec_of(two_blocks_a_row(), dtype, 32, heads=1, key_heads=1), schedule=schedule(warps, columns, 2, product, "false"))
    check(kernel, batch=1, queries=150, keys=2720, offset=1300)


def test_blocks_that_no_row_sees_are_not_read(emulate):
    """What they hold is no number."""
    kernel = emulate(spec_of("blocks<block = 64, row_ptr = [0, 1, 2, 4, 4], col_idx = [0, 2, 0, 2]>", "f16", 64, heads=2))
    q, k, v = (np.random.default_rng().standard_normal((1, 2, 256, 64)).astype(np.float16).astype(np.float32) for _ in range(3))
    unseen = np.arange(256) // 64 % 2 == 1
    k[:, :, unseen] = v[:, :, unseen] = np.nan
    out, _ = kernel.run(q, [k], [v], None, 0, 0, None, None)
    assert np.isfinite(out).all()
    want = reference(kernel, q, [np.nan_to_num(k)], [np.nan_to_num(v)], None, 0, 0, None, None)[0]
    assert np.linalg.norm(out - want) <= 2 * UNIT["f16"] * np.linalg.norm(want) + 1e-3


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_sources_share_a_softmax(dtype, emulate):
    kernel = emulate(spec_of("causal and window<left = 20, right = 0>", dtype, 32, heads=2), more=("dense", "causal and strided<stride = 3>"))
    check(kernel, batch=1, queries=70, keys=[70, 3, 90])


@pytest.mark.parametrize("pattern", ["causal", "causal and strided<stride = 4>"])
def test_f32(pattern, emulate):
    check(emulate(spec_of(pattern, "f32", 64)), batch=1, queries=77, keys=80, offset=3)


def schedule(warps, columns, stages, product="mma_sync", held="true"):
    return (f"#nvx.schedule<rows = {16 * warps}, columns = {columns}, warps = {warps}, stages = {stages}, product = {product}, "
            f"held = {held}, blocks = 1>")


@pytest.mark.parametrize("arch, dtype, chosen", [
    ("sm_80", "f16", schedule(1, 16, 2)), ("sm_90a", "bf16", schedule(2, 48, 3)), ("sm_80", "f16", schedule(8, 32, 4, held="false")),
    ("sm_80", "f32", schedule(2, 16, 3, "fma")), ("sm_90a", "f16", schedule(4, 16, 2, "wgmma")),
    ("sm_90a", "bf16", schedule(12, 48, 3, "wgmma", "false")), ("sm_90a", "f16", schedule(8, 64, 4, "wgmma"))], ids=str)
def test_schedule(arch, dtype, chosen, emulate):
    """Two kernels, of which one has a piece after another; some classes have fewer tiles than there are stages."""
    kernel = emulate(spec_of(SEVERAL + " or strided<stride = 30>", dtype, 32, heads=1, key_heads=1), schedule=chosen)
    check(kernel, batch=1, queries=140, keys=150)


def inside(name, mutate):
    """A mutation of the kernel whose name begins so, in the module that has it."""
    def part(text):
        begin = text.find(f"define ptx_kernel void @{name}")
        if begin < 0:
            return text
        end = text.index("\n}\n", begin) + 3
        return text[:begin] + mutate(text[begin:end]) + text[end:]
    return part


def without(call, number):
    """The IR without one call of an intrinsic without result, counted from 0."""
    def mutate(text):
        lines = text.splitlines()
        found = [i for i, line in enumerate(lines) if f"call void @llvm.nvvm.{call}" in line]
        del lines[found[number]]
        return "\n".join(lines)
    return mutate


def replaced(pattern, to, count=0):
    def mutate(text):
        begin = text.index("define ")
        body, found = re.subn(pattern, to, text[begin:], count=count)
        assert found, f"nothing like {pattern}"
        return text[:begin] + body
    return mutate


def swapped_strides(text):
    """Those of the key's heads and rows: arguments 19 and 20."""
    begin = text.index("\n", text.index("define "))
    return text[:begin] + re.sub(r"%(19|20)\b", lambda m: "%20" if m[1] == "19" else "%19", text[begin:])


def swapped_offsets(text):
    """Leading and stride byte offsets in descriptors of values."""
    def swap(m):
        number = int(m[0])
        leading, stride = number >> 16 & 0x3fff, number >> 32 & 0x3fff
        return str(number & ~(0x3fff << 16 | 0x3fff << 32) | stride << 16 | leading << 32) if leading > 1 else m[0]
    return re.sub(r"\b4611\d{15}\b", swap, text)


SEVERAL = "window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>"
# A wrong address is refused where it is no buffer's, or is of the results before they are written; where it is of other inputs, the
# numbers are wrong. Which of them depends on where the buffers lie.
ASTRAY = "access|which nothing wrote|error"

MUTATIONS = {
    "wait for queries": ("causal", without("cp.async.wait.group", 0), "copy of thread .* still on its way"),
    "wait for keys": ("causal", without("cp.async.wait.group", 1), "copy of thread .* still on its way"),
    "barrier after queries": ("causal", without("barrier.cta.sync", 0), "which nothing wrote|no barrier between"),
    "barrier after keys": ("causal", without("barrier.cta.sync", 1), "no barrier between"),
    "barrier before the next piece": (SEVERAL, without("barrier.cta.sync", 4), "no barrier between"),
    "wait for all but one group": ("causal", replaced(r"(wait\.group\(i32) 0", r"\1 1"), "still on its way"),
    "strides swapped": ("causal", swapped_strides, ASTRAY),
    "no zeros beyond the last column": ("causal", replaced(r"(@llvm\.nvvm\.cp\.async\.cg[^\n]*, i32) %\w+\)", r"\1 16)"), ASTRAY),
    "shuffle of other lanes": ("causal", replaced(r"(shfl\.sync\.bfly\.f32\([^\n]*, i32) 2, ", r"\1 4, "), "error"),
    "values not transposed": ("causal", replaced(r"(call [^\n]*x4)\.trans\.b16", r"\1.b16"), "error"),
    "wait for one group less, of three stages": ("causal", replaced(r"(wait\.group\(i32) 1", r"\1 2"), "still on its way", schedule(4, 32, 3)),
    "no shrinking": ("causal", replaced(r"(tail )?call i1 @llvm.nvvm.vote.any.sync\([^)]*\)", "and i1 false, false"), "error"),
    "tests of all keys in one bit": ("random<block = 4, count = 2, seed = 7>", replaced(r"shl (nuw )?i32 (%\w+), %\w+", r"shl i32 \2, 0"), "error|differ"),
    "tiles whose test is not asked for": ("random<block = 16, count = 2, seed = 7>", replaced(r"(tail )?call i32 @llvm.nvvm.vote.ballot.sync\([^)]*\)", "and i32 1, 1"), "error|differ"),
    "shared memory one byte off": ("causal", replaced(r"(@nvx_shared_memory, i64) (\d+)", lambda m: f"{m[1]} {int(m[2]) + 1}"), "no multiple of"),
}


def lost_ballots(text):
    """Only the first warp's reach the others."""
    words = r"(= load i32, ptr addrspace\(3\) getelementptr \(i8, ptr addrspace\(3\) @\w+, i64 )(\d+)(\)[^\n]*)"
    first = min(int(m[2]) for m in re.finditer(words, text))
    return re.sub(words, lambda m: m[0] if int(m[2]) < first + 8 else "= add i32 0, 0", text)


ASKING = {
    "ballots of other warps": (lost_ballots, "error|differ"),
    "barrier after ballots": (without("barrier.cta.sync", 1), "no barrier between|which nothing wrote"),
    "barrier before the next ballots": (without("barrier.cta.sync", 2), "no barrier between"),
}


@pytest.mark.parametrize("arch, name", [("sm_80", name) for name in ASKING])
def test_mutation_of_asking_is_refused(arch, name, emulate):
    mutate, message = ASKING[name]
    kernel = emulate(spec_of(two_blocks_a_row(), heads=1, key_heads=1), inside("mctx_attention_0", mutate), schedule=schedule(4, 16, 2))
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=70, keys=2720, offset=1300)


WGMMA_MUTATIONS = {
    "wait for scores": ("causal", replaced(r"aligned 1;", "aligned 2;"), "still under way"),
    "wait for the first scores": ("causal", replaced(r"aligned 0;", "aligned 1;", 1), "still under way"),
    "wait for sums": ("causal", replaced(r"trap; \} wgmma.wait_group.sync.aligned 0;", "trap; } wgmma.wait_group.sync.aligned 1;"), "still under way"),
    "commit": ("causal", without("wgmma.commit_group", 0), "still under way"),
    "fence of registers": ("causal", without("wgmma.fence", 0), "without a wgmma.fence"),
    "fence of keys": ("causal", without("fence.proxy", 1), "no fence.proxy since"),
    "fence of the last values": ("causal", without("fence.proxy", 2), "no fence.proxy since"),
    "wait for keys": ("causal", without("cp.async.wait.group", 1), "copy of thread .* still on its way"),
    "barrier before keys": ("causal", without("barrier.cta.sync", 1), "no barrier between"),
    "values not transposed": ("causal", replaced(r", 1, 1, 1, 1;", ", 1, 1, 1, 0;"), ASTRAY + "|still on its way"),
    "offsets swapped": ("causal", swapped_offsets, ASTRAY),
    "no swizzle": ("causal", replaced(r"= xor i64", "= or i64"), "to which a copy of thread .* still on its way"),
}


@pytest.mark.parametrize("arch, name", [("sm_80", name) for name in MUTATIONS] + [("sm_90a", name) for name in WGMMA_MUTATIONS])
def test_mutation_is_refused(arch, name, emulate):
    pattern, mutate, message, *chosen = (WGMMA_MUTATIONS if arch == "sm_90a" else MUTATIONS)[name]
    copies = schedule(4, 80, 2, "wgmma", "false") if arch == "sm_90a" else ""
    kernel = emulate(spec_of(pattern, dim=72), inside("mctx_attention_0", mutate), schedule="".join(chosen) or copies)
    rise = 2.0 if name == "no shrinking" else 0.0
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=200, keys=200, rise=rise)
