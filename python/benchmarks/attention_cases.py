"""The patterns that the attention benchmarks time, and the modules that are compiled for them."""


def product(x, factor):
    """Of two numbers of 32 bits, modulo 2^32, in 64 bits with a sign."""
    return (((x * (factor >> 16) & 0xFFFF) << 16) + x * (factor & 0xFFFF)) & 0xFFFFFFFF


def mix(seed, a, b):
    """The hash of the pattern `random`."""
    x = seed ^ product(a, 0x9E3779B1) ^ product(b, 0x85EBCA77)
    x = product(x ^ (x >> 16), 0x85EBCA6B)
    x = product(x ^ (x >> 13), 0xC2B2AE35)
    return (x ^ (x >> 16)) >> 1


def in_random_blocks(n, p, k, block=64, count=3, seed=1):
    """Of `count` parts of the n keys' blocks, the one of each that the hash of the query's block chooses."""
    blocks = -(-n // block)
    part = ((k // block) * count + count - 1) // blocks
    begin, end = part * blocks // count, (part + 1) * blocks // count
    return k // block == begin + mix(seed, p // block, part) % (end - begin)


# name: (the pattern, the same as a mask of the number of keys and of what FlexAttention gives: batch, head, query, key)
ALL = {
    "causal": ("causal", lambda n, b, h, p, k: k <= p),
    "window512": ("causal and window<left = 511, right = 0>", lambda n, b, h, p, k: (k <= p) & (p - k < 512)),
    "window4096": ("causal and window<left = 4095, right = 0>", lambda n, b, h, p, k: (k <= p) & (p - k < 4096)),
    "block_local512": ("causal and block_local<block = 512>", lambda n, b, h, p, k: (k <= p) & (p // 512 == k // 512)),
    "block_local4096": ("causal and block_local<block = 4096>", lambda n, b, h, p, k: (k <= p) & (p // 4096 == k // 4096)),
    "window128+strided128": ("causal and (window<left = 127, right = 0> or strided<stride = 128>)",
                             lambda n, b, h, p, k: (k <= p) & ((p - k < 128) | ((p - k) % 128 == 0))),
    "fixed128/8": ("causal and fixed<block = 128, count = 8>",
                   lambda n, b, h, p, k: (k <= p) & ((p // 128 == k // 128) | (k % 128 >= 120))),
    "fixed256/8": ("causal and fixed<block = 256, count = 8>",
                   lambda n, b, h, p, k: (k <= p) & ((p // 256 == k // 256) | (k % 256 >= 248))),
    "strided128": ("causal and strided<stride = 128>", lambda n, b, h, p, k: (k <= p) & ((p - k) % 128 == 0)),
    "strided256": ("causal and strided<stride = 256>", lambda n, b, h, p, k: (k <= p) & ((p - k) % 256 == 0)),
    "bigbird": ("causal and (window<left = 191, right = 0> or global_keys<first = 128> or random<block = 64, count = 3, seed = 1>)",
                lambda n, b, h, p, k: (k <= p) & ((p - k < 192) | (k < 128) | in_random_blocks(n, p, k))),
    "decode": ("dense", lambda n, b, h, p, k: k >= 0),  # one query, as many keys as the others have queries
    "decode_gqa": ("dense", lambda n, b, h, p, k: k >= 0),  # the same, four query heads a key head
}
CPU = {name: ALL[name] for name in ("causal", "window512", "window128+strided128", "fixed128/8", "strided128", "bigbird", "decode")}


def mask_of(name, keys):
    """FlexAttention's mask of a case with so many keys, which takes arrays of numpy, too."""
    mask = ALL[name][1]
    return lambda b, h, p, k: mask(keys, b, h, p, k)


def module(pattern, queries, keys, dim):
    """MLIR with one attention: types of the queries (and the output) and of keys and values, and the head dim."""
    return f"""\
func.func @main(%q: {queries}, %k: {keys}, %v: {keys}) -> {queries} {{
  %source = megactx.source %k, %v pattern(#megactx.pattern<{pattern}>) : ({keys}, {keys}) -> !megactx.source<{keys}, {keys}>
  %out = megactx.attention %q, %source {{scale = {dim**-0.5!r} : f32}} : ({queries}, !megactx.source<{keys}, {keys}>) -> {queries}
  return %out : {queries}
}}
"""
