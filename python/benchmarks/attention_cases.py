"""The patterns that the attention benchmarks time, and the modules that are compiled for them."""

import numpy as np


def random_blocks(keys, block=64, count=3, seed=1):
    """What the pattern `random` keeps: [blocks of queries, count], the block of keys of each of the parts of all blocks."""
    blocks = -(-keys // block)
    of, part = np.arange(blocks, dtype=np.uint32)[:, None], np.arange(count, dtype=np.uint32)
    x = np.uint32(seed) ^ of * np.uint32(0x9E3779B1) ^ part * np.uint32(0x85EBCA77)
    x = (x ^ x >> 16) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * np.uint32(0xC2B2AE35)
    hashed = (x ^ x >> 16) >> 1
    begin, end = (np.arange(count) + i for i in (0, 1))
    begin, end = begin * blocks // count, end * blocks // count
    return begin + hashed % np.maximum(end - begin, 1)


def in_blocks(blocks, p, k):
    of, found = p // 64, k // 64
    return (blocks[of, 0] == found) | (blocks[of, 1] == found) | (blocks[of, 2] == found)


# name: (the pattern, the same as a mask of what FlexAttention gives: batch, head, query, key; and of a table, made of the number of keys)
ALL = {
    "causal": ("causal", lambda b, h, p, k: k <= p),
    "window512": ("causal and window<left = 511, right = 0>", lambda b, h, p, k: (k <= p) & (p - k < 512)),
    "window4096": ("causal and window<left = 4095, right = 0>", lambda b, h, p, k: (k <= p) & (p - k < 4096)),
    "block_local512": ("causal and block_local<block = 512>", lambda b, h, p, k: (k <= p) & (p // 512 == k // 512)),
    "block_local4096": ("causal and block_local<block = 4096>", lambda b, h, p, k: (k <= p) & (p // 4096 == k // 4096)),
    "window128+strided128": ("causal and (window<left = 127, right = 0> or strided<stride = 128>)",
                             lambda b, h, p, k: (k <= p) & ((p - k < 128) | ((p - k) % 128 == 0))),
    "fixed128/8": ("causal and fixed<block = 128, count = 8>",
                   lambda b, h, p, k: (k <= p) & ((p // 128 == k // 128) | (k % 128 >= 120))),
    "fixed256/8": ("causal and fixed<block = 256, count = 8>",
                   lambda b, h, p, k: (k <= p) & ((p // 256 == k // 256) | (k % 256 >= 248))),
    "strided128": ("causal and strided<stride = 128>", lambda b, h, p, k: (k <= p) & ((p - k) % 128 == 0)),
    "strided256": ("causal and strided<stride = 256>", lambda b, h, p, k: (k <= p) & ((p - k) % 256 == 0)),
    "bigbird": ("causal and (window<left = 191, right = 0> or global_keys<first = 128> or random<block = 64, count = 3, seed = 1>)",
                lambda b, h, p, k, blocks: (k <= p) & ((p - k < 192) | (k < 128) | in_blocks(blocks, p, k)), random_blocks),
    "decode": ("dense", lambda b, h, p, k: k >= 0),  # one query, as many keys as the others have queries
    "decode_gqa": ("dense", lambda b, h, p, k: k >= 0),  # the same, four query heads a key head
}
CPU = {name: ALL[name] for name in ("causal", "window512", "window128+strided128", "fixed128/8", "strided128", "bigbird", "decode")}


def mask_of(name, keys, array=lambda table: table):
    """FlexAttention's mask of a case with so many keys. `array`: makes of a table of numpy's what arrays of its arguments index."""
    _, mask, *tables = ALL[name]
    made = [array(table(keys)) for table in tables]
    return lambda b, h, p, k: mask(b, h, p, k, *made)


def module(pattern, queries, keys, dim):
    """MLIR with one attention: types of the queries (and the output) and of keys and values, and the head dim."""
    return f"""\
func.func @main(%q: {queries}, %k: {keys}, %v: {keys}) -> {queries} {{
  %source = megactx.source %k, %v pattern(#megactx.pattern<{pattern}>) : ({keys}, {keys}) -> !megactx.source<{keys}, {keys}>
  %out = megactx.attention %q, %source {{scale = {dim**-0.5!r} : f32}} : ({queries}, !megactx.source<{keys}, {keys}>) -> {queries}
  return %out : {queries}
}}
"""


def gradients_module(pattern, queries, keys, lse, dim):
    """MLIR with the gradients of q, k and v, of these, the result, the log-sum-exp and the result's gradient; types as of `module`, and the log-sum-exp's."""
    return f"""\
func.func @main(%q: {queries}, %k: {keys}, %v: {keys}, %out: {queries}, %lse: {lse}, %dout: {queries}) -> ({queries}, {keys}, {keys}) {{
  %source = megactx.source %k, %v pattern(#megactx.pattern<{pattern}>) : ({keys}, {keys}) -> !megactx.source<{keys}, {keys}>
  %dq, %dk, %dv = megactx.attention_backward %q, %source out(%out) lse(%lse) dout(%dout) {{scale = {dim**-0.5!r} : f32}}
    : ({queries}, !megactx.source<{keys}, {keys}>, {queries}, {lse}, {queries}) -> ({queries}, {keys}, {keys})
  return %dq, %dk, %dv : {queries}, {keys}, {keys}
}}
"""
