"""The brute-force reference itself: checked before anything is compared with it."""

import numpy as np
import onnx
import pytest

import patterns
import reference


def test_a_mask_of_all_pairs_gives_the_stored_outputs(model):
    for data in model.data_sets:
        feeds = dict(reference.load_tensors(data, "input"))
        stored = dict(reference.load_tensors(data, "output"))
        for name, value in reference.expected_outputs(model.path, feeds, "dense"):
            np.testing.assert_allclose(value, stored[name], rtol=1e-5, atol=1e-5)


def test_attentions_of_the_table_are_found(model):
    loaded = onnx.load(model.path)
    conditions = [n.input[0] for n in loaded.graph.node if n.op_type == "If"]
    ways = [dict.fromkeys(conditions, np.array(way)) for way in (True, False)] if conditions else [{}]
    if model.facts.get("attentions"):
        assert sum(len(reference.attentions(reference.with_branches_taken(loaded, way))) for way in ways) == model.facts["attentions"]


def rows(text, count, heads=1, head=0):
    found = patterns.relation(text, range(count), range(count), heads)[head]
    return ["".join("x" if pair else "." for pair in row) for row in found]


@pytest.mark.parametrize("text, picture", [
    ("causal and window<left = 1, right = 0>", ["x...", "xx..", ".xx.", "..xx"]),
    ("strided<stride = 2>", ["x.x.", ".x.x", "x.x.", ".x.x"]),
    ("dense minus block_local<block = 2>", ["..xx", "..xx", "xx..", "xx.."]),
    ("causal and fixed<block = 2, count = 1>", ["x...", "xx..", ".xx.", ".xxx"]),
    ("dilated<left = 1, right = 0, dilation = 2>", ["x...", ".x..", "x.x.", ".x.x"]),
    ("global_keys<first = 1> or global_queries<indices = [3]>", ["x...", "x...", "x...", "xxxx"]),
    ("blocks<block = 2, row_ptr = [0, 1, 3], col_idx = [1, 0, 1]>", ["..xx", "..xx", "xxxx", "xxxx"]),
    # Level 0 of a pyramid: tokens from the start of the newest complete pair on.
    ("pyramid<ratio = 2, windows = [1]>", ["x...", "xx..", "xxx.", "..xx"]),
])
def test_pictures_by_hand(text, picture):
    assert rows(text, 4) == picture


def test_per_head_takes_lists_and_ranges():
    assert rows("per_head<[dense, causal]>", 2, 3, 2) == ["xx", "xx"]
    assert rows("per_head<0-1: dense, 2-: causal>", 2, 3, 2) == ["x.", "xx"]


def test_minus_and_and_bind_tighter_than_or():
    assert rows("dense minus causal or block_local<block = 1>", 2) == ["xx", ".x"]


def test_a_command_that_fails_is_shown(tool):
    done = tool("megactx-pattern", f"casual{' or causal' * 50}")
    with pytest.raises(AssertionError, match=r"(?s)\$ .*megactx-pattern 'casual( or causal){50}'\n *status 1\n *error: unknown pattern 'casual'"):
        assert done.status == 0, done
