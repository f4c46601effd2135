#!/usr/bin/env python3
"""Times a model as several builds compile and run it, in turn: a process for each build and pattern.

    python python/benchmarks/builds.py build/before build/after [--tokens 4096] [--threads 2] [--rounds 5]

The model is that of model.py. Prints medians, the least, and each process's peak memory.
"""

import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from model import CAUSAL  # noqa: E402


def work(build, artifact, tokens, threads):
    """Runs the model once for each line of standard input; answers with seconds and the peak memory in MB."""
    megactx.use_build(build)
    megactx.set_threads(threads)
    model = megactx.load(artifact)
    feeds = {"ids": np.random.default_rng(tokens).integers(2, 1000, (1, tokens))}
    for _ in sys.stdin:
        begin = time.perf_counter()
        model.run(feeds)
        print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, flush=True)


def compare(options, folder):
    path = folder / "gpt_medium" / "model.onnx"
    subprocess.run([sys.executable, HERE.parent / "models" / "make_models.py", "--medium", folder, "gpt_medium"], check=True)
    workers = {}
    for number, build in enumerate(options.builds):
        for name, pattern in (("dense", None), ("sparse", CAUSAL)):
            artifact = folder / f"{name}{number}.mctx"
            subprocess.run([build / "bin" / "megactx-compile", path, "-o", artifact, *(["--pattern", pattern] if pattern else [])],
                           check=True, stderr=subprocess.DEVNULL)
            command = [sys.executable, __file__, build, "--work", artifact, "--tokens", str(options.tokens), "--threads", str(options.threads)]
            workers[f"{name}  {build}"] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    times = {name: [] for name in workers}
    for _ in range(options.rounds + 1):
        for name, worker in workers.items():
            print(file=worker.stdin, flush=True)
            times[name].append([float(word) for word in worker.stdout.readline().split()])
    for name, samples in times.items():
        seconds = [sample[0] for sample in samples[1:]]
        print(f"{options.tokens} tokens, {options.threads} threads  median {1e3 * statistics.median(seconds):8.1f} ms  "
              f"least {1e3 * min(seconds):8.1f} ms  peak {samples[-1][1]:7.1f} MB  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", type=pathlib.Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.builds[0], options.work, options.tokens, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        compare(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
