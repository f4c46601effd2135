#!/usr/bin/env python3
"""Writes a small GistNet and LensNet, and a synthetic timeline for them.

    lod.py OUT [--ratio R] [--width E] [--tokens N]      OUT/gistnet.onnx, OUT/lensnet.onnx, OUT/tokens.npy
    lod.py OUT --features                                OUT/lensnet.onnx without its scoring head, which is OUT/head.npz

They are what megactx-focus takes: GistNet gives a gist for every R tokens and one for every R of those, LensNet a
score per entry of a working context. Weights are random but for one feature, number 0, which tells how much a token matters: gists
carry its mean, and LensNet's score rises with it. The timeline is noise with a few spans that matter.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnx

import attention
from families import project
from graph import INT64, Graph

HEADS, QUIET = 2, 0.02  # scale of what layers add, against the feature that matters


def block(g, x, width, causal, batch):
    """Pre-norm attention over rows [batch, n, width], added."""
    with g.module("norm"):
        h = g.layer_norm(x, width)
    length, dim = g.size(h, 1), width // HEADS
    q, k, v = (g.heads(project(g, h, name, width, width), batch, length, HEADS, dim) for name in ("query", "key", "value"))
    y = attention.sdpa(g, q, k, v, dim=dim, causal=causal)
    y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, width)
    return g.op("Add", x, g.op("Mul", project(g, y, "out", width, width), g.const(QUIET)))


def pooled(g, x, width):
    """Mean over axis 1 of [b, r, width], through a linear layer near the identity."""
    mean = g.op("ReduceMean", x, axes=[1], keepdims=0)
    return g.op("Add", mean, g.op("Mul", project(g, mean, "head", width, width), g.const(QUIET)))


def gistnet(ratio, width, seed=5):
    """tokens [B, N, E] -> [B, N / r, E], [B, N / r^2, E]; tokens attend their span, level-1 gists all before them."""
    g = Graph("torchscript", 17, seed)
    x = g.input("tokens", np.float32, ["batch", "length", width])
    batch = g.size(x, 0)
    with g.module("tokens"):
        spans = g.reshape(x, -1, ratio, width)
        spans = block(g, spans, width, True, g.size(spans, 0))
        level1 = g.reshape(pooled(g, spans, width), batch, -1, width)
    with g.module("meta"):
        meta = block(g, level1, width, True, batch)
        level2 = g.reshape(pooled(g, g.reshape(meta, -1, ratio, width), width), batch, -1, width)
    g.output(level1, np.float32, ["batch", "gists", width], "level1")
    g.output(level2, np.float32, ["batch", "gists of gists", width], "level2")
    return g


def lensnet(width, features=False, seed=6):
    """context [B, W, E], lods, positions [B, W] -> scores [B, W] = tanh(2 (feature 0) - 1 + ...), or features [B, W, E]."""
    g = Graph("torchscript", 17, seed)
    x = g.input("context", np.float32, ["batch", "entries", width])
    lods, positions = (g.input(name, INT64, ["batch", "entries"]) for name in ("lods", "positions"))
    age = g.op("Sub", g.op("ReduceMax", positions, axes=[1], keepdims=1), positions)
    age = g.op("Log", g.op("Add", g.cast(age, np.float32), g.const(1.0)))
    added = g.op("Add", g.op("Gather", g.weight("level.weight", 3, width, scale=QUIET), lods),
                 g.op("Mul", project(g, g.unsqueeze(age, 2), "distance", 1, width), g.const(QUIET / 10)))
    x = block(g, g.op("Add", x, added), width, False, g.size(x, 0))
    if features:
        g.output(x, np.float32, ["batch", "entries", width], "features")
        return g
    weight = g.tensor("score.weight", head(width)[0][:, None])
    score = g.op("Tanh", g.op("Squeeze", g.op("Add", g.op("MatMul", x, weight), g.const(head(width)[1])), g.ints(2)))
    g.output(score, np.float32, ["batch", "entries"], "scores")
    return g


def head(width):
    """Weight and bias of the score."""
    return np.array([2.0] + [0.0] * (width - 1), np.float32), np.float32(-1)


def timeline(tokens, width, ratio, seed=7):
    """Noise, and six spans of a few level-1 gists each in which feature 0 is 4."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((tokens, width), np.float32) * np.float32(0.1)
    for start in random.integers(0, max(1, tokens - ratio * ratio), 6):
        x[start:start + int(random.integers(ratio * ratio // 4, ratio * ratio)), 0] += 4
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, value in (("ratio", 32), ("width", 16), ("tokens", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--features", action="store_true", help="LensNet gives features")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    onnx.save(gistnet(options.ratio, options.width).model("gistnet"), options.out / "gistnet.onnx")
    onnx.save(lensnet(options.width, options.features).model("lensnet"), options.out / "lensnet.onnx")
    if options.features:
        np.savez(options.out / "head.npz", **dict(zip(("weight", "bias"), head(options.width))))
    np.save(options.out / "tokens.npy", timeline(options.tokens, options.width, options.ratio))


if __name__ == "__main__":
    sys.exit(main())
