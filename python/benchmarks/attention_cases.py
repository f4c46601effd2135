"""The patterns that the attention benchmarks time, and the modules that are compiled for them."""

# name: (pattern, the same as a FlexAttention mask)
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
    "decode": ("dense", lambda b, h, p, k: k >= 0),  # one query, as many keys as the others have queries
    "decode_gqa": ("dense", lambda b, h, p, k: k >= 0),  # the same, four query heads a key head
}
CPU = {name: ALL[name] for name in ("causal", "window512", "window128+strided128", "fixed128/8", "strided128", "decode")}


def module(pattern, queries, keys, dim):
    """MLIR with one attention: types of the queries (and the output) and of keys and values, and the head dim."""
    return f"""\
func.func @main(%q: {queries}, %k: {keys}, %v: {keys}) -> {queries} {{
  %source = megactx.source %k, %v pattern(#megactx.pattern<{pattern}>) : ({keys}, {keys}) -> !megactx.source<{keys}, {keys}>
  %out = megactx.attention %q, %source {{scale = {dim**-0.5!r} : f32}} : ({queries}, !megactx.source<{keys}, {keys}>) -> {queries}
  return %out : {queries}
}}
"""
