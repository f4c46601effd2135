"""Data of which an axis has no elements, against onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from merged import check_as_one

rng = np.random.default_rng(11)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# An operator, its attributes, its data, and operands that are constants.
FORMS = {
    "hardmax": ("Hardmax", {"axis": 1}, [normal(2, 0, 3)], []),
    "pad_rows": ("Pad", {}, [normal(0, 3)], [np.int64([1, 1, 1, 1])]),
    "pad_columns": ("Pad", {}, [normal(0, 3)], [np.int64([0, 1, 0, 1])]),
    "pad_edges": ("Pad", {"mode": "edge"}, [normal(0, 3)], [np.int64([0, 1, 0, 1])]),
    "pad_mirrors": ("Pad", {"mode": "reflect"}, [normal(2, 0, 3)], [np.int64([1, 0, 2, 0, 0, 1])]),
    "conv": ("Conv", {"pads": [1, 1, 1, 1]}, [normal(0, 3, 5, 5)], [normal(4, 3, 3, 3)]),
    "conv_zeros": ("Conv", {"pads": [2, 1, 2, 1]}, [normal(1, 3, 0, 5)], [normal(4, 3, 3, 3), normal(4)]),
    "conv_beyond": ("Conv", {"pads": [4, 7], "strides": [2]}, [normal(1, 2, 4)], [normal(4, 2, 3)]),
    "conv_no_channels": ("Conv", {}, [normal(1, 0, 5, 5), normal(4, 0, 3, 3)], []),
    "transposed_batch": ("ConvTranspose", {}, [normal(0, 3, 5, 5)], [normal(3, 4, 3, 3)]),
    "transposed_rows": ("ConvTranspose", {}, [normal(1, 3, 0, 5)], [normal(3, 4, 3, 3), normal(4)]),
    "transposed_steps": ("ConvTranspose", {"strides": [2, 3]}, [normal(1, 3, 0, 2)], [normal(3, 4, 3, 2)]),
    "transposed_channels": ("ConvTranspose", {}, [normal(1, 0, 5, 5)], [normal(0, 4, 3, 3)]),
    "pool": ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, [normal(0, 3, 5, 5)], []),
    "product": ("MatMul", {}, [normal(2, 3, 0), normal(0, 4)], []),
}


def model_of(operator, attributes, data, constants, is_named):
    sizes = lambda name, array: [f"{name}_{i}" for i in range(array.ndim)] if is_named else array.shape
    inputs = [helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, sizes(f"x{i}", array)) for i, array in enumerate(data)]
    weights = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(constants)]
    node = helper.make_node(operator, [value.name for value in inputs + weights], ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)


@pytest.mark.parametrize("is_named", [False, True], ids=["known", "named"])
def test_forms(is_named, tool, tmp_path):
    """As one model."""
    models = {name: model_of(*form, is_named) for name, form in FORMS.items()}
    inputs = {name: {f"x{i}": array for i, array in enumerate(data)} for name, (_, _, data, _) in FORMS.items()}
    check_as_one(models, inputs, tool, tmp_path)


@pytest.mark.parametrize("form", [("Pad", {"mode": "edge"}, [normal(0, 3)], [np.int64([1, 0, 0, 0])]), ("ArgMax", {"axis": 0}, [normal(0, 3)], [])], ids=["edge", "largest"])
def test_forms_that_are_refused(form, tool, tmp_path):
    """What is made of an element where there is none."""
    onnx.save(model_of(*form, False), tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 1 and done.err.count("error:") == 1 and form[0] in done.err, done
