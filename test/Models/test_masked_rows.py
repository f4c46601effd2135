"""Rows of scores that masks hide altogether, and masks with more sizes than the scores: against onnxruntime."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper

import megactx
import reference
from merged import merged
from test_corners import expected, model_of, random, results

rng = np.random.default_rng(8)
node = helper.make_node
LEAST = np.finfo(np.float32).min
HIDDEN = rng.random((2, 1, 6, 6)) < 0.5
HIDDEN[:, :, 1:3] = True  # rows without a key


def attend(between, inputs, constants, guard=(), batch=2, heads=4, keys=6):
    """A model and its inputs; the nodes `between` lead from scores s to x, `guard` from probabilities p to w."""
    own = {"q": random(batch, heads, 6, 16), "k": random(batch, heads, 16, keys), "v": random(batch, heads, keys, 16)}
    nodes = [node("MatMul", ["q", "k"], ["s"]), *between, node("Softmax", ["x"], ["p"], axis=-1), *guard,
             node("MatMul", ["w" if guard else "p", "v"], ["y"])]
    return model_of(nodes, own | inputs, np.float32, constants), own | inputs


def check(tool, folder, cases):
    """Of {name: what attend gives}, as one model."""
    whole = merged({name: model for name, (model, _) in cases.items()})
    got = results(tool, folder, whole, {f"{name}.{key}": array for name, (_, inputs) in cases.items() for key, array in inputs.items()})
    for name, (model, inputs) in cases.items():
        want = expected(model, inputs)
        assert got[f"{name}.y"].shape == want.shape, name
        np.testing.assert_allclose(got[f"{name}.y"], want, rtol=1e-4, atol=1e-4, err_msg=name)


def named(*choices):
    """Each combination, and its name."""
    return ((" ".join(map(str, some)), *some) for some in itertools.product(*choices))


def test_masked_scores_above_a_floor(tool, tmp_path):
    cases = {}
    for name, form, mask, floor in named(["added", "constant", "scaled", "replaced"], [-np.inf, -1e9, LEAST], [-1e4, LEAST]):
        added = np.where(HIDDEN, mask, 0).astype(np.float32)
        constants = {"floor": np.float32(floor), "fill": np.float32(mask), "half": np.float32(0.5)}
        if form == "replaced":
            between, inputs = [node("Where", ["m", "fill", "s"], ["a"]), node("Max", ["a", "floor"], ["x"])], {"m": HIDDEN}
        else:
            between, inputs = [node("Add", ["s", "m"], ["a"]), node("Max", ["a", "floor"], ["x"])], {"m": added}
        if form == "constant":
            constants, inputs = constants | inputs, {}
        if form == "scaled":
            between[1:] = [node("Mul", ["a", "half"], ["b"]), node("Max", ["b", "floor"], ["x"])]
        cases[name] = attend(between, inputs, constants)
    check(tool, tmp_path, cases)


def test_rows_of_one_masked_number(tool, tmp_path):
    """A mask that a run gives; beyond the kernels' range a row would have no weights at all."""
    cases = {}
    for name, mask, rows, heads in named([-1e9, LEAST], ["one", "all"], [1, 4]):
        m = np.zeros((2, 1, 6 if rows == "all" else 1, 6), np.float32)
        m[1] = mask
        cases[name] = attend([node("Add", ["s", "m"], ["x"])], {"m": np.repeat(m, heads, 1)}, {})
    check(tool, tmp_path, cases)


def test_causal_rows_before_the_first_key(tool, tmp_path):
    """A pattern would leave them no key; a finite number leaves all."""
    cases = {}
    for name, form, mask in named(["added", "replaced", "both"], [-1e9, LEAST]):
        causal = np.tri(6, 4, -2) == 0
        constants = {"hidden": causal, "last": np.arange(4) == 3, "fill": np.float32(mask), "m": np.where(causal, mask, 0).astype(np.float32),
                     "none": np.float32(-np.inf)}
        between = [node("Add", ["s", "m"], ["x"])] if form == "added" else [node("Where", ["hidden", "fill", "s"], ["x"])]
        if form == "both":
            between = [node("Where", ["last", "none", "s"], ["a"]), node("Add", ["a", "m"], ["x"])]
        cases[name] = attend(between, {}, constants, keys=4)
    check(tool, tmp_path, cases)


def test_infinite_and_finite_numbers_in_one_mask(tool, tmp_path):
    """Rows whose visible keys the finite number hides have equal weights of these, not of none."""
    constants = {"see": np.tril(np.ones((6, 6), bool)), "least": np.float32(LEAST), "none": np.float32(0), "infinite": np.float32(-np.inf)}
    padded = np.arange(6) < np.array([3, 0])[:, None, None, None]
    between = [node("Where", ["m", "least", "none"], ["a"]), node("Where", ["see", "a", "infinite"], ["b"]), node("Add", ["s", "b"], ["x"])]
    check(tool, tmp_path, {"padded": attend(between, {"m": padded}, constants)})


def test_probabilities_that_one_of_two_masks_hides_again(tool, tmp_path):
    """The rest of a row may share the weights of what is hidden."""
    cases = {}
    for name, form, other in named(["added", "replaced"], [-np.inf, -1e9]):
        again = rng.random((2, 1, 6, 6)) < 0.3
        hidden = HIDDEN & ~(again & np.isinf(other)).all(-1, keepdims=True)
        if np.isinf(other):
            hidden = hidden & (np.arange(6) > 0)  # no row without a finite score
        between = [node("Add", ["s", "m"], ["a"]) if form == "added" else node("Where", ["m", "other", "s"], ["a"]),
                   node("Where", ["again", "fill", "a"], ["x"])]
        m = np.where(hidden, other, 0).astype(np.float32) if form == "added" else hidden
        cases[name] = attend(between, {"m": m, "again": again}, {"fill": np.float32(-1e9), "other": np.float32(other), "zero": np.float32(0)},
                             guard=[node("Where", ["again", "zero", "p"], ["w"])])
    check(tool, tmp_path, cases)


def test_masks_of_more_sizes_than_the_scores(tool, tmp_path):
    cases = {}
    for name, sizes, form in named([(3, 1, 6, 6), (1, 4, 6, 6), (2, 1, 1, 6, 6)], ["Where", "Max"]):
        if form == "Where":
            cases[name] = attend([node("Where", ["m", "fill", "s"], ["x"])], {"m": rng.random(sizes) < 0.3}, {"fill": np.float32(-np.inf)}, batch=1, heads=1)
        else:
            floor = np.full((1,) * (len(sizes) if len(sizes) > 4 else 4), LEAST, np.float32)
            cases[name] = attend([node("Max", ["s", "floor"], ["x"])], {}, {"floor": floor}, batch=1, heads=1)
    check(tool, tmp_path, cases)


def test_sinks_beside_masked_rows(tool, tmp_path):
    """One more key without a value in each row's softmax, which has the whole weight of rows that are hidden altogether."""
    cases = {}
    for name, place, mask in named(["first", "last"], [-np.inf, LEAST]):
        scores = ["sink", "a"] if place == "first" else ["a", "sink"]
        between = [node("Add", ["s", "m"], ["a"]), node("Concat", scores, ["b"], axis=3), node("ReduceMax", ["b", "axis"], ["max"]),
                   node("Sub", ["b", "max"], ["x"])]
        start, end = (1, np.iinfo(np.int64).max) if place == "first" else (0, -1)
        constants = {"axis": np.array([3]), "start": np.array([start]), "end": np.array([end]), "sink": random(2, 4, 6, 1)}
        cases[name] = attend(between, {"m": np.where(HIDDEN, mask, 0).astype(np.float32)}, constants, guard=[node("Slice", ["p", "start", "end", "axis"], ["w"])])
    check(tool, tmp_path, cases)


def test_masks_shorter_than_the_keys(tool, tmp_path):
    """A mask that is looked up by the keys' positions: with fewer elements than there are keys, or none, the run ends, as it would where they are looked up."""
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
        g (float[b, 2, n, 8] q, float[b, 2, k, 8] keys, int64[c, m] mask) => (float[b, 2, n, 8] y) {
            zero = Constant <value = int64 {0}> ()
            one = Constant <value = int64 {1}> ()
            two = Constant <value = int64 {2}> ()
            last = Constant <value = int64[1] {-1}> ()
            column = Constant <value = int64[4] {-1, 1, 1, 1}> ()
            ones = Constant <value = int64[2] {1, 1}> ()
            sizes = Shape (keys)
            batch = Gather (sizes, zero)
            count = Gather (sizes, two)
            entries = Range (zero, batch, one)
            entry = Reshape (entries, column)
            place = Range (zero, count, one)
            batches = Unsqueeze (batch, last)
            counts = Unsqueeze (count, last)
            spread = Concat <axis = 0> (batches, ones, counts)
            entry_of = Expand (entry, spread)
            place_of = Expand (place, spread)
            entry_in = Unsqueeze (entry_of, last)
            place_in = Unsqueeze (place_of, last)
            at = Concat <axis = -1> (entry_in, place_in)
            truths = Cast <to = 9> (mask)
            kept = GatherND (truths, at)
            shape = Shape (q)
            rows = Gather (shape, two)
            past = Sub (count, rows)
            row = Range (zero, rows, one)
            position = Add (row, past)
            own = Unsqueeze (position, last)
            causal = LessOrEqual (place, own)
            seen = And (causal, kept)
            turned = Transpose <perm = [0, 1, 3, 2]> (keys)
            scores = MatMul (q, turned)
            masked = Where (seen, scores, hidden)
            weights = Softmax (masked)
            y = MatMul (weights, keys)
        }""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(-np.inf), "hidden"))
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0 and "raised 1 attentions" in done.out + done.err, str(done)
    compiled, random = megactx.load(tmp_path / "m.mctx"), np.random.default_rng(0)
    feeds = {"q": random.standard_normal((2, 2, 5, 8), np.float32), "keys": random.standard_normal((2, 2, 9, 8), np.float32)}
    for length in 9, 12:
        given = {**feeds, "mask": random.integers(0, 2, (2, length)) | (np.arange(length) == 0)}
        np.testing.assert_allclose(compiled.run(given)["y"], reference.session(model).run(None, given)[0], rtol=1e-4, atol=1e-5)
    for length in 8, 0:
        with pytest.raises(megactx.Error, match="fewer elements than there are scores"):
            compiled.run({**feeds, "mask": np.ones((2, length), np.int64)})
