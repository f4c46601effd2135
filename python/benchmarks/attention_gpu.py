"""Times sparse attention kernels on an NVIDIA GPU against PyTorch's, on the same inputs.

    # where the compiler is: artifacts of all cases into a folder
    python python/benchmarks/attention.py --device cuda --compile sm_90 --artifacts build/gpu/benchmarks
    # where the GPU is; neither MLIR nor a build is needed, but build/gpu/lib/libmegactx_runtime.so
    python python/benchmarks/attention.py --device cuda --runtime build/gpu --artifacts build/gpu/benchmarks
        [--cases NAME ...] [--queries 4096 16384 65536] [--dims 64 128] [--dtypes bf16 f16] [--seconds S] [--json FILE]

Compared, where they can express a pattern: scaled_dot_product_attention by FlashAttention-2 ("flash") and cuDNN; FlexAttention, compiled,
its block mask built and shown apart; dense attention on rows reshaped or permuted by hand, with that timed. Every kernel's numbers are
checked first, some rows against float64. Times are medians by CUDA events around one call, with the L2 cache flushed before it. One pair
costs 4 D FLOPs; nothing else counts. After --seconds, what is left is measured without FlexAttention, whose compilation takes most of the
time.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from attention_cases import ALL, module  # noqa: E402

TOKENS = 65536  # batch times queries, at least one batch
TOLERANCE = {"bf16": 2e-2, "f16": 3e-3}  # of the rows' norm


class Case:
    """One pattern at one size. [batch, heads, rows, dim]; queries and keys are as many, but for decode."""

    def __init__(self, name, keys, dim, dtype):
        self.name, self.keys, self.dim, self.dtype = name, keys, dim, dtype
        self.pattern, self.mask = ALL[name]
        self.decode = name == "decode"
        self.queries = 1 if self.decode else keys
        self.batch = 8 if self.decode else max(1, TOKENS // keys // 4)
        self.heads = 16 if keys <= 16384 or self.decode else 8

    def __str__(self):
        return f"{self.name.replace('/', '-')}_{self.dtype}_d{self.dim}_n{self.keys}"

    @property
    def module(self):
        tensor = lambda rows: f"tensor<?x{self.heads}x{rows}x{self.dim}x{self.dtype}>"
        return module(self.pattern, tensor(self.queries), tensor(self.keys), self.dim)

    def pairs(self):
        """Of all heads and batches, by the compiler's statistics."""
        text = megactx.tools.run("megactx-pattern", self.pattern, "--queries", self.queries, "--keys", self.keys, "--print=stats")
        return self.batch * self.heads * json.loads(text)["pairs"]


def cases_of(options):
    for keys in options.queries:
        for dtype in options.dtypes:
            for dim in options.dims:
                for name in options.cases:
                    if name != "strided256" or keys >= 65536:
                        yield Case(name, keys, dim, dtype)


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
        self.flush = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")  # several times the L2 cache

    def __call__(self, function):
        """Median seconds of a call."""
        event = lambda: self.torch.cuda.Event(enable_timing=True)
        times = self.times(function, [(event(), event()) for _ in range(3)])
        rounds = int(min(30, max(5, 0.2 / statistics.median(times))))
        return statistics.median(self.times(function, [(event(), event()) for _ in range(rounds)]))

    def times(self, function, events):
        for begin, end in events:
            self.flush.zero_()  # takes longer than Python needs to launch what follows
            begin.record()
            function()
            end.record()
        self.torch.cuda.synchronize()
        return [1e-3 * begin.elapsed_time(end) for begin, end in events]


def ours(case, folder):
    import torch

    model = megactx.load(folder / f"{case}.mctx")
    output, = model.outputs
    return lambda q, k, v: torch.from_dlpack(model.run(dict(zip(model.inputs, (q, k, v))))[output])


def by_hand(case):
    """Dense attention on rows that are viewed or permuted so that it is what the pattern says, where it can be."""
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    b, h, n, d = case.batch, case.heads, case.keys, case.dim
    if case.name.startswith("block_local"):
        view = lambda t: t.view(b * h, n // 512, 512, d)
        return "reshaped", lambda q, k, v: sdpa(view(q), view(k), view(v), is_causal=True).view(b, h, n, d)
    if case.name.startswith("strided"):
        s = int(case.name[len("strided"):])
        fold = lambda t: t.view(b * h, n // s, s, d).transpose(1, 2).contiguous()
        return "permuted", lambda q, k, v: sdpa(fold(q), fold(k), fold(v), is_causal=True).transpose(1, 2).reshape(b, h, n, d)
    return None, None


def flex(case):
    """The compiled kernel, and seconds to build its mask once that is compiled too."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    torch._dynamo.reset()
    build = lambda: create_block_mask(case.mask, None, None, case.queries, case.keys, device="cuda", _compile=True)
    build()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    mask = build()
    torch.cuda.synchronize()
    building = time.perf_counter() - begin
    compiled = torch.compile(flex_attention, dynamic=False)
    return (lambda q, k, v: compiled(q, k, v, block_mask=mask)), building


def competitors(case, with_flex):
    """(label, how to make the function) of each; it may fail to be made."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    def dense(backend):
        def call(q, k, v):
            with sdpa_kernel(backend):
                return sdpa(q, k, v, is_causal=case.name == "causal")
        return call, 0.0

    if case.name in ("causal", "decode"):
        yield "flash", lambda: dense(SDPBackend.FLASH_ATTENTION)
        yield "cuDNN", lambda: dense(SDPBackend.CUDNN_ATTENTION)
    label, function = by_hand(case)
    if label:
        yield label, lambda: (function, 0.0)
    if with_flex:
        yield "FlexAttention", lambda: flex(case)


def error_of(case, got, q, k, v, rows):
    """Of some rows, against float64 straight from the definition, by norms."""
    import torch

    keys = torch.arange(case.keys, device="cuda")
    seen = case.mask(0, 0, rows[:, None], keys[None])
    want = torch.empty(case.batch, case.heads, len(rows), case.dim, dtype=torch.float64, device="cuda")
    for b in range(case.batch):
        scores = (q[b, :, rows].double() @ k[b].double().transpose(-1, -2)) * case.dim**-0.5
        want[b] = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v[b].double()
    return float((got[:, :, rows].double() - want).norm() / want.norm())


def measure(case, options, timer, with_flex):
    """One line per kernel, also where one fails: then it says why."""
    import torch

    torch.manual_seed(case.keys)
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[case.dtype]
    q, k, v = (torch.randn(case.batch, case.heads, rows, case.dim, device="cuda", dtype=dtype) for rows in (case.queries, case.keys, case.keys))
    last = case.queries - 1
    rows = torch.unique(torch.tensor([0, min(1, last), last, *torch.randint(0, last + 1, (29,)).tolist()], device="cuda"))
    flops = 4.0 * case.dim * options.pairs[str(case)]
    kernels = [("megactx", lambda: (ours(case, options.artifacts), 0.0)), *competitors(case, with_flex)]
    for label, make in kernels:
        line = dict(case=case.name, dtype=case.dtype, dim=case.dim, batch=case.batch, heads=case.heads, keys=case.keys, kernel=label)
        try:
            begin = time.perf_counter()
            function, building = make()
            got = function(q, k, v)
            torch.cuda.synchronize()
            line["first_seconds"] = time.perf_counter() - begin
            line["error"] = error_of(case, got, q, k, v, rows)
            del got
            line["ok"] = line["error"] < TOLERANCE[case.dtype]
            seconds = timer(lambda: function(q, k, v))
            line |= dict(seconds=seconds, tflops=1e-12 * flops / seconds, mask_seconds=building)
        except Exception as error:  # one kernel that fails must not end the others
            line |= dict(ok=False, failed=f"{type(error).__name__}: {error}".strip().splitlines()[0][:300])
        yield line
        torch.cuda.empty_cache()


def show(line, first):
    place = f"{line['case']:21} {line['dtype']} d {line['dim']:3} n {line['keys']:6} b {line['batch']:2} h {line['heads']:2} {line['kernel']:13}"
    if "failed" in line:
        return f"{place} {line['failed']}"
    beside = f" {line['seconds'] / first['seconds']:7.2f} x ours" if line is not first and "seconds" in first else ""
    mask = f"  mask {1e3 * line['mask_seconds']:.1f} ms" if line["mask_seconds"] else ""
    wrong = "" if line["ok"] else "  WRONG NUMBERS"
    return f"{place} {1e3 * line['seconds']:9.3f} ms {line['tflops']:7.1f} TF/s{beside}{mask}  error {line['error']:.1e}{wrong}"


def run(options):
    import torch

    if not torch.cuda.is_available():
        raise megactx.Error("PyTorch finds no CUDA device")
    torch.set_grad_enabled(False)
    torch._dynamo.config.cache_size_limit = 1000
    options.pairs = json.loads((options.artifacts / "pairs.json").read_text())
    timer, begin, lines = Timer(), time.perf_counter(), []
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    log = options.json.open("a") if options.json else None
    ok = True
    for case in cases_of(options):
        if str(case) not in options.pairs:
            print(f"{case}: no artifact", flush=True)
            continue
        late = time.perf_counter() - begin > options.seconds
        first = None
        for line in measure(case, options, timer, options.flex and not late):
            first = first or line
            ok &= line["kernel"] != "megactx" or line["ok"]
            lines.append(show(line, first))
            print(lines[-1], flush=True)
            if log:
                print(json.dumps(dict(line, device=torch.cuda.get_device_name(), torch=torch.__version__)), file=log, flush=True)
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    return 0 if ok else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda"], help="as of attention.py")
    parser.add_argument("--compile", metavar="ARCH", help="only compile the artifacts, for this architecture")
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    parser.add_argument("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the newest build)")
    parser.add_argument("--cases", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--queries", type=int, nargs="+", default=[16384, 4096, 65536], help="rows, and keys; of decode keys")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=["bf16", "f16"])
    parser.add_argument("--no-flex", dest="flex", action="store_false", help="without FlexAttention")
    parser.add_argument("--seconds", type=float, default=360, help="after which FlexAttention is left out")
    parser.add_argument("--json", type=pathlib.Path, help="also append the measurements here, a line each as they come")
    options = parser.parse_args()
    if options.runtime:
        megactx.use_build(options.runtime)
    try:
        return compile_all(options) if options.compile else run(options)
    except megactx.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
