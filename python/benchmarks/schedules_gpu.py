"""Times one pattern's kernels by several schedules on an NVIDIA GPU: what a rule that chooses among them must know.

    # where the compiler is: an artifact of each case and schedule
    python python/benchmarks/schedules_gpu.py --compile sm_90a --artifacts build/gpu/schedules
    # where the GPU is
    python python/benchmarks/schedules_gpu.py --runtime build/gpu --artifacts build/gpu/schedules [--competitors]

Numbers are checked, and times taken, as attention_gpu.py does. After a kernel that breaks the context, a new process takes the next one.
"""

import argparse
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from attention_cases import ALL  # noqa: E402
from attention_gpu import Case, Timer, error_of, competitors, ours  # noqa: E402

# (warps, columns, stages, held, blocks) of wgmma by head dim. The first is the rule's for long rows.
SCHEDULES = {
    64: [(8, 128, 2, False, 1), (8, 128, 2, True, 1), (12, 128, 2, False, 1), (12, 64, 3, False, 1), (8, 64, 2, False, 2), (8, 64, 3, False, 2),
         (4, 128, 2, False, 2), (4, 64, 2, False, 3), (8, 128, 3, False, 1), (8, 192, 2, False, 1)],
    128: [(8, 128, 2, False, 1), (8, 128, 2, True, 1), (12, 64, 2, False, 1), (12, 64, 3, False, 1), (8, 64, 3, False, 1), (8, 96, 2, False, 1),
          (8, 160, 2, False, 1), (4, 64, 2, False, 2), (4, 64, 2, False, 3), (4, 128, 2, False, 1)],
}
MMA_SYNC = {64: (4, 64, 2, True, 2), 128: (4, 64, 2, True, 2)}


def text_of(warps, columns, stages, held, blocks, product="wgmma"):
    return (f"#nvx.schedule<rows = {16 * warps}, columns = {columns}, warps = {warps}, stages = {stages}, product = {product}, "
            f"held = {str(held).lower()}, blocks = {blocks}>")


def cases_of(options):
    return [Case(name, keys, dim, dtype) for keys in options.queries for dtype in options.dtypes for dim in options.dims for name in options.cases]


def compile_all(options):
    """index.json: of each case its pairs, and its schedules in the order of their artifacts."""
    options.artifacts.mkdir(parents=True, exist_ok=True)
    index = {}
    for case in cases_of(options):
        schedules = [text_of(*numbers) for numbers in SCHEDULES[case.dim]] + [text_of(*MMA_SYNC[case.dim], "mma_sync")]
        index[str(case)] = dict(pairs=case.pairs(), schedules=schedules)
        source = options.artifacts / "source.mlir"
        source.write_text(case.module)
        for number, schedule in enumerate(schedules):
            artifact = options.artifacts / f"{case}_{number}.mctx"
            megactx.compile(source, artifact, target=options.compile, schedule=schedule)
            print(artifact, schedule, flush=True)
        source.unlink()
    (options.artifacts / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return 0


def measure(case, function, flops, timer):
    import torch

    q, k, v = case.tensors()
    rows = torch.randint(0, case.queries, (16,), device="cuda")
    got = function(q, k, v)
    error = error_of(case, got, q, k, v, rows)
    del got
    seconds = timer(lambda: function(q, k, v))
    return f"{1e3 * seconds:9.3f} ms {1e-12 * flops / seconds:7.1f} TF/s  error {error:.1e}{'' if error < 2e-2 else '  WRONG NUMBERS'}"


def run(options):
    import torch

    torch.set_grad_enabled(False)
    timer, index = Timer(), json.loads((options.artifacts / "index.json").read_text())
    work = [(case, number) for case in cases_of(options) if str(case) in index
            for number in range(-1, len(index[str(case)]["schedules"]))]
    for at in range(options.begin, len(work)):
        case, number = work[at]
        flops = 4.0 * case.dim * index[str(case)]["pairs"]
        try:
            if number < 0:
                print(f"{case}", flush=True)
                for label, function in competitors(case) if options.competitors else ():
                    print(f"  {measure(case, function, flops, timer)}  {label}", flush=True)
            else:
                function = ours(f"{case}_{number}", options.artifacts)
                print(f"  {measure(case, function, flops, timer)}  {index[str(case)]['schedules'][number]}", flush=True)
        except Exception as error:
            print(f"  {type(error).__name__}: {str(error).strip().splitlines()[0][:200]}  {case} {number}", flush=True)
            os.execv(sys.executable, [sys.executable, *sys.argv, "--begin", str(at + 1)])
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", metavar="ARCH", help="only compile the artifacts, for this architecture")
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    parser.add_argument("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the newest build)")
    parser.add_argument("--cases", nargs="+", choices=ALL, default=["causal"])
    parser.add_argument("--queries", type=int, nargs="+", default=[16384])
    parser.add_argument("--dims", type=int, nargs="+", choices=SCHEDULES, default=[128, 64])
    parser.add_argument("--dtypes", nargs="+", choices=["bf16", "f16"], default=["bf16"])
    parser.add_argument("--competitors", action="store_true", help="also PyTorch's kernels for dense patterns")
    parser.add_argument("--begin", type=int, default=0, help="number of the first measurement")
    options = parser.parse_args()
    if options.runtime:
        megactx.use_build(options.runtime)
    try:
        return compile_all(options) if options.compile else run(options)
    except megactx.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
