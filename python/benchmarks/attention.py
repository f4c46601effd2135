#!/usr/bin/env python3
"""Times sparse attention kernels against PyTorch's, in one process, on the same inputs and threads.

    tools/dev/build release
    pip install torch           # optional; without it only our own kernels are timed
    python python/benchmarks/attention.py [--queries 4096 16384] [--threads 1 2 4] [--cases NAME ...] [--gradients] [--json FILE]

With --device cuda it is attention_gpu.py, with options of its own.

Each number of threads is measured in a process of its own. Compared, where they can express a pattern: scaled_dot_product_attention (dense), FlexAttention (compiled;
its compilation is not timed, its mask building is shown apart) and, for a stride, rows permuted by hand
with the permutation timed. Numbers are checked before anything is timed. Rounds take every kernel in
turn; the table shows medians. One pair costs 2 · (D + Dv) FLOPs; nothing else counts.
With --gradients those of queries, keys and values are timed, by torch.autograd.grad, of 10 · D FLOPs a pair; FlexAttention has none on CPUs.
"""

import argparse
import ctypes
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from attention_cases import CPU as CASES, mask_of, module  # noqa: E402
from rounds import medians  # noqa: E402
from torch_cases import Gradients  # noqa: E402

HEADS, DIM, TOLERANCE = 8, 64, 2e-4

def query_rows(name, keys):
    return 1 if name == "decode" else keys


def fma_peak(threads, folder):
    """FLOP/s of this machine's vector units, measured."""
    library = pathlib.Path(folder) / "fma_peak.so"
    if not library.exists():
        command = ["clang-22", "-O2", "-march=native", "-shared", "-fPIC", "-pthread", "-o", library, HERE / "fma_peak.c"]
        subprocess.run([str(c) for c in command], check=True)
    function = ctypes.CDLL(str(library)).fma_peak
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_int, ctypes.c_int64]
    return max(function(threads, 20_000_000) for _ in range(3))


class Ours:
    """One attention, compiled with its pattern; any number of queries."""

    def __init__(self, name, folder):
        stem = pathlib.Path(folder) / name.replace("/", "-")
        source, artifact = stem.with_suffix(".mlir"), stem.with_suffix(".mctx")
        if not artifact.exists():
            source.write_text(module(CASES[name][0], *[f"tensor<?x{HEADS}x?x{DIM}xf32>"] * 2, DIM))
            megactx.compile(source, artifact)
        self.model = megactx.load(artifact)

    def __call__(self, q, k, v):
        return next(iter(self.model.run(dict(zip(self.model.inputs, (q, k, v)))).values()))


def torch_competitors(name, queries, threads):
    """{label: (function of numpy arrays, seconds of preparation)}, and how to wrap inputs."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    found = {}
    if name in ("causal", "decode"):
        found["PyTorch SDPA"] = (lambda q, k, v: sdpa(q, k, v, is_causal=name == "causal"), 0.0)
        return found
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    begin = time.perf_counter()
    mask = create_block_mask(mask_of(name, queries, torch.from_numpy), None, None, queries, queries, device="cpu")
    building = time.perf_counter() - begin
    compiled = torch.compile(flex_attention)
    found["FlexAttention"] = (lambda q, k, v: compiled(q, k, v, block_mask=mask), building)
    if name == "strided128" and queries % 128 == 0:
        fold = lambda t: t.view(HEADS, queries // 128, 128, DIM).transpose(1, 2).contiguous()
        unfold = lambda t: t.transpose(1, 2).reshape(1, HEADS, queries, DIM)
        found["permuted by hand"] = (lambda q, k, v: unfold(sdpa(fold(q), fold(k), fold(v), is_causal=True)), 0.0)
    return found


def reference_rows(name, q, k, v, rows):
    """Some rows of the result, in f64, straight from the definition."""
    keep = mask_of(name, k.shape[2])
    out = np.empty((HEADS, len(rows), DIM))
    keys = np.arange(k.shape[2])
    for i, row in enumerate(rows):
        keys_kept = np.flatnonzero(keep(0, 0, np.int64(row), keys))
        scores = np.einsum("hd,hkd->hk", q[0, :, row].astype(np.float64), k[0][:, keys_kept]) * DIM**-0.5
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, i] = np.einsum("hk,hkd->hd", weights / weights.sum(axis=1, keepdims=True), v[0][:, keys_kept])
    return out


def pairs_of(name, queries):
    """Pairs of one head, counted row by row."""
    keep, keys = mask_of(name, queries), np.arange(queries)
    return sum(int(np.count_nonzero(keep(0, 0, np.int64(row), keys))) for row in range(query_rows(name, queries)))


def measure(name, queries, threads, rounds, folder):
    rng = np.random.default_rng(queries)
    q, k, v = (rng.standard_normal((1, HEADS, rows, DIM), dtype=np.float32) for rows in (query_rows(name, queries), queries, queries))
    kernels = {"megactx": (Ours(name, folder), 0.0, (q, k, v))}
    try:
        import torch

        tensors = tuple(map(torch.from_numpy, (q, k, v)))
        for label, (function, preparation) in torch_competitors(name, queries, threads).items():
            kernels[label] = (function, preparation, tensors)
    except ImportError:
        pass
    last = q.shape[2] - 1
    rows = np.unique(np.r_[0, min(1, last), last, rng.integers(0, last + 1, 29)])
    want = reference_rows(name, q, k, v, rows)
    for label, (function, _, inputs) in kernels.items():
        got = np.asarray(function(*inputs))[0][:, rows]
        error = float(np.abs(got - want).max())
        if not error < TOLERANCE:
            raise SystemExit(f"error: {label}, {name}, {queries} queries: differs from the reference by {error:.1e}")
    took = medians({label: functools.partial(function, *inputs) for label, (function, _, inputs) in kernels.items()}, rounds)
    return lines(name, queries, threads, took, 4, {label: preparation for label, (_, preparation, _) in kernels.items()})


def measure_gradients(name, queries, threads, rounds):
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    torch.set_num_threads(threads)
    case = Gradients(name, queries, DIM, "f32", device="cpu")
    tensors = case.tensors()
    kernels = {"megactx": case.timed(lambda q, k, v: megactx.attention(q, k, v, case.pattern))}
    if name == "causal":
        kernels["PyTorch SDPA"] = case.timed(lambda q, k, v: sdpa(q, k, v, is_causal=True))
    for label, function in kernels.items():
        error = case.error(function(*tensors), *tensors)
        if not error < TOLERANCE:
            raise SystemExit(f"error: {label}, gradients of {name}, {queries} queries: differ from the reference by {error:.1e}")
    took = medians({label: functools.partial(function, *tensors) for label, function in kernels.items()}, rounds)
    return lines(name, queries, threads, took, case.FLOPS, dict.fromkeys(took, 0.0))


def lines(name, queries, threads, took, flops, preparation):
    """Of each kernel that `took` seconds: flops are of a pair, times the head dim."""
    all = float(flops) * DIM * HEADS * pairs_of(name, queries)
    return [dict(case=name, queries=queries, threads=threads, kernel=label, seconds=seconds, gflops=all / seconds / 1e9, preparation=preparation[label])
            for label, seconds in took.items()]


def show(rows, peak):
    ours = rows[0]
    for row in rows:
        beside = "" if row is ours else f"   {row['seconds'] / ours['seconds']:7.2f} × ours"
        building = f"   mask built in {1e3 * row['preparation']:.0f} ms" if row["preparation"] else ""
        share = f" {100e9 * row['gflops'] / peak:5.1f} % of peak"
        print(f"{row['case']:22} n {row['queries']:6} threads {row['threads']}  {row['kernel']:17} {1e3 * row['seconds']:9.2f} ms "
              f"{row['gflops']:8.1f} pair GF/s{share}{beside}{building}", flush=True)


def main():
    if "--device" in sys.argv[1:] or "--device=cuda" in sys.argv[1:]:
        import attention_gpu

        return attention_gpu.main()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, len(os.sched_getaffinity(0))])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--gradients", action="store_true", help="those of queries, keys and values, instead; needs PyTorch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--build", type=pathlib.Path, help="build folder (default: the newest under build/)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the measurements here")
    options = parser.parse_args()
    if options.build:
        megactx.use_build(options.build)
    with tempfile.TemporaryDirectory() as folder:
        if len(options.threads) == 1:
            found = measure_all(options, options.threads[0], folder)
        else:  # a pool keeps its size, so each number of threads gets a process
            found = []
            for threads in sorted(set(options.threads)):
                part = pathlib.Path(folder) / f"{threads}.json"
                again = [a for name in ("queries", "cases") for a in (f"--{name}", *map(str, getattr(options, name)))]
                again += ["--rounds", str(options.rounds), "--threads", str(threads), "--json", str(part)]
                again += ["--gradients"] * options.gradients
                again += ["--build", str(options.build)] if options.build else []
                subprocess.run([sys.executable, __file__, *again], check=True)
                found += json.loads(part.read_text())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def measure_all(options, threads, folder):
    peak, found = fma_peak(threads, folder), []
    print(f"threads {threads}: FMA peak {peak / 1e9:.0f} GF/s", flush=True)
    megactx.set_threads(threads)
    for queries in options.queries:
        for name in options.cases:
            if options.gradients and name == "decode":
                continue
            rows = measure_gradients(name, queries, threads, options.rounds) if options.gradients else measure(name, queries, threads, options.rounds, folder)
            show(rows, peak)
            found += [dict(row, peak_gflops=peak / 1e9) for row in rows]
    return found


if __name__ == "__main__":
    main()
