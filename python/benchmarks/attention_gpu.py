"""Times sparse attention kernels on an NVIDIA GPU against PyTorch's, on the same inputs.

    # where the compiler is: artifacts of all cases into a folder
    python python/benchmarks/attention.py --device cuda --compile sm_90 --artifacts build/gpu/benchmarks
    # where the GPU is; neither MLIR nor a build is needed, but build/gpu/lib/libmegactx_runtime.so
    python python/benchmarks/attention.py --device cuda --runtime build/gpu --artifacts build/gpu/benchmarks
        [--cases NAME ...] [--queries 4096 16384 65536] [--more NAME@QUERIES ...] [--dims 64 128] [--dtypes bf16 f16]
        [--gradients] [--seconds S] [--flex-seconds S] [--json FILE]
    # the table again, from a file of an earlier run, also of one that was ended
    python python/benchmarks/attention.py --device cuda --table FILE

Compared, where they can express a pattern: scaled_dot_product_attention by FlashAttention-2 ("flash") and cuDNN; dense attention on rows
reshaped or permuted by hand, with that timed; last, as its compilation takes most of the time, FlexAttention (attention_flex.py), its
block mask built and shown apart. Every kernel's numbers are checked first, some rows against float64. Times are medians by CUDA events
around one call, with the L2 cache flushed before it. One pair costs 4 D FLOPs, its gradients 10 D; nothing else counts. What is not begun within --seconds is
left out.
"""

import argparse
import json
import pathlib
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import attention_flex  # noqa: E402
import megactx  # noqa: E402
from attention_cases import ALL  # noqa: E402
from torch_cases import cases_of  # noqa: E402

TOLERANCE = {"bf16": 2e-2, "f16": 3e-3}  # of the rows' norm


def compile_all(options):
    """Artifacts, and the pairs of each, which only the compiler counts."""
    options.artifacts.mkdir(parents=True, exist_ok=True)
    index = options.artifacts / "pairs.json"
    pairs = json.loads(index.read_text()) if index.exists() else {}
    for case in cases_of(options):
        source, artifact = (options.artifacts / f"{case}{ending}" for ending in (".mlir", ".mctx"))
        source.write_text(case.module)
        megactx.compile(source, artifact, target=options.compile)
        source.unlink()
        pairs[str(case)] = case.pairs()
        index.write_text(json.dumps(pairs, indent=1) + "\n")
        print(artifact, flush=True)


class Timer:
    def __init__(self):
        import torch

        self.torch = torch
        self.flush = torch.empty(1 << 31, dtype=torch.uint8, device="cuda")  # many times the L2 cache

    def __call__(self, function):
        """Median seconds of a call."""
        event = lambda: self.torch.cuda.Event(enable_timing=True)
        times = self.times(function, [(event(), event()) for _ in range(3)])
        rounds = int(min(30, max(5, 0.2 / statistics.median(times))))
        return statistics.median(self.times(function, [(event(), event()) for _ in range(rounds)]))

    def times(self, function, events):
        for begin, end in events:
            for _ in range(3):  # takes two milliseconds, longer than Python needs to launch what follows
                self.flush.zero_()
            begin.record()
            function()
            end.record()
        self.torch.cuda.synchronize()
        return [1e-3 * begin.elapsed_time(end) for begin, end in events]


def by_hand(case):
    """Dense attention on rows that are viewed or permuted so that it is what the pattern says, where it can be."""
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    b, h, n, d = case.batch, case.heads, case.keys, case.dim
    if case.name.startswith("block_local"):
        block = int(case.name[len("block_local"):])
        view = lambda t: t.view(b * h, n // block, block, d)
        return "reshaped", lambda q, k, v: sdpa(view(q), view(k), view(v), is_causal=True).view(b, h, n, d)
    if case.name.startswith("strided"):
        s = int(case.name[len("strided"):])
        fold = lambda t: t.view(b * h, n // s, s, d).transpose(1, 2).contiguous()
        return "permuted", lambda q, k, v: sdpa(fold(q), fold(k), fold(v), is_causal=True).transpose(1, 2).reshape(b, h, n, d)
    return None, None


def competitors(case):
    """(label, function) of each."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    def dense(backend):
        def call(q, k, v):
            with sdpa_kernel(backend):
                return sdpa(q, k, v, is_causal=case.name == "causal", enable_gqa=case.heads != case.key_heads)
        return call

    if case.name == "causal" or case.decode:
        yield "flash", dense(SDPBackend.FLASH_ATTENTION)
        yield "cuDNN", dense(SDPBackend.CUDNN_ATTENTION)
    label, function = by_hand(case)
    if label:
        yield label, function


class Measurement:
    """One kernel on a case, as a line: what it is, `ok`, and times and error, or why it `failed`."""

    def __init__(self, case, kernel):
        self.case = case
        self.line = dict(case=case.name, dtype=case.dtype, dim=case.dim, batch=case.batch, heads=case.heads, key_heads=case.key_heads,
                         keys=case.keys, kernel=kernel)

    def failed(self, why):
        self.line |= dict(ok=False, failed=str(why).strip().splitlines()[0][:300])
        return self.line

    def check(self, function, tensors):
        """Calls it, once, and compares."""
        import torch

        begin = time.perf_counter()
        got = function(*tensors)
        torch.cuda.synchronize()
        self.line["first_seconds"] = time.perf_counter() - begin
        self.line["error"] = self.case.error(got, *tensors)
        self.line["ok"] = self.line["error"] < TOLERANCE[self.case.dtype]

    def time(self, function, tensors, timer, pairs):
        seconds = timer(lambda: function(*tensors))
        self.line |= dict(seconds=seconds, tflops=1e-12 * self.case.FLOPS * self.case.dim * pairs / seconds)
        return self.line


def measure(case, options, timer):
    """One line per kernel, also where one fails: then it says why."""
    import torch

    tensors = case.tensors()
    for label, attention in [("megactx", None), *competitors(case)]:
        measurement = Measurement(case, label)
        try:
            function = case.timed(attention) if attention else case.ours(options.artifacts)
            measurement.check(function, tensors)
            yield measurement.time(function, tensors, timer, options.pairs[str(case)])
        except Exception as error:  # one kernel that fails must not end the others
            yield measurement.failed(f"{type(error).__name__}: {error}")
        torch.cuda.empty_cache()


def key_of(line):
    return tuple(line[name] for name in ("case", "dtype", "dim", "keys"))


def show(line, ours):
    place = f"{line['case']:21} {line['dtype']} d {line['dim']:3} n {line['keys']:6} b {line['batch']:2} h {line['heads']:2} {line['kernel']:13}"
    if "failed" in line:
        return f"{place} {line['failed']}"
    beside = f" {line['seconds'] / ours['seconds']:7.2f} x ours" if ours and line is not ours and "seconds" in ours else ""
    mask = f"  mask {1e3 * line['mask_seconds']:.1f} ms, {line['mask']}" if "mask" in line else ""
    wrong = "" if line["ok"] else "  WRONG NUMBERS"
    return f"{place} {1e3 * line['seconds']:9.3f} ms {line['tflops']:7.1f} TF/s{beside}{mask}  error {line['error']:.1e}{wrong}"


def table(lines):
    """A row per case, milliseconds per kernel: "-" where there is none, "failed", "WRONG"."""
    columns = ["megactx", "flash", "cuDNN", "by hand", "FlexAttention"]
    rows = {}
    for line in lines:
        column = line["kernel"] if line["kernel"] in columns else "by hand"
        cell = "failed" if "failed" in line else "WRONG" if not line["ok"] else f"{1e3 * line['seconds']:.3f}"
        row = rows.setdefault(key_of(line), {})
        row[column] = cell
        if column == "megactx" and "tflops" in line:
            row["TF/s"] = f"{line['tflops']:.0f}"
    columns.insert(1, "TF/s")
    made = [f"{'case':21} {'type':4} {'d':>3} {'n':>6}" + "".join(f"{column:>14}" if len(column) > 7 else f"{column:>9}" for column in columns)]
    for (case, dtype, dim, keys), row in rows.items():
        made.append(f"{case:21} {dtype:4} {dim:3} {keys:6}"
                    + "".join(f"{row.get(column, '-'):>14}" if len(column) > 7 else f"{row.get(column, '-'):>9}" for column in columns))
    return "\n".join(made)


class Log:
    """Lines as they come: on standard output, in a file of JSON, and kept."""

    def __init__(self, file):
        import torch

        self.made = dict(device=torch.cuda.get_device_name(), torch=torch.__version__)
        self.file = file.open("a") if file else None
        self.lines, self.ours = [], {}

    def take(self, line):
        if line["kernel"] == "megactx":
            self.ours[key_of(line)] = line
        self.lines.append(line)
        print(show(line, self.ours.get(key_of(line))), flush=True)
        if self.file:
            print(json.dumps(line | self.made), file=self.file, flush=True)


def run(options):
    import torch

    if not torch.cuda.is_available():
        raise megactx.Error("PyTorch finds no CUDA device")
    torch.set_grad_enabled(False)
    # Ended from outside, it ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.perf_counter()
    left = lambda: options.seconds - (time.perf_counter() - begin)
    options.pairs = json.loads((options.artifacts / "pairs.json").read_text())
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    timer, log, cases = Timer(), Log(options.json), []
    for case in cases_of(options):
        if str(case) not in options.pairs:
            print(f"{case}: no artifact", flush=True)
        elif left() <= 0:
            print(f"{case}: no time left", flush=True)
        else:
            cases.append(case)
            for line in measure(case, options, timer):
                log.take(line)
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    if options.flex:
        del timer
        torch.cuda.empty_cache()
        for line in attention_flex.measure_all(cases, options, left):
            log.take(line)
    print(f"{time.perf_counter() - begin:.0f} s\n\n{table(log.lines)}", flush=True)
    return 0 if all(line["ok"] for line in log.lines if line["kernel"] == "megactx") else 1


def case_at(text):
    name, _, keys = text.rpartition("@")
    if name not in ALL or not keys.isdigit():
        raise argparse.ArgumentTypeError(f"expected NAME@QUERIES, such as window512@65536, but got '{text}'")
    return name, int(keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda"], help="as of attention.py")
    parser.add_argument("--compile", metavar="ARCH", help="only compile the artifacts, for this architecture")
    parser.add_argument("--artifacts", type=pathlib.Path, default=HERE.parents[1] / "build" / "gpu" / "benchmarks")
    parser.add_argument("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the newest build)")
    parser.add_argument("--cases", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--queries", type=int, nargs="+", default=[16384, 4096, 65536], help="rows, and keys; of decode keys")
    parser.add_argument("--more", nargs="+", type=case_at, default=[], metavar="NAME@QUERIES", help="further cases, after those")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=["bf16", "f16"])
    parser.add_argument("--gradients", action="store_true", help="those of queries, keys and values, instead; PyTorch's by torch.autograd.grad")
    parser.add_argument("--no-flex", dest="flex", action="store_false", help="without FlexAttention")
    parser.add_argument("--seconds", type=float, default=360, help="after which nothing more is begun")
    parser.add_argument("--flex-seconds", type=float, default=60, help="after which a case of FlexAttention is ended (default 60)")
    parser.add_argument("--flex-jobs", type=int, default=4, help="cases of FlexAttention compiled at a time (default 4)")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE", help="only print the table of what --json wrote")
    parser.add_argument("--json", type=pathlib.Path, help="also append the measurements here, a line each as they come")
    options = parser.parse_args()
    if options.table:
        print(table([json.loads(line) for line in options.table.read_text().splitlines()]))
        return 0
    if options.runtime:
        megactx.use_build(options.runtime)
    try:
        return compile_all(options) if options.compile else run(options)
    except megactx.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
