#!/usr/bin/env python3
"""Times what megactx-fuse-lod fuses against the same programs without it (--fuse-lod=false).

    tools/dev/build release
    python python/benchmarks/fusion.py [--tokens 65536] [--cases pool gist rope] [--threads N] [--rounds 5]

Both programs run in turn in one process; times are medians, of the clock and, after a slash, of all threads' processor time, which other work
on the machine changes less. `extra` is the memory at the peak of a process of its own beyond that
before its first run. Outputs are compared with each other before.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from rounds import REST  # noqa: E402

HEADS, DIM, RATIO = 8, 64, 32
WIDTH = HEADS * DIM
ROWS, HEADED, SPLIT = f"tensor<1x?x{WIDTH}xf32>", f"tensor<1x{HEADS}x?x{DIM}xf32>", f"tensor<1x?x{HEADS}x{DIM}xf32>"
SQUARE = f"tensor<{WIDTH}x{WIDTH}xf32>"
LAST = 'iterator_types = ["parallel", "parallel", "parallel", "parallel"]'


class Module:
    """Lines of MLIR about rows [1, n, WIDTH]."""

    def __init__(self, rows):
        self.lines, self.count = [], 0
        self.emit("%c1 = arith.constant 1 : index", f"%sizes = arith.constant dense<[1, -1, {HEADS}, {DIM}]> : tensor<4xi64>", f"%n = tensor.dim %{rows}, %c1 : {ROWS}")

    def emit(self, *lines):
        self.lines += lines

    def name(self):
        self.count += 1
        return f"%t{self.count}"

    def empty(self, kind):
        name = self.name()
        self.emit(f"{name} = tensor.empty(%n) : {kind}")
        return name

    def product(self, rows, weight):
        out = self.name()
        self.emit(f"{out} = onnx.MatMul {rows}, {weight} : ({ROWS}, {SQUARE}) -> {ROWS}")
        return out

    def heads(self, rows):
        split, out = self.name(), self.name()
        self.emit(f"{split} = onnx.Reshape {rows}, %sizes : ({ROWS}, tensor<4xi64>) -> {SPLIT}",
                  f"{out} = onnx.Transpose {split} {{perm = array<i64: 0, 2, 1, 3>}} : ({SPLIT}) -> {HEADED}")
        return out

    def joined(self, heads):
        turned, out, empty = self.name(), self.name(), self.empty(SPLIT)
        self.emit(f"{turned} = linalg.transpose ins({heads} : {HEADED}) outs({empty} : {SPLIT}) permutation = [0, 2, 1, 3]",
                  f"{out} = tensor.collapse_shape {turned} [[0], [1], [2, 3]] : {SPLIT} into {ROWS}")
        return out

    def attention(self, q, k, v, pattern):
        source, out, kind = self.name(), self.name(), f"!megactx.source<{HEADED}, {HEADED}>"
        self.emit(f"{source} = megactx.source {k}, {v} pattern(#megactx.pattern<{pattern}>) : ({HEADED}, {HEADED}) -> {kind}",
                  f"{out} = megactx.attention {q}, {source} {{scale = {DIM**-0.5!r} : f32}} : ({HEADED}, {kind}) -> {HEADED}")
        return out

    def turned(self, heads, cos, sin):
        """Rotary embedding: halves of each row turned by tables [1, n, DIM / 2]."""
        half, table = f"tensor<1x{HEADS}x?x{DIM // 2}xf32>", f"tensor<1x?x{DIM // 2}xf32>"
        maps = ", ".join(["affine_map<(b, h, i, d) -> (b, h, i, d)>, affine_map<(b, h, i, d) -> (b, i, d)>"] * 2)
        sizes = f"[1, {HEADS}, %n, {DIM // 2}] [1, 1, 1, 1]"
        parts = {at: self.name() for at in (0, DIM // 2)}
        for at, part in parts.items():
            self.emit(f"{part} = tensor.extract_slice {heads}[0, 0, 0, {at}] {sizes} : {HEADED} to {half}")
        low, high = parts.values()
        whole = self.empty(HEADED)
        for at, x, y, sign in ((0, low, high, "subf"), (DIM // 2, high, low, "addf")):
            out, next_, empty = self.name(), self.name(), self.empty(half)
            self.emit(f"{out} = linalg.generic {{indexing_maps = [{maps}, affine_map<(b, h, i, d) -> (b, h, i, d)>], {LAST}}} "
                      f"ins({x}, {cos}, {y}, {sin} : {half}, {table}, {half}, {table}) outs({empty} : {half}) {{",
                      "^bb0(%i: f32, %c: f32, %j: f32, %d: f32, %out: f32):", "  %ic = arith.mulf %i, %c : f32", "  %jd = arith.mulf %j, %d : f32",
                      f"  %r = arith.{sign} %ic, %jd : f32", "  linalg.yield %r : f32", f"}} -> {half}",
                      f"{next_} = tensor.insert_slice {out} into {whole}[0, 0, 0, {at}] {sizes} : {half} into {HEADED}")
            whole = next_
        return whole

    def pooled(self, kind, rows, weight=None):
        out = self.name()
        given = (f" weight({weight})", f", tensor<{WIDTH}xf32>") if weight else ("", "")
        self.emit(f"{out} = megactx.gist_pool {kind} {rows}{given[0]} {{ratio = {RATIO}}} : ({ROWS}{given[1]}) -> {ROWS}")
        return out

    def function(self, arguments, result, kind):
        body = "\n  ".join(self.lines)
        return f"func.func @main({arguments}) -> {kind} {{\n  {body}\n  return {result} : {kind}\n}}\n"


def pool(n):
    """Attention in a window, heads joined, pooled by their mean."""
    m = Module("x")
    out = m.pooled("mean", m.joined(m.attention("%q", "%k", "%v", "causal and window<left = 127, right = 0>")))
    return m.function(f"%q: {HEADED}, %k: {HEADED}, %v: {HEADED}, %x: {ROWS}", out, ROWS), [(1, HEADS, n, DIM)] * 3 + [(1, n, WIDTH)]


def gist(n):
    """A layer of a compressor: projections, attention within spans, projection, residual; pooled by a query."""
    m = Module("x")
    q, k, v = (m.heads(m.product("%x", f"%w{name}")) for name in "qkv")
    out, total = m.product(m.joined(m.attention(q, k, v, f"causal and block_local<block = {RATIO}>")), "%wo"), m.name()
    m.emit(f"{total} = arith.addf {out}, %x : {ROWS}")
    weights = ", ".join(f"%w{name}: {SQUARE}" for name in "qkvo")
    return m.function(f"%x: {ROWS}, {weights}, %s: tensor<{WIDTH}xf32>", m.pooled("query", total, "%s"), ROWS), [(1, n, WIDTH)] + [(WIDTH, WIDTH)] * 4 + [(WIDTH,)]


def rope(n):
    """Gaussian rotary embedding of queries and keys that are projected, attention in a window."""
    m, table = Module("x"), f"tensor<1x?x{DIM // 2}xf32>"
    m.emit(f"%cos, %sin = megactx.gaussian_rope %p, %l {{ratio = {RATIO}, dim = {DIM}}} : (tensor<1x?xf32>, tensor<1x?xi64>) -> ({table}, {table})")
    q, k = (m.turned(m.heads(m.product("%x", f"%w{name}")), "%cos", "%sin") for name in "qk")
    out = m.attention(q, k, m.heads("%x"), "causal and window<left = 31, right = 0>")
    return m.function(f"%x: {ROWS}, %wq: {SQUARE}, %wk: {SQUARE}, %p: tensor<1x?xf32>, %l: tensor<1x?xi64>", out, HEADED), \
        [(1, n, WIDTH)] + [(WIDTH, WIDTH)] * 2 + [np.arange(n, dtype=np.float32)[None], np.zeros((1, n), np.int64)]


CASES = {"pool": pool, "gist": gist, "rope": rope}


def inputs_of(shapes):
    random = np.random.default_rng(0)
    scale = lambda shape: shape[-1] ** -0.5 if len(shape) == 2 else 1
    return [s if isinstance(s, np.ndarray) else random.standard_normal(s, dtype=np.float32) * np.float32(scale(s)) for s in shapes]


def compiled(case, tokens, folder, fused):
    source = pathlib.Path(folder) / f"{case}{int(fused)}.mlir"
    source.write_text(CASES[case](tokens)[0])
    megactx.compile(source, source.with_suffix(".mctx"), fuse_lod=fused)
    return source.with_suffix(".mctx")


def runner(artifact, arrays):
    model = megactx.load(artifact)
    return lambda: next(iter(model.run(dict(zip(model.inputs, arrays))).values()))


def extra(case, tokens, artifact, threads):
    """Bytes at the peak of a process that runs the artifact, beyond those before and the result."""
    done = subprocess.run([sys.executable, __file__, "--cases", case, "--tokens", str(tokens), "--threads", str(threads), "--build", str(megactx.build()), "--peak", str(artifact)],
                          check=True, capture_output=True, text=True)
    return int(done.stdout)


def memory(key):
    """A line of this process's status, in bytes."""
    return int(re.search(rf"{key}:\s*(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024


def print_peak(case, tokens, artifact):
    arrays = inputs_of(CASES[case](tokens)[1])
    run = runner(artifact, arrays)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = memory("VmRSS")
    out = run()
    print(memory("VmHWM") - before - out.nbytes)


def measure(case, tokens, threads, rounds, folder):
    arrays = inputs_of(CASES[case](tokens)[1])
    artifacts = {fused: compiled(case, tokens, folder, fused) for fused in (False, True)}
    runs = {fused: runner(artifact, arrays) for fused, artifact in artifacts.items()}
    plain, fused = runs[False](), runs[True]()
    error = np.abs(plain - fused).max()
    if not error < 1e-4:
        raise SystemExit(f"error: {case}: outputs differ by {error:.1e}")
    del plain, fused
    times = {False: [], True: []}
    for _ in range(rounds):
        for which, run in runs.items():
            time.sleep(REST)
            begin = time.perf_counter(), time.process_time()
            run()
            times[which].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    clock, work = ({which: 1e3 * statistics.median(t[i] for t in found) for which, found in times.items()} for i in (0, 1))
    peaks = {which: extra(case, tokens, artifact, threads) for which, artifact in artifacts.items()}
    print(f"{case:5} n {tokens:7} threads {threads}  plain {clock[False]:8.1f} / {work[False]:8.1f} ms  fused {clock[True]:8.1f} / {work[True]:8.1f} ms  "
          f"{clock[False] / clock[True]:5.2f} / {work[False] / work[True]:4.2f} x  extra memory {peaks[False] / 1e6:7.1f} MB, fused {peaks[True] / 1e6:7.1f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[65536])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build", type=pathlib.Path, help="build folder (default: the newest under build/)")
    parser.add_argument("--peak", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        megactx.use_build(options.build)
    megactx.set_threads(options.threads)
    if options.peak:
        return print_peak(options.cases[0], options.tokens[0], options.peak)
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases:
            for tokens in options.tokens:
                measure(case, tokens, options.threads, options.rounds, folder)


if __name__ == "__main__":
    main()
