"""Whole models for GPUs: they compile, and run, on a driver for tests, to what they are to give."""

import re
import sys
import zlib

import numpy as np
import onnx
import pytest

import reference
from conftest import ROOT, generated
from test_models import attentions, compiled

sys.path.append(str(ROOT / "python" / "models"))
import precision  # noqa: E402

SPARSE = "causal and (window<left = 5, right = 0> or strided<stride = 4>)"
ARCHITECTURES = ["sm_80", "sm_90a"]
TOLERANCES = {"f32": 1e-5, "bf16": 4e-2}  # of the difference's norm, relative


@pytest.mark.one_of_a_family
def test_compiles(model, tool, request, tmp_path):
    """Whatever compiles for the CPU, for one architecture in turn; the manifest says what for."""
    turn = zlib.crc32(model.name.encode()) % len(ARCHITECTURES)
    for arch in ARCHITECTURES if request.config.getoption("--all") else ARCHITECTURES[turn:turn + 1]:
        artifact = tmp_path / f"{arch}.mctx"
        done = compiled(model, tool, artifact, f"--target={arch}")
        last = (done.out + done.err).strip().splitlines()[-1]
        found = re.fullmatch(r"raised (\d+) attentions, sparsified 0", last)
        assert found and attentions(model) in (None, int(found[1])), done
        assert f'"arch": "{arch}"' in (artifact / "manifest.json").read_text()


RUNS = [("gpt_masked_fill_ts14", "f32", "sm_80", None), ("gpt_sdpa_ts17", "bf16", "sm_80", SPARSE), ("gpt_sdpa_dynamo18", "bf16", "sm_90a", None),
        ("gpt_bmm_ts17", "bf16", "sm_90a", SPARSE), ("bert_sdpa_ts17", "bf16", "sm_80", None), ("bert_eager_ts14", "bf16", "sm_90a", None),
        ("llama_past_sdpa_ts17", "bf16", "sm_80", SPARSE), ("llama_past_sdpa_ts17", "bf16", "sm_90a", None),
        ("llama_decode_sdpa_ts17", "f32", "sm_80", None), ("mistral_window_sdpa_ts17", "f32", "sm_80", None), ("vit_sdpa_ts17", "f32", "sm_80", None),
        ("llama_genai21", "f32", "sm_90a", None), ("llama_genai21", "f32", "sm_80", SPARSE), ("bert_int8_ts17", "f32", "sm_80", None), ("merged_bart_ts14", "f32", "sm_80", SPARSE)]


# How many products add a bias, and how many a residual: two layers, of each family.
EPILOGUES = {"gpt": (8, 4), "bert": (12, 4), "llama": (0, 4), "mistral": (0, 4), "vit": (12, 4), "merged": (16, 6)}
# Products of integers have scales after them; few rows by weights of few bits are no products.
EPILOGUES |= {"llama_genai21": (0, 0), "bert_int8_ts17": (0, 0)}


def narrow(array):
    import ml_dtypes

    return array.astype(ml_dtypes.bfloat16) if array.dtype == np.float32 else array


@pytest.mark.parametrize("name, dtype, arch, pattern", RUNS, ids=["-".join((*run[:3], "sparse" if run[3] else "dense")) for run in RUNS])
def test_runs(name, dtype, arch, pattern, fake_gpu, request, tmp_path):
    """By the runtime, kernels in the emulator: dense to the stored outputs, sparse to the reference's, both in f32."""
    folder = generated(request.config.getoption("--build")) / name
    source, artifact = folder / "model.onnx", tmp_path / "model.mctx"
    if dtype != "f32":
        source = tmp_path / "model.onnx"
        onnx.save(precision.convert(onnx.load(folder / "model.onnx"), dtype), source)
    fake_gpu.compile(source, artifact, *(["--pattern", pattern] if pattern else []), arch=arch)
    # The ragged one of the data sets.
    data = max(folder.glob("test_data_set_*"))
    feeds, log = reference.load_tensors(data, "input"), tmp_path / "log"
    reference.save_tensors(tmp_path / "in", "input", [(key, narrow(array) if dtype != "f32" else array) for key, array in feeds])
    done = fake_gpu.run(artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", settings="capability=90", log=log)
    assert done.status == 0, done
    got = dict(reference.load_tensors(tmp_path / "out", "output"))
    wanted = reference.expected_outputs(folder / "model.onnx", dict(feeds), pattern) if pattern else reference.load_tensors(data, "output")
    for key, want in wanted:
        assert got[key].shape == want.shape, key
        error = np.linalg.norm(got[key].astype(np.float64) - want) / (np.linalg.norm(want) or 1.0)
        assert error < TOLERANCES[dtype], f"{key}: error {error:.1e}"
    products = re.findall(r"^cublasLtMatmul (\w+).*?( bias|)( onto another|)$", log.read_text(), re.M)
    assert {of for of, _, _ in products} == ({dtype} if "genai" not in name else set()) and "cuLaunchKernel" in log.read_text()
    assert tuple(sum(bool(product[i]) for product in products) for i in (1, 2)) == EPILOGUES.get(name, EPILOGUES[name.split("_")[0]])


TMA = ("#nvx.schedule<rows = 64, columns = 32, warps = 4, stages = 3, product = wgmma, held = false, blocks = 1, loads = tma>")


# A warp loads for four others, in blocks that stay: the runtime says how many run at once.
PRODUCER = TMA.replace(">", ", producer = true, persistent = true>")


@pytest.mark.parametrize("name, chosen", [("gpt_sdpa_ts17", TMA), ("llama_past_sdpa_ts17", TMA), ("llama_past_sdpa_ts17", PRODUCER)])
def test_runs_by_tensor_maps(name, chosen, fake_gpu, request, tmp_path):
    """The runtime makes them at each launch, of the lengths of the run; grouped heads, and a cache."""
    folder = generated(request.config.getoption("--build")) / name
    source, artifact, log = tmp_path / "model.onnx", tmp_path / "model.mctx", tmp_path / "log"
    onnx.save(precision.convert(onnx.load(folder / "model.onnx"), "bf16"), source)
    fake_gpu.compile(source, artifact, schedule=chosen, arch="sm_90a")
    for data in sorted(folder.glob("test_data_set_*")):
        feeds = reference.load_tensors(data, "input")
        reference.save_tensors(tmp_path / "in", "input", [(key, narrow(array)) for key, array in feeds])
        done = fake_gpu.run(artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", settings="capability=90 multiprocessors=2", log=log)
        assert done.status == 0, done
        got = dict(reference.load_tensors(tmp_path / "out", "output"))
        for key, want in reference.load_tensors(data, "output"):
            error = np.linalg.norm(got[key].astype(np.float64) - want) / np.linalg.norm(want)
            assert error < TOLERANCES["bf16"], f"{key}: error {error:.1e}"
    assert log.read_text().count("cuTensorMapEncodeTiled rank 4") >= 4
    launches = [tuple(map(int, found)) for found in re.findall(r"^cuLaunchKernel grid (\d+) (\d+) (\d+) shared (\d+)", log.read_text(), re.M)]
    grids = {launch[:3] for launch in launches if launch[3] == max(shared for *_, shared in launches)}
    assert grids == {(2, 1, 1)} if chosen == PRODUCER else min(max(grid) for grid in grids) > 2, grids


SLICED = """\
!x = tensor<1x2x?x27xf16>
!r = tensor<1x2x?x8xf16>
func.func @main(%x: !x {onnx.name = "x"}) -> (!r {onnx.name = "out"}) {
  %c2 = arith.constant 2 : index
  %n = tensor.dim %x, %c2 : !x
  %q = tensor.extract_slice %x[0, 0, 0, 1] [1, 2, %n, 8] [1, 1, 1, 1] : !x to !r
  %k = tensor.extract_slice %x[0, 0, 0, 10] [1, 2, %n, 8] [1, 1, 1, 2] : !x to !r
  %v = tensor.extract_slice %x[0, 0, 0, 19] [1, 2, %n, 8] [1, 1, 1, 1] : !x to !r
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!r, !r) -> !megactx.source<!r, !r>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!r, !megactx.source<!r, !r>) -> !r
  return %o : !r
}
"""


@pytest.mark.parametrize("arch", ["sm_80", "cpu"])
def test_rows_within_wider_ones(arch, fake_gpu, tool, tmp_path):
    """Where no copy of 16 bytes could start, and with elements between those of a row: read from a copy of their own."""
    source, artifact = tmp_path / "model.mlir", tmp_path / "model.mctx"
    source.write_text(SLICED)
    if arch == "cpu":
        assert tool("megactx-compile", source, "-o", artifact).status == 0
    else:
        fake_gpu.compile(source, artifact, arch=arch)
    x = np.random.default_rng(0).standard_normal((1, 2, 37, 27)).astype(np.float16)
    reference.save_tensors(tmp_path / "in", "input", [("x", x)])
    done = fake_gpu.run(artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 0, done
    (_, got), = reference.load_tensors(tmp_path / "out", "output")
    q, k, v = (part.astype(np.float64) for part in (x[..., 1:9], x[..., 10:25:2], x[..., 19:27]))
    scores = np.where(np.tri(37, dtype=bool), np.einsum("bhqd,bhkd->bhqk", q, k), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = np.einsum("bhqk,bhkd->bhqd", weights / weights.sum(-1, keepdims=True), v)
    assert np.linalg.norm(got - want) < 2e-3 * np.linalg.norm(want)
