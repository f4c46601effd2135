"""MegaContext's two networks: GistNet makes gists of tokens, LensNet scores the entries of a working context."""

import numpy as np

import attention
from families import project
from graph import INT64, LAST, Graph


def unit(g, x, epsilon=1e-6):
    """RMSNorm without a weight."""
    axes = (g.ints(-1),) if g.opset >= 18 else ()
    attributes = {} if axes else {"axes": [-1]}
    mean = g.op("ReduceMean", g.op("Pow", x, g.const(2.0)), *axes, keepdims=1, **attributes)
    root = g.op("Sqrt", g.op("Add", mean, g.const(epsilon)))
    return g.op("Mul", x, g.op("Reciprocal", root) if g.dynamo else g.op("Div", g.const(1.0), root))


def rotary(g, positions, dim, base=10000.0):
    """cos and sin [.., N, dim / 2] of positions [.., N, 1]."""
    angles = g.op("Mul", g.cast(positions, np.float32), g.const(frequencies(dim, base)))
    return [g.op(f, angles) for f in ("Cos", "Sin")]


def frequencies(dim, base=10000.0):
    return base ** (-np.arange(0, dim, 2) / dim)


def turn(g, x, tables, dim):
    cos, sin = tables
    low, high = g.slice(x, 3, 0, dim // 2), g.slice(x, 3, dim // 2, LAST)
    left = g.op("Sub", g.op("Mul", low, cos), g.op("Mul", high, sin))
    right = g.op("Add", g.op("Mul", high, cos), g.op("Mul", low, sin))
    return g.op("Concat", left, right, axis=-1)


def block(g, x, tables, width, heads, causal=False):
    """Pre-norm, rotary attention with unit queries and keys, squared relu. x [B, N, width]."""
    dim = width // heads
    h = unit(g, x)
    batch, length = g.size(h, 0), g.size(h, 1)
    q, k, v = (g.heads(project(g, h, n, width, width, bias=False), batch, length, heads, dim) for n in ("q", "k", "v"))
    # Random weights give scores that are close together; training would set them further apart.
    q, k = (g.op("Mul", unit(g, turn(g, t, tables, dim)), g.const(1.5)) for t in (q, k))
    y = attention.sdpa(g, q, k, v, dim, causal=causal)
    y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, width)
    x = g.op("Add", x, project(g, y, "proj", width, width, bias=False))
    h = g.op("Relu", project(g, unit(g, x), "up", width, 2 * width, bias=False))
    return g.op("Add", x, project(g, g.op("Mul", h, h), "down", 2 * width, width, bias=False))


def gistnet(exporter, opset, width=24, heads=3, ratio=32, seed=5):
    """tokens [B, N, width], N a multiple of ratio² -> level-1 gists [B, N / ratio, width], level-2 gists [B, N / ratio², width].

    Two layers see windows of `ratio` tokens, of which the mean is a gist; the meta layer sees all level-1 gists
    of the past, and level 2 pools them by a learned query.
    """
    g, dim = Graph(exporter, opset, seed), width // heads
    tokens = g.input("tokens", np.float32, ["batch", "length", width])
    batch, length = g.size(tokens, 0), g.size(tokens, 1)
    windows = g.reshape(tokens, -1, ratio, width)
    angles = np.arange(ratio)[:, None] * frequencies(dim)
    for layer in range(2):
        with g.module(f"tokens.{layer}"):
            windows = block(g, windows, [g.const(np.cos(angles)), g.const(np.sin(angles))], width, heads, causal=True)
    mean = (g.op("ReduceMean", windows, g.ints(1), keepdims=0) if opset >= 18 else g.op("ReduceMean", windows, axes=[1], keepdims=0))
    level1 = g.reshape(project(g, mean, "head1", width, width), batch, -1, width)
    with g.module("meta"):
        tables = rotary(g, g.unsqueeze(g.range(g.size(level1, 1)), 1), dim)
        meta = block(g, level1, tables, width, heads, causal=True)
    families = g.reshape(meta, batch, -1, ratio, width)
    weights = g.op("Softmax", project(g, families, "score", width, 1, bias=False), axis=2)
    level2 = project(g, g.op("ReduceSum", g.op("Mul", weights, families), g.ints(2), keepdims=0), "head2", width, width)
    g.output(level1, np.float32, ["batch", "gists", width], "level1")
    g.output(level2, np.float32, ["batch", "gists2", width], "level2")
    return g


def lensnet(exporter, opset, width=24, heads=4, ratio=32, top=2, seed=6):
    """context [B, W, width], lods and positions [B, W] -> scores [B, W] in (-1, 1); every entry sees every other."""
    g, dim = Graph(exporter, opset, seed), width // heads
    context = g.input("context", np.float32, ["batch", "entries", width])
    lods, positions = (g.input(n, INT64, ["batch", "entries"]) for n in ("lods", "positions"))
    newest = g.op("ReduceMax", positions, g.ints(1), keepdims=1) if opset >= 18 else g.op("ReduceMax", positions, axes=[1], keepdims=1)
    age = g.op("Log", g.op("Add", g.cast(g.op("Sub", newest, positions), np.float32), g.const(1.0)))
    with g.module("distance"):
        h = g.linear(g.unsqueeze(age, 2), 1, width)
        h = g.op("Mul", h, g.op("Sigmoid", h))
    x = g.op("Add", g.op("Add", context, g.op("Gather", g.weight("level.weight", top + 1, width, scale=0.5), lods)), h)
    # A gist's position is blurred over its span.
    span = g.op("Pow", g.const(float(ratio)), g.unsqueeze(g.cast(lods, np.float32), 2))
    blur = g.op("Pow", g.op("Mul", span, g.const(frequencies(dim))), g.const(2.0))
    blur = g.op("Exp", g.op("Mul", blur, g.const(-0.5)))
    tables = [g.unsqueeze(g.op("Mul", t, blur), 1) for t in rotary(g, g.unsqueeze(positions, 2), dim)]
    for layer in range(2):
        with g.module(f"blocks.{layer}"):
            x = block(g, x, tables, width, heads)
    h = project(g, x, "hidden", width, width)
    score = project(g, g.op("Mul", h, g.op("Sigmoid", h)), "score", width, 1)
    score = g.op("Tanh", g.op("Squeeze", score, g.ints(-1)))
    zero = g.const(0.0)
    score = g.op("Where", g.op("Equal", lods, g.int(0)), g.op("Min", score, zero), score)
    score = g.op("Where", g.op("Equal", lods, g.int(top)), g.op("Max", score, zero), score)
    g.output(score, np.float32, ["batch", "entries"])
    return g


def tokens(width=24):
    return lambda rng, batch, length: {"tokens": rng.standard_normal((batch, length, width)).astype(np.float32)}


def working_context(width=24, ratio=32):
    """Far level-2 gists, then level-1 gists, then tokens, an eighth, a quarter and the rest of the entries: they tile a timeline."""

    def make(rng, batch, entries):
        counts = [entries // 8, entries // 4, entries - entries // 8 - entries // 4]
        lods = np.repeat([2, 1, 0], counts)
        positions = np.cumsum(ratio**lods) - 1
        return {"context": rng.standard_normal((batch, entries, width)).astype(np.float32),
                "lods": np.tile(lods, (batch, 1)), "positions": np.tile(positions, (batch, 1))}

    return make
