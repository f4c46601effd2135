"""An encoder and decoder that PyTorch 2.15's TorchScript exporter wrote, in the spelling of torch.nn.MultiheadAttention.

Inputs/translator.onnx is torch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True) between two embeddings and no head, with a causal
mask for the target, exported at 2 x 21 source and 2 x 17 target tokens. Its projections are packed: one product gives queries, keys
and values, or the weights of a part are a slice of all; shapes are computed with Mod, which leaves ONNX's own inference without ranks.
"""

import numpy as np
import onnx
import onnxruntime

import reference
from conftest import ROOT

MODEL = ROOT / "test" / "Models" / "Inputs" / "translator.onnx"
PATTERN = "window<left = 2, right = 1> or strided<stride = 4>"


def results(tool, tmp_path, feeds, *options):
    artifact = tmp_path / "model.mctx"
    compiled = tool("megactx-compile", MODEL, *options, "-o", artifact)
    assert compiled.status == 0, compiled
    reference.save_tensors(tmp_path / "in", "input", feeds.items())
    done = tool("megactx-run", artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 0, done
    return compiled.err.strip().splitlines(), dict(reference.load_tensors(tmp_path / "out", "output"))["out"]


def feeds():
    rng = np.random.default_rng(0)
    return {"source": rng.integers(0, 20, (2, 21)), "target": rng.integers(0, 20, (2, 17))}


def test_dense(tool, tmp_path):
    lines, got = results(tool, tmp_path, feeds())
    assert lines[-1] == "raised 3 attentions, sparsified 0"
    want = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"]).run(None, feeds())[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_cross_attention_is_left_alone(tool, tmp_path):
    assert [cross for _, _, cross in reference.attentions(onnx.load(MODEL))] == [False, False, True]
    lines, got = results(tool, tmp_path, feeds(), "--pattern", PATTERN)
    assert lines[-1] == "raised 3 attentions, sparsified 2"
    assert any(line.split()[:2] == ["2", "cross"] and line.endswith("dense") for line in lines), "\n".join(lines)
    want = dict(reference.expected_outputs(MODEL, feeds(), PATTERN))["out"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
