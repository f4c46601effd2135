"""Rows of scores that masks hide altogether, and masks with more sizes than the scores: against onnxruntime."""

import numpy as np
import pytest
from onnx import helper

from test_corners import check, random

rng = np.random.default_rng(8)
node = helper.make_node
LEAST = np.finfo(np.float32).min
HIDDEN = rng.random((2, 1, 6, 6)) < 0.5
HIDDEN[:, :, 1:3] = True  # rows without a key


def attend(tool, folder, between, inputs, constants, guard=(), batch=2, heads=4, keys=6):
    """The nodes `between` lead from scores s to x, `guard` from probabilities p to w."""
    own = {"q": random(batch, heads, 6, 16), "k": random(batch, heads, 16, keys), "v": random(batch, heads, keys, 16)}
    nodes = [node("MatMul", ["q", "k"], ["s"]), *between, node("Softmax", ["x"], ["p"], axis=-1), *guard,
             node("MatMul", ["w" if guard else "p", "v"], ["y"])]
    check(tool, folder, nodes, own | inputs, constants)


@pytest.mark.parametrize("floor", [-1e4, LEAST])
@pytest.mark.parametrize("mask", [-np.inf, -1e9, LEAST])
@pytest.mark.parametrize("form", ["added", "constant", "scaled", "replaced"])
def test_masked_scores_above_a_floor(form, mask, floor, tool, tmp_path):
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
    attend(tool, tmp_path, between, inputs, constants)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("rows", ["one", "all"])
@pytest.mark.parametrize("mask", [-1e9, LEAST])
def test_rows_of_one_masked_number(mask, rows, heads, tool, tmp_path):
    """A mask that a run gives; beyond the kernels' range a row would have no weights at all."""
    m = np.zeros((2, 1, 6 if rows == "all" else 1, 6), np.float32)
    m[1] = mask
    attend(tool, tmp_path, [node("Add", ["s", "m"], ["x"])], {"m": np.repeat(m, heads, 1)}, {})


@pytest.mark.parametrize("mask", [-1e9, LEAST])
@pytest.mark.parametrize("form", ["added", "replaced", "both"])
def test_causal_rows_before_the_first_key(form, mask, tool, tmp_path):
    """A pattern would leave them no key; a finite number leaves all."""
    causal = np.tri(6, 4, -2) == 0
    constants = {"hidden": causal, "last": np.arange(4) == 3, "fill": np.float32(mask), "m": np.where(causal, mask, 0).astype(np.float32),
                 "none": np.float32(-np.inf)}
    between = [node("Add", ["s", "m"], ["x"])] if form == "added" else [node("Where", ["hidden", "fill", "s"], ["x"])]
    if form == "both":
        between = [node("Where", ["last", "none", "s"], ["a"]), node("Add", ["a", "m"], ["x"])]
    attend(tool, tmp_path, between, {}, constants, keys=4)


@pytest.mark.parametrize("other", [-np.inf, -1e9])
@pytest.mark.parametrize("form", ["added", "replaced"])
def test_probabilities_that_one_of_two_masks_hides_again(form, other, tool, tmp_path):
    """The rest of a row may share the weights of what is hidden."""
    again = rng.random((2, 1, 6, 6)) < 0.3
    hidden = HIDDEN & ~(again & np.isinf(other)).all(-1, keepdims=True)
    if np.isinf(other):
        hidden = hidden & (np.arange(6) > 0)  # no row without a finite score
    between = [node("Add", ["s", "m"], ["a"]) if form == "added" else node("Where", ["m", "other", "s"], ["a"]),
               node("Where", ["again", "fill", "a"], ["x"])]
    m = np.where(hidden, other, 0).astype(np.float32) if form == "added" else hidden
    attend(tool, tmp_path, between, {"m": m, "again": again}, {"fill": np.float32(-1e9), "other": np.float32(other), "zero": np.float32(0)},
           guard=[node("Where", ["again", "zero", "p"], ["w"])])


@pytest.mark.parametrize("form", ["Where", "Max"])
@pytest.mark.parametrize("sizes", [(3, 1, 6, 6), (1, 4, 6, 6), (2, 1, 1, 6, 6)], ids=["batch", "heads", "rank"])
def test_masks_of_more_sizes_than_the_scores(sizes, form, tool, tmp_path):
    if form == "Where":
        attend(tool, tmp_path, [node("Where", ["m", "fill", "s"], ["x"])], {"m": rng.random(sizes) < 0.3}, {"fill": np.float32(-np.inf)}, batch=1, heads=1)
    else:
        floor = np.full((1,) * (len(sizes) if len(sizes) > 4 else 4), LEAST, np.float32)
        attend(tool, tmp_path, [node("Max", ["s", "floor"], ["x"])], {}, {"floor": floor}, batch=1, heads=1)
