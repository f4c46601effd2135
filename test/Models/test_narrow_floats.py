"""Functions of all numbers of f16 and bf16 against f64: each result is rounded once."""

import math

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import megactx

erf, tail = np.vectorize(math.erf, otypes=[float]), np.vectorize(math.erfc, otypes=[float])


def sigmoid(x):
    return np.where(x > 0, 1, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


FUNCTIONS = {"Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh, "Atan": np.arctan, "Atanh": np.arctanh, "Cos": np.cos, "Cosh": np.cosh,
             "Sin": np.sin, "Sinh": np.sinh, "Tan": np.tan, "Tanh": np.tanh, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Reciprocal": lambda x: 1 / x, "Erf": erf,
             "Sigmoid": sigmoid, "Softplus": softplus, "Softsign": lambda x: x / (1 + np.abs(x)), "Swish": lambda x: x * sigmoid(x), "Mish": lambda x: x * np.tanh(softplus(x)),
             "Gelu": lambda x: x * 0.5 * tail(-x / math.sqrt(2)), "Elu": elu, "Celu": elu, "Selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * elu(x)),
             "HardSigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1), "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "LeakyRelu": lambda x: np.where(x < 0, 0.01 * x, x)}


@pytest.mark.parametrize("dtype, kind", [(np.float16, TensorProto.FLOAT16), (ml_dtypes.bfloat16, TensorProto.BFLOAT16)], ids=["f16", "bf16"])
def test_functions_are_rounded_once(dtype, kind, tool, tmp_path):
    """But for numbers below those of f32, and for what sums with 1 leave of less than f32's precision of that."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    x = numbers[np.isfinite(numbers.astype(np.float32))]
    x = x[(np.abs(x.astype(np.float64)) >= 2.0**-126) | (x == 0)]
    graph = helper.make_graph([helper.make_node(name, ["x"], [name]) for name in FUNCTIONS], "g", [helper.make_tensor_value_info("x", kind, x.shape)],
                              [helper.make_empty_tensor_value_info(name) for name in FUNCTIONS])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10), tmp_path / "m.onnx")
    done = tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    got = megactx.load(tmp_path / "m.mctx").run({"x": x})
    limits = ml_dtypes.finfo(dtype)
    for name, function in FUNCTIONS.items():
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.float64))
            want = exact.astype(dtype).astype(np.float64)
            unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), float(limits.smallest_normal)))) - limits.nmant)
            found = got[name].view(dtype).astype(np.float64)
            error = np.abs(found - exact)
        left = 2.0**-23 * (1 + np.abs(x.astype(np.float64)))
        near = (error <= np.maximum(0.75 * unit, left)) | (found == want) | (np.isnan(found) & np.isnan(want))
        assert near.all(), f"{name}({x[~near][0]}): {found[~near][0]}, not {exact[~near][0]}"
