#!/usr/bin/env python3
"""Trains a small causal transformer to copy, in numpy, and writes it as ONNX.

    train_copy.py OUT.onnx [--steps N]       the trained model, and its loss on the way
    train_copy.py --data DIR                 two sets of sequences, DIR/set_K/input_0.npy, ids [B, N]

A token is the one DISTANCE tokens before; the first DISTANCE are random. A head must look back exactly DISTANCE - 1 positions to
tell the next token: far for a window, cheap for a stride. Two layers of two heads, sinusoidal positions, no normalisation; the
gradients are written out below. Weight decay leaves heads that are not needed small.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnx

import attention
from graph import INT64, Graph

DISTANCE, LENGTH, VOCABULARY, WIDTH, HEADS, LAYERS = 33, 96, 12, 48, 2, 2
DIM = WIDTH // HEADS


def sequences(random, batch):
    """ids [batch, LENGTH]"""
    ids = random.integers(0, VOCABULARY, (batch, LENGTH))
    for t in range(DISTANCE, LENGTH):
        ids[:, t] = ids[:, t - DISTANCE]
    return ids


def position_table():
    """Sines and cosines of evenly spread frequencies: positions that differ by any lag are far from parallel."""
    angle = np.arange(LENGTH)[:, None] * np.pi * (np.arange(WIDTH // 2) + 0.5) / (WIDTH // 2)
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def start_weights(random):
    draw = lambda *shape: (random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32)
    weights = {"embed": draw(VOCABULARY, WIDTH) * 2, "head": draw(WIDTH, VOCABULARY)}
    for layer in range(LAYERS):
        weights |= {f"{name}{layer}": draw(WIDTH, WIDTH) for name in ("q", "k", "v", "o")}
    return weights


def split(x):
    return x.reshape(len(x), -1, HEADS, DIM).transpose(0, 2, 1, 3)


def joined(x):
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1, WIDTH)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(w, ids):
    """logits, and what the backward pass needs of each layer."""
    x = w["embed"][ids] + position_table()
    mask, kept = np.where(np.tri(LENGTH, dtype=bool), 0, -np.inf).astype(np.float32), []
    for layer in range(LAYERS):
        q, k, v = (split(x @ w[f"{name}{layer}"]) for name in ("q", "k", "v"))
        p = softmax(q @ k.swapaxes(2, 3) * DIM**-0.5 + mask)
        y = joined(p @ v)
        kept.append((x, q, k, v, p, y))
        x = x + y @ w[f"o{layer}"]
    return x @ w["head"], x, kept


def gradients(w, ids):
    """The mean loss of tokens from DISTANCE on, and its gradients."""
    logits, x, kept = forward(w, ids)
    p, target = softmax(logits[:, DISTANCE - 1:-1]), ids[:, DISTANCE:]
    hit = np.take_along_axis(p, target[..., None], 2)
    loss = -np.log(hit + 1e-9).mean()
    dlogits = np.zeros_like(logits)
    np.put_along_axis(p, target[..., None], hit - 1, 2)
    dlogits[:, DISTANCE - 1:-1] = p / target.size
    flat = lambda a: a.reshape(-1, a.shape[-1])
    grads = {"head": flat(x).T @ flat(dlogits)}
    dx = dlogits @ w["head"].T
    for layer in reversed(range(LAYERS)):
        x, q, k, v, p, y = kept[layer]
        grads[f"o{layer}"] = flat(y).T @ flat(dx)
        dy = split(dx @ w[f"o{layer}"].T)
        dp = dy @ v.swapaxes(2, 3)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * DIM**-0.5
        for name, d in (("q", ds @ k), ("k", ds.swapaxes(2, 3) @ q), ("v", p.swapaxes(2, 3) @ dy)):
            d = joined(d)
            grads[f"{name}{layer}"] = flat(x).T @ flat(d)
            dx = dx + d @ w[f"{name}{layer}"].T
    grads["embed"] = np.zeros_like(w["embed"])
    np.add.at(grads["embed"], ids, dx)
    return loss, grads


def train(steps, seed=0, rate=4e-3, decay=0.1):
    """Adam with decoupled weight decay."""
    random = np.random.default_rng(seed)
    w = start_weights(random)
    m, s = ({name: np.zeros_like(a) for name, a in w.items()} for _ in range(2))
    for step in range(1, steps + 1):
        loss, grads = gradients(w, sequences(random, 32))
        now = rate * min(1, step / 50) * min(1, 2 * (1 - step / steps) + 0.02)
        for name, g in grads.items():
            m[name] += 0.1 * (g - m[name])
            s[name] += 0.02 * (g * g - s[name])
            w[name] -= now * ((m[name] / (1 - 0.9**step)) / (np.sqrt(s[name] / (1 - 0.98**step)) + 1e-8) + decay * w[name])
        if step % 50 == 0:
            print(f"step {step}: loss {loss:.4f}", flush=True)
    return w


def model(w):
    g = Graph("torchscript", 17, 0)
    ids = g.input("ids", INT64, ["batch", "length"])
    batch, length = g.size(ids, 0), g.size(ids, 1)
    places = g.slice(g.tensor("positions", position_table()), 0, 0, length)
    x = g.op("Add", g.op("Gather", g.tensor("embed", w["embed"]), ids), places)
    for layer in range(LAYERS):
        with g.module(f"layers.{layer}"):
            product = lambda a, name: g.op("MatMul", a, g.tensor(f"{name}{layer}", w[f"{name}{layer}"]))
            q, k, v = (g.heads(product(x, name), batch, length, HEADS, DIM) for name in ("q", "k", "v"))
            y = attention.sdpa(g, q, k, v, dim=DIM)
            y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, WIDTH)
            x = g.op("Add", x, product(y, "o"))
    g.output(g.op("MatMul", x, g.tensor("head", w["head"])), np.float32, ["batch", "length", VOCABULARY], "logits")
    return g.model("copy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR")
    options = parser.parse_args()
    if options.out:
        onnx.save(model(train(options.steps)), options.out)
    for index in range(2 if options.data else 0):
        folder = options.data / f"set_{index}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "input_0.npy", sequences(np.random.default_rng(1000 + index), 8))


if __name__ == "__main__":
    sys.exit(main())
