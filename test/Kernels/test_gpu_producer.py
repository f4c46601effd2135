"""Kernels of which a warp only loads (`producer = true`), in blocks that take one unit of work after the other, as test_gpu_tma.py has those of
which all threads do both: their numbers, and mutations that the emulator must refuse. Its device has three multiprocessors."""

import re

import pytest

import emulated
from test_gpu_emulated import SEVERAL, check, inside, replaced, spec_of
from test_gpu_tma import BAND, by_tma, check_cache

assert by_tma  # a fixture


def schedule(warps=8, columns=64, stages=2, blocks=1, held="false", persistent=True, split=0):
    return (f"#nvx.schedule<rows = {16 * warps}, columns = {columns}, warps = {warps}, stages = {stages}, product = wgmma, held = {held}, "
            f"blocks = {blocks}{f', split = {split}' * bool(split)}, loads = tma, producer = true{', persistent = true' * persistent}>")


@pytest.mark.parametrize("pattern", ["dense", "causal", "window<left = 5, right = 3>", "block_local<block = 40>", SEVERAL,
                                     "per_head<[causal, window<left = 4, right = 0>]>"])
def test_pieces_at_ragged_sizes(pattern, by_tma):
    kernel = by_tma(spec_of(pattern, "bf16", 32, heads=4, key_heads=2), chosen=schedule())
    for queries, keys in [(300, 300), (131, 131), (5, 70), (70, 5), (1, 1)]:
        check(kernel, batch=2, queries=queries, keys=keys)


@pytest.mark.parametrize("dtype, dim, value_dim", [("bf16", 64, 64), ("f16", 128, 128), ("f16", 8, 72), ("bf16", 80, 24), ("f16", 256, 200)])
def test_head_dim(dtype, dim, value_dim, by_tma):
    kernel = by_tma(spec_of(BAND, dtype, dim, value_dim, heads=2, key_heads=1), chosen=schedule(columns=48))
    check(kernel, batch=1, queries=177, keys=250, offset=73)


@pytest.mark.parametrize("chosen", [schedule(persistent=False), schedule(4, 16), schedule(4, 64, 3, 3), schedule(8, 80, 4, held="true"),
                                    schedule(12, 32, 5), schedule(8, 256)], ids=str)
def test_schedule(chosen, by_tma):
    """One piece after another: numbers of stages go on, also where a piece has no tile, or a warpgroup's rows read none of it."""
    several, causal = (by_tma(spec_of(pattern, "bf16", 32, heads=heads, key_heads=1), chosen=chosen) for pattern, heads in ((SEVERAL, 2), ("causal", 1)))
    check(several, batch=1, queries=500, keys=500)
    check(causal, batch=1, queries=64, keys=1400, offset=1336)


@pytest.mark.parametrize("pattern, columns, bias", [
    ("causal and fixed<block = 40, count = 16>", 64, False),
    ("causal and columns<block = 36, first = 5, count = 24>", 80, True),  # boxes of 8 rows, the greatest that divide both
    ("columns<block = 9, first = 1, count = 8>", 48, False)])
def test_gathered_keys(pattern, columns, bias, by_tma):
    """As many follow each other as a box, or several, have rows; the first tile begins with one, which may begin before the first key."""
    kernel = by_tma(spec_of(pattern, "bf16", 32, heads=2, key_heads=1, bias=bias), chosen=schedule(columns=columns))
    for queries, keys, offset, key_offset in [(300, 300, 0, 0), (140, 290, 171, 21), (130, 90, 330, 197), (5, 70, 60, 0), (1, 1, 0, 0)]:
        check(kernel, batch=2, queries=queries, keys=keys, offset=offset, key_offset=key_offset, bias=(1, 0, 0, 0) if bias else None)


@pytest.mark.parametrize("pattern, chosen, keys, more", [
    ("causal", schedule(8, 64, split=40), 4300, {}), ("dense", schedule(4, 64, split=40), 2200, {"lengths": True}),
    ("causal and window<left = 2100, right = 0> or global_keys<first = 3>", schedule(4, 32, 3, persistent=False, split=40), 2200, {}),
    ("columns<block = 16, first = 3, count = 8>", schedule(4, 32, split=40), 4300, {"lengths": True})],
    ids=["causal", "lengths", "several", "gathered"])
def test_keys_in_parts(pattern, chosen, keys, more, by_tma):
    """Of which a block has two or more: one has no keys of some rows, or of a warpgroup's, or of a batch."""
    check(by_tma(spec_of(pattern, "bf16", 16, **more), chosen=chosen), batch=2, queries=150, keys=keys, offset=keys - 150)


@pytest.mark.parametrize("pattern", ["dense", "causal"])
def test_many_units(pattern, by_tma):
    """More than two rounds of the device's blocks, the last of which is not whole: in both orders of units."""
    kernel = by_tma(spec_of(pattern, "bf16", 16, heads=2, key_heads=1), chosen=schedule(4, 32))
    check(kernel, batch=2, queries=250, keys=100, offset=20)


@pytest.mark.parametrize("pattern", ["dense", "causal"])
def test_lengths(pattern, by_tma):
    """The first batch has no key at all."""
    check(by_tma(spec_of(pattern, "f16", 32, lengths=True), chosen=schedule()), batch=3, queries=140, keys=190)


def test_bias_softcap_and_offsets(by_tma):
    kernel = by_tma(spec_of(BAND, "f16", 32, heads=2, bias=True, softcap=2.0), chosen=schedule())
    check(kernel, batch=2, queries=170, keys=175, offset=5, bias=(1, 0, 0, 0))


def test_sources_share_a_softmax(by_tma):
    """The second kernel adds to what the first wrote."""
    kernel = by_tma(spec_of("causal and window<left = 20, right = 0>", "f16", 32, heads=2), more=("dense",), chosen=schedule())
    check(kernel, batch=1, queries=170, keys=[170, 90])


@pytest.mark.parametrize("pattern, lengths", [("causal", None), ("dense", [70, 1, 128]), ("causal and fixed<block = 32, count = 8>", None)])
def test_keys_that_nobody_sees(pattern, lengths, by_tma):
    check_cache(by_tma(spec_of(pattern, "f16", 64, lengths=lengths is not None), chosen=schedule()), lengths)


def test_values_that_nobody_sees_are_cleared(by_tma):
    mutate = replaced(r"store <4 x i32> zeroinitializer[^\n]*", "")
    with pytest.raises(AssertionError, match="not finite"):
        check_cache(by_tma(spec_of("causal", "f16", 64), inside("mctx_attention_0", mutate), schedule()), None)


WAIT = r'(?:tail )?call void asm sideeffect "[^"]*mbarrier\.try_wait[^\n]*'
ARRIVE = r"%\w+ = (?:tail )?call i64 @llvm\.nvvm\.mbarrier\.arrive[^\n]*"
INIT = r"(?:tail )?call void @llvm\.nvvm\.mbarrier\.init[^\n]*"


def each(pattern, change, of=None):
    """Changes what a pattern finds: all, or those of some numbers, counted from 0."""
    def mutate(text):
        number = -1

        def swap(found):
            nonlocal number
            number += 1
            return change(found[0]) if of is None or number in of else found[0]

        text = re.sub(pattern, swap, text)
        assert number >= max(of or [0]), f"{number + 1} like {pattern}"
        return text
    return mutate


def where(mutate, part):
    """A mutation of what computes, which comes first, or of what loads."""
    def both(text):
        at = text.index("@llvm.nvvm.setmaxnreg.dec")
        return mutate(text[:at]) + text[at:] if part == "computes" else text[:at] + mutate(text[at:])
    return both


gone = lambda line: ""
count_is = lambda number: lambda line: re.sub(r"i32 \d+\)", f"i32 {number})", line)
# (barrier, parity, time): the other parity.
other_parity = lambda line: re.sub(r'("r,r,n"\([^,]*, i32) ([^,]+),', lambda m: f"{m[1]} {1 - int(m[2])}," if m[2].isdigit() else m[0], line)


def parities(text):
    """Those of values become their opposites."""
    lines = []
    for number, line in enumerate(text.split("\n")):
        if found := re.search(r'mbarrier\.try_wait.*"r,r,n"\([^,]*, i32 (%\w+),', line):
            lines.append(f"  %other.{number} = xor i32 {found[1]}, 1")
            line = line.replace(f"i32 {found[1]},", f"i32 %other.{number},")
        lines.append(line)
    return "\n".join(lines)


# Barriers are made in this order, with two stages and two warpgroups: 0 and 1 full, 2 and 3 empty, 4 and 5 queries, 6 and 7 none of them.
RACE = "no barrier between|still on its way|has not waited for|no thread can go on|may have ended"
MUTATIONS = {
    "a consumer does not wait for queries": (where(each(WAIT, gone, {0}), "computes"), "still on its way|which nothing wrote|has not waited"),
    "nor for any stage": (where(each(WAIT, gone), "computes"), RACE + "|which nothing wrote"),
    "the producer does not wait for stages": (where(each(WAIT, gone), "loads"), RACE),
    "a consumer waits for the other parity": (where(parities, "computes"), RACE + "|which nothing wrote"),
    "the producer waits for the other parity": (where(parities, "loads"), RACE),
    "nobody releases a stage": (where(each(ARRIVE, gone), "computes"), "no thread can go on"),
    "nobody says that boxes are asked for": (where(each(ARRIVE, gone), "loads"), "no thread can go on"),
    "queries are not released": (where(each(ARRIVE, gone, {6}), "computes"), "no thread can go on|may have ended"),
    "one arrival less makes a stage empty": (each(INIT, count_is(7), {2, 3}), RACE),
    "one more": (each(INIT, count_is(9), {2, 3}), "no thread can go on"),
    "queries are released by three warps": (each(INIT, count_is(3), {6}), RACE),
    "full needs two": (each(INIT, count_is(2), {0, 1}), "no thread can go on"),
    "too few bytes": (where(each(r"mbarrier\.expect\.tx[^\n]*i32 \d+\)", count_is(4096)), "loads"), "bytes arrive at a barrier that expects"),
    "barriers that are not there yet": (each(r"(?:tail )?call void @llvm\.nvvm\.barrier\.cta\.sync\.aligned\.all[^\n]*", gone), "nobody made|no barrier between"),
    "one warpgroup alone clears": (each(r"(?:tail )?call void @llvm\.nvvm\.barrier\.cta\.sync\.aligned\.count\(i32 1,[^\n]*", gone), "no barrier between"),
    "a warpgroup does not wait for its turn": (each(r"(?:tail )?call void @llvm\.nvvm\.barrier\.cta\.sync\.aligned\.count\(i32 %[^\n]*", gone), "arrived already"),
    "turns are not passed on": (each(r"(?:tail )?call void @llvm\.nvvm\.barrier\.cta\.arrive\.aligned\.count[^\n]*", gone), "no thread can go on"),
    "a turn for one warpgroup more": (each(r"(barrier\.cta\.arrive\.aligned\.count[^\n]*)i32 256", lambda text: text.replace("256", "384")), "and for others for"),
    "a barrier for one warpgroup": (each(r"(barrier\.cta\.sync\.aligned\.count\(i32 1, )i32 256", lambda text: text.replace("256", "128")),
                                    "no barrier between|at another instruction"),
    "a barrier for all threads": (each(r"(barrier\.cta\.sync\.aligned\.count\(i32 1, )i32 256", lambda text: text.replace("256", "384")),
                                  "no thread can go on"),
    "more registers than there are": (each(r"setmaxnreg\.inc[^\n]*", count_is(240)), "no thread can go on"),
    "registers are not given back": (each(r"(tail )?call void @llvm\.nvvm\.setmaxnreg\.dec[^\n]*(?=\n)", gone), "no thread can go on"),
    "less registers by .inc": (each(r"setmaxnreg\.inc[^\n]*", count_is(80)), "which is not more"),
    "more registers by .dec": (each(r"setmaxnreg\.dec[^\n]*", count_is(200)), "which is not less"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_refused(name, by_tma):
    mutate, message = MUTATIONS[name]
    kernel = by_tma(spec_of("causal", "f16", 64, heads=2, key_heads=1), inside("mctx_attention_0", mutate), schedule(columns=48))
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=400, keys=400)


def test_a_stage_that_is_released_early(by_tma):
    """When it has arrived, by all threads, before the products that read it have ended."""
    def early(text):
        waits = 0

        def release(found):
            nonlocal waits
            waits += 1
            if waits == 1:  # for queries
                return found[0]
            return f"""{found[0]}
  %early.{waits} = getelementptr i8, ptr addrspace(3) {found[1]}, i32 16
  %early.arrival.{waits} = call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %early.{waits})"""

        text = each(ARRIVE, gone, set(range(6)))(text)
        return re.sub(WAIT.replace(r"[^\n]*", r'[^"]*", "r,r,n"\(ptr addrspace\(3\) (?:nonnull )?(%\w+)[^\n]*'), release, text)

    mutate = lambda text: where(early, "computes")(each(INIT, count_is(256), {2, 3})(text))
    kernel = by_tma(spec_of("causal", "f16", 64, heads=2, key_heads=1), inside("mctx_attention_0", mutate), schedule(columns=48))
    with pytest.raises(emulated.EmulatorError, match="no barrier between|still on its way|has not waited for"):
        check(kernel, batch=1, queries=400, keys=400)
