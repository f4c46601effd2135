"""Runs whole models on an NVIDIA GPU: outputs of every kind of model (model_checks.py), then a GPT, dense and sparse, against PyTorch's speed.

    # where the compiler is: artifacts, inputs and expected outputs into one file
    python python/benchmarks/model.py --device cuda --compile sm_90a --artifacts build/gpu/models.tar.xz [--models FOLDER ...]
    # where the GPU is; neither MLIR nor a build is needed, but build/gpu/lib/libmegactx_runtime.so
    python python/benchmarks/model.py --device cuda --runtime build/gpu --artifacts build/gpu/models.tar.xz
        [--tokens 4096 16384] [--dtypes bf16 f32] [--profile] [--json FILE]

The GPT has 6 layers, 512 wide, 8 heads, and weights of 16 values that travel well. At 1024 tokens its outputs are compared with
onnxruntime's (dense) and those of the code for the CPU (sparse), both in f32, which bf16 is held to by norms. PyTorch's GPT has the same
layers and other weights: embeddings, LayerNorm, Linear, scaled_dot_product_attention, GELU, not compiled. Times are medians by CUDA
events around one run of a batch of 1, with the L2 cache flushed before it; "host" is what the calling thread was busy for.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tarfile
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
import model_checks  # noqa: E402
from attention_gpu import Timer  # noqa: E402

PATTERN = "causal and (window<left = 127, right = 0> or strided<stride = 128>)"
NORMS = {"f32": 1e-4, "bf16": 4e-2}  # of the difference, relative
LAYERS, WIDTH, HEADS, VOCAB, CONTEXT = 6, 512, 8, 1024, 16384
CHECKED_TOKENS = 1024


# --- where the compiler is ---


def compile_gpt(arch, folder, dtypes):
    """gpt_DTYPE_{dense,sparse}.mctx, which share weights, and gpt.npz: ids, and the logits of both."""
    import families
    import onnx
    import onnxruntime
    import precision

    path = folder / "model.onnx"
    graph = families.gpt("sdpa", "torchscript", 17, layers=LAYERS, width=WIDTH, heads=HEADS, vocab=VOCAB, context=CONTEXT)
    model = precision.coarsen(graph.model("gpt"))
    onnx.save(model, path)
    feeds = {"ids": np.random.default_rng(0).integers(2, VOCAB, (1, CHECKED_TOKENS))}
    dense, = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)
    with tempfile.TemporaryDirectory() as scratch:
        megactx.compile(path, pathlib.Path(scratch) / "cpu.mctx", pattern=PATTERN)
        sparse, = megactx.load(pathlib.Path(scratch) / "cpu.mctx").run(feeds).values()
    np.savez_compressed(folder / "gpt.npz", ids=feeds["ids"], dense=dense[:, ::8], sparse=sparse[:, ::8])
    for dtype in dtypes:
        onnx.save(model if dtype == "f32" else precision.convert(onnx.load(path), dtype), folder / "typed.onnx")
        weights = []
        for kind, options in (("dense", {}), ("sparse", {"pattern": PATTERN})):
            artifact = folder / f"gpt_{dtype}_{kind}.mctx"
            megactx.compile(folder / "typed.onnx", artifact, target=arch, **options)
            weights.append(artifact / "weights.bin")
            print(artifact.stem, flush=True)
        if weights[0].read_bytes() == weights[1].read_bytes():
            weights[1].unlink()
            os.link(*weights)
    for name in ("model.onnx", "typed.onnx"):
        (folder / name).unlink()


def compile_all(options):
    sys.path[:0] = [str(HERE.parent / "models"), str(HERE.parents[1] / "test" / "Models")]
    options.artifacts.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model_checks.compile_all(options.compile, folder, options.models)
        compile_gpt(options.compile, folder, options.dtypes)
        with tarfile.open(options.artifacts, "w:xz", preset=1) as file:
            file.add(folder, ".")
    return 0


# --- where the GPU is ---


def runner(model, ids):
    """The model as a function of nothing, on ids that are on the device."""
    import torch

    ids = torch.as_tensor(ids, device="cuda")
    output, = model.outputs
    return lambda: torch.from_dlpack(model.run({"ids": ids})[output])


def norm_error(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


class TorchGPT:
    """The same layers, by PyTorch."""

    def __init__(self, dtype):
        import torch
        from torch.nn import Embedding, GELU, LayerNorm, Linear

        self.torch = torch
        made = dict(device="cuda", dtype={"bf16": torch.bfloat16, "f32": torch.float32}[dtype])
        self.words, self.places = Embedding(VOCAB, WIDTH, **made), Embedding(CONTEXT, WIDTH, **made)
        norm = lambda: LayerNorm(WIDTH, **made)
        linear = lambda inner, outer: Linear(inner, outer, **made)
        self.layers = [(norm(), linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH), norm(), linear(WIDTH, 4 * WIDTH), linear(4 * WIDTH, WIDTH))
                       for _ in range(LAYERS)]
        self.norm, self.head, self.gelu = norm(), Linear(WIDTH, VOCAB, bias=False, **made), GELU()

    def __call__(self, ids):
        sdpa = self.torch.nn.functional.scaled_dot_product_attention
        batch, length = ids.shape
        heads = lambda t: t.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
        x = self.words(ids) + self.places(self.torch.arange(length, device="cuda"))
        for before, qkv, project, after, up, down in self.layers:
            q, k, v = map(heads, qkv(before(x)).split(WIDTH, 2))
            x = x + project(sdpa(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, WIDTH))
            x = x + down(self.gelu(up(after(x))))
        return self.head(self.norm(x))


def timed(timer, function):
    """Median seconds on the device, and of the calling thread."""
    function()
    seconds, busy = timer(function), []
    for _ in range(5):
        timer.torch.cuda.synchronize()
        begin = time.perf_counter()
        function()
        busy.append(time.perf_counter() - begin)
    return seconds, statistics.median(busy)


def profile(function):
    """The kernels that take the most time, in one run."""
    import torch
    from torch.profiler import ProfilerActivity

    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiled:
        function()
        torch.cuda.synchronize()
    events = sorted(profiled.key_averages(), key=lambda e: -e.device_time_total)
    lines = [f"    {e.device_time_total / 1e3:8.3f} ms {e.count:4} x {e.key[:110]}" for e in events if e.device_time_total]
    total = sum(e.device_time_total for e in events) / 1e3
    return [f"    {total:8.3f} ms in {sum(e.count for e in events)} kernels and copies", *lines[:16]]


def measure(folder, dtype, options):
    """A line per program and size; of one that fails why."""
    import torch

    expected, timer = np.load(folder / "gpt.npz"), Timer()
    for kind in ("dense", "sparse", "PyTorch"):
        try:
            if kind == "PyTorch":
                network = TorchGPT(dtype)
                at = lambda ids: (lambda: network(ids))
            else:
                model = megactx.load(folder / f"gpt_{dtype}_{kind}.mctx")
                at = lambda ids: runner(model, ids)
                got = at(expected["ids"])().float().cpu().numpy()
                error = norm_error(got[:, ::8], expected[kind])
                yield dict(model="gpt", dtype=dtype, kernel=kind, tokens=CHECKED_TOKENS, error=error, ok=error < NORMS[dtype])
            for tokens in options.tokens:
                run = at(torch.randint(2, VOCAB, (1, tokens), device="cuda"))
                seconds, busy = timed(timer, run)
                line = dict(model="gpt", dtype=dtype, kernel=kind, tokens=tokens, seconds=seconds, host_seconds=busy, ok=True)
                if options.profile:
                    line["profile"] = profile(run)
                yield line
        except Exception as error:  # one that fails must not end the others
            yield dict(model="gpt", dtype=dtype, kernel=kind, tokens=0, ok=False, failed=f"{type(error).__name__}: {error}"[:400])
        torch.cuda.empty_cache()


def show(line, dense):
    place = f"{line['model']} {line['dtype']:4} {line['kernel']:8} {line['tokens']:6} tokens"
    if "failed" in line:
        return f"{place} {line['failed']}"
    if "error" in line:
        return f"{place} error {line['error']:.1e}{'' if line['ok'] else '  WRONG NUMBERS'}"
    beside = f" {dense / line['seconds']:6.2f} x dense's speed" if dense else ""
    return f"{place} {1e3 * line['seconds']:9.3f} ms, host {1e3 * line['host_seconds']:8.3f} ms{beside}"


def run(options):
    import torch

    if not torch.cuda.is_available():
        raise megactx.Error("PyTorch finds no CUDA device")
    torch.set_grad_enabled(False)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    log = options.json.open("a") if options.json else None
    table, ok = [], True

    def note(line, text):
        nonlocal ok
        ok &= line["ok"]
        table.append(text)
        print(text, *line.pop("profile", []), sep="\n", flush=True)
        if log:
            print(json.dumps(dict(line, device=torch.cuda.get_device_name(), torch=torch.__version__)), file=log, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        with tarfile.open(options.artifacts) as file:
            file.extractall(folder, filter="data")
        for line in model_checks.check_all(folder):
            found = line.get("failed") or f"errors {' '.join(f'{e:.1e}' for e in line['errors'])}{'' if line['ok'] else '  WRONG NUMBERS'}"
            note(line, f"{line['model']:48} {found}")
        for dtype in options.dtypes:
            dense = {}
            for line in measure(folder, dtype, options):
                if line["kernel"] == "dense" and "seconds" in line:
                    dense[line["tokens"]] = line["seconds"]
                note(line, show(line, dense.get(line["tokens"])))
    if options.profile:
        print("== all", *table, sep="\n", flush=True)
    return 0 if ok else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda"], help="as of model.py")
    parser.add_argument("--compile", metavar="ARCH", help="only compile the artifacts, for this architecture")
    parser.add_argument("--artifacts", type=pathlib.Path, required=True, help="a .tar.xz")
    parser.add_argument("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the newest build)")
    parser.add_argument("--models", type=pathlib.Path, nargs="*", default=[], help="with --compile: further folders of models, as make_models.py writes them")
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--dtypes", nargs="+", choices=NORMS, default=list(NORMS)[::-1])
    parser.add_argument("--profile", action="store_true", help="also print each GPT's kernels by the time that they take")
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
