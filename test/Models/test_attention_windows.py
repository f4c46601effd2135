"""ONNX's Attention with windows and causal order: behind caches of its own, and over keys of a length per batch entry, against ONNX's reference."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import megactx

WINDOWS = {"causal": (-1, -1, 1), "left": (3, -1, 0), "both": (2, 1, 0), "right": (-1, 2, 0), "causal left": (4, -1, 1)}
BATCH, DIM = 3, 8


def check(text, feeds, tool, tmp_path):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 25]>\n{text}')
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0 and "raised 1 attentions" in done.err, done
    ours, reference = megactx.load(tmp_path / "m.mctx"), ReferenceEvaluator(model)
    for given in feeds:
        got = ours.run(given)
        for output, want in zip(model.graph.output, reference.run(None, given)):
            np.testing.assert_allclose(got[output.name], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [2**31, 2**53, 2**63 - 1])
def test_windows_of_absurd_sizes(size, tool, tmp_path):
    rng = np.random.default_rng(0)
    feeds = [{name: rows(rng, 2, 9) for name in "qkv"}]
    text = "g (float[B, 2, Q, 8] q, float[B, 2, Q, 8] k, float[B, 2, Q, 8] v) => (float[a, b, c, d] y) {{ y = Attention<{}>(q, k, v) }}"
    for sides in (f"left_window_size = {size}, right_window_size = 2", f"left_window_size = 3, right_window_size = {size}",
                  f"left_window_size = {size}, is_causal = 1"):
        check(text.format(sides), feeds, tool, tmp_path)


@pytest.mark.parametrize("form", ["[a, b, c, d]", "[]"], ids=["sizes", "unknown"])
def test_caches_that_come_out(form, tool, tmp_path):
    rng = np.random.default_rng(2)
    feeds = [{name: rows(rng, 2, count) for name, count in (("q", 3), ("k", 3), ("v", 3), ("pk", past), ("pv", past))} for past in (0, 5)]
    check(f"""g (float[B, 2, Q, 8] q, float[B, 2, Q, 8] k, float[B, 2, Q, 8] v, float[B, 2, P, 8] pk, float[B, 2, P, 8] pv)
      => (float[a, b, c, d] y, float{form} k2, float{form} v2) {{ y, k2, v2 = Attention<is_causal = 1>(q, k, v, , pk, pv) }}""", feeds, tool, tmp_path)


def rows(rng, heads, count):
    return rng.standard_normal((BATCH, heads, count, DIM)).astype(np.float32)


def operator(case):
    left, right, causal = WINDOWS[case]
    return f"Attention<is_causal = {causal}, left_window_size = {left}, right_window_size = {right}>"


@pytest.mark.parametrize("heads", [4, 2], ids=["heads", "groups"])
@pytest.mark.parametrize("case", WINDOWS)
def test_lengths(case, heads, tool, tmp_path):
    """The last query of an entry stands at its last key; rows before its first key are zero."""
    rng = np.random.default_rng(heads)
    feeds = [{"q": rows(rng, 4, queries), "k": rows(rng, heads, keys), "v": rows(rng, heads, keys), "n": np.array(lengths)}
             for queries, keys, lengths in [(5, 9, [9, 5, 7]), (1, 40, [40, 1, 17]), (6, 6, [6, 3, 0]), (33, 70, [70, 64, 33])]]
    check(f"""g (float[B, 4, Q, 8] q, float[B, {heads}, K, 8] k, float[B, {heads}, K, 8] v, int64[B] n) => (float[a, b, c, d] y) {{
      y = {operator(case)}(q, k, v, , , , n) }}""", feeds, tool, tmp_path)


@pytest.mark.parametrize("case", WINDOWS)
def test_past(case, tool, tmp_path):
    rng = np.random.default_rng(1)
    feeds = [{"q": rows(rng, 4, new), "k": rows(rng, 2, new), "v": rows(rng, 2, new), "pk": rows(rng, 2, past), "pv": rows(rng, 2, past),
              "mask": rng.standard_normal((1, new, new + past)).astype(np.float32)} for new, past in [(1, 12), (7, 5), (4, 0), (35, 40)]]
    check(f"""g (float[B, 4, Q, 8] q, float[B, 2, Q, 8] k, float[B, 2, Q, 8] v, float[B, 2, P, 8] pk, float[B, 2, P, 8] pv, float[one, Q, T] mask)
      => (float[a, b, c, d] y) {{ y, k2, v2 = {operator(case)}(q, k, v, mask, pk, pv) }}""", feeds, tool, tmp_path)
