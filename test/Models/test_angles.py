"""Functions of angles, and angles of numbers, for any number of f32, against float64 in units in the last place."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from test_corners import results


def every_exponent(seed):
    """Numbers of all exponents and both signs, those near multiples of pi/2, what is subnormal, infinite and no number."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**23, 40_000, dtype=np.uint32) | (np.arange(40_000, dtype=np.uint32) % 255) << 23
    near = (np.arange(1, 3000) * (np.pi / 2)).astype(np.float32)
    far = (np.float64(np.pi / 2) * 2.0 ** np.arange(17, 126)).astype(np.float32)
    edges = np.float32([0, 1e-45, 1e-38, 65535.99, 65536, 65537, 1e10, 3.4028235e38, np.inf, np.nan])
    x = np.concatenate([bits.view(np.float32), near, np.nextafter(near, np.float32(0)), far, edges])
    return np.concatenate([x, -x])


def within(seed, *ends):
    x = np.random.default_rng(seed).uniform(*ends, 40_000).astype(np.float32)
    tiny = np.float32(10.0) ** -np.arange(45, dtype=np.float32)
    return np.concatenate([x, tiny, -tiny, 1 - tiny, tiny - 1, np.float32([0, -0.0, 1, -1, np.nan])])


# Operator, numbers, units in the last place.
CASES = {"Sin": (every_exponent(1), 1.6), "Cos": (every_exponent(2), 1.6), "Asin": (within(3, -1, 1), 5), "Acos": (within(4, -1, 1), 4), "Atan": (every_exponent(5), 2)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", [1, 7, None], ids=["rows_of_1", "rows_of_7", "one_row"])
def test_units_in_the_last_place(tool, tmp_path, name, length):
    x, most = CASES[name]
    x = x if length is None else x[: x.size // length * length].reshape(-1, length)
    value = lambda key: helper.make_tensor_value_info(key, TensorProto.FLOAT, x.shape)
    model = helper.make_model(helper.make_graph([helper.make_node(name, ["x"], ["y"])], "g", [value("x")], [value("y")]),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    got = results(tool, tmp_path, model, {"x": x})["y"]
    function = {"Sin": np.sin, "Cos": np.cos, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan}[name]
    with np.errstate(invalid="ignore"):
        want = function(x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    sure = ~np.isnan(want)
    unit = np.maximum(np.spacing(np.abs(want[sure]).astype(np.float32)).astype(np.float64), 2.0**-149)
    error = np.abs(got[sure] - want[sure]) / unit
    worst = error.argmax()
    assert error[worst] <= most, (x[sure][worst], got[sure][worst], want[sure][worst], error[worst])
    zeros = x == 0
    if name in ("Sin", "Asin", "Atan"):
        np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(x[zeros]))
