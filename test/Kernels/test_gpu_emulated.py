"""GPU kernels, run by the emulator on the host, against the float64 reference; and mutations of them, which it must refuse.

Errors are measured against what rounding explains: with u the unit roundoff of the dtype, weights and output are rounded once each,
so |got - want| <= 2 u sum(weight |value|) / sum(weight) in the Frobenius norm. Log-sum-exp is f32 throughout.
"""

import re

import numpy as np
import pytest

import attention
import emulated

UNIT = {"f16": 2.0**-11, "bf16": 2.0**-8}
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
    "strided<stride = 4> and columns<block = 6, first = 0, count = 3>",
    "causal and (window<left = 9, right = 0> or strided<stride = 4>)",  # two kernels, the second accumulates
    "causal and fixed<block = 8, count = 2>",
    "causal and fixed<block = 8, count = 2, slot = head>",
    "window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>",
    "block_local<block = 16> minus window<left = 1, right = 1>",
    "per_head<[causal, strided<stride = 3>, window<left = 4, right = 0>]>",
    "per_head<0: causal, 1-2: strided<stride = 2>, 3-: block_local<block = 5>>",
]
SHAPES = [("f16", 64), ("bf16", 128), ("f16", 32), ("bf16", 64), ("f16", 128), ("bf16", 32)]


def spec_of(pattern, dtype="f16", dim=64, value_dim=None, **more):
    return attention.Spec(pattern=pattern, dtype=dtype, head_dim=dim, value_dim=value_dim or dim, **more)


def check(kernel, batch, queries, keys, offset=0, key_offset=0):
    spec = kernel.spec
    random = np.random.default_rng()
    draw = lambda heads, rows, dim: attention.rounded(random.standard_normal((batch, heads, rows, dim)), spec.dtype)
    q, k, v = draw(spec.heads, queries, spec.head_dim), draw(spec.key_heads, keys, spec.head_dim), draw(spec.key_heads, keys, spec.value_dim)
    lengths = None
    if spec.lengths:
        lengths = random.integers(0, keys + 1, batch)
        lengths[0] = 0
    out, lse = kernel.run(q, k, v, lengths, offset, key_offset)
    want, want_lse = attention.reference(spec, q, k, v, offset, None, lengths, key_offset)
    magnitude, _ = attention.reference(spec, q, k, np.abs(v), offset, None, lengths, key_offset)
    at = f"{queries} queries from {offset} on, {keys} keys from {key_offset} on"
    empty = np.isinf(want_lse)
    assert (np.isneginf(lse) == empty).all(), f"{at}: rows without keys differ"
    assert not out[empty].any(), f"{at}: rows without keys are not 0"
    assert np.isfinite(out).all(), at
    error, bound = np.linalg.norm(out - want), 2 * UNIT[spec.dtype] * np.linalg.norm(magnitude)
    assert error <= bound, f"{at}: error {error:.1e}, expected at most {bound:.1e}"
    lse_error = np.abs(lse[~empty] - want_lse[~empty]).max(initial=0)
    assert lse_error <= LSE, f"{at}: error of lse {lse_error:.1e}"


@pytest.mark.parametrize("number", range(len(PATTERNS)), ids=lambda i: PATTERNS[i])
def test_pieces_at_ragged_sizes(number, emulate):
    kernel = emulate(spec_of(PATTERNS[number], *SHAPES[number % len(SHAPES)]))
    for queries, keys in [(131, 131), (5, 70), (70, 5), (1, 1)]:
        check(kernel, batch=1, queries=queries, keys=keys)


@pytest.mark.parametrize("dtype, dim, value_dim", [("bf16", 32, 32), ("bf16", 64, 64), ("f16", 128, 128), ("f16", 8, 72), ("bf16", 80, 24),
                                                   ("f16", 256, 256)])
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


@pytest.mark.parametrize("query_step, key_step", [(1, 4), (3, 1)])
def test_steps(query_step, key_step, emulate):
    kernel = emulate(spec_of("causal and window<left = 50, right = 0>", "f16", 32, query_step=query_step, key_step=key_step))
    check(kernel, batch=1, queries=70, keys=77, offset=5)


@pytest.mark.parametrize("heads, key_heads", [(1, 1), (6, 2), (3, 3)])
def test_heads(heads, key_heads, emulate):
    check(emulate(spec_of("causal", "f16", 32, heads=heads, key_heads=key_heads)), batch=2, queries=33, keys=33)


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


SEVERAL = "window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>"
MUTATIONS = {
    "wait for queries": ("causal", without("cp.async.wait.group", 0), "copy of thread .* still on its way"),
    "wait for keys": ("causal", without("cp.async.wait.group", 1), "copy of thread .* still on its way"),
    "barrier after queries": ("causal", without("barrier.cta.sync", 0), "which nothing wrote|no barrier between"),
    "barrier after keys": ("causal", without("barrier.cta.sync", 2), "no barrier between"),
    "barrier before the next piece": (SEVERAL, without("barrier.cta.sync", 5), "no barrier between"),
    "wait for all but one group": ("causal", replaced(r"(wait\.group\(i32) 0", r"\1 1"), "still on its way"),
    "strides swapped": ("causal", swapped_strides, "access|error"),
    "no zeros beyond the last column": ("causal", replaced(r"(@llvm\.nvvm\.cp\.async\.cg[^\n]*, i32) %\w+\)", r"\1 16)"), "error"),
    "shuffle of other lanes": ("causal", replaced(r"(shfl\.sync\.bfly\.f32\([^\n]*, i32) 2, ", r"\1 4, "), "error"),
    "values not transposed": ("causal", replaced(r"(call [^\n]*x4)\.trans\.b16", r"\1.b16"), "error"),
    "shared memory one byte off": ("causal", replaced(r"(@nvx_shared_memory, i64) (\d+)", lambda m: f"{m[1]} {int(m[2]) + 1}"), "no multiple of"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_refused(name, emulate):
    pattern, mutate, message = MUTATIONS[name]
    kernel = emulate(spec_of(pattern, dim=72), mutate)
    with pytest.raises((emulated.EmulatorError, AssertionError), match=message):
        check(kernel, batch=1, queries=200, keys=200)
