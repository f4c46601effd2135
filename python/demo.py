#!/usr/bin/env python3
"""The main job on the bundled model: what tools/dev/demo shows after the build."""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "test" / "Models")]
import megactx  # noqa: E402
import reference  # noqa: E402

PATTERN = "causal and (window<left = 127, right = 0> or strided<stride = 128>)"
SCALED = "causal and (window<left = 7, right = 0> or strided<stride = 8>)"
TOLERANCE = 1e-4
LONG = 8192


def heading(number, text):
    print(f"\n\033[1m{number}. {text}\033[0m", flush=True)


def timed(function, *arguments, **named):
    begin = time.perf_counter()
    result = function(*arguments, **named)
    return result, time.perf_counter() - begin


def difference(got, want):
    return max(float(np.abs(got[name] - value).max()) for name, value in want.items())


def check(label, model, folder, wanted):
    """Runs both data sets; wanted(folder, inputs) gives the outputs to expect."""
    worst = 0.0
    for data in sorted(folder.glob("test_data_set_*")):
        feeds = dict(reference.load_tensors(data, "input"))
        worst = max(worst, difference(model.run(feeds), wanted(data, feeds)))
    good = worst <= TOLERANCE
    print(f"   {label:48} largest difference {worst:.1e}   {'ok' if good else f'above {TOLERANCE:.0e}'}")
    return good


def median_time(runs, rounds):
    """Seconds of each run, taken in turn."""
    times = [[] for _ in runs]
    for _ in range(rounds):
        for samples, run in zip(times, runs):
            samples.append(timed(run)[1])
    return [statistics.median(samples) for samples in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    options = parser.parse_args()
    megactx.use_build(options.build)
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(0 if show(pathlib.Path(scratch)) else 1)


def show(scratch):
    heading(1, "A transformer in ONNX")
    subprocess.run([sys.executable, str(HERE / "models" / "make_models.py"), "--demo", str(scratch)], check=True)
    folder = scratch / "gpt_demo"
    path = folder / "model.onnx"
    print(f"   a GPT of 4 layers, 256 wide, 4 heads, as PyTorch's exporter writes it: {path.stat().st_size / 2**20:.0f} MB")

    heading(2, "Import, find attention, compile")
    line, seconds = timed(megactx.compile, path, scratch / "dense.mctx")
    print(f"   dense   {seconds:5.1f} s   {line}")
    line, seconds = timed(megactx.compile, path, scratch / "sparse.mctx", pattern=PATTERN)
    print(f"   sparse  {seconds:5.1f} s   {line}")

    heading(3, "The pattern")
    print(f"   {PATTERN}")
    figures = megactx.Pattern(PATTERN).statistics(LONG)
    print(f"   {100 * figures['density']:.1f} % of all pairs of {LONG} tokens. Sixteen times smaller it looks like this:\n")
    for row in megactx.Pattern(SCALED).picture(24).splitlines():
        print(f"      {row}")

    heading(4, "Numbers")
    dense, sparse = megactx.load(scratch / "dense.mctx"), megactx.load(scratch / "sparse.mctx")
    good = check("dense against onnxruntime", dense, folder, lambda data, _: dict(reference.load_tensors(data, "output")))
    good &= check("sparse against onnxruntime with masked scores", sparse, folder,
                  lambda _, feeds: dict(reference.expected_outputs(path, feeds, PATTERN)))

    heading(5, "Time")
    print(f"   {'tokens':>8} {'onnxruntime':>14} {'dense':>12} {'sparse':>12}")
    options = onnxruntime.SessionOptions()
    outside = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for length in (1024, 2048, 4096, LONG):
        feeds = {"ids": np.random.default_rng(1).integers(2, 500, (1, length))}
        runs = [lambda: dense.run(feeds), lambda: sparse.run(feeds), lambda: outside.run(None, feeds)]
        median_time(runs, 1)
        ours, fast, other = median_time(runs, 5 if length < LONG else 3)
        print(f"   {length:8} {1e3 * other:11.0f} ms {1e3 * ours:9.0f} ms {1e3 * fast:9.0f} ms   sparse is {ours / fast:.1f} × as fast as dense")
    return good


if __name__ == "__main__":
    main()
