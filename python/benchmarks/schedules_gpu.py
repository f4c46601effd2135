"""Times schedules of the benchmarks' patterns on an NVIDIA GPU, as megactx-tune-schedule does: what a rule that chooses among them must know.

    # where the compiler is: an artifact of each case and schedule
    python python/benchmarks/schedules_gpu.py --compile sm_90a --artifacts build/gpu/schedules
    # where the GPU is
    python python/benchmarks/schedules_gpu.py --runtime build/gpu --artifacts build/gpu/schedules -o schedules.json

Every candidate's time is printed; numbers are compared with those of the rule's schedule.
"""

import argparse
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from attention_cases import ALL  # noqa: E402
from torch_cases import Case  # noqa: E402
from megactx import schedules  # noqa: E402
from megactx.gpu_timer import Timer  # noqa: E402


def cases_of(options):
    for keys in options.queries:
        for dtype in options.dtypes:
            for dim in options.dims:
                for case in (Case(name, keys, dim, dtype) for name in options.cases):
                    source = schedules.Source(case.pattern, case.heads, dim, dim)
                    yield schedules.Case(dtype, case.heads, (source,), case.queries, keys, case.batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", metavar="ARCH", help="only compile the artifacts, for this architecture")
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    parser.add_argument("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the newest build)")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="also write the fastest, as megactx-tune-schedule does")
    parser.add_argument("--cases", nargs="+", choices=ALL, default=["causal"])
    parser.add_argument("--queries", type=int, nargs="+", default=[16384])
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--dtypes", nargs="+", choices=["bf16", "f16"], default=["bf16"])
    parser.add_argument("--candidates", type=int, default=12, help="schedules of each class of kernels")
    options = parser.parse_args()
    if options.runtime:
        megactx.use_build(options.runtime)
    try:
        if options.compile:
            schedules.Packer(options.compile, options.artifacts, options.candidates, os.cpu_count(), log=print).pack(list(cases_of(options)))
            return 0
        timer = Timer()
        found = schedules.Measurer(options.artifacts, timer, log=lambda line: print(line, flush=True)).measure(timer.name)
        if options.output:
            schedules.write(options.output, found)
        return 0
    except megactx.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
