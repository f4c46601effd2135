"""megactx.route, gather_rows and scatter_mean, compiled, against papers.py: ties, ragged lengths, element types, and members that are wrong at run time."""

import numpy as np
import pytest

import attention
import papers

ROWS, MEMBERS = "tensor<?x2x?x4x{}>", "tensor<?x?xindex>"


def narrowed(name, shape, dtype):
    return "" if dtype == "f32" else f"  %n_{name} = arith.truncf %{name} : {shape.format('f32')} to {shape.format(dtype)}\n"


def route_module(window, dtype="f32"):
    """main(rows, centroids, lengths) -> members, counts"""
    centroids, of = "tensor<2x?x4x{}>", lambda name: f"%{name}" if dtype == "f32" else f"%n_{name}"
    return f"""func.func @main(%x: {ROWS.format('f32')}, %c: {centroids.format('f32')}, %l: tensor<?xi64>) -> (tensor<?x?xi64>, tensor<?xi64>) {{
{narrowed('x', ROWS, dtype)}{narrowed('c', centroids, dtype)}  %k = arith.index_cast %l : tensor<?xi64> to tensor<?xindex>
  %m, %n = megactx.route {of('x')}, {of('c')} lengths(%k) {{window = {window}}} : ({ROWS.format(dtype)}, {centroids.format(dtype)}, tensor<?xindex>) -> ({MEMBERS}, tensor<?xindex>)
  %mi = arith.index_cast %m : {MEMBERS} to tensor<?x?xi64>
  %ni = arith.index_cast %n : tensor<?xindex> to tensor<?xi64>
  return %mi, %ni : tensor<?x?xi64>, tensor<?xi64>
}}
"""


def packed(members, shape, window):
    """Lists by (b, h, c) as arrays [B H C, min(window, N)] and [B H C]."""
    batch, heads, rows, clusters = shape
    out = np.full((batch * heads * clusters, min(window, rows)), -1)
    counts = np.zeros(len(out), np.int64)
    for (b, h, c), chosen in members.items():
        number = (b * heads + h) * clusters + c
        out[number, :len(chosen)], counts[number] = chosen, len(chosen)
    return out, counts


def grid(random, *shape):
    """Few values, all exact in every element type: sums are exact and most scores have equals."""
    return random.integers(-3, 4, shape).astype(np.float32) / 2


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("window", [1, 6, 64])
def test_ties_and_lengths(window, dtype, program):
    run, random = program(route_module(window, dtype)), np.random.default_rng()
    for batch, rows, clusters in [(2, 33, 5), (1, 6, 2), (3, 5, 3), (1, 200, 7), (1, 1, 1), (2, 0, 3), (0, 4, 3), (2, 9, 0)]:
        x, c = grid(random, batch, 2, rows, 4), grid(random, 2, clusters, 4)
        x[x == 0] = random.choice([0.0, -0.0], (x == 0).sum())
        lengths = random.integers(-1, rows + 3, batch)  # clamped to 0..N
        want = packed(papers.route(x, c, window, lengths), (batch, 2, rows, clusters), window)
        for got, expected in zip(run([x, c, lengths]), want, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_scores_of_any_size_and_nan(program):
    """Infinities, NaN, the least and the greatest numbers: one cluster with centroid 1."""
    special = np.array([np.nan, -np.inf, np.inf, 3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0, 1.0, -1.0, np.nan, 1.5, -np.inf, np.inf, 1e-38], np.float32)
    for window in (1, 2, 4, 7, 10, 13, 14, 15, 16):
        x = np.zeros((1, 2, len(special), 4), np.float32)
        x[0, 0, :, 0], x[0, 1, :, 0] = special, special[::-1]
        c = np.zeros((2, 1, 4), np.float32)
        c[:, 0, 0] = 1
        want, _ = packed(papers.route(x, c, window), (1, 2, len(special), 1), window)
        got, counts = program(route_module(window))([x, c, np.array([len(special)])])
        np.testing.assert_array_equal(got, want)
        assert (counts == window).all()


def module_of_both(dtype="f32"):
    """main(rows, members, init) -> the gathered rows, scattered again, and themselves"""
    members, clusters = "tensor<?x?xi64>", "tensor<?x1x?x4x{}>"
    of = lambda name: f"%{name}" if dtype == "f32" else f"%n_{name}"
    wide = lambda name, shape: f"  %w_{name} = arith.extf %{name} : {shape.format(dtype)} to {shape.format('f32')}\n" if dtype != "f32" else ""
    result = lambda name: f"%w_{name}" if dtype != "f32" else f"%{name}"
    return f"""func.func @main(%x: {ROWS.format('f32')}, %m: {members}, %i: {ROWS.format('f32')}) -> ({clusters.format('f32')}, {ROWS.format('f32')}) {{
{narrowed('x', ROWS, dtype)}{narrowed('i', ROWS, dtype)}  %k = arith.index_cast %m : {members} to {MEMBERS}
  %g = megactx.gather_rows {of('x')} at %k : ({ROWS.format(dtype)}, {MEMBERS}) -> {clusters.format(dtype)}
  %s = megactx.scatter_mean %g at %k outs({of('i')}) : ({clusters.format(dtype)}, {MEMBERS}, {ROWS.format(dtype)}) -> {ROWS.format(dtype)}
{wide('g', clusters)}{wide('s', ROWS)}  return {result('g')}, {result('s')} : {clusters.format('f32')}, {ROWS.format('f32')}
}}
"""


SCATTER = """func.func @main(%y: tensor<?x1x?x4xf32>, %m: tensor<?x?xi64>, %i: tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32> {
  %k = arith.index_cast %m : tensor<?x?xi64> to tensor<?x?xindex>
  %s = megactx.scatter_mean %y at %k outs(%i) : (tensor<?x1x?x4xf32>, tensor<?x?xindex>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %s : tensor<?x2x?x4xf32>
}
"""


def scattered(y, members, init):
    out, per = init.astype(np.float64), len(members) // max(1, init.shape[0] * init.shape[1])
    got = {}
    for r, m in np.argwhere(members >= 0):
        group = r // per
        got.setdefault((group // init.shape[1], group % init.shape[1], members[r, m]), []).append(y[r, 0, m].astype(np.float64))
    for at, rows in got.items():
        out[at] = np.mean(rows, 0)
    return out


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_gather_and_scatter(dtype, program):
    run, random = program(module_of_both(dtype)), np.random.default_rng()
    for batch, rows, clusters, window in [(2, 9, 3, 5), (1, 1, 1, 1), (2, 0, 2, 3), (3, 40, 4, 17), (2, 5, 0, 3), (1, 5, 2, 0)]:
        x, init = (attention.rounded(random.standard_normal((batch, 2, rows, 4)), dtype) for _ in range(2))
        members = random.integers(-1, max(rows, 0), (batch * 2 * clusters, window)) if rows else np.full((batch * 2 * clusters, window), -1)
        want = np.zeros((len(members), 1, window, 4))
        for r, m in np.argwhere(members >= 0):
            group = r // clusters
            want[r, 0, m] = x[group // 2, group % 2, members[r, m]]
        gathered, back = run([x, members, init])
        np.testing.assert_array_equal(gathered, want)
        np.testing.assert_allclose(back, scattered(want, members, init), atol=attention.TOLERANCE[dtype], rtol=0)


def test_scatter_takes_the_mean_and_keeps_init_elsewhere(program):
    run, random = program(SCATTER), np.random.default_rng()
    for batch, rows, clusters, window in [(2, 9, 3, 5), (1, 30, 6, 20), (1, 3, 2, 7)]:
        y = random.standard_normal((batch * 2 * clusters, 1, window, 4)).astype(np.float32)
        members = random.integers(-1, rows, (batch * 2 * clusters, window))
        init = random.standard_normal((batch, 2, rows, 4)).astype(np.float32)
        np.testing.assert_allclose(run([y, members, init])[0], scattered(y, members, init), atol=1e-5, rtol=0)


@pytest.mark.parametrize("member", [-2, 9, 2**62, -2**63])
def test_members_that_are_no_rows(member, program):
    x, members = np.zeros((2, 2, 9, 4), np.float32), np.zeros((4, 3), np.int64)
    members[2, 1] = member
    with pytest.raises(AssertionError, match="megactx.gather_rows: a member is neither -1 nor one of the rows"):
        program(module_of_both())([x, members, x])
    with pytest.raises(AssertionError, match="megactx.scatter_mean: a member is neither -1 nor one of the rows"):
        program(SCATTER)([np.zeros((4, 1, 3, 4), np.float32), members, x])


@pytest.mark.parametrize("clusters", [3, 5])
def test_clusters_of_other_batch_rows(clusters, program):
    x, members = np.zeros((2, 2, 9, 4), np.float32), np.zeros((clusters, 3), np.int64)
    with pytest.raises(AssertionError, match="megactx.gather_rows: the clusters are not as many for each batch row and head"):
        program(module_of_both())([x, members, x])


def encoder_module(window, key_window):
    """main(q, k, v, centroids) -> attention of queries to keys of their clusters, each routed by itself; not causal."""
    clusters = "tensor<?x1x?x4xf32>"
    source, rows = f"!megactx.source<{clusters}, {clusters}>", ROWS.format("f32")
    return f"""func.func @main(%q: {rows}, %k: {rows}, %v: {rows}, %c: tensor<2x?x4xf32>) -> {rows} {{
  %zero = arith.constant 0.0 : f32
  %qm, %qn = megactx.route %q, %c {{window = {window}}} : ({rows}, tensor<2x?x4xf32>) -> ({MEMBERS}, tensor<?xindex>)
  %km, %kn = megactx.route %k, %c {{window = {key_window}}} : ({rows}, tensor<2x?x4xf32>) -> ({MEMBERS}, tensor<?xindex>)
  %q1 = megactx.gather_rows %q at %qm : ({rows}, {MEMBERS}) -> {clusters}
  %k1 = megactx.gather_rows %k at %km : ({rows}, {MEMBERS}) -> {clusters}
  %v1 = megactx.gather_rows %v at %km : ({rows}, {MEMBERS}) -> {clusters}
  %s = megactx.source %k1, %v1 positions(%km) pattern(#megactx.pattern<dense>) : ({clusters}, {clusters}, {MEMBERS}) -> {source}
  %y = megactx.attention %q1, %s positions(%qm) {{scale = 1.0 : f32}} : ({clusters}, {source}, {MEMBERS}) -> {clusters}
  %none = linalg.fill ins(%zero : f32) outs(%q : {rows}) -> {rows}
  %o = megactx.scatter_mean %y at %qm outs(%none) : ({clusters}, {MEMBERS}, {rows}) -> {rows}
  return %o : {rows}
}}
"""


@pytest.mark.parametrize("options", [(), ("--generic",)], ids=["kernels", "generic"])
def test_queries_and_keys_routed_apart(options, program):
    run, random = program(encoder_module(7, 5), *options), np.random.default_rng()
    for batch, queries, keys, clusters in [(2, 30, 41, 4), (1, 3, 9, 2), (1, 9, 3, 2)]:
        q, k, v, c = grid(random, batch, 2, queries, 4), grid(random, batch, 2, keys, 4), grid(random, batch, 2, keys, 4), grid(random, 2, clusters, 4)
        want = papers.routed_attention(q, k, v, papers.route(q, c, 7), papers.route(k, c, 5), causal=False)
        got, = run([q, k, v, c])
        assert np.abs(got - want).max(initial=0) <= 2e-5
