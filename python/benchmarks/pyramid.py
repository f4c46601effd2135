#!/usr/bin/env python3
"""Times pyramid attention, all levels in one softmax, against dense window attention of as many pairs.

    tools/dev/build release
    python python/benchmarks/pyramid.py [--tokens 16384 262144 1048576] [--windows 8,8 8,8,1] [--threads N] [--json FILE]

Level l has a gist of every ratio^l tokens; its keys and values are random here, as making gists is not what is timed.
Each measurement has a process of its own, which takes both in turn; the table shows medians. `extra` is the memory at
the process's peak beyond the runtime and the arrays. Both are checked against float64 at some rows before.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from rounds import medians  # noqa: E402

DIM, TOLERANCE = 64, 2e-5


def module(patterns, steps, heads):
    """One attention over a source of each pattern and step; keys and values in the order of the sources."""
    tensor = f"tensor<?x{heads}x?x{DIM}xf32>"
    kind = f"!megactx.source<{tensor}, {tensor}>"
    arguments, lines, names = [f"%q: {tensor}"], [], []
    for i, (pattern, step) in enumerate(zip(patterns, steps)):
        arguments += [f"%k{i}: {tensor}", f"%v{i}: {tensor}"]
        lines.append(f"%o{i} = arith.constant {step - 1} : index")
        lines.append(f"%s{i} = megactx.source %k{i}, %v{i} offset(%o{i}) pattern(#megactx.pattern<{pattern}>) {{key_step = {step} : i64}} "
                     f": ({tensor}, {tensor}, index) -> {kind}")
        names.append(f"%s{i}")
    lines.append(f"%r = megactx.attention %q, {', '.join(names)} {{scale = {DIM**-0.5!r} : f32}} "
                 f": ({', '.join([tensor] + [kind] * len(names))}) -> {tensor}")
    body = "\n  ".join(lines)
    return f"func.func @main({', '.join(arguments)}) -> {tensor} {{\n  {body}\n  return %r : {tensor}\n}}\n"


def compiled(patterns, steps, heads, folder, name):
    source = pathlib.Path(folder) / f"{name}.mlir"
    source.write_text(module(patterns, steps, heads))
    megactx.compile(source, source.with_suffix(".mctx"))
    model = megactx.load(source.with_suffix(".mctx"))
    return lambda *arrays: next(iter(model.run(dict(zip(model.inputs, arrays))).values()))


def ends_of(position, ratio, windows):
    """a_0 > a_1 > ...: level l holds what stands from a_{l+1} up to a_l."""
    ends = [position + 1]
    for level, width in enumerate(windows, start=1):
        ends.append(ratio**level * max(0, ends[-1] // ratio**level - width))
    return ends + [0]


def pyramid_pairs(tokens, ratio, windows):
    """Rows of all levels that all queries see, by definition."""
    ends = [np.arange(1, tokens + 1)]
    for level, width in enumerate(windows, start=1):
        ends.append(ratio**level * np.maximum(0, ends[-1] // ratio**level - width))
    ends.append(np.zeros_like(ends[0]))
    return int(sum(((upper - lower) // ratio**level).sum() for level, (upper, lower) in enumerate(zip(ends, ends[1:]))))


def window_of(pairs, tokens):
    """The keys of a causal window with as many pairs, to the nearest."""
    counts = lambda keys: keys * tokens - keys * (keys - 1) // 2
    return min(range(1, tokens + 1), key=lambda keys: abs(counts(keys) - pairs)) if tokens <= 4096 else round(
        tokens + 0.5 - ((tokens + 0.5) ** 2 - 2 * pairs) ** 0.5)


def check(label, got, q, rows, keys_of):
    """keys_of(row) gives the keys and values [heads, m, DIM] that a row sees."""
    for row in rows:
        k, v = keys_of(row)
        scores = np.einsum("hd,hmd->hm", q[0, :, row].astype(np.float64), k) * DIM**-0.5
        weights = np.exp(scores - scores.max(1, keepdims=True))
        want = np.einsum("hm,hmd->hd", weights / weights.sum(1, keepdims=True), v)
        error = np.abs(got[0, :, row] - want).max()
        if not error < TOLERANCE:
            raise SystemExit(f"error: {label}, row {row}: differs from the reference by {error:.1e}")


def measure(tokens, ratio, windows, heads, rounds):
    rng = np.random.default_rng(tokens)
    steps = [ratio**level for level in range(len(windows) + 1)]
    draw = lambda rows: rng.standard_normal((1, heads, rows, DIM), dtype=np.float32)
    q, levels = draw(tokens), [(draw(tokens // step), draw(tokens // step)) for step in steps]
    arrays = q.nbytes * 2 + sum(k.nbytes + v.nbytes for k, v in levels)
    flat = [array for pair in levels for array in pair]
    pairs = pyramid_pairs(tokens, ratio, windows)
    window = window_of(pairs, tokens)
    with tempfile.TemporaryDirectory() as folder:
        pyramid = compiled([f"pyramid<ratio = {ratio}, windows = {list(windows)}>"] * len(steps), steps, heads, folder, "pyramid")
        dense = compiled([f"causal and window<left = {window - 1}, right = 0>"], [1], heads, folder, "window")
    rows = np.unique(np.r_[0, tokens - 1, rng.integers(0, tokens, 14)])

    def seen(row):
        ends = ends_of(int(row), ratio, windows)
        spans = [(ends[i + 1] // step, ends[i] // step) for i, step in enumerate(steps)]
        return tuple(np.concatenate([levels[i][j][0][:, a:b] for i, (a, b) in enumerate(spans)], 1) for j in range(2))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    got = pyramid(q, *flat)
    first = time.perf_counter() - begin
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - got.nbytes
    check("pyramid", got, q, rows, seen)
    k, v = levels[0]
    check("window", dense(q, k, v), q, rows, lambda row: (k[0][:, max(0, row - window + 1):row + 1], v[0][:, max(0, row - window + 1):row + 1]))
    del got
    took = medians({"pyramid": lambda: pyramid(q, *flat), "window": lambda: dense(q, k, v)}, rounds)
    window_pairs = window * tokens - window * (window - 1) // 2
    flops = lambda count, label: 4 * DIM * heads * count / took[label] / 1e9
    return dict(tokens=tokens, ratio=ratio, windows=list(windows), heads=heads, pairs=pairs, seconds=took["pyramid"], first_seconds=first, gflops=flops(pairs, "pyramid"),
                window=window, window_pairs=window_pairs, window_seconds=took["window"], window_gflops=flops(window_pairs, "window"),
                arrays_bytes=arrays, extra_bytes=max(0, extra))


def show(row):
    print(f"n {row['tokens']:8}  windows {','.join(map(str, row['windows'])):6}  {row['pairs'] / row['tokens']:7.1f} pairs a query  pyramid {row['seconds']:8.3f} s  "
          f"{1e9 * row['seconds'] / row['tokens']:7.0f} ns a token  {row['gflops']:6.1f} GF/s  window {row['window']:5}: {row['window_seconds']:8.3f} s  "
          f"{row['window_gflops']:6.1f} GF/s  speed {row['gflops'] / row['window_gflops']:5.2f} x  arrays {row['arrays_bytes'] / 1e6:7.0f} MB  "
          f"extra {row['extra_bytes'] / 1e6:6.1f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16384, 65536, 262144, 1048576])
    parser.add_argument("--ratio", type=int, default=32)
    parser.add_argument("--windows", type=lambda text: [int(w) for w in text.split(",")], nargs="+", default=[[8, 8], [8, 8, 1]],
                        help="rows of each level below the top, in those of the next")
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", type=pathlib.Path, help="build folder (default: the newest under build/)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the measurements here")
    options = parser.parse_args()
    if options.build:
        megactx.use_build(options.build)
    if len(options.tokens) * len(options.windows) == 1:
        megactx.set_threads(options.threads)
        found = [measure(options.tokens[0], options.ratio, options.windows[0], options.heads, options.rounds)]
        show(found[0])
    else:
        found = []
        for windows in options.windows:
            for tokens in options.tokens:
                with tempfile.NamedTemporaryFile(suffix=".json") as part:
                    again = ["--tokens", tokens, "--windows", ",".join(map(str, windows)), "--json", part.name]
                    again += [a for name in ("ratio", "heads", "threads", "rounds") for a in (f"--{name}", getattr(options, name))]
                    again += ["--build", options.build] if options.build else []
                    subprocess.run([sys.executable, __file__, *map(str, again)], check=True)
                    found += json.loads(pathlib.Path(part.name).read_text())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
