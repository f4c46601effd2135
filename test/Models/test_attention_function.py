"""megactx.attention: every argument against the definition in float64, memory that is read in place, other libraries' arrays, errors."""

import concurrent.futures
import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

import megactx
from conftest import ROOT
from megactx import dlpack

sys.path.append(str(ROOT / "test" / "Kernels"))
import attention as kernels  # noqa: E402
import gradients  # noqa: E402

SPARSE = "causal and window<left = 6, right = 0>"  # one that compiles soon: patterns are tested elsewhere
DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module", autouse=True)
def cache(request, tmp_path_factory):
    """A folder for kernels that is not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        megactx.use_build(request.config.getoption("--build"))
        yield folder / "megactx" / "attention"


def arrays(spec, batch=2, queries=37, keys=37):
    draw = lambda *shape: np.random.default_rng().standard_normal(shape).astype(DTYPES[spec.dtype])
    return (draw(batch, spec.heads, queries, spec.head_dim), draw(batch, spec.key_heads, keys, spec.head_dim),
            draw(batch, spec.key_heads, keys, spec.value_dim))


def close(got, want, dtype):
    np.testing.assert_allclose(np.asarray(got).astype(np.float64), want, rtol=0, atol=kernels.TOLERANCE[dtype])


def wanted(spec, inputs, **more):
    return kernels.reference(spec, *(x.astype(np.float32) for x in inputs), **more)


def inside(array):
    """The same numbers, in memory as [B, N, H, D]."""
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_log_sum_exp(dtype):
    spec = kernels.Spec(SPARSE, dtype, value_dim=24)
    inputs = arrays(spec)
    out, lse = megactx.attention(*inputs, SPARSE, return_lse=True)
    want, want_lse = wanted(spec, inputs)
    assert out.dtype == inputs[0].dtype and lse.dtype == np.float32
    close(out, want, dtype)
    close(lse, want_lse, dtype)
    np.testing.assert_array_equal(megactx.attention(*inputs, megactx.Pattern(SPARSE), return_lse=True)[0], out)


def test_options():
    spec = kernels.Spec("causal or window<left = 3, right = 2>", softcap=3.0)
    inputs = arrays(spec, queries=9, keys=50)
    for shape, dtype, integer in ((1, 4, 9, 50), "f32", np.int64), ((2, 1, 1, 50), "f16", np.int32), ((1, 1, 1, 1), "bf16", np.int64):
        bias = np.random.default_rng().standard_normal(shape).astype(DTYPES[dtype])
        for lengths in (np.array(lengths, integer) for lengths in ([50, 17], [3, 44])):
            got = megactx.attention(*inputs, spec.pattern, softcap=3.0, bias=bias, lengths=lengths, offset=41, scale=spec.scale)
            close(got, wanted(spec, inputs, offset=41, bias=bias.astype(np.float64), lengths=lengths)[0], "f32")


def by_distance(table, rows, keys):
    return table[..., np.arange(keys) - np.arange(rows)[:, None] + rows - 1]


# Heads and batches of the table, type, and biases: those of one line have kernels of their own.
BIASES = [(4, 1, "f32", ["table", "(table)", "full, per key, per key"]), (4, 2, "f16", ["per key, table, full"]),
          (1, 2, "f16", ["table", "full, per key, per key"]), (4, 2, "f32", ["per key, table, full"])]


@pytest.mark.parametrize("rows, keys, biases", [(37, 50, BIASES), (50, 37, BIASES), (100, 100, BIASES), (1, 40, BIASES[:2]), (1, 1, BIASES[:2])],
                         ids=["37-50", "50-37", "100-100", "1-40", "1-1"])
def test_biases_by_distance_and_several(rows, keys, biases):
    spec = kernels.Spec(SPARSE)
    inputs = arrays(spec, queries=rows, keys=keys)
    draw = np.random.default_rng().standard_normal
    for heads, batch, dtype, forms in biases:
        table, per_key = draw((batch, heads, rows + keys - 1)).astype(DTYPES[dtype]), draw((2, 1, 1, keys)).astype(DTYPES[dtype])
        full = draw((1, 4, rows, keys)).astype(np.float32)
        wide = by_distance(table.astype(np.float64), rows, keys)
        known = {"table": (table, wide), "(table)": ((table,), wide), "per key, table, full": ((per_key, table, full), wide + per_key + full),
                 "full, per key, per key": ((full, per_key, per_key), full + 2.0 * per_key)}
        for given, sum in (known[form] for form in forms):
            got = megactx.attention(*inputs, SPARSE, offset=max(0, keys - rows), scale=spec.scale, bias=given)
            close(got, wanted(spec, inputs, offset=max(0, keys - rows), bias=sum)[0], "f32")


DOCUMENTS = ["segments", "causal and segments", "segments and (window<left = 9, right = 4> or strided<stride = 5>)", "global_keys<first = 3> or segments and causal",
             "per_head<[segments, causal, causal and segments, window<left = 5, right = 5> and segments]>"]


@pytest.mark.parametrize("pattern", DOCUMENTS)
def test_documents(pattern):
    """Several in one sequence: ids by numbers of any kind, some longer than a block of keys, queries in the middle, keys of garbage ids past a length."""
    spec = kernels.Spec(pattern)
    for rows, keys, offset in (150, 150, 0), (7, 150, 143), (40, 260, 100), (1, 90, 89), (200, 200, 0):
        inputs = arrays(spec, queries=rows, keys=keys)
        random = np.random.default_rng()
        ids = np.sort(random.integers(-3, 9, (2, keys)) * 1000, axis=1)
        for dtype in [np.int32, np.int64][:2 if pattern == DOCUMENTS[0] else 1]:
            got = megactx.attention(*inputs, pattern, segments=ids.astype(dtype), offset=offset, scale=spec.scale)
            close(got, wanted(spec, inputs, offset=offset, segments=ids)[0], "f32")
        lengths = np.array([keys - 5, keys // 2 + 1])
        given = np.where(np.arange(keys) < lengths[:, None], ids, -999)
        got = megactx.attention(*inputs, pattern, segments=given, offset=offset, lengths=lengths, scale=spec.scale)
        close(got, wanted(spec, inputs, offset=offset, lengths=lengths, segments=ids)[0], "f32")
    more = dict(segments=ids[:, :0].astype(np.int32), offset=0, scale=spec.scale)
    assert megactx.attention(*(x[:, :, :0] for x in inputs), pattern, **more).size == 0
    none = megactx.attention(inputs[0], *(x[:, :, :0] for x in inputs[1:]), pattern, **more)
    assert not none.any()


def test_documents_in_no_order(request):
    code = (f"import megactx, numpy as np; megactx.use_build({str(request.config.getoption('--build'))!r}); q = np.zeros((2, 1, 4, 8), np.float32); "
            "megactx.attention(q, q, q, 'segments', segments=np.array([[0, 1, 1, 2], [0, 2, 1, 1]]), lengths=np.array([4, {}]))")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    ended, fine = (subprocess.run([sys.executable, "-c", code.format(length)], env=environment, capture_output=True, text=True) for length in (4, 2))
    assert ended.returncode == 1 and "megactx.attention: the segment ids of keys decrease" in ended.stderr
    assert fine.returncode == 0, fine  # what is past a length may hold anything


def test_offsets_of_caches():
    spec = kernels.Spec(SPARSE)
    inputs = arrays(spec, batch=3, queries=2, keys=40)
    past = np.array([38, 5, 0])
    for offset, lengths in ((past, past + 2), (past.astype(np.int32), (past + 2).tolist()), (list(past), None)):
        got = megactx.attention(*inputs, SPARSE, offset=offset, lengths=lengths)
        for i, begin in enumerate(past):
            one = [x[i:i + 1] for x in inputs]
            close(got[i:i + 1], wanted(spec, one, offset=begin, lengths=None if lengths is None else [begin + 2])[0], "f32")


def test_small_and_large_numbers():
    spec = kernels.Spec("causal")
    inputs = arrays(spec)
    close(megactx.attention(*inputs, "causal", scale=1e-5, softcap=1e16, offset=np.int64(0)), megactx.attention(*inputs, "causal", scale=1e-5), "f32")
    out, _ = megactx.attention(*inputs, "causal", offset=np.array(5), return_lse=np.True_)
    close(out, wanted(spec, inputs, offset=5)[0], "f32")


def test_threads_that_want_one_kernel(cache):
    x = np.ones((1, 1, 4, 8), np.float32)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: megactx.attention(x, x, x, f"window<left = {40 + n // 4}, right = 0>"), range(8)))
    assert all((out == 1).all() for out in made)


def test_masked_keys_weigh_nothing():
    """However large what they would add is."""
    q, k, v = arrays(kernels.Spec("causal"))
    large = v.copy()
    large[:, :, 30:] = 1e37
    np.testing.assert_array_equal(megactx.attention(q, k, large, "causal")[:, :, :30], megactx.attention(q, k, v, "causal")[:, :, :30])


@pytest.mark.parametrize("damage", [lambda made: (made / "manifest.json").write_text("{"), lambda made: (made / "model.so").unlink(),
                                    lambda made: (made / "model.so").write_bytes(b""), lambda made: (shutil.rmtree(made), made.write_bytes(b""))], ids=["manifest", "absent", "empty", "file"])
def test_a_damaged_kernel_is_compiled_anew(damage, cache, monkeypatch):
    from megactx import attention_function

    x = np.ones((1, 1, 4, 8), np.float32)
    before = set(cache.glob("*.mctx")) if cache.exists() else set()
    pattern = f"causal and window<left = {50 + len(before)}, right = 0>"
    megactx.attention(x, x, x, pattern)
    made, = set(cache.glob("*.mctx")) - before
    monkeypatch.setattr(attention_function, "_models", {})  # as in the next process
    damage(made)
    assert (megactx.attention(x, x, x, pattern) == 1).all()


def python(code, request, **environment):
    """A process of its own, in which `attend(n)` needs a kernel for each n."""
    head = f"""
import os, threading, time, megactx, numpy as np
megactx.use_build({str(request.config.getoption('--build'))!r})
x = np.ones((1, 1, 4, 8), np.float32)
attend = lambda n: megactx.attention(x, x, x, f"causal and window<left = {{n}}, right = 0>")
"""
    return subprocess.run([sys.executable, "-c", head + code], env={**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment}, capture_output=True, text=True, timeout=300)


def test_without_a_folder_for_kernels(request, tmp_path):
    """Kernels last as long as the process, which says so once."""
    (tmp_path / "cache").write_text("")
    (tmp_path / "here").mkdir()
    code = "attend(1), attend(2)\nif os.fork() == 0: raise SystemExit\nos.wait(), attend(3), print('done')"
    done = python(code, request, XDG_CACHE_HOME=str(tmp_path / "cache"), TMPDIR=str(tmp_path / "here"))
    assert done.stdout == "done\n" and done.stderr.count(": RuntimeWarning: ") == 1, done
    assert re.search(f"cannot write to the folder '{tmp_path}/cache/megactx/attention': .*XDG_CACHE_HOME names another", done.stderr), done
    assert not any((tmp_path / "here").iterdir())


def test_without_room_for_kernels(request, tmp_path):
    done = python("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); attend(1)", request, XDG_CACHE_HOME=str(tmp_path))
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(f"Error: attention: cannot write to the folder '{tmp_path}/megactx/attention': File too large; make room there, or name another folder by XDG_CACHE_HOME", last), done


def test_a_process_that_is_forked_while_a_thread_compiles(request, tmp_path):
    done = python("""
thread = threading.Thread(target=lambda: attend(1))
thread.start()
while not (os.path.exists(made := os.environ["XDG_CACHE_HOME"] + "/megactx/attention") and os.listdir(made)):
    time.sleep(0.01)
child = os.fork()
if child == 0:
    attend(1), attend(2)
    os._exit(7)
for _ in range(1000):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
thread.join()
print(os.waitstatus_to_exitcode(status), (attend(1) == 1).all())
""", request, XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout == "7 True\n", done


def test_threads_that_compile_do_not_wait_for_others(monkeypatch):
    """A kernel that is being made holds up none but itself."""
    from megactx import attention_function

    both, load = threading.Barrier(2, timeout=100), attention_function._load
    monkeypatch.setattr(attention_function, "_load", lambda signature: (both.wait(), load(signature))[1])
    x = np.ones((1, 1, 4, 8), np.float32)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for made in pool.map(lambda left: megactx.attention(x, x, x, f"causal and window<left = {left}, right = 0>"), (61, 62)):
            assert (made == 1).all()


def test_rows_without_keys():
    out, lse = megactx.attention(*arrays(kernels.Spec("dense")), "causal minus causal", return_lse=True)
    assert (np.asarray(out) == 0).all() and np.isneginf(lse).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries, keys", [(37, 37), (150, 150), (1, 3000)])
def test_what_is_no_number_stays_none(queries, keys, dtype):
    """A row that sees a score that is NaN is NaN, and no other: neither a row without keys nor one of the other keys."""
    pattern = "causal and (window<left = 6, right = 0> or strided<stride = 5>)"
    spec = kernels.Spec(pattern, dtype)
    inputs = arrays(spec, queries=queries, keys=keys)
    inputs[0][0, 1, queries // 2, 3] = inputs[0][1, 2] = np.nan
    inputs[1][1, 0, keys - 5, 1] = np.nan
    bias = np.random.default_rng().standard_normal((2, spec.heads, 1, keys)).astype(DTYPES[dtype])
    bias[0, 0, 0, keys - 1] = np.nan
    out, lse = megactx.attention(*inputs, pattern, bias=bias, offset=keys - queries, return_lse=True)
    with np.errstate(invalid="ignore"):
        want, want_lse = wanted(spec, inputs, bias=bias.astype(np.float32), offset=keys - queries)
    assert np.isnan(want_lse).any() and not np.isnan(want_lse).all()
    close(lse, want_lse, "f32" if dtype == "f32" else dtype)
    close(out, want, dtype)


@pytest.mark.parametrize("which", [(0, 1, 2), (0,), (1,), (2,)], ids=str)
def test_views_of_heads_inside_are_read_and_written_in_place(which):
    spec = kernels.Spec(SPARSE)
    inputs = arrays(spec)
    given = [inside(x) if i in which else x for i, x in enumerate(inputs)]
    out = megactx.attention(*given, SPARSE)
    close(out, wanted(spec, inputs)[0], "f32")
    assert out.strides == (given[0].strides if 0 in which else inputs[0].strides)


def test_other_layouts_and_byte_orders():
    spec = kernels.Spec(SPARSE)
    inputs = arrays(spec)
    want = wanted(spec, inputs)[0]
    close(megactx.attention(*(x.astype(">f4") for x in inputs), SPARSE), want, "f32")
    close(megactx.attention(*(np.repeat(x, 2, 3)[..., ::2] for x in inputs), SPARSE), want, "f32")
    close(megactx.attention(*(np.asfortranarray(x) for x in inputs), SPARSE), want, "f32")


class Foreign:
    """An array of a library that numpy does not know, in host memory."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, f"foreign.{array.dtype.name}"

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self):
        dims = (ctypes.c_int64 * 4)(*self.shape)
        managed = dlpack._DLManagedTensor()
        code = 4 if "bfloat16" in self.dtype else 2
        managed.tensor = dlpack._DLTensor(self.array.ctypes.data, 1, 0, 4, code, 8 * self.array.itemsize, 1, dims, None, 0)
        managed.deleter = dlpack._Deleter(lambda pointer: None)
        self.held = managed, dims
        return dlpack.capsule(ctypes.addressof(managed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_other_libraries(dtype):
    spec = kernels.Spec(SPARSE, dtype)
    inputs = arrays(spec)
    close(megactx.attention(*map(Foreign, inputs), SPARSE), wanted(spec, inputs)[0], dtype)


def test_a_kernel_is_compiled_once(monkeypatch, tmp_path):
    """In the folder of then, also where it changes."""
    for right in 17, 18:  # patterns of no other test, as what is loaded stays so
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(right)))
        spec = kernels.Spec(f"window<left = 2, right = {right}>")
        for batch, queries, keys in (1, 5, 5), (3, 20, 11), (2, 0, 4), (0, 3, 3):
            inputs = arrays(spec, batch, queries, keys)
            close(megactx.attention(*inputs, spec.pattern), wanted(spec, inputs)[0], "f32")
        assert len(list(tmp_path.glob(f"{right}/megactx/attention/*"))) == 1


GOOD = [np.zeros((2, 4, 5, 8), np.float32), np.zeros((2, 2, 6, 8), np.float32), np.zeros((2, 2, 6, 4), np.float32)]
Q, K, V = GOOD


@pytest.mark.parametrize("arguments, options, reason", [
    ((Q[0], K, V), {}, r"query: expected \[batch, heads, tokens, dim\], but got \[4, 5, 8\]"),
    ((Q, K[:1], V), {}, r"key: expected \[2, 2, 6, 8\], but got \[1, 2, 6, 8\]"),
    ((Q, K[..., :7], V), {}, r"key: expected \[2, 2, 6, 8\], but got \[2, 2, 6, 7\]"),
    ((Q, K, V[:, :, :5]), {}, r"value: expected \[2, 2, 6, 4\], but got \[2, 2, 5, 4\]"),
    ((Q[:, :3], K, V), {}, "expected a multiple of the 2 heads of keys, but got 3"),
    ((Q, K[:, :0], V[:, :0]), {}, "expected a multiple of the 0 heads of keys"),
    ((Q.astype(np.float64), K, V), {}, "query: expected float32, float16, bfloat16, but got float64"),
    ((Q.astype(np.float16), K, V), {}, "expected one element type, but got f16, f32, f32"),
    ((Q, K, V, "windw<left = 1, right = 0>"), {}, "attention: unknown pattern 'windw', did you mean 'window'?"),
    ((Q, K, V, "causal or\n  (dense"), {}, r"attention: expected '\)'\n    \(dense\n          \^$"),
    ((Q, K, V, "causal & dense"), {}, r"did you mean 'and' for '&'\?\n  causal & dense\n         \^$"),
    ((Q, K, V, "window<left = 1.5>"), {}, r"expected an integer, but got a fraction\n  window<left = 1.5>\n                \^$"),
    ((Q, K, V, "-1"), {}, "attention: expected a pattern\n"),
    ((Q, K, V, "causal\0"), {}, r"attention: expected a pattern in ASCII, but got '\\x00'\n  causal\n        \^$"),
    ((Q, K, V, "causal and k ≤ 3"), {}, r"ASCII, but got '≤'\n  causal and k ≤\n               \^$"),
    ((Q, K, V, lambda b, h, q, k: q - k), {}, r"pattern: expected a mask's function to give a comparison, but it gives the number \(p - k\)"),
    ((Q, K, V, np.ones((5, 6), bool)), {}, "pattern: expected text .* but got a mask"),
    ((Q, K, V, None), {}, "pattern: expected text .* but got None"),
    ((Q, K, V), {"bias": np.zeros((2, 4, 5, 5), np.float32)}, r"bias: expected dims 1 or those of \[2, 4, 5, 6\], but got \[2, 4, 5, 5\]"),
    ((Q, K, V, "segments"), {}, "^segments: expected .* but got none"),
    ((Q, K, V), {"segments": np.zeros((2, 6), np.int64)}, "has segment ids, which its pattern 'dense' does not read"),
    ((Q, K, V, "causal minus segments"), {"segments": np.zeros((2, 6), np.int64)}, "expected 'segments' in an 'and', or in an 'or' with windows"),
    ((Q, K, V, "segments"), {"segments": np.zeros((2, 5), np.int64)}, r"segments: expected \[2, 6\], but got \[2, 5\]"),
    ((Q, K, V), {"bias": np.zeros((1, 4, 9), np.float32)}, r"bias: expected dims 1 or those of \[2, 4, 10\], an entry for each distance, but got \[1, 4, 9\]"),
    ((Q, K, V), {"bias": (np.zeros((1, 1, 10), np.float32), np.zeros((4, 10), np.float32))}, r"bias: .* but got \[4, 10\]"),
    ((Q, K, V), {"bias": np.zeros((2, 4, 5, 6), bool)}, "bias: expected float32, float16, bfloat16, but got bool"),
    ((Q, K, V), {"lengths": [1]}, r"lengths: expected \[2\], but got \[1\]"),
    ((Q, K, V), {"lengths": [1.0, 2.0]}, "lengths: expected int32, int64, but got float64"),
    ((Q, K, V), {"offset": [1, 2, 3]}, r"offset: expected \[2\], but got \[3\]"),
    ((Q, K, V), {"offset": 1 << 63}, "offset: expected at most 281474976710656 tokens"),
    ((Q, K, V), {"offset": np.array([0, (1 << 63) - 4])}, "offset: expected at most 281474976710656 tokens, but got 9223372036854775804"),
    ((Q, K, V), {"offset": np.float64(1.9)}, "offset: expected whole tokens, but got 1.9"),
    ((Q, K, V), {"offset": 1.9}, "offset: expected whole tokens, but got 1.9"),
    ((Q, K, V), {"lengths": 3}, r"lengths: expected \[2\], but got \[\]"),
    ((Q, K, V), {"scale": 1e300}, "scale: expected a finite number of float32, but got 1e[+]300"),
    ((Q, K, V), {"softcap": float("inf")}, "softcap: expected a finite number of float32, but got inf"),
    ((Q, K, V), {"offset": [1.0, 2.0]}, "offset: expected int32, int64, but got float64"),
    ((Q, K, V), {"scale": float("nan")}, "scale: expected a finite number of float32, but got nan"),
    ((Q, K, V), {"softcap": -1.0}, "softcap: expected a positive number"),
    ((Q, K, V), {"softcap": 3e38}, "softcap: expected a finite number of float32, but got 3e[+]38"),
    ((Q, K, V), {"softcap": "x"}, "softcap: expected a number, but got 'x'"),
    ((Q, K, V), {"scale": 10**400}, "scale: expected a finite number of float32, but got inf"),
    ((Q, K, V), {"scale": np.ones(2)}, "scale: expected a number, but got array"),
    ((Q, K, V), {"bias": [None, np.zeros((2, 4, 5, 6), np.float32)]}, "bias: expected arrays, but got None among them"),
])
def test_bad_arguments(arguments, options, reason, cache):
    before = sorted(cache.glob("*")) if cache.exists() else []
    with pytest.raises(megactx.Error, match=reason):
        megactx.attention(*arguments, **options)
    assert (sorted(cache.glob("*")) if cache.exists() else []) == before


def test_on_a_gpu(fake_gpu, tmp_path):
    """Kernels, those of gradients too, are for the device's architecture, run there, and nothing is copied but the offset."""
    log = tmp_path / "log"
    done = fake_gpu.python(f"""
import os, pathlib, numpy as np
os.environ["XDG_CACHE_HOME"] = sys.argv[1]
sys.path[:0] = [{str(ROOT / "test" / "Kernels")!r}, {str(ROOT / "test" / "Models")!r}]
import attention, gradients, on_device
from megactx import artifacts
def compile(model, output, policy=None, target=None, generic=False):
    assert target == "sm_80"
    on_device.compile_artifact(artifacts.build() / "bin", target, model, pathlib.Path(output), format="llvm")
artifacts.compile = compile
spec = attention.Spec({SPARSE!r}, "f16", heads=2, key_heads=1)
q, k, v = (np.random.default_rng().standard_normal((1, h, n, 16)).astype(np.float16) for h, n in ((2, 9), (1, 40), (1, 40)))
there = [megactx.to_device(x) for x in (q, k, v)]
copied = open(sys.argv[2]).read().count("host to device")
out, lse = megactx.attention(*there, {SPARSE!r}, offset=31, return_lse=True)
assert open(sys.argv[2]).read().count("host to device") == copied
want, want_lse = attention.reference(spec, q.astype(np.float32), k.astype(np.float32), v.astype(np.float32), offset=31)
np.testing.assert_allclose(out.numpy().astype(np.float32), want, atol=4e-3)
np.testing.assert_allclose(lse.numpy(), want_lse, atol=4e-3)
dout = np.random.default_rng().standard_normal(q.shape).astype(np.float16)
got = megactx.attention_backward(megactx.to_device(dout), *there, out, lse, {SPARSE!r}, offset=31)
for g, w in zip(got, gradients.reference(spec, *(x.astype(np.float32) for x in (q, k, v)), 31, None, None, 0, None, dout.astype(np.float32), 0)):
    np.testing.assert_allclose(g.numpy().astype(np.float32), w, atol=8e-3 * max(1, np.abs(w).max()))
try:
    megactx.attention(there[0], k, v)
except megactx.Error as error:
    assert "expected all arrays on one device, but got query on 2:0, key on 1:0" in str(error), error
else:
    raise AssertionError("arrays on two devices")
""", tmp_path, log, log=log)
    assert done.status == 0, str(done)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(dtype):
    """By queries, keys and values, in memory as [B, N, H, D] and not, and by a bias; what they are in general is tested of kernels."""
    spec = kernels.Spec(SPARSE, dtype)
    q, k, v = arrays(spec)
    dout = arrays(spec)[0]
    bias = np.random.default_rng().standard_normal((1, 4, 37, 37)).astype(np.float32)
    out, lse = megactx.attention(inside(q), k, v, SPARSE, bias=bias, return_lse=True)
    *got, (dbias,) = megactx.attention_backward(inside(dout), inside(q), k, v, out, lse, SPARSE, bias=bias, bias_gradients=True)
    *want, ds, _, _ = gradients.reference(spec, *(x.astype(np.float32) for x in (q, k, v)), 0, bias, None, 0, None, dout.astype(np.float32), 0)
    for g, w in zip([*got, dbias], [*want, ds.sum(0, keepdims=True)], strict=True):
        assert g.shape == w.shape and g.dtype == (np.float32 if g is dbias else q.dtype)
        np.testing.assert_allclose(g.astype(np.float64), w, rtol=0, atol=gradients.TOLERANCE[dtype] * max(1, np.abs(w).max()))
    for g, w in zip(megactx.attention_backward(dout, q, k, v, out, lse, SPARSE, bias=bias), got, strict=True) if dtype == "bf16" else ():
        np.testing.assert_allclose(g.astype(np.float64), w.astype(np.float64), rtol=0, atol=gradients.TOLERANCE[dtype] * max(1, np.abs(w.astype(np.float64)).max()))


@pytest.mark.parametrize("shape", [(2, 4, 9, 1), (1, 1, 1, 1), (1, 4, 1, 9)], ids=str)
def test_gradients_of_a_bias_that_is_broadcast(shape):
    """Of one for all keys they are what rounding leaves of 0."""
    spec = kernels.Spec("dense")
    q, k, v = arrays(spec, queries=9, keys=9)
    bias = np.random.default_rng().standard_normal(shape).astype(np.float32)
    out, lse = megactx.attention(q, k, v, bias=bias, return_lse=True)
    *_, (dbias,) = megactx.attention_backward(q, q, k, v, out, lse, bias=bias, bias_gradients=True)
    *_, ds, _, _ = gradients.reference(spec, q, k, v, 0, np.broadcast_to(bias, (2, 4, 9, 9)), None, 0, None, q, 0)
    want = ds.sum(tuple(i for i in range(4) if shape[i] == 1), keepdims=True)
    np.testing.assert_allclose(dbias, want, rtol=0, atol=gradients.TOLERANCE["f32"] * max(1, np.abs(want).max()))


@pytest.mark.parametrize("pattern, shape, shapes, more", [
    ("causal and (window<left = 40, right = 0> or strided<stride = 8>)", (2, 300, 300), [(1, 4, 599), (2, 1, 300, 300)], dict(softcap=3.0)),
    ("window<left = 70, right = 9>", (3, 131, 190), [(3, 1, 320), (1, 4, 1, 190)], dict(offset=59)),
    ("dilated<dilation = 3, left = 4, right = 0>", (2, 16, 40), [(1, 4, 55)], dict(offset=5)),  # a class's rows are from 0 to 15, and six
    ("causal and segments", (2, 333, 333), [(2, 1, 1, 333), (1, 4, 333, 333)], dict(dtype="bf16")),
    ("dense", (2, 70, 300), [(1, 4, 369), (1, 1, 1, 1)], dict(dtype="f16", lengths=True)),
    ("block_local<block = 64> or global_keys<first = 3>", (1, 65, 1), [(1, 4, 65, 1), (1, 1, 65)], dict()),
    ("fixed<block = 16, count = 2>", (2, 200, 200), [(2, 1, 399)], dict(key_heads=4)),
], ids=lambda x: str(x)[:40])
def test_gradients_of_biases(pattern, shape, shapes, more):
    """By distance, per key, and matrices, the same for batches or heads or not: blocks of queries in one vector and in many, whole and ragged."""
    batch, queries, keys = shape
    spec = kernels.Spec(pattern, **{name: value for name, value in more.items() if name not in ("offset", "lengths")})
    random = np.random.default_rng()
    (q, k, v), dout = arrays(spec, *shape), arrays(spec, *shape)[0]
    biases = [random.standard_normal(each).astype(np.float32) for each in shapes]
    lengths = np.array([keys, keys // 3]) if "lengths" in more else None
    segments = np.sort(random.integers(0, 4, (batch, keys)), axis=1) if "segments" in pattern else None
    offset = more.get("offset", 0)
    at = np.arange(keys) - np.arange(queries)[:, None] + queries - 1
    spread = sum((bias[:, :, at] if bias.ndim == 3 else bias).astype(np.float64) for bias in biases)
    *_, ds, out, lse = gradients.reference(spec, *(x.astype(np.float32) for x in (q, k, v)), offset, spread, lengths, 0, segments, dout.astype(np.float32), 0)
    *_, got = megactx.attention_backward(dout, q, k, v, out.astype(q.dtype), lse.astype(np.float32), pattern, bias=tuple(biases), bias_gradients=True,
                                         lengths=lengths, segments=segments, offset=offset, softcap=spec.softcap)
    for given, gradient in zip(biases, got, strict=True):
        terms = ds if given.ndim == 4 else np.stack([np.where(at == t, ds, 0).sum((2, 3)) for t in range(given.shape[2])], axis=2)
        over = tuple(i for i in range(given.ndim) if given.shape[i] == 1)
        want, size = terms.sum(over, keepdims=True), np.sqrt((terms**2).sum(over)).max()
        assert gradient.shape == given.shape and gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, want, rtol=0, atol=gradients.TOLERANCE[spec.dtype] * max(1, size), err_msg=str(given.shape))


def test_gradients_of_some_biases():
    q, k, v = arrays(kernels.Spec("dense"), queries=9, keys=9)
    random = np.random.default_rng()
    biases = tuple(random.standard_normal(shape).astype(np.float32) for shape in [(1, 4, 17), (1, 1, 9, 9), (1, 1, 1, 9)])
    out, lse = megactx.attention(q, k, v, bias=biases, return_lse=True)
    gradients_of = lambda which: megactx.attention_backward(q, q, k, v, out, lse, bias=biases, bias_gradients=which)
    all_of, some = gradients_of(True), gradients_of([True, False, True])
    assert some[3][1] is None and [g.shape for g in all_of[3]] == [bias.shape for bias in biases]
    for one, other in [*zip(all_of[:3], some[:3]), (all_of[3][0], some[3][0]), (all_of[3][2], some[3][2])]:
        np.testing.assert_array_equal(one, other)
    with pytest.raises(megactx.Error, match="bias_gradients: expected one for each of 3 biases, but got 2"):
        gradients_of([True, False])


@pytest.mark.parametrize("which", ["key", "value"])
@pytest.mark.parametrize("of_biases", [True, False])
def test_gradients_know_nothing_behind_lengths(which, of_biases):
    q, k, v = arrays(kernels.Spec("dense"), queries=9, keys=9)
    bias = np.random.default_rng().standard_normal((1, 1, 9, 9)).astype(np.float32)
    more = dict(bias=bias, lengths=[5, 9])
    gradients_of = lambda k, v: megactx.attention_backward(q, q, k, v, *megactx.attention(q, k, v, return_lse=True, **more), bias_gradients=of_biases, **more)
    want = gradients_of(k, v)
    {"key": k, "value": v}[which][0, :, 5:] = np.nan
    got = gradients_of(k, v)
    for one, other in zip(*([*made[:3], *(made[3] if of_biases else [])] for made in (got, want))):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change, message", [
    (dict(dout=np.zeros((2, 4, 37, 8), np.float32)), r"dout: expected \[2, 4, 37, 16\], but got \[2, 4, 37, 8\]"),
    (dict(lse=np.zeros((2, 4), np.float32)), r"lse: expected \[2, 4, 37\], but got \[2, 4\]"),
    (dict(out=np.zeros((2, 4, 37, 16), np.float16)), "out: expected the type of queries, but got float16"),
    (dict(dlse=np.zeros((2, 4, 37), np.float16)), "dlse: expected float32, but got float16")])
def test_gradients_of_wrong_arrays(change, message):
    q, k, v = arrays(kernels.Spec(SPARSE))
    given = dict(dout=q, query=q, key=k, value=v, out=q, lse=np.zeros((2, 4, 37), np.float32), pattern=SPARSE) | change
    with pytest.raises(megactx.Error, match=message):
        megactx.attention_backward(**given)


def test_without_a_driver(tmp_path):
    with pytest.raises(megactx.Error, match="needs an NVIDIA GPU"):
        sys.modules["megactx.driver"].architecture(7)
