#!/usr/bin/env python3
"""Times a whole model: onnxruntime or other engines, our dense code and our sparse code, in one process, in turn.

    tools/dev/build release
    python python/benchmarks/model.py [--model gpt] [--tokens 1024 4096] [--threads 4] [--pattern 'EXPR'] [--against openvino iree] [--json FILE]

With --device cuda it is model_gpu.py, with options of its own.

The model is a GPT, a LLaMA with 2 heads of keys, or a T5's encoder, of 6 layers, 512 wide, 8 heads (make_models.py --medium). Outputs are
compared with theirs before anything is timed; the table shows medians of rounds that take every program in turn.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402
from engines import ENGINES  # noqa: E402
from rounds import medians  # noqa: E402

CAUSAL = "causal and (window<left = 127, right = 0> or strided<stride = 128>)"
MODELS = {"gpt": ("GPT", CAUSAL), "llama": ("LLaMA", CAUSAL), "t5": ("T5 encoder", "window<left = 127, right = 127> or strided<stride = 128>")}
TOLERANCE = 1e-3


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="gpt")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build" / "release")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pattern", help="of the sparse model")
    parser.add_argument("--against", choices=ENGINES, nargs="+", default=["onnxruntime"], help="engines to compare with")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    return parser.parse_args()


def main():
    if "--device" in sys.argv[1:] or "--device=cuda" in sys.argv[1:]:
        import model_gpu

        return model_gpu.main()
    options = parse()
    title, pattern = MODELS[options.model]
    pattern = options.pattern or pattern
    megactx.use_build(options.build)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        name = f"{options.model}_medium"
        subprocess.run([sys.executable, HERE.parent / "models" / "make_models.py", "--medium", folder, name], check=True)
        path = folder / name / "model.onnx"
        megactx.compile(path, folder / "dense.mctx")
        megactx.compile(path, folder / "sparse.mctx", pattern=pattern)
        dense, sparse = megactx.load(folder / "dense.mctx"), megactx.load(folder / "sparse.mctx")
        megactx.set_threads(options.threads)
        print(f"{title} of 6 layers, 512 wide, 8 heads; {options.threads} threads; sparse: {pattern}")
        figures = [row(tokens, path, dense, sparse, options) for tokens in options.tokens]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def row(tokens, path, dense, sparse, options):
    ids = np.random.default_rng(tokens).integers(2, 1000, (1, tokens))
    feeds = {name: np.ones_like(ids) if name == "attention_mask" else ids for name in dense.inputs}
    others = {name: ENGINES[name](path, options.threads, feeds) for name in options.against}
    result, error = next(iter(dense.run(feeds).values())), 0.0
    for name, run in others.items():
        apart = float(np.abs(result - run()).max())
        if not apart < TOLERANCE:
            raise SystemExit(f"error: {tokens} tokens: dense differs from {name} by {apart:.1e}")
        error = max(error, apart)
    median = medians(others | {"dense": lambda: dense.run(feeds), "sparse": lambda: sparse.run(feeds)}, options.rounds, warm=1)
    cells = "  ".join(f"{name} {1e3 * seconds:8.1f} ms" for name, seconds in median.items())
    speeds = ", ".join(f"{median[name] / median['dense']:.2f} × {name}'s" for name in others)
    print(f"{tokens:7} tokens  {cells}   dense {speeds} speed, sparse {median['dense'] / median['sparse']:.2f} × dense", flush=True)
    return dict(tokens=tokens, seconds=median, error=error)


if __name__ == "__main__":
    sys.exit(main())
