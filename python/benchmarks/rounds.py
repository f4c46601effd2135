"""Times of kernels that take turns in one process, on the CPU."""

import statistics
import time

# Threads of OpenMP and of onnxruntime spin for a while after each call, on cores that the next kernel needs.
REST = 0.05


def medians(runs, rounds, warm=0):
    """{name: median seconds of a call}; each round calls every one of `runs`, {name: function}, in turn, and `warm` rounds go before."""
    times = {name: [] for name in runs}
    for _ in range(warm + rounds):
        for name, run in runs.items():
            time.sleep(REST)
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(samples[warm:]) for name, samples in times.items()}
