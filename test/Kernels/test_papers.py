"""The examples of docs/papers.md, compiled, against papers.py."""

import pathlib

import numpy as np
import pytest

import attention
import papers

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"
OPTIONS = pytest.mark.parametrize("options", [(), ("--generic",)], ids=["kernels", "generic"])


def example(name):
    return (EXAMPLES / f"{name}.mlir").read_text()


def draw(random, *shape, scale=1.0):
    return (scale * random.standard_normal(shape)).astype(np.float32)


def near(got, want, tolerance=2e-5):
    assert got.shape == want.shape and np.abs(got - want).max(initial=0) <= tolerance, np.abs(got - want).max()


def causal(rows):
    return np.tri(rows, dtype=bool)


def clear_inputs(random, batch, rows, clusters, lengths):
    """Inputs whose clusters no rounding changes."""
    while True:
        q, v, centroids = draw(random, batch, 2, rows, 16), draw(random, batch, 2, rows, 16), draw(random, 2, clusters, 16)
        if papers.gap(papers.layer_norm(q), centroids, 8, lengths) > 1e-4:
            return [q, v, centroids, np.array(lengths)]


@OPTIONS
def test_routing(options, program):
    run = program(example("routing"), *options)
    random = np.random.default_rng()
    for batch, rows, clusters in [(2, 40, 5), (1, 70, 3), (3, 7, 4), (1, 1, 1), (1, 8, 0), (2, 0, 3)]:
        lengths = random.integers(0, rows + 1, batch)
        for given in (lengths, np.full(batch, rows)):
            inputs = clear_inputs(random, batch, rows, clusters, given)
            x = papers.layer_norm(inputs[0])
            members = papers.route(x, inputs[2], 8, given)
            near(run(inputs)[0], papers.routed_attention(x, x, inputs[1], members, members, causal=True))


def test_rows_in_no_cluster_are_zero_and_in_several_the_mean(program):
    """What the example's clusters come to, so that the test above sees both."""
    random = np.random.default_rng(1)
    inputs = clear_inputs(random, 1, 70, 3, [70])
    members = papers.route(papers.layer_norm(inputs[0]), inputs[2], 8, [70])
    count = np.bincount(np.concatenate([m for (_, h, _), m in members.items() if h == 0]), minlength=70)
    assert (count == 0).any() and (count > 1).any()
    got, = program(example("routing"))(inputs)
    assert not got[0, 0, count == 0].any() and got[0, 0, count > 0].any(-1).all()


@OPTIONS
def test_synthesizer_random(options, program):
    run, random = program(example("synthesizer_random"), *options), np.random.default_rng()
    for batch, rows in [(2, 37), (1, 1), (1, 200), (2, 0)]:
        v, scores = draw(random, batch, 2, rows, 16), draw(random, 1, 2, rows, rows, scale=2)
        want = papers.softmax_rows(np.where(causal(rows), scores.astype(np.float64), -np.inf)) @ v
        near(run([v, scores])[0], want)


@OPTIONS
def test_synthesizer_dense(options, program):
    run, random = program(example("synthesizer_dense"), *options), np.random.default_rng()
    for batch, rows in [(2, 37), (1, 1), (3, 130), (2, 0)]:
        h, w2, b2, v = draw(random, batch, 2, rows, 8), draw(random, 2, rows, 8), draw(random, 1, 2, 1, rows), draw(random, batch, 2, rows, 16)
        scores = np.einsum("bhik,hjk->bhij", np.maximum(h, 0).astype(np.float64), w2) + b2
        near(run([h, w2, b2, v])[0], papers.softmax_rows(np.where(causal(rows), scores, -np.inf)) @ v)


@OPTIONS
def test_synthesizer_factorized_dense(options, program):
    run, random = program(example("synthesizer_factorized_dense"), *options), np.random.default_rng()
    for batch, blocks in [(2, 9), (1, 1), (1, 33), (2, 0)]:
        rows = 4 * blocks
        a, b, v = draw(random, batch, 2, rows, 4), draw(random, batch, 2, rows, blocks), draw(random, batch, 2, rows, 16)
        scores = np.array([[[[a[n, h, i, j % 4] * b[n, h, i, j // 4] for j in range(rows)] for i in range(rows)] for h in range(2)] for n in range(batch)],
                          dtype=np.float64).reshape(batch, 2, rows, rows)
        near(run([a, b, v])[0], papers.softmax_rows(np.where(causal(rows), scores, -np.inf)) @ v)
    with pytest.raises(AssertionError, match="synthesizer: a and b do not make one score for each row"):
        run([draw(random, 1, 2, 9, 4), draw(random, 1, 2, 9, 2), draw(random, 1, 2, 9, 16)])


IN, OUT = (16, 2, 8), (2, 8, 16)
WEIGHTS = dict(ids=(4, 16), wq_tt=IN, wq_ts=IN, wk_t=IN, wv_t=IN, wo_tt=OUT, wo_ts=OUT, wq_ss=IN, wq_st=IN, wk_s=IN, wv_s=IN, wo_ss=OUT, wo_st=OUT,
               bias=(16,), gate=(16,))


@OPTIONS
def test_block_recurrent(options, program):
    run, random = program(example("block_recurrent"), *options), np.random.default_rng()
    for batch, blocks in [(2, 5), (1, 1), (3, 0), (1, 15)]:
        x, state = draw(random, batch, 8 * blocks, 16), draw(random, batch, 4, 16)
        weights = {name: draw(random, *shape, scale=0.2) for name, shape in WEIGHTS.items()}
        for got, want in zip(run([x, state, *weights.values()]), papers.block_recurrent(x, state, weights), strict=True):
            near(got, want)


def test_block_recurrent_goes_on_from_its_state(program):
    """The state carries what blocks before had: other blocks, another result."""
    run, random = program(example("block_recurrent")), np.random.default_rng()
    weights = [draw(random, *shape, scale=0.2) for shape in WEIGHTS.values()]
    first, second, state = draw(random, 1, 8, 16), draw(random, 1, 8, 16), draw(random, 1, 4, 16)
    last = lambda x: run([np.concatenate([x, second], 1), state, *weights])[1]
    near(last(first), run([second, run([first, state, *weights])[1], *weights])[1])
    assert np.abs(last(first) - last(-first)).max() > 1e-3


@pytest.mark.parametrize("rows, batch, text", [(12, 1, "the tokens are no whole blocks of 8"), (8, 2, "tokens and state differ in batch size")])
def test_block_recurrent_of_wrong_sizes(rows, batch, text, program):
    random = np.random.default_rng()
    weights = [draw(random, *shape) for shape in WEIGHTS.values()]
    with pytest.raises(AssertionError, match=f"block_recurrent: {text}"):
        program(example("block_recurrent"))([draw(random, 1, rows, 16), draw(random, batch, 4, 16), *weights])
