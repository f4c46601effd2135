"""Normalisations and softmax over rows of every length as a GPU would run them, against numpy in float64."""

import pathlib
import re
import subprocess

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import emulated
import emulated_model

TYPES = {"f32": (TensorProto.FLOAT, np.float32, 2e-6), "f16": (TensorProto.FLOAT16, np.float16, 2e-3), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16, 2e-2)}
NORMALISED = {"LayerNormalization": 3, "RMSNormalization": 2, "Softmax": 3}  # kernels that touch the rows


def model_of(kind, dtype, width):
    """The op alone on [batch, length, width]; of a softmax the compiler does not know the width."""
    proto, array, _ = TYPES[dtype]
    given = ["batch", "length", "width" if kind == "Softmax" else width]
    weights = [] if kind == "Softmax" else [numpy_helper.from_array(np.linspace(0.5, 1.5, width).astype(array), "scale")]
    node = helper.make_node(kind, ["x", *(w.name for w in weights)], ["y"], axis=-1)
    graph = helper.make_graph([node], "rows", [helper.make_tensor_value_info("x", proto, given)], [helper.make_tensor_value_info("y", proto, given)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)


def expected(kind, x):
    if kind == "Softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    centred = x - x.mean(-1, keepdims=True) if kind == "LayerNormalization" else x
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * np.linspace(0.5, 1.5, x.shape[-1])


@pytest.mark.parametrize("kind, dtype, shape", [
    ("LayerNormalization", "f32", (2, 3, 1)), ("LayerNormalization", "bf16", (3, 5, 33)), ("LayerNormalization", "f16", (1, 9, 1000)),
    ("LayerNormalization", "bf16", (1, 2, 4100)), ("RMSNormalization", "f16", (2, 3, 7)), ("RMSNormalization", "bf16", (1, 3, 1025)),
    ("RMSNormalization", "f32", (2, 1, 16390)), ("Softmax", "f32", (2, 3, 1)), ("Softmax", "bf16", (2, 5, 31)), ("Softmax", "f16", (1, 3, 257)),
    ("Softmax", "f32", (1, 2, 16390)), ("LayerNormalization", "f32", (0, 3, 33))])
def test_rows(kind, dtype, shape, request, tmp_path):
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    _, array, tolerance = TYPES[dtype]
    onnx.save(model_of(kind, dtype, shape[-1]), tmp_path / "m.onnx")
    x = np.random.default_rng(7).normal(1, 2, shape).astype(array)
    model = emulated_model.Model(emulated.Library(build), build / "bin", tmp_path / "m.onnx")
    (got,) = model.run([x.view(np.uint16) if dtype == "bf16" else x])
    got = (got.view(array) if dtype == "bf16" else got).astype(np.float64)
    want = expected(kind, x.astype(np.float64))
    assert got.shape == shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", NORMALISED)
def test_kernels(kind, dtype, request, tmp_path):
    """Nothing as large as the rows is between the input and the output."""
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    onnx.save(model_of(kind, dtype, 768), tmp_path / "m.onnx")
    subprocess.run([build / "bin" / "megactx-compile", tmp_path / "m.onnx", "--target=sm_80", "--compile-to=memref", "-o", tmp_path / "m.mlir"], check=True, capture_output=True)
    assert len(re.findall("linalg.generic", (tmp_path / "m.mlir").read_text())) == NORMALISED[kind]
