"""Kernels whose tiles of keys and values are boxes of tensor maps (`loads = tma`), as test_gpu_emulated.py has those of cp.async: their
numbers, and mutations that the emulator must refuse."""

import re

import numpy as np
import pytest

import attention
import emulated
from test_gpu_emulated import SEVERAL, check, inside, replaced, spec_of, without

BAND = "causal and window<left = 70, right = 0>"


def schedule(warps=4, columns=64, stages=2, held="false", more=""):
    return (f"#nvx.schedule<rows = {16 * warps}, columns = {columns}, warps = {warps}, stages = {stages}, product = wgmma, held = {held}, "
            f"blocks = 1{more}, loads = tma>")


@pytest.fixture
def by_tma(emulate, request):
    """A kernel of sm_90a with boxes."""
    option = request.config.getoption
    if option("--device") != "emulator" and option("--target") != "sm_90a":
        pytest.skip(f"not for {option('--target')}")
    arch = {"arch": "sm_90a"} if option("--device") == "emulator" else {}
    return lambda spec, mutate=None, chosen=schedule(), **more: emulate(spec, mutate, schedule=chosen, **arch, **more)


@pytest.mark.parametrize("pattern", [
    "dense", "causal", "window<left = 5, right = 3>", "causal and (window<left = 9, right = 0> or strided<stride = 4>)", SEVERAL,
    "per_head<[causal, strided<stride = 3>, window<left = 4, right = 0>]>", "strided<stride = 7>", "columns<block = 6, first = 1, count = 2>",
    "causal and (window<left = 2, right = 0> or random<block = 8, count = 1, seed = 3> or global_keys<indices = [4, 9]>)"])
def test_pieces_at_ragged_sizes(pattern, by_tma):
    """Pieces of boxes, others, and both in one kernel."""
    kernel = by_tma(spec_of(pattern, "bf16", 32, heads=4, key_heads=2))
    for queries, keys in [(131, 131), (5, 70), (70, 5), (1, 1)]:
        check(kernel, batch=2, queries=queries, keys=keys)


@pytest.mark.parametrize("dtype, dim, value_dim", [("bf16", 64, 64), ("f16", 128, 128), ("f16", 8, 72), ("bf16", 80, 24), ("f16", 256, 200)])
def test_head_dim(dtype, dim, value_dim, by_tma):
    """Columns that a panel has beyond the tensor's are zeros."""
    kernel = by_tma(spec_of(BAND, dtype, dim, value_dim, heads=2, key_heads=1), chosen=schedule(columns=48))
    check(kernel, batch=1, queries=77, keys=150, offset=73)


@pytest.mark.parametrize("chosen", [schedule(columns=16), schedule(8, 48, 3), schedule(4, 80, 4, "true"), schedule(12, 32, 5),
                                    schedule(more=", split = 40"), schedule(columns=256)], ids=str)
def test_schedule(chosen, by_tma):
    """Two kernels, of which one has a piece after another; some classes have fewer tiles than there are stages."""
    several, causal = (by_tma(spec_of(pattern, "bf16", 32, heads=1, key_heads=1), chosen=chosen) for pattern in (SEVERAL + " or strided<stride = 30>", "causal"))
    check(several, batch=1, queries=140, keys=150)
    check(causal, batch=1, queries=64, keys=2100, offset=2036)


@pytest.mark.parametrize("pattern", ["dense", "causal"])
def test_lengths(pattern, by_tma):
    """The first batch has no key at all."""
    check(by_tma(spec_of(pattern, "f16", 32, lengths=True)), batch=3, queries=20, keys=90)


def test_queries_of_several_heads(by_tma):
    """Rows of a block that do not follow each other in memory are no box; their keys are."""
    kernel = by_tma(spec_of(BAND, "bf16", 32, heads=6, key_heads=2), chosen=schedule(more=", grouped = true"))
    check(kernel, batch=2, queries=50, keys=90, offset=40)


def test_bias_softcap_and_offsets(by_tma):
    kernel = by_tma(spec_of(BAND, "f16", 32, heads=2, bias=True, softcap=2.0))
    check(kernel, batch=2, queries=70, keys=75, offset=5, bias=(1, 0, 0, 0))


def check_cache(kernel, lengths):
    """A cache that is not full: what a tensor has behind the last key that is seen may be anything."""
    spec, random = kernel.spec, np.random.default_rng()
    q, k, v = (attention.rounded(random.standard_normal((3, heads, rows, spec.head_dim)), spec.dtype) for heads, rows in
               [(spec.heads, 20), (spec.key_heads, 150), (spec.key_heads, 150)])
    want, _ = attention.reference(spec, q, k, v, 50, None, lengths and np.array(lengths))
    for array in (k, v):
        for of, end in zip(array, lengths or [50 + 20] * 3):
            of[:, end:] = np.nan
    out, _ = kernel.run(q, k, v, lengths and np.array(lengths), 50)
    assert np.isfinite(out).all(), "not finite"
    assert np.linalg.norm(out - want) <= 2.0**-9 * np.linalg.norm(want)


@pytest.mark.parametrize("pattern, lengths", [("causal", None), ("dense", [70, 1, 128])])
def test_keys_that_nobody_sees(pattern, lengths, by_tma):
    check_cache(by_tma(spec_of(pattern, "f16", 64, lengths=lengths is not None)), lengths)


WAIT = r'call void asm sideeffect "[^"]*mbarrier\.try_wait[^\n]*'


def without_wait(number):
    def mutate(text):
        begin, end = [found.span() for found in re.finditer(WAIT, text)][number]
        return text[:begin] + text[end:]
    return mutate


# As the reader sees them: a wait or a barrier that is left out, bytes that are not counted, phases and stages taken for each other.
MUTATIONS = {
    "wait for the first keys": (without_wait(1), "still on its way"),
    "all waits": (replaced(WAIT, ""), "still on its way"),
    "too few bytes": (replaced(r"(expect\.tx[^\n]*i32) 6144\)", r"\1 6128)"), "bytes arrive at a barrier that expects"),
    "too many bytes": (replaced(r"(expect\.tx[^\n]*i32) 6144\)", r"\1 6160)"), "no thread can go on(.|\n)*bytes are asked for"),
    "no bytes of values": (without("mbarrier.expect.tx", 2), "bytes arrive at a barrier that expects"),
    "no arrival": (replaced(r"%\w+ = (tail )?call i64 @llvm\.nvvm\.mbarrier\.arrive[^\n]*", ""), "no thread can go on"),
    "one phase for all": (replaced(r'(asm sideeffect "[^"]*mbarrier\.try_wait[^"]*", "r,r,n"\([^\n]*, i32) %\w+(, i32)', r"\1 0\2"),
                          "still on its way|no thread can go on|may have ended"),
    "stage released early": (without("barrier.cta.sync", 3), "no barrier between"),
    "barrier after making barriers": (without("barrier.cta.sync", 0), "a barrier that nobody made|no barrier between"),
    "fence of barriers": (without("fence.proxy", 0), "no fence.proxy since"),
    "barriers of two threads": (replaced(r"(mbarrier\.init[^\n]*i32) 1\)", r"\1 2)"), "no thread can go on"),
    "one barrier is not made": (without("mbarrier.init", 1), "a barrier that nobody made"),
    "rows and heads swapped": (replaced(r"(tile\.4d\([^\n]*, i32 [^,]*), (i32 [^,]*), (i32 [^,]*), (i32 [^,]*, i16)", r"\1, \3, \2, \4"),
                               "error|differ"),
    "keys for values": (replaced(r"(tile\.4d\(ptr addrspace\(7\) [^\n]*, ptr (?:nonnull )?)%57", r"\1%56"), "error"),
    "wait for queries": (without_wait(0), "still on its way"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_refused(name, by_tma):
    mutate, message = MUTATIONS[name]
    kernel = by_tma(spec_of("causal", "f16", 64), inside("mctx_attention_0", mutate), schedule(columns=48))
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=200, keys=200)


def test_values_that_nobody_sees_are_cleared(by_tma):
    """Without that they make the output NaN."""
    mutate = replaced(r"store <4 x i32> zeroinitializer[^\n]*", "")
    with pytest.raises(AssertionError, match="not finite"):
        check_cache(by_tma(spec_of("causal", "f16", 64), inside("mctx_attention_0", mutate)), None)


def test_who_has_not_waited_may_not_read(by_tma):
    """The second warpgroup looks at the barrier of the group before the last, which has arrived; no barrier of the block is between."""
    def mutate(text):
        text = without("barrier.cta.sync", 4)(without("barrier.cta.sync", 4)(text))
        begin = text.rindex("call void asm", 0, text.rindex("mbarrier.try_wait"))
        return text[:begin] + replaced(r'(call void asm[^\n]*"r,r,n"\(ptr addrspace\(3\)) (%\w+),', r"""%other.thread = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %other.group = lshr i32 %other.thread, 7
  %other.places = mul i32 %other.group, -8
  %other.barrier = getelementptr i8, ptr addrspace(3) \2, i32 %other.places
  \1 %other.barrier,""", 1)("define " + text[begin:])[len("define "):]

    kernel = by_tma(spec_of("dense", "f16", 64), inside("mctx_attention_0", mutate), schedule(8, 48))
    with pytest.raises(emulated.EmulatorError, match="whose arrival the thread has not waited for"):
        check(kernel, batch=1, queries=128, keys=144)
