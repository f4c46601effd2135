"""Normalisations and softmax over rows of every length as a GPU would run them, against numpy in float64."""

import subprocess

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

TYPES = {"f32": (TensorProto.FLOAT, np.float32, 2e-6), "f16": (TensorProto.FLOAT16, np.float16, 2e-3), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16, 2e-2)}
NORMALISED = ["LayerNormalization", "RMSNormalization", "Softmax"]


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
    ("Softmax", "f32", (1, 2, 16390)), ("LayerNormalization", "f32", (0, 3, 33)), ("LayerNormalization", "bf16", (3, 3, 512)),
    ("LayerNormalization", "f32", (2, 2, 1020)), ("LayerNormalization", "f16", (1, 2, 2560)), ("LayerNormalization", "f32", (1, 2, 8192)),
    ("RMSNormalization", "bf16", (1, 1, 100000)), ("Softmax", "bf16", (2, 5, 64)), ("Softmax", "f32", (0, 3, 8))])
def test_rows(kind, dtype, shape, gpu_model, tmp_path):
    _, array, tolerance = TYPES[dtype]
    onnx.save(model_of(kind, dtype, shape[-1]), tmp_path / "m.onnx")
    x = np.random.default_rng(7).normal(1, 2, shape).astype(array)
    (got,) = gpu_model(tmp_path / "m.onnx").run([x.view(np.uint16) if dtype == "bf16" else x])
    got = (got.view(array) if dtype == "bf16" else got).astype(np.float64)
    want = expected(kind, x.astype(np.float64))
    assert got.shape == shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def residual(dtype, width, axis=-1, keeps=True):
    """The normalised sum of two inputs, and where it `keeps` it, the sum. Rows are all dims from the axis on."""
    proto, array, _ = TYPES[dtype]
    shape = ["batch", 6, width]
    scale = numpy_helper.from_array(np.linspace(0.5, 1.5, width).astype(array) if axis == -1 else np.ones((6, width), array), "scale")
    nodes = [helper.make_node("Add", ["x", "y"], ["sum"]), helper.make_node("LayerNormalization", ["sum", "scale"], ["z"], axis=axis)]
    tensors = [helper.make_tensor_value_info(name, proto, shape) for name in ("x", "y", "z", "sum")]
    graph = helper.make_graph(nodes, "residual", tensors[:2], tensors[2:] if keeps else tensors[2:3], [scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)


RESIDUALS = [
    ("f32", 64, -1, True), ("f32", 64, -1, False), ("bf16", 512, -1, True), ("bf16", 512, -1, False), ("f16", 200, -1, True), ("f16", 200, -1, False),
    ("f32", 33, -1, True), ("f32", 33, -1, False), ("bf16", 4104, -1, False), ("f32", 16390, -1, True), ("f32", 16390, -1, False), ("f32", 40, -2, True),
    ("bf16", 41, -2, False)]


@pytest.mark.parametrize("dtype, width, axis, keeps", RESIDUALS)
def test_residual(dtype, width, axis, keeps, gpu_model, tmp_path):
    """The sum is in memory where somebody asks for it, and where rows are too long for registers."""
    _, array, tolerance = TYPES[dtype]
    onnx.save(residual(dtype, width, axis, keeps), tmp_path / "m.onnx")
    random = np.random.default_rng(3)
    x, y = (random.normal(1, 2, (1 if width > 4000 else 3, 6, width)).astype(array) for _ in range(2))
    got = gpu_model(tmp_path / "m.onnx").run([a.view(np.uint16) if dtype == "bf16" else a for a in (x, y)])
    total = (x + y).astype(np.float64)
    flat = total.reshape(len(total), -1) if axis == -2 else total
    centred = flat - flat.mean(-1, keepdims=True)
    want = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * (np.linspace(0.5, 1.5, width) if axis == -1 else 1)
    for result, wanted in zip(got, [want.reshape(total.shape), total][: len(got)], strict=True):
        result = (result.view(array) if dtype == "bf16" else result).astype(np.float64)
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


def masked_softmax(dtype):
    """The compiler knows neither how many rows there are nor how long they are; the mask has bytes."""
    proto, array, _ = TYPES[dtype]
    dims = ["batch", "rows", "keys"]
    low = numpy_helper.from_array(np.array(-1e4, array), "low")
    nodes = [helper.make_node("Where", ["mask", "x", "low"], ["kept"]), helper.make_node("Softmax", ["kept"], ["y"], axis=-1)]
    graph = helper.make_graph(nodes, "masked", [helper.make_tensor_value_info("x", proto, dims), helper.make_tensor_value_info("mask", TensorProto.BOOL, dims)],
                              [helper.make_tensor_value_info("y", proto, dims)], [low])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 3, 40), (2, 3, 41), (1, 2, 3000)])
def test_masked_softmax(dtype, shape, gpu_model, tmp_path):
    _, array, tolerance = TYPES[dtype]
    onnx.save(masked_softmax(dtype), tmp_path / "m.onnx")
    random = np.random.default_rng(4)
    x, mask = random.normal(1, 2, shape).astype(array), random.integers(0, 2, shape).astype(bool)
    (got,) = gpu_model(tmp_path / "m.onnx").run([x.view(np.uint16) if dtype == "bf16" else x, mask])
    got = (got.view(array) if dtype == "bf16" else got).astype(np.float64)
    np.testing.assert_allclose(got, expected("Softmax", np.where(mask, x.astype(np.float64), -1e4)), rtol=tolerance, atol=tolerance)


ONE_KERNEL = {**{f"{kind}_{dtype}": model_of(kind, dtype, 768) for kind in NORMALISED for dtype in TYPES},
              **{"_".join(map(str, case)): residual(*case) for case in RESIDUALS}, **{f"masked_{dtype}": masked_softmax(dtype) for dtype in TYPES}}


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_one_kernel(name, tools, tmp_path):
    onnx.save(ONE_KERNEL[name], tmp_path / "m.onnx")
    subprocess.run([tools / "megactx-compile", tmp_path / "m.onnx", "--target=sm_80", "--compile-to=loops", "-o", tmp_path / "m.mlir"], check=True, capture_output=True)
    assert (tmp_path / "m.mlir").read_text().count("gpu.launch_func") == 1
