"""Einstein sums with ellipses, sizes of 1 that broadcast and no output: against NumPy, at sizes that the compiler and that only a run knows."""

import numpy as np
import pytest
from onnx import helper

from test_corners import model_of, random, result

SUMS = {
    "matrices": ("...ij,...jk->...ik", (2, 3, 4, 5), (2, 3, 5, 6)),
    "one batch is 1": ("...ij,...jk->...ik", (2, 1, 4, 5), (1, 3, 5, 6)),
    "blocks of LongT5": ("...qhd,...khd->...hqk", (2, 3, 4, 2, 8), (2, 3, 12, 2, 8)),
    "no axes": ("...ij,...jk->...ik", (4, 5), (5, 6)),
    "in the middle": ("i...j,k...j->k...i", (2, 3, 4, 5), (6, 3, 1, 5)),
    "in one operand": ("...ij,jk->ik...", (2, 3, 4, 5), (5, 6)),
    "one operand": ("...ij->...ji", (2, 3, 4)),
    "a diagonal": ("...ii->...i", (2, 3, 3)),
    "three operands": ("...i,...j,...->...ij", (2, 3), (1, 4), (2,)),
    "a letter of 1": ("bi,bj->bij", (2, 3), (1, 4)),
    "a summed letter of 1": ("bi,bi->b", (2, 1), (2, 4)),
    "no output": ("cb,ba", (2, 3), (3, 4)),
    "no output, ellipsis": ("...zy,...yA", (2, 4, 5), (2, 5, 6)),
    "matrices in any order": ("jbi,kjb->kib", (4, 2, 5), (6, 4, 2)),
    "one side repeats": ("bhid,bjd->bhij", (2, 3, 4, 8), (2, 5, 8)),
    "both sides repeat": ("ahid,bjd->ahbij", (2, 3, 4, 8), (2, 5, 8)),
    "two are summed": ("bide,bjde->bij", (2, 4, 3, 5), (2, 6, 3, 5)),
    "none is summed": ("bi,bj->bij", (2, 3), (2, 4)),
    "a vector": ("bd,bkd->bk", (2, 3), (2, 4, 3)),
    "one is left out": ("bid,bjd->bi", (2, 4, 3), (2, 5, 3)),
    "spaces": (" ... i j , ... j k -> ... i k ", (2, 4, 5), (2, 5, 6)),
}


@pytest.mark.parametrize("is_dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("case", SUMS)
def test_sum(case, is_dynamic, tool, tmp_path):
    equation, *shapes = SUMS[case]
    if is_dynamic and "letter of 1" in case:
        pytest.skip("letters of sizes that only a run knows do not broadcast")
    inputs = {f"x{i}": random(*shape) for i, shape in enumerate(shapes)}
    model = model_of([helper.make_node("Einsum", list(inputs), ["y"], equation=equation)], inputs, np.float32)
    if is_dynamic:
        for value in model.graph.input:
            for dim in value.type.tensor_type.shape.dim:
                dim.ClearField("dim_value")
    want = np.einsum(equation, *inputs.values())
    got = result(tool, tmp_path, model, inputs)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


REFUSED = {
    "no ellipsis in the output": ("...ij->ij", (2, 3, 4), "has no ellipsis"),
    "too low a rank": ("...ijk->...i", (2, 3), "does not fit rank 2"),
    "too high a rank": ("ij->i", (2, 3, 4), "does not fit rank 3"),
    "two ellipses": ("...i...->...i", (2, 3, 4), "of letters and ellipses"),
    "half an ellipsis": ("..ij->..ij", (2, 3, 4), "of letters and ellipses"),
    "a digit": ("i1j->ij", (2, 3, 4), "of letters and ellipses"),
    "two arrows": ("ij->i->j", (2, 3), "of letters and ellipses"),
    "too many operands": ("ij,jk->ik", (2, 3), "for 1 operands"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tool, tmp_path):
    equation, shape, words = REFUSED[case]
    model = model_of([helper.make_node("Einsum", ["x"], ["y"], name="odd", equation=equation)], {"x": random(*shape)}, np.float32)
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    done = tool("megactx-compile", tmp_path / "odd.onnx", "-o", tmp_path / "odd.mctx")
    assert done.status == 1 and "node 'odd'" in done.err and not (tmp_path / "odd.mctx").exists(), done
    assert words in done.err, done


# Sizes of queries, and of keys and values, and the two products.
ATTENTIONS = {
    "heads first": ((2, 3, 5, 8), (2, 3, 7, 8), "bhid,bhjd->bhij", "bhij,bhjd->bhid"),
    "tokens first": ((2, 5, 3, 8), (2, 7, 3, 8), "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd"),
    "keys are the first operand": ((2, 5, 3, 8), (2, 7, 3, 8), "aecd,abcd->acbe", "acbe,aecd->abcd"),
    "blocks": ((2, 4, 5, 3, 8), (2, 4, 7, 3, 8), "...qhd,...khd->...hqk", "...hqk,...khd->...qhd"),
    "one head of keys": ((2, 3, 5, 8), (2, 7, 8), "bhid,bjd->bhij", "bhij,bjd->bhid"),
    "no heads": ((2, 5, 8), (2, 7, 8), "bid,bjd->bij", "bij,bjd->bid"),
}


def raised(model, tool, tmp_path):
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return "raised 1 attentions" in tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx").err


@pytest.mark.parametrize("case", ATTENTIONS)
def test_attention_is_raised(case, tool, tmp_path):
    query, key, scores, values = ATTENTIONS[case]
    inputs = {"q": random(*query), "k": random(*key), "v": random(*key)}
    swapped = scores.startswith("ae")
    nodes = [helper.make_node("Einsum", ["k", "q"] if swapped else ["q", "k"], ["s"], equation=scores),
             helper.make_node("Softmax", ["s"], ["p"], axis=-1), helper.make_node("Einsum", ["p", "v"], ["y"], equation=values)]
    model = model_of(nodes, inputs, np.float32)
    assert raised(model, tool, tmp_path)
    operands = [inputs["k"], inputs["q"]] if swapped else [inputs["q"], inputs["k"]]
    weights = np.exp(np.einsum(scores, *operands, dtype=np.float64))
    want = np.einsum(values, weights / weights.sum(-1, keepdims=True), inputs["v"])
    np.testing.assert_allclose(result(tool, tmp_path, model, inputs), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", [(2, 3, 1, 5, 7), (2, 3, 4, 5, 7), (3, 1, 5, 7), (1, 1, 1, 5, 7), (2, 1, 1, 1, 7)], ids=str)
@pytest.mark.parametrize("is_where", [False, True], ids=["added", "where"])
def test_blocks_of_a_run(mask, is_where, tool, tmp_path):
    """Scores [B, blocks, H, Nq, Nk], of which sizes tell no compiler which block a mask is for, with a bias of each head."""
    inputs = {"q": random(2, 3, 5, 4, 8), "k": random(2, 3, 7, 4, 8), "v": random(2, 3, 7, 4, 8), "bias": random(1, 1, 4, 5, 7), "mask": random(*mask)}
    nodes = [helper.make_node("Einsum", ["q", "k"], ["s"], equation="...qhd,...khd->...hqk"), helper.make_node("Add", ["s", "bias"], ["t"])]
    if is_where:
        nodes += [helper.make_node("Constant", [], ["none"], value_float=0.0), helper.make_node("Constant", [], ["low"], value_float=float("-inf")),
                  helper.make_node("Greater", ["mask", "none"], ["isSeen"]), helper.make_node("Where", ["isSeen", "t", "low"], ["u"])]
        inputs["mask"][..., 2] = 1
        added = np.where(inputs["mask"] > 0, 0, -np.inf)
    else:
        nodes[1].input[1] = "all"
        nodes += [helper.make_node("Identity", ["t"], ["u"])]
        nodes.insert(0, helper.make_node("Add", ["bias", "mask"], ["all"]))
        added = inputs["mask"]
    nodes += [helper.make_node("Softmax", ["u"], ["p"], axis=-1), helper.make_node("Einsum", ["p", "v"], ["y"], equation="...hqk,...khd->...qhd")]
    model = model_of(nodes, inputs, np.float32)
    for value in model.graph.input:
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            if i < 2 and dim.dim_value != 1 and value.name != "bias":
                dim.dim_param = f"{value.name if value.name == 'mask' else 'q'}_{i}"
    assert raised(model, tool, tmp_path)
    weights = np.exp(np.einsum("...qhd,...khd->...hqk", inputs["q"], inputs["k"], dtype=np.float64) + inputs["bias"] + added)
    want = np.einsum("...hqk,...khd->...qhd", weights / weights.sum(-1, keepdims=True), inputs["v"])
    np.testing.assert_allclose(result(tool, tmp_path, model, inputs), want, rtol=1e-4, atol=1e-5)
