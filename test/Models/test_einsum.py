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
