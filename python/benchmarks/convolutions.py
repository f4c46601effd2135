#!/usr/bin/env python3
"""Times convolutions against onnxruntime's.

    tools/dev/build release
    python python/benchmarks/convolutions.py [--threads N] [--rounds 41] [--json times.json]

From and to plain [N, C, H, W], with weights that are constants. In one process each runs so often in a row, ours before onnxruntime's threads spin;
times are medians. Results are compared before.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402

# Data [N, C, H, H], filters, their size, stride, pad and groups.
CASES = {
    "ResNet, first": ((1, 3, 224, 224), 64, 7, 2, 3, 1),
    "ResNet, 56 x 56": ((1, 64, 56, 56), 64, 3, 1, 1, 1),
    "ResNet, 14 x 14": ((1, 256, 14, 14), 256, 3, 1, 1, 1),
    "ResNet, 1 x 1": ((1, 256, 28, 28), 512, 1, 1, 0, 1),
    "patches of a ViT": ((1, 3, 224, 224), 768, 16, 16, 0, 1),
    "an autoencoder's": ((1, 128, 64, 64), 128, 3, 1, 1, 1),
    "batch of 8": ((8, 64, 28, 28), 64, 3, 1, 1, 1),
    "by channel, 14 x 14": ((1, 384, 14, 14), 384, 3, 1, 1, 384),
    "by channel, 112 x 112": ((1, 32, 112, 112), 32, 3, 1, 1, 32),
    "ConvNeXt, 56 x 56": ((1, 96, 56, 56), 96, 7, 1, 3, 96),
    "SegFormer, 64 x 64": ((1, 256, 64, 64), 256, 3, 1, 1, 256),
}


def model_of(case, rng):
    sizes, filters, kernel, stride, pad, groups = case
    depth = sizes[1] // groups
    weight = (rng.standard_normal((filters, depth, kernel, kernel)) / np.sqrt(depth * kernel**2)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride] * 2, pads=[pad] * 4, group=groups)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, sizes)], [helper.make_empty_tensor_value_info("y")],
                              [onnx.numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def median(run, rounds):
    times = []
    for _ in range(3 + rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[3:])


def measure(name, case, options, scratch):
    rng = np.random.default_rng(len(name))
    model, x = model_of(case, rng), rng.standard_normal(case[0]).astype(np.float32)
    onnx.save(model, scratch / "conv.onnx")
    megactx.compile(scratch / "conv.onnx", scratch / "conv.mctx")
    ours = megactx.load(scratch / "conv.mctx")
    times = {"ours": median(lambda: ours.run({"x": x}), options.rounds)}
    given = onnxruntime.SessionOptions()
    given.intra_op_num_threads = options.threads
    theirs = onnxruntime.InferenceSession(model.SerializeToString(), given, providers=["CPUExecutionProvider"])
    (got,), (want,) = ours.run({"x": x}).values(), theirs.run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    times["onnxruntime"] = median(lambda: theirs.run(None, {"x": x}), options.rounds)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build" / "release", help="build folder (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each (default: all)")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--json", type=pathlib.Path, help="write times in seconds here")
    options = parser.parse_args()
    megactx.use_build(options.build)
    megactx.set_threads(options.threads)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in CASES.items():
            results[name] = times = measure(name, case, options, pathlib.Path(scratch))
            print(f"{name:24} onnxruntime {1e3 * times['onnxruntime']:8.3f} ms   ours {1e3 * times['ours']:8.3f} ms", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
