"""megactx.gist_pyramid: a small GistNet as the body, of attention within blocks and a pooling."""

import numpy as np
import pytest

import attention
import lod

D = 8


@pytest.fixture(params=["cpu", "gpu"])
def program(request, program):
    """On the CPU, and as a GPU would run it."""
    return program if request.param == "cpu" else request.getfixturevalue("gpu_program")


def module(levels, ratio=4, pattern="causal and block_local<block = 4>"):
    """Rows plus their attention, pooled by a query; scaled by the number of the level."""
    rows, split = f"tensor<?x?x{D}xf32>", f"tensor<?x1x?x{D}xf32>"
    results = ", ".join([rows] * levels)
    names = ", ".join(f"%g#{i}" if levels > 1 else "%g" for i in range(levels))
    return f"""func.func @main(%x: {rows}, %w: tensor<{D}xf32>) -> ({results}) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %g{f':{levels}' if levels > 1 else ''} = megactx.gist_pyramid %x {{levels = {levels}, ratio = {ratio}}} : ({rows}) -> ({results}) {{
  ^bb0(%rows: {rows}, %level: index):
    %b = tensor.dim %rows, %c0 : {rows}
    %n = tensor.dim %rows, %c1 : {rows}
    %q = tensor.expand_shape %rows [[0, 1], [2], [3]] output_shape [%b, 1, %n, {D}] : {rows} into {split}
    %s = megactx.source %q, %q pattern(#megactx.pattern<{pattern}>) : ({split}, {split}) -> !megactx.source<{split}, {split}>
    %o = megactx.attention %q, %s {{scale = 0.5 : f32}} : ({split}, !megactx.source<{split}, {split}>) -> {split}
    %y = tensor.collapse_shape %o [[0, 1], [2], [3]] : {split} into {rows}
    %k = arith.index_cast %level : index to i64
    %f = arith.sitofp %k : i64 to f32
    %e = tensor.empty(%b, %n) : {rows}
    %all = linalg.fill ins(%f : f32) outs(%e : {rows}) -> {rows}
    %z = arith.mulf %y, %all : {rows}
    %h = arith.addf %rows, %z : {rows}
    %p = megactx.gist_pool query %h weight(%w) {{ratio = 4}} : ({rows}, tensor<{D}xf32>) -> {rows}
    megactx.yield %p : {rows}
  }}
  return {names} : {results}
}}
"""


def reference(x, w, levels, ratio=4):
    spec, found = attention.Spec(f"causal and block_local<block = {ratio}>", heads=1, key_heads=1, head_dim=D, value_dim=D), []
    for level in range(1, levels + 1):
        x = x[:, :x.shape[1] // ratio * ratio].astype(np.float64)
        heads = x[:, None] * (0.5 / spec.scale) ** 0.5  # the reference's scale is D ** -0.5
        mixed, _ = attention.reference(spec, heads, heads, x[:, None])
        x = lod.gist_pool(x + level * mixed[:, 0], ratio, "query", w)
        found.append(x)
    return found


@pytest.mark.parametrize("options", [(), ("--generic",)], ids=["kernels", "generic"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_gistnet_body(levels, options, program):
    run = program(module(levels), *options)
    random = np.random.default_rng()
    # Rows grow from level to level and scores with their square: from larger ones f32 would have no such precision at level 3.
    for batch, tokens in [(2, 64), (1, 100), (3, 4), (1, 3), (2, 0), (1, 277)]:
        x, w = (0.3 * random.standard_normal((batch, tokens, D))).astype(np.float32), (0.3 * random.standard_normal(D)).astype(np.float32)
        for level, (got, want) in enumerate(zip(run([x, w]), reference(x, w, levels), strict=True), start=1):
            assert got.shape == want.shape == (batch, tokens // 4**level, D)
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_body_of_another_ratio_ends_the_run(program):
    """The body pools by 4 where the pyramid says 8."""
    x, w = np.ones((1, 64, D), np.float32), np.ones(D, np.float32)
    with pytest.raises(AssertionError, match="megactx.gist_pyramid: the body's gists are not one for each block of rows"):
        program(module(1, ratio=8))([x, w])
