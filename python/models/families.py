"""The models: GPT, BERT, LLaMA with grouped queries and cache, Mistral's window, ViT."""

import numpy as np

import attention
from graph import INT64, LAST, Graph


def gpt(spelling, exporter, opset, layers=2, width=48, heads=3, vocab=96, context=96, seed=1):
    """A small GPT; inputs ids [B, N], output logits [B, N, vocab]."""
    g, dim = Graph(exporter, opset, seed), width // heads
    ids = g.input("ids", INT64, ["batch", "length"])
    words, places = g.weight("wte.weight", vocab, width, scale=1.0), g.weight("wpe.weight", context, width, scale=0.3)
    tril = None
    if spelling in ("masked_fill", "einsum", "synthesizer_dense", "synthesizer_factorized"):
        tril = g.tensor("tril", np.tril(np.ones((1, 1, context, context), np.float32)))
    x = g.op("Gather", words, ids)
    x = g.op("Add", x, g.op("Gather", places, g.range(g.size(ids, 1))))
    for layer in range(layers):
        with g.module(f"blocks.{layer}"):
            x = gpt_block(g, x, getattr(attention, spelling), width, heads, dim, tril, context)
    with g.module("norm"):
        x = g.layer_norm(x, width)
    with g.module("head"):
        g.output(g.linear(x, width, vocab, bias=False), np.float32, ["batch", "length", vocab])
    return g


def gpt_block(g, x, attend, width, heads, dim, tril, context):
    with g.module("ln1"):
        h = g.layer_norm(x, width)
    with g.module("att"):
        batch, length = g.size(h, 0), g.size(h, 1)
        with g.module("qkv"):
            qkv = g.linear(h, width, 3 * width)
        if g.dynamo:
            parts = g.op("Split", qkv, outputs=3, axis=2, num_outputs=3)
        else:
            parts = g.op("Split", qkv, g.ints(width, width, width), outputs=3, axis=2)
        q, k, v = (g.heads(p, batch, length, heads, dim) for p in parts)
        y = attend(g, q, k, v, dim=dim, batch=batch, length=length, heads=heads, tril=tril, context=context)
        y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, width)
        with g.module("proj"):
            x = g.op("Add", x, g.linear(y, width, width))
    with g.module("ln2"):
        h = g.layer_norm(x, width)
    with g.module("up"):
        h = g.gelu(g.linear(h, width, 4 * width))
    with g.module("down"):
        return g.op("Add", x, g.linear(h, 4 * width, width))


def padding_mask(g, mask, batch, length, expand=True):
    """Hugging Face's padding mask [B, 1, N, N]: attention_mask gathered at (batch, key), for every query."""
    mask = g.cast(mask, bool)
    rows, keys = g.unsqueeze(g.range(batch), 1, 2, 3), g.unsqueeze(g.range(length), 0, 1, 2)
    if g.dynamo:
        pair = g.op("Max", rows, keys)
        wide = [g.unsqueeze(g.op("Expand", t, g.op("Shape", pair, start=0)), -1) for t in (rows, keys)]
        return g.op("GatherND", mask, g.op("Concat", *wide, axis=-1), batch_dims=0)
    count = g.op("Gather", g.op("Shape", mask), g.ints(1), axis=0)
    flat = g.op("Flatten", mask, axis=2)
    index = g.op("Add", keys, g.op("Mul", rows, count))
    found = g.op("Reshape", g.op("Gather", flat, index, axis=0), g.ints(-1), allowzero=0)
    found = g.cast(g.op("Reshape", found, g.op("Concat", g.op("Shape", index), axis=0), allowzero=0), bool)
    return g.expand(found, batch, -1, length, length) if expand else found


def bert(exporter, opset, spelling, layers=2, width=40, heads=4, vocab=90, seed=2):
    """Post-norm encoder with a padding mask; output [B, N, width]."""
    g, dim = Graph(exporter, opset, seed), width // heads
    ids = g.input("input_ids", INT64, ["batch", "length"])
    mask = g.input("attention_mask", INT64, ["batch", "length"])
    batch, length = g.size(ids, 0), g.size(ids, 1)
    with g.module("embeddings"):
        words, places = g.weight("word.weight", vocab, width, scale=1.0), g.weight("position.weight", 64, width, scale=0.3)
        rows = g.tensor("position_ids", np.arange(64, dtype=INT64)[None])
        x = g.op("Add", g.op("Gather", words, ids), g.op("Gather", places, g.slice(rows, 1, 0, length)))
        x = g.layer_norm(x, width, 1e-12)
    mask = padding_mask(g, mask, batch, length)
    bias = g.op("Where", mask, g.const(0.0), g.const(np.finfo(np.float32).min)) if spelling == "eager" else None
    for layer in range(layers):
        with g.module(f"layer.{layer}"):
            with g.module("attention"):
                q, k, v = (g.heads(project(g, x, n, width, width), batch, length, heads, dim) for n in ("query", "key", "value"))
                if bias is not None:
                    y = attention.eager(g, q, k, v, dim, bias, divide=True)
                else:
                    y = attention.sdpa(g, q, k, v, dim, causal=False, mask=mask)
                y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, width)
                x = g.op("Add", project(g, y, "dense", width, width), x)
                x = g.layer_norm(x, width, 1e-12)
            h = g.gelu(project(g, x, "intermediate", width, 2 * width))
            with g.module("output"):
                x = g.layer_norm(g.op("Add", project(g, h, "dense", 2 * width, width), x), width, 1e-12)
    g.output(x, np.float32, ["batch", "length", width])
    return g


def t5(exporter, opset, causal, layers=2, width=40, heads=4, vocab=90, seed=6):
    """T5's encoder with a padding mask, or its decoder's own attention: all layers share the first one's bias by distance; output [B, N, width]."""
    g, dim = Graph(exporter, opset, seed), width // heads
    ids = g.input("input_ids", INT64, ["batch", "length"])
    least, bias = g.const(np.finfo(np.float32).min), None
    mask = None if causal else g.input("attention_mask", INT64, ["batch", "length"])
    batch, length = g.size(ids, 0), g.size(ids, 1)
    x = g.op("Gather", g.weight("shared.weight", vocab, width, scale=1.0), ids)
    for layer in range(layers):
        with g.module(f"block.{layer}"):
            with g.module("attention"):
                h = g.rms_norm(x, width)
            q, k, v = (g.heads(project(g, h, n, width, width, bias=False), batch, length, heads, dim) for n in "qkv")
            if bias is None and causal:
                below = g.op("LessOrEqual", g.unsqueeze(g.range(length), 0), g.unsqueeze(g.range(length), 1))
                bias = g.op("Where", below, attention.relative_bias(g, heads, length, False), least)
            elif bias is None:
                hidden = g.op("Mul", g.op("Sub", g.const(1.0), g.cast(g.unsqueeze(mask, 1, 2), np.float32)), least)
                bias = g.op("Add", attention.relative_bias(g, heads, length, True), hidden)
            y = attention.matmul_softmax(g, q, k, v, lambda scores: g.op("Add", scores, bias))
            y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, width)
            x = g.op("Add", x, project(g, y, "o", width, width, bias=False))
            with g.module("feed_forward"):
                h = g.op("Relu", project(g, g.rms_norm(x, width), "wi", width, 2 * width, bias=False))
            x = g.op("Add", x, project(g, h, "wo", 2 * width, width, bias=False))
    g.output(g.rms_norm(x, width), np.float32, ["batch", "length", width])
    return g


def project(g, x, name, inputs, outputs, bias=True):
    with g.module(name):
        return g.linear(x, inputs, outputs, bias)


def rotary_tables(g, positions, dim, base=10000.0):
    """cos and sin [1, N, dim] of positions [1, N]."""
    frequencies = g.const(base ** (-np.arange(0, dim, 2) / dim))
    angles = g.op("Mul", g.cast(g.unsqueeze(positions, 2), np.float32), frequencies)
    angles = g.op("Concat", angles, angles, axis=-1)
    return [g.op("Mul", g.op(f, angles), g.const(1.0)) for f in ("Cos", "Sin")]


def rotate(g, x, tables, dim):
    cos, sin = (g.unsqueeze(t, 1) for t in tables)
    half = dim // 2
    if not g.dynamo:
        half = g.cast(g.cast(g.op("Div", g.size(x, 3), g.int(2)), INT64), INT64)
    low, high = g.slice(x, 3, 0, half), g.slice(x, 3, half, LAST)
    turned = g.op("Concat", g.op("Neg", high), low, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def repeat_heads(g, x, groups, kv_heads, dim):
    """[B, Hkv, N, D] to [B, Hkv·groups, N, D]."""
    batch, length = g.size(x, 0), g.size(x, 2)
    wide = g.expand(g.unsqueeze(x, 2), batch, kv_heads, groups, length, dim)
    return g.reshape(wide, batch, kv_heads * groups, length, dim)


def llama(exporter, opset, spelling, layers=2, width=48, heads=6, kv_heads=2, vocab=90, window=None, padding=False, caches=None, seed=3):
    """RMSNorm, rotary embedding, grouped queries, SwiGLU; optionally caches ("stacked" in one input, or each "single"), a sliding window, a padding mask."""
    g, dim = Graph(exporter, opset, seed), width // heads
    ids = g.input("input_ids", INT64, ["batch", "length"])
    attention_mask = g.input("attention_mask", INT64, ["batch", "length"]) if padding else None
    old = llama_caches(g, caches, layers, ["batch", kv_heads, "past_length", dim])
    with g.module("model"):
        x = g.op("Gather", g.weight("embed.weight", vocab, width, scale=1.0), ids)
        batch, length = g.size(x, 0), g.size(x, 1)
        total, positions = length, g.range(length)
        if caches:
            before = g.size(old[0][0], 2)
            positions, total = g.op("Add", positions, before), g.op("Add", before, length)
        rows = g.unsqueeze(positions, 0)
        mask = llama_mask(g, rows, attention_mask, batch, length, total, window)
        tables = rotary_tables(g, rows, dim)
        new = []
        for layer in range(layers):
            with g.module(f"layers.{layer}"):
                x, pair = llama_block(g, x, spelling, mask, tables, old[layer], width, heads, kv_heads, dim)
                new.append(pair)
        with g.module("norm"):
            x = g.rms_norm(x, width)
    g.output(project(g, x, "lm_head", width, vocab, bias=False), np.float32, ["batch", "length", vocab], "logits")
    sizes = ["batch", kv_heads, "total_length", dim]
    if caches == "stacked":
        stacked = [g.op("Concat", *[g.unsqueeze(t, 0) for t in pair], axis=0) for pair in new]
        stacked = g.op("Concat", *[g.unsqueeze(t, 0) for t in stacked], axis=0)
        g.output(stacked, np.float32, [layers, 2, *sizes], "present")
    elif caches == "single":
        for layer, pair in enumerate(new):
            for kind, t in zip(("key", "value"), pair):
                g.output(t, np.float32, sizes, f"present.{layer}.{kind}")
    return g


def llama_caches(g, caches, layers, sizes):
    """Keys and values of each layer that come in, or None."""
    if caches is None:
        return [None] * layers
    if caches == "single":
        return [[g.input(f"past_key_values.{layer}.{kind}", np.float32, sizes) for kind in ("key", "value")] for layer in range(layers)]
    stacked = g.input("past", np.float32, [layers, 2, *sizes])
    layer_of = lambda i: g.op("Gather", stacked, g.int(i), axis=0)
    return [[g.op("Gather", part, g.int(i), axis=0) for i in range(2)] for part in map(layer_of, range(layers))]


def llama_mask(g, rows, attention_mask, batch, length, total, window):
    """Boolean [B, 1, N, total]: key <= query, within the window, not padding."""
    query, key = g.unsqueeze(rows, 1, 3), g.unsqueeze(g.range(total), 0, 1, 2)
    mask = g.op("LessOrEqual", key, query)
    if window is not None:
        mask = g.op("And", g.cast(g.op("Greater", key, g.op("Sub", query, g.int(window))), bool), g.cast(mask, bool))
    if attention_mask is not None:
        mask = g.op("And", mask, padding_mask(g, attention_mask, batch, length, expand=False))
    return g.expand(mask, batch, *([] if g.dynamo else [-1]), *([1] if g.dynamo else []), length, total)


def llama_block(g, x, spelling, mask, tables, old, width, heads, kv_heads, dim):
    with g.module("input_layernorm"):
        h = g.rms_norm(x, width)
    with g.module("self_attn"):
        batch, length = g.size(h, 0), g.size(h, 1)
        sizes = {"q_proj": heads, "k_proj": kv_heads, "v_proj": kv_heads}
        q, k, v = (g.heads(project(g, h, n, width, c * dim, bias=False), batch, length, c, dim) for n, c in sizes.items())
        q, k = rotate(g, q, tables, dim), rotate(g, k, tables, dim)
        if old is not None:
            k, v = (g.op("Concat", o, n, axis=-2) for o, n in zip(old, (k, v)))
        new, groups = (k, v), heads // kv_heads
        k, v = (repeat_heads(g, t, groups, kv_heads, dim) for t in (k, v))
        if spelling == "eager":
            bias = g.op("Where", mask, g.const(0.0), g.const(np.finfo(np.float32).min))
            y = attention.eager(g, q, k, v, dim, bias)
        else:
            y = attention.sdpa(g, q, k, v, dim, causal=False, mask=mask)
        y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, -1)
        x = g.op("Add", x, project(g, y, "o_proj", width, width, bias=False))
    with g.module("post_attention_layernorm"):
        h = g.rms_norm(x, width)
    with g.module("mlp"):
        gate, up = (project(g, h, n, width, 2 * width, bias=False) for n in ("gate_proj", "up_proj"))
        h = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        return g.op("Add", x, project(g, h, "down_proj", 2 * width, width, bias=False)), new


def vit(exporter, opset, layers=2, width=40, heads=4, image=24, patch=4, seed=4):
    """Patches by a strided convolution, a class token, pre-norm blocks; output [B, 1 + patches, width]."""
    g, dim, count = Graph(exporter, opset, seed), width // heads, (image // patch) ** 2
    pixels = g.input("pixel_values", np.float32, ["batch", 3, image, image])
    batch = g.size(pixels, 0)
    with g.module("embeddings"):
        kernel = g.weight("projection.weight", width, 3, patch, patch, scale=(3 * patch * patch) ** -0.5)
        x = g.op("Conv", pixels, kernel, g.weight("projection.bias", width, scale=0.02), dilations=[1, 1], group=1,
                 kernel_shape=[patch, patch], pads=[0, 0, 0, 0], strides=[patch, patch])
        outer = g.op("Slice", g.op("Shape", x), g.ints(0), g.ints(2), g.ints(0))
        x = g.op("Reshape", x, g.op("Concat", outer, g.ints(-1), axis=0), allowzero=0)
        x = g.op("Transpose", x, perm=[0, 2, 1])
        first = g.weight("cls_token", 1, 1, width, scale=0.3)
        first = g.expand(first, batch, *([1, width] if g.dynamo else [-1, -1]))
        x = g.op("Concat", first, x, axis=1)
        x = g.op("Add", x, g.weight("position_embeddings", 1, 1 + count, width, scale=0.3))
    for layer in range(layers):
        with g.module(f"layers.{layer}"):
            with g.module("layernorm_before"):
                h = g.layer_norm(x, width, 1e-12)
            with g.module("attention"):
                size, length = g.size(h, 0), g.size(h, 1)
                q, k, v = (g.heads(project(g, h, n, width, width), size, length, heads, dim) for n in ("q", "k", "v"))
                y = attention.sdpa(g, q, k, v, dim, causal=False)
                y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), size, length, width)
                x = g.op("Add", project(g, y, "o_proj", width, width), x)
            with g.module("layernorm_after"):
                h = g.layer_norm(x, width, 1e-12)
            with g.module("mlp"):
                h = g.gelu(project(g, h, "fc1", width, 2 * width))
                x = g.op("Add", project(g, h, "fc2", 2 * width, width), x)
    with g.module("layernorm"):
        g.output(g.layer_norm(x, width, 1e-12), np.float32, ["batch", 1 + count, width])
    return g
