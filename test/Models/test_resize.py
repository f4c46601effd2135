"""Resize in the forms that ONNX's own node tests leave out: scales that give no whole sizes, parts of the data, ratios that sizes keep; against onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import megactx
from merged import check_as_one

rng = np.random.default_rng(7)

# Attributes; the data's shape; scales, or sizes where they are whole numbers; what part of the data.
FORMS = {
    "scales_of_ten": ({}, (10, 20, 5), [0.7, 1.4, 1.8], None),
    "half": ({}, (2, 3, 7, 5), [1.0, 1.0, 0.6, 1.7], None),
    "corners": ({"coordinate_transformation_mode": "align_corners", "mode": "linear"}, (2, 3, 4, 5), [1.0, 1.0, 0.6, 1.7], None),
    "corners_cubic": ({"coordinate_transformation_mode": "align_corners", "mode": "cubic"}, (1, 1, 7, 2), [1.0, 1.0, 0.8, 0.6], None),
    "same_size": ({"coordinate_transformation_mode": "asymmetric", "mode": "linear"}, (1, 2, 6, 5), [1.0, 1.0, 1.05, 0.97], None),
    "pytorch": ({"coordinate_transformation_mode": "pytorch_half_pixel", "mode": "linear"}, (1, 2, 5, 5), [1.0, 1.0, 0.3, 0.5], None),
    "symmetric": ({"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "cubic"}, (2, 1, 8, 7), [1.0, 1.0, 0.6, 1.3], None),
    "symmetric_nearest": ({"coordinate_transformation_mode": "half_pixel_symmetric"}, (8, 7), [0.6, 0.6], None),
    "excluded": ({"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}, (1, 1, 4, 9), [1.0, 1.0, 2.3, 0.4], None),
    "floor_halves": ({"coordinate_transformation_mode": "asymmetric"}, (29, 14), [42, 20], None),
    "ceil_halves": ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}, (7, 36), [4, 40], None),
    "axes": ({"axes": [2, 0], "mode": "nearest", "nearest_mode": "ceil"}, (4, 2, 5), [7, 9], None),
    "crop": ({"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear", "extrapolation_value": 2.5}, (1, 2, 6, 5), [1, 2, 9, 3], [0, 0, -0.2, 0.3, 1, 1, 0.7, 1.2]),
    "crop_axes": ({"coordinate_transformation_mode": "tf_crop_and_resize", "axes": [3, 2], "mode": "cubic"}, (1, 2, 6, 5), [1.8, 0.5], [0.1, 0.2, 1.1, 0.6]),
    "crop_to_one": ({"coordinate_transformation_mode": "tf_crop_and_resize"}, (6, 5), [1, 4], [0.2, 0.3, 0.9, 0.8]),
    "not_larger": ({"keep_aspect_ratio_policy": "not_larger", "mode": "linear", "axes": [2, 3]}, (1, 2, 6, 5), [9, 4], None),
    "not_smaller": ({"keep_aspect_ratio_policy": "not_smaller", "axes": [2, 3]}, (1, 2, 6, 5), [9, 4], None),
    "smooth": ({"antialias": 1, "mode": "linear"}, (2, 3, 9, 8), [1.0, 1.0, 0.35, 0.6], None),
    "smooth_cubic": ({"antialias": 1, "mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}, (1, 2, 12, 9), [1, 2, 5, 13], None),
    "smooth_crop": ({"antialias": 1, "mode": "cubic", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 0.5}, (9, 8), [4, 5], [0.1, -0.1, 1.1, 0.8]),
}


def model_of(attributes, inputs, constants, is_named):
    """One node; sizes of the data have names where they are not known."""
    value = lambda name, array: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{name}{i}" for i in range(array.ndim)] if is_named else array.shape)
    names = [name if name in inputs | constants else "" for name in ("x", "roi", "scales", "sizes")]
    graph = helper.make_graph([helper.make_node("Resize", names, ["y"], **attributes)], "g", [value(*item) for item in inputs.items()], [helper.make_empty_tensor_value_info("y")],
                              [numpy_helper.from_array(array, name) for name, array in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def operands(shape, sizes, roi):
    rest = {"sizes": np.int64(sizes)} if isinstance(sizes[0], int) else {"scales": np.float32(sizes)}
    return {"x": rng.standard_normal(shape).astype(np.float32)}, rest | ({} if roi is None else {"roi": np.float32(roi)})


@pytest.mark.parametrize("is_named", [False, True], ids=["known", "named"])
def test_forms(is_named, tool, tmp_path):
    models, inputs = {}, {}
    for name, (attributes, shape, sizes, roi) in FORMS.items():
        inputs[name], rest = operands(shape, sizes, roi)
        models[name] = model_of(attributes, inputs[name], rest, is_named)
    check_as_one(models, inputs, tool, tmp_path)


def test_scales_and_regions_of_the_run(tool, tmp_path):
    """Also ones that leave an axis as it is."""
    models, inputs = {}, {}
    for name, (attributes, shape, sizes, roi) in FORMS.items():
        if "keep_aspect_ratio_policy" not in attributes:
            data, rest = operands(shape, sizes, roi)
            inputs[name] = data | rest
            models[name] = model_of(attributes, inputs[name], {}, False)
    check_as_one(models, inputs, tool, tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_smoothed_integers(dtype, tool, tmp_path):
    """Rounded, within their type, also between axes."""
    x = {"x": rng.choice(np.array([0, 100, 255], dtype), (1, 2, 12, 9))}
    forms = {mode: {"antialias": 1, "mode": mode} for mode in ("linear", "cubic")}
    models = {name: model_of(attributes, x, {"sizes": np.int64([1, 2, 5, 7])}, False) for name, attributes in forms.items()}
    check_as_one(models, dict.fromkeys(models, x), tool, tmp_path, atol=1)


def test_no_data(tool, tmp_path):
    """Of no rows, or no batch, by scales and by sizes."""
    x = {"rows": np.zeros((2, 0, 3), np.float32), "batch": np.zeros((0, 2, 3), np.float32)}
    inputs = {f"{name}_{by}": {"x": array} for name, array in x.items() for by in ("scales", "sizes")}
    rest = {"scales": np.float32([1, 2, 1.5]), "sizes": np.int64([1, 2, 1])}
    models = {}
    for name, given in inputs.items():
        sizes = np.int64(np.array(given["x"].shape) * [1, 2, 3])
        models[name] = model_of({}, given, {"scales": rest["scales"]} if name.endswith("scales") else {"sizes": sizes}, "named" in name)
    check_as_one(models, inputs, tool, tmp_path)


@pytest.mark.parametrize("begin", [np.nan, np.inf, -1e30])
@pytest.mark.parametrize("mode", [{"mode": "nearest"}, {"mode": "cubic", "antialias": 1}], ids=["nearest", "smooth"])
def test_regions_outside(mode, begin, tool, tmp_path):
    """Nothing is read for places that are none."""
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, **mode}
    x = {"x": rng.standard_normal((4, 5)).astype(np.float32), "roi": np.float32([0, begin, 1, begin])}
    onnx.save(model_of(attributes, x, {"sizes": np.int64([4, 3])}, False), tmp_path / "m.onnx")
    done = tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    np.testing.assert_array_equal(megactx.load(tmp_path / "m.mctx").run(x)["y"], np.full((4, 3), 7))


@pytest.mark.parametrize("scale, word", [(np.nan, "not above 0"), (0, "not above 0"), (-1, "not above 0"), (np.inf, "memory")])
def test_scales_of_the_run_that_are_none(scale, word, tool, tmp_path):
    x = {"x": rng.standard_normal((4, 5)).astype(np.float32), "scales": np.float32([1, scale])}
    onnx.save(model_of({}, x, {}, False), tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    with pytest.raises(megactx.Error, match=word):
        megactx.load(tmp_path / "m.mctx").run(x)


@pytest.mark.parametrize("attributes, operand, word", [({"antialias": 1}, {"sizes": np.int64([3, 3])}, "antialias"), ({"keep_aspect_ratio_policy": "not_larger"}, {"scales": np.float32([2, 2])}, "aspect ratio"),
                                                       ({"coordinate_transformation_mode": "tf_crop_and_resize"}, {"scales": np.float32([2, 2])}, "region of interest"),
                                                       ({"coordinate_transformation_mode": "tf_crop_and_resize"}, {"scales": np.float32([2, 2]), "roi": np.float32([0, 1])}, "region of interest"),
                                                       ({}, {"scales": np.float32([2])}, "scales"), ({}, {"scales": np.float32([1, 0])}, "above 0")],
                         ids=["nearest", "ratio", "no_region", "short_region", "short_scales", "zero"])
def test_forms_that_are_refused(attributes, operand, word, tool, tmp_path):
    onnx.save(model_of(attributes, {"x": np.zeros((2, 3), np.float32)}, operand, True), tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 1 and done.err.count("error:") == 1 and word in done.err, done
