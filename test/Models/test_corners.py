"""Numbers beyond a type, operators as older opsets defined them, unusual pads: one node each, against onnxruntime or NumPy."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import megactx
import reference
from merged import merged

rng = np.random.default_rng(5)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def model_of(nodes, inputs, dtype, constants=(), opset=21):
    value = lambda name, array: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
    graph = helper.make_graph(nodes, "g", [value(n, a) for n, a in inputs.items()],
                              [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)],
                              [numpy_helper.from_array(a, n) for n, a in dict(constants).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)], ir_version=8)


def results(tool, folder, model, inputs):
    onnx.save(model, folder / "model.onnx")
    done = tool("megactx-compile", folder / "model.onnx", "-o", folder / "model.mctx")
    assert done.status == 0, done
    reference.save_tensors(folder / "in", "input", list(inputs.items()))
    done = tool("megactx-run", folder / "model.mctx", "--inputs", folder / "in", "--outputs", folder / "out")
    assert done.status == 0, done
    return dict(reference.load_tensors(folder / "out", "output"))


def result(tool, folder, model, inputs):
    got, = results(tool, folder, model, inputs).values()
    return got


def expected(model, inputs):
    return reference.session(model).run(None, inputs)[0]


def check(tool, folder, nodes, inputs, constants=(), opset=21):
    model = model_of(nodes, inputs, np.float32, constants, opset)
    want = expected(model, inputs)
    got = result(tool, folder, model, inputs)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def computed(tool, folder, nodes, inputs, constants):
    """Checks the numbers; the sizes of weights that the artifact has, of over 1000 numbers."""
    check(tool, folder, nodes, inputs, constants)
    manifest = json.loads((folder / "model.mctx" / "manifest.json").read_text())
    return sorted(int(size) for weight in manifest["weights"] if (size := np.prod(weight["shape"])) > 1000)


def test_projections_of_learned_queries(tool, tmp_path):
    """What is computed of weights alone is computed once, and the weights that it was computed of are left out."""
    queries, keys = random(16, 128), random(3, 40, 128)
    weights = {"queries": queries, "scale": random(128), "wq": random(128, 128), "bias": random(128), "wk": random(128, 128), "heads": np.array([16, 4, 32]), "more": np.array([0, 0, 4, 32])}
    nodes = [helper.make_node("Mul", ["queries", "scale"], ["scaled"]), helper.make_node("MatMul", ["scaled", "wq"], ["product"]),
             helper.make_node("Add", ["product", "bias"], ["q"]), helper.make_node("Reshape", ["q", "heads"], ["q4"]), helper.make_node("Transpose", ["q4"], ["qt"], perm=[1, 0, 2]),
             helper.make_node("MatMul", ["keys", "wk"], ["k"]), helper.make_node("Reshape", ["k", "more"], ["k4"]), helper.make_node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
             helper.make_node("MatMul", ["qt", "kt"], ["y"])]
    assert computed(tool, tmp_path, nodes, {"keys": keys}, weights) == [16 * 128, 128 * 128]


def test_weights_of_weights(tool, tmp_path):
    """Transposed, scaled and side by side, for one product; in what no weight is, or where it would be larger, a run computes it."""
    weights = {"a": random(80, 128), "b": random(48, 128), "by": random(128, 1), "row": random(1, 300)}
    nodes = [helper.make_node("Concat", ["a", "b"], ["rows"], axis=0), helper.make_node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
             helper.make_node("Mul", ["columns", "by"], ["scaled"]), helper.make_node("MatMul", ["x", "scaled"], ["product"]),
             helper.make_node("Mul", ["by", "row"], ["wide"]), helper.make_node("MatMul", ["product", "wide"], ["y"])]
    assert computed(tool, tmp_path, nodes, {"x": random(5, 128)}, weights) == [128 * 128]


QUANTIZED = {  # types, zero points and scales of both factors
    "plain": (np.uint8, np.int8, 117, None, 0.02, 0.01), "signed": (np.int8, np.int8, -3, None, 0.02, 0.01), "unsigned": (np.uint8, np.uint8, 117, 131, 0.02, 0.01),
    "columns": (np.uint8, np.int8, 255, rng.integers(-9, 9, 33).astype(np.int8), 0.02, rng.uniform(0.01, 0.02, 33).astype(np.float32)),
    "terms": (np.uint8, np.int8, None, None, rng.uniform(0.01, 0.02, 300).astype(np.float32), 0.01)}


@pytest.mark.parametrize("case", QUANTIZED)
@pytest.mark.parametrize("is_weight", [True, False], ids=["weight", "input"])
def test_products_of_what_was_widened(tool, tmp_path, case, is_weight):
    """Bytes are multiplied as they are: sums in f32 of the widened numbers differ from them by rounding alone."""
    left, right, p, q, s, t = QUANTIZED[case]
    numbers = lambda dtype, *shape: rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
    a, b = numbers(left, 2, 5, 300), numbers(right, 300, 33)
    inputs, constants = {"a": a}, {"s": np.float32(s), "t": np.float32(t)}
    (constants if is_weight else inputs)["b"] = b
    names = {"a": ["a", "s"], "b": ["b", "t"]}
    for name, zero, dtype in ("a", p, left), ("b", q, right):
        if zero is not None:
            constants["of_" + name] = np.asarray(zero, dtype)
            names[name].append("of_" + name)
    nodes = [helper.make_node("DequantizeLinear", names["a"], ["x"], axis=-1), helper.make_node("DequantizeLinear", names["b"], ["w"], axis=1), helper.make_node("MatMul", ["x", "w"], ["y"])]
    wide = lambda x, zero, scale: (x.astype(np.float64) - (0 if zero is None else zero)) * np.float64(np.float32(scale))
    want = wide(a, p, s) @ wide(b, q, t)
    got = result(tool, tmp_path, model_of(nodes, inputs, np.float32, {name: np.asarray(array) for name, array in constants.items()}), inputs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float16])
@pytest.mark.parametrize("shape, order", [((33, 70), (1, 0)), ((17, 1), (1, 0)), ((1, 40), (1, 0)), ((0, 40), (1, 0)), ((3, 50, 37), (2, 1, 0)), ((2, 40, 19, 33), (3, 1, 2, 0)), ((5, 9000), (1, 0))], ids=str)
def test_transposes(tool, tmp_path, shape, order, dtype):
    """With what is added to them, of sizes known and not."""
    x = (10 * random(*shape)).astype(dtype)
    z = (10 * random(*(shape[i] for i in order))).astype(dtype)
    for sizes in "known", "named":
        (folder := tmp_path / sizes).mkdir()
        model = model_of([helper.make_node("Transpose", ["x"], ["t"], perm=order), helper.make_node("Add", ["t", "z"], ["y"])], {"x": x, "z": z}, dtype)
        for given in model.graph.input if sizes == "named" else ():
            for i, dim in enumerate(given.type.tensor_type.shape.dim):
                dim.dim_param = f"{given.name}{i}"
        np.testing.assert_array_equal(result(tool, folder, model, {"x": x, "z": z}), x.transpose(order) + z)


# What casts of these give: low bits of the integer between the ends of 32 or 64 bits.
BEYOND = np.float32([-1, 300, 3.9, -3.9, np.nan, 1e10, -1e10, 1e30, -np.inf])
MOST = 2**31 - 128, 2**63 - 2**39, 2**64 - 2**40  # the largest floats
CASTS = {
    "uint8": [255, 44, 3, 253, 0, MOST[0] % 256, 0, MOST[0] % 256, 0],
    "int8": [-1, 44, 3, -3, 0, -128, 0, -128, 0],
    "int32": [-1, 300, 3, -3, 0, MOST[0], -(2**31), MOST[0], -(2**31)],
    "uint32": [2**32 - 1, 300, 3, 2**32 - 3, 0, 10**10 % 2**32, -(10**10) % 2**32, MOST[1] % 2**32, 0],
    "int64": [-1, 300, 3, -3, 0, 10**10, -(10**10), MOST[1], -(2**63)],
    "uint64": [2**64 - 1, 300, 3, 2**64 - 3, 0, 10**10, 2**64 - 10**10, MOST[2], 2**63],
}


@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("dtype", CASTS)
def test_numbers_beyond_an_integer(dtype, is_constant, tool, tmp_path):
    x = {"x": np.float32(1) if is_constant else BEYOND}
    nodes = [helper.make_node("Cast", ["c" if is_constant else "x"], ["y"], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))]
    if is_constant:
        models = {str(number): model_of(nodes, x, dtype, {"c": number}) for number in BEYOND}
        got = results(tool, tmp_path, merged(models), {f"{name}.x": x["x"] for name in models})
        for name, want in zip(models, CASTS[dtype], strict=True):
            np.testing.assert_array_equal(got[f"{name}.y"], np.array(want, dtype=dtype), err_msg=name)
    else:
        np.testing.assert_array_equal(result(tool, tmp_path, model_of(nodes, x, dtype), x), np.array(CASTS[dtype], dtype=dtype))


@pytest.mark.parametrize("operator, attributes", [("MatMul", {}), ("Einsum", {"equation": "ij,jk->ik"})])
def test_products_of_unsigned_integers(operator, attributes, tool, tmp_path):
    inputs = {name: rng.integers(0, 2**32, shape, dtype=np.uint32) for name, shape in {"x": (3, 4), "w": (4, 5)}.items()}
    model = model_of([helper.make_node(operator, ["x", "w"], ["y"], **attributes)], inputs, np.uint32)
    np.testing.assert_array_equal(result(tool, tmp_path, model, inputs), inputs["x"] @ inputs["w"])


@pytest.mark.parametrize("operator", ["Exp", "Sigmoid", "Mish", "Softplus", "Softmax", "Tanh"])
def test_no_number_stays_none(operator, tool, tmp_path):
    x = {"x": random(1, 9)}
    nodes = [helper.make_node("Mul", ["x", "c"], ["u"]), helper.make_node(operator, ["u"], ["y"])]
    got = result(tool, tmp_path, model_of(nodes, x, np.float32, {"c": np.float32(np.nan)}), x)
    assert got.shape == (1, 9) and np.isnan(got).all()


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_sums_of_halves(operator, tool, tmp_path):
    """Rounded once: as f32's sums are, not f16's of 2304 products."""
    x, w = random(1, 256, 6, 6), random(*((4, 256) if operator == "Conv" else (256, 4)), 3, 3)
    bias = random(4)
    x, w, bias = (a.astype(np.float16) for a in (x, w, bias))
    node = [helper.make_node(operator, ["x", "w", "b"], ["y"])]
    wide = {"x": x.astype(np.float32)}
    want = expected(model_of(node, wide, np.float32, {"w": w.astype(np.float32), "b": bias.astype(np.float32)}), wide)
    got = result(tool, tmp_path, model_of(node, {"x": x}, np.float16, {"w": w, "b": bias}), {"x": x})
    assert got.dtype == np.float16
    np.testing.assert_allclose(got.astype(np.float32), want, rtol=2**-10, atol=2e-3)


@pytest.mark.parametrize("sizes", [None, 5, 7, 14, 21, 85], ids=str)
def test_channels_with_kernels_of_their_own(sizes, tool, tmp_path):
    """Rows that vectors do not fill, of sizes that only a run knows, or the model, against sums in f64."""
    w = random(6, 1, 3, 5)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=3, pads=[1, 2, 1, 2], dilations=[1, 1])
    model = model_of([node], {"x": random(2, 3, 4, sizes or 9)}, np.float32, {"w": w})
    if not sizes:
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    for width in [sizes] if sizes else [1, 3, 8, 11, 16, 31, 47, 64, 77, 130]:
        x = random(2, 3, 4, width)
        padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1), (2, 2)]).repeat(2, axis=1)
        want = sum(w[:, 0, i, j, None, None] * padded[:, :, i : i + 4, j : j + width] for i in range(3) for j in range(5))
        got = result(tool, tmp_path, model, {"x": x})
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=str(width))


@pytest.mark.parametrize("attributes", [
    {"output_shape": [8, 9], "strides": [2, 2]},
    {"output_shape": [8, 10], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"pads": [3, 0, 0, 3], "strides": [2, 2]},
    {"pads": [3, 1, 1, 3], "dilations": [1, 2]},
], ids=str)
def test_pads_of_transposed_convolutions(attributes, tool, tmp_path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    check(tool, tmp_path, [node], {"x": random(1, 2, 4, 5)}, {"w": random(2, 3, 3, 3)})


GROUPED = {"Conv": ((1, 4, 5, 6), (6, 2, 3, 2)), "Conv1": ((2, 4, 7), (8, 1, 3)), "ConvTranspose": ((1, 4, 5, 6), (4, 3, 2, 3)), "ConvInteger": ((1, 4, 7), (6, 2, 3))}


@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_channels_that_a_run_says(name, tool, tmp_path):
    """As many as a run gives for its weights; a number of them that groups do not divide is refused."""
    operator = name.rstrip("1")
    data, kernel = (rng.integers(-9, 9, shape).astype(np.int8 if operator == "ConvInteger" else np.float32) for shape in GROUPED[name])
    group = kernel.shape[0] // 2 if name == "Conv1" else 2
    x = {"x": data, "w": kernel}
    model = model_of([helper.make_node(operator, ["x", "w"], ["y"], group=group)], x, np.int32 if operator == "ConvInteger" else np.float32)
    for given in model.graph.input:
        for i, dim in enumerate(given.type.tensor_type.shape.dim):
            dim.dim_param = f"{given.name}{i}"
    np.testing.assert_allclose(result(tool, tmp_path, model, x), expected(model, x), rtol=1e-5, atol=1e-5)
    reference.save_tensors(tmp_path / "in", "input", [("x", data[:, :3]), ("w", kernel[:3])] if operator == "ConvTranspose" else [("x", data), ("w", kernel[:5])])
    done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 1 and "groups" in done.err, done


@pytest.mark.parametrize("opset", [12, 21, 22])
@pytest.mark.parametrize("operator, attributes", [("MaxPool", {}), ("AveragePool", {"count_include_pad": 1}), ("AveragePool", {}), ("LpPool", {})], ids=["max", "average", "inside", "norm"])
def test_windows_that_would_begin_behind_the_data(operator, attributes, opset, tool, tmp_path):
    """There are none, whatever the opset: onnxruntime drops them too. What follows has the sizes that are left."""
    if operator == "LpPool" and opset < 18:
        pytest.skip("no ceil_mode")
    pool = helper.make_node(operator, ["x"], ["p"], kernel_shape=[2, 3], strides=[3, 2], pads=[1, 0, 1, 2], ceil_mode=1, **attributes)
    check(tool, tmp_path, [pool, helper.make_node("Relu", ["p"], ["r"]), helper.make_node("Softmax", ["r"], ["y"], axis=1)], {"x": random(2, 3, 8, 6)}, opset=opset)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads_that_cut(mode, tool, tmp_path):
    """A negative pad takes elements away, before others are added at the other end."""
    check(tool, tmp_path, [helper.make_node("Pad", ["x", "pads"], ["y"], mode=mode)], {"x": random(4, 5, 6)}, {"pads": np.array([1, -2, 0, -1, 2, -3])})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("operator,opset", [("Upsample", 9), ("Resize", 10)])
def test_old_resizes(operator, opset, mode, tool, tmp_path):
    nodes = [helper.make_node(operator, ["x", "s"], ["y"], mode=mode)]
    check(tool, tmp_path, nodes, {"x": random(1, 2, 5, 7)}, {"s": np.float32([1, 1, 2, 1.5 if mode == "nearest" else 2])}, opset)


@pytest.mark.parametrize("axis", [None, 0, 2, -1])
def test_old_hardmax(axis, tool, tmp_path):
    """Of all dims from the axis on together."""
    check(tool, tmp_path, [helper.make_node("Hardmax", ["x"], ["y"], **({} if axis is None else {"axis": axis}))], {"x": random(2, 3, 4)}, opset=11)


def test_a_scale_for_each_row(tool, tmp_path):
    a, b = rng.integers(0, 255, (3, 5)).astype(np.uint8), rng.integers(0, 255, (5, 3)).astype(np.uint8)
    scales, zeros = np.float32([.01, .02, .03]), np.uint8([1, 2, 3])
    constants = {"sa": scales, "za": zeros, "b": b, "sb": np.float32(.02), "zb": np.uint8(7), "sy": np.float32(.5), "zy": np.uint8(9)}
    sums = (a.astype(int) - zeros[:, None]) @ (b.astype(int) - 7)
    want = np.clip(np.rint(sums * scales[:, None] * np.float32(.02) / np.float32(.5)) + 9, 0, 255)
    node = helper.make_node("QLinearMatMul", ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"], ["y"])
    got = result(tool, tmp_path, model_of([node], {"a": a}, np.uint8, constants), {"a": a})
    np.testing.assert_array_equal(got, want)


def test_integer_powers_of_negative_exponents(tool, tmp_path):
    x = {"x": np.int64([3, -2, 1, -1, -1, 5]), "e": np.int64([-1, -3, -4, -3, -2, 2])}
    got = result(tool, tmp_path, model_of([helper.make_node("Pow", ["x", "e"], ["y"])], x, np.int64), x)
    np.testing.assert_array_equal(got, [0, 0, 1, -1, 1, 25])


def test_resize_to_sizes_beside_no_scales(tool, tmp_path):
    constants = {"s": np.float32([]), "z": np.int64([1, 2, 10, 7])}
    check(tool, tmp_path, [helper.make_node("Resize", ["x", "", "s", "z"], ["y"], mode="linear")], {"x": random(1, 2, 5, 7)}, constants)


def test_a_partial_last_block_of_sizes_known_at_run_time(tool, tmp_path):
    x = {"q": rng.integers(0, 255, (3, 7)).astype(np.uint8), "s": random(3, 2)}
    model = model_of([helper.make_node("DequantizeLinear", ["q", "s"], ["y"], axis=1, block_size=4)], x, np.float32)
    for name, value in zip("qs", model.graph.input):
        value.type.tensor_type.shape.dim[1].dim_param = name
    got = result(tool, tmp_path, model, x)
    np.testing.assert_allclose(got, x["q"] * np.repeat(x["s"], 4, axis=1)[:, :7], rtol=1e-6)


@pytest.mark.parametrize("axes", [[7], [-3], [1, -1]], ids=str)
def test_axes_of_the_run_that_are_refused(axes, tool, tmp_path):
    x = {"x": random(2, 3), "a": np.int64(axes)}
    model = model_of([helper.make_node("ReduceSum", ["x", "a"], ["y"])], x, np.float32)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"]))
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    reference.save_tensors(tmp_path / "in", "input", list(x.items()))
    done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 1 and ("out of range" in done.err or "not distinct" in done.err), done


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("is_dynamic", [False, True])
def test_transposed_convolutions_of_kernels_below_their_stride(is_dynamic, auto_pad, tool, tmp_path):
    x = {"x": random(1, 2, 4, 5)}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], auto_pad=auto_pad, strides=[3, 4], kernel_shape=[2, 1])
    model = model_of([node], x, np.float32, {"w": random(2, 3, 2, 1)})
    if is_dynamic:
        for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
            dim.ClearField("dim_value")
    want, got = expected(model, x), result(tool, tmp_path, model, x)
    assert got.shape == want.shape == (1, 3, 11, 17)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scales", [(0.6, 0.7), (0.3, 1.7), (0.8, 0.25)])
def test_old_resizes_that_shrink(scales, tool, tmp_path):
    node = helper.make_node("Resize", ["x", "scales"], ["y"], mode="nearest")
    check(tool, tmp_path, [node], {"x": random(1, 1, 10, 12)}, {"scales": np.float32([1, 1, *scales])}, opset=10)


@pytest.mark.parametrize("opset", [18, 20])
def test_a_scale_and_a_bias_for_each_group(opset, tool, tmp_path):
    node = helper.make_node("GroupNormalization", ["x", "scale", "bias"], ["y"], num_groups=2, epsilon=1e-3)
    check(tool, tmp_path, [node], {"x": random(2, 6, 3, 4), "bias": random(2)}, {"scale": random(2)}, opset=opset)


def test_quantized_sums_of_signed_bytes_without_a_zero_point(tool, tmp_path):
    """Against NumPy: onnxruntime refuses them."""
    a, b = rng.integers(-128, 128, (2, 3, 40)).astype(np.int8)
    scales = {"sa": np.float32(0.1), "sb": np.float32(0.2), "sy": np.float32(0.15)}
    node = helper.make_node("QLinearAdd", ["a", "sa", "", "b", "sb", "", "sy"], ["y"], domain="com.microsoft")
    got = result(tool, tmp_path, model_of([node], {"a": a, "b": b}, np.int8, scales), {"a": a, "b": b})
    want = np.clip(np.rint((a * scales["sa"] + b * scales["sb"]) / scales["sy"]), -128, 127)
    assert got.dtype == np.int8 and np.abs(got - want).max() <= 1 and (got == want).mean() > 0.9


@pytest.mark.parametrize("bits, zeros", [(4, False), (4, True), (8, False)])
def test_packed_weights_of_one_byte(bits, zeros, tool, tmp_path):
    """A constant of one number, which the compiler keeps as that."""
    node = helper.make_node("MatMulNBits", ["x", "w", "s"] + ["z"] * zeros, ["y"], K=32, N=4, block_size=16, bits=bits, domain="com.microsoft")
    constants = {"w": np.full((4, 2, 2 * bits), 0x79, np.uint8), "s": random(8)} | ({"z": np.full(4, 0x33, np.uint8)} if zeros else {})
    check(tool, tmp_path, [node], {"x": random(3, 32)}, constants)


def test_elements_that_data_chooses(tool, tmp_path):
    """None, all, the last of a block and the first of the next, of lists that end within a block; no list at all."""
    edges = np.zeros(1000, bool)
    edges[[0, 254, 255, 256, 511, 999]] = True
    chosen = {"none": np.zeros((3, 300), np.float32), "all": np.ones((2, 256), np.int64), "some": (rng.random((3, 5, 67)) < 0.1).astype(np.float32),
              "edges": edges, "empty": np.zeros((4, 0), bool), "scalar": np.array(2.0, np.float32)}
    whole = merged({name: model_of([helper.make_node("NonZero", ["x"], ["y"])], {"x": x}, np.int64) for name, x in chosen.items()})
    got = results(tool, tmp_path, whole, {f"{name}.x": x for name, x in chosen.items()})
    for name, x in chosen.items():
        want = np.array(np.nonzero(x)) if x.ndim else np.zeros((0, 1))
        np.testing.assert_array_equal(got[f"{name}.y"], want, err_msg=name)


def test_rows_of_an_expert(tool, tmp_path):
    """As many rows as data says go through a product and back to their places."""
    node = helper.make_node
    nodes = [node("Equal", ["expert", "one"], ["own"]), node("NonZero", ["own"], ["column"]), node("Transpose", ["column"], ["rows"]),
             node("GatherND", ["x", "rows"], ["taken"]), node("MatMul", ["taken", "w"], ["made"]),
             node("ScatterND", ["x", "rows", "made"], ["y"], reduction="add")]
    inputs = {"x": random(70, 8), "expert": rng.integers(0, 3, 70)}
    check(tool, tmp_path, nodes, inputs, {"one": np.array(1), "w": random(8, 8)})


def test_attention_without_heads(tool, tmp_path):
    """Queries, keys and values of rank 3, with a bias for each entry of the batch."""
    node = helper.make_node
    nodes = [node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), node("MatMul", ["q", "kt"], ["s"]), node("Add", ["s", "m"], ["x"]),
             node("Softmax", ["x"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"])]
    check(tool, tmp_path, nodes, {"q": random(3, 7, 8), "k": random(3, 9, 8), "v": random(3, 9, 5), "m": random(3, 7, 9)})


@pytest.mark.parametrize("windows", [4, 1])
def test_scores_with_more_outer_dims(windows, tool, tmp_path):
    """Heads of windows: of five dims, with a mask for each image and window, and one for each image and head."""
    node = helper.make_node
    nodes = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 2, 4, 3]), node("MatMul", ["q", "kt"], ["s"]), node("Add", ["s", "m"], ["x"]),
             node("Add", ["x", "h"], ["z"]), node("Softmax", ["z"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"])]
    check(tool, tmp_path, nodes, {"q": random(2, 3, windows, 5, 8), "k": random(2, 3, windows, 7, 8), "v": random(2, 3, windows, 7, 6),
                                  "m": random(2, 1, windows, 5, 7), "h": random(2, 3, 1, 1, 7)})


def test_probabilities_of_several_values(tool, tmp_path):
    """One softmax, masked, for two products with values of other depths."""
    node = helper.make_node
    nodes = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"]), node("Add", ["s", "m"], ["x"]),
             node("Softmax", ["x"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["a"]), node("MatMul", ["p", "w"], ["b"]), node("Sub", ["a", "b"], ["y"])]
    check(tool, tmp_path, nodes, {"q": random(2, 3, 5, 8), "k": random(2, 3, 7, 8), "v": random(2, 3, 7, 6), "w": random(2, 3, 7, 1), "m": random(2, 1, 5, 7)})


def test_windows_of_a_shifted_image(tool, tmp_path):
    """Swin's mask as its exports compute it, from the parts of an image that each row and column are of: too much for a pattern, or for words."""
    node = helper.make_node
    nodes = [node("Range", ["zero", "size", "one"], ["at"]), node("GreaterOrEqual", ["at", "four"], ["a"]), node("GreaterOrEqual", ["at", "six"], ["b"]),
             node("Cast", ["a"], ["ai"], to=TensorProto.INT64), node("Cast", ["b"], ["bi"], to=TensorProto.INT64), node("Add", ["ai", "bi"], ["part"]),
             node("Mul", ["part", "three"], ["row"]), node("Unsqueeze", ["row", "ones"], ["rows"]), node("Add", ["rows", "part"], ["image"]),
             node("Reshape", ["image", "blocks"], ["w"]), node("Transpose", ["w"], ["t"], perm=[0, 2, 1, 3]), node("Reshape", ["t", "windows"], ["l"]),
             node("Unsqueeze", ["l", "ones"], ["keys"]), node("Unsqueeze", ["l", "twos"], ["queries"]), node("Sub", ["keys", "queries"], ["d"]),
             node("Equal", ["d", "zero"], ["same"]), node("Where", ["same", "none", "hidden"], ["mask"]), node("Unsqueeze", ["mask", "dims"], ["m"]),
             node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"]), node("Reshape", ["s", "apart"], ["x"]),
             node("Add", ["x", "m"], ["z"]), node("Reshape", ["z", "back"], ["f"]), node("Softmax", ["f"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"])]
    constants = {"zero": 0, "one": 1, "size": 8, "four": 4, "six": 6, "three": 3, "ones": [1], "twos": [2], "dims": [0, 2], "blocks": [2, 4, 2, 4],
                 "windows": [4, 16], "apart": [2, 4, 2, 16, 16], "back": [8, 2, 16, 16], "none": np.float32(0), "hidden": np.float32(-100)}
    check(tool, tmp_path, nodes, {name: random(8, 2, 16, 8) for name in "qkv"}, {name: np.asarray(value) for name, value in constants.items()})


@pytest.mark.parametrize("axes", [None, [1]], ids=str)
def test_a_mean_that_is_large_beside_the_deviation(axes, tool, tmp_path):
    x = (1000 + 0.5 * np.random.default_rng(3).standard_normal((2, 3, 4, 5))).astype(np.float32)
    nodes = [helper.make_node("MeanVarianceNormalization", ["x"], ["y"], **({"axes": axes} if axes else {}))]
    wide, over = x.astype(np.float64), tuple(axes or (0, 2, 3))
    want = (wide - wide.mean(over, keepdims=True)) / wide.std(over, keepdims=True)
    np.testing.assert_allclose(result(tool, tmp_path, model_of(nodes, {"x": x}, np.float32), {"x": x}), want, atol=5e-3)


@pytest.mark.parametrize("op, dtypes", [("MatMul", (np.float32, np.float32)), ("MatMulInteger", (np.uint8, np.int8))])
def test_products_of_no_rows_in_batches_of_any_size(op, dtypes, tool, tmp_path):
    """A batch and a depth that the model leaves open, about a size that it declares to be 0."""
    inputs = {"a": np.zeros((2, 0, 5), dtypes[0])}
    out = np.float32 if op == "MatMul" else np.int32
    model = model_of([helper.make_node(op, ["a", "w"], ["y"])], inputs, out, {"w": np.ones((5, 3), dtypes[1])})
    for i in (0, 2):
        model.graph.input[0].type.tensor_type.shape.dim[i].ClearField("dim_value")
    got = result(tool, tmp_path, model, inputs)
    assert got.shape == (2, 0, 3) and got.dtype == out


def test_dims_whose_name_is_a_question_mark(tool, tmp_path):
    """Say nothing: Paddle's exports have it for each size that is not known."""
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": random(2, 5)}, np.float32)
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "?"
    x = random(3, 4)
    assert (result(tool, tmp_path, model, {"x": x}) == -x).all()


@pytest.mark.parametrize("sizes", [(2, 3, 4, 3), (2, 3, 5), (4, 3)], ids=str)
def test_old_slopes(sizes, tool, tmp_path):
    """Before opset 7, one for each channel, also where there are as many along the last axis."""
    x, slope = random(*sizes), np.array([0.1, 0.5, 2.0], np.float32)
    model = model_of([helper.make_node("PRelu", ["x", "s"], ["y"])], {"x": x}, np.float32, {"s": slope}, opset=6)
    np.testing.assert_allclose(result(tool, tmp_path, model, {"x": x}), np.where(x < 0, x * slope.reshape(3, *[1] * (len(sizes) - 2)), x), rtol=1e-6)


@pytest.mark.parametrize("version", [3, 8])
def test_initializers_that_are_inputs(version, tool, tmp_path):
    """As all are before IR version 4: constants, also where their numbers say sizes. Import and export keep them."""
    model = model_of([helper.make_node("Reshape", ["x", "to"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"])], {"x": random(6, 4)}, np.float32,
                     {"to": np.array([3, 8]), "w": random(8, 5)}, opset=9 if version == 3 else 21)
    model.ir_version = version
    for tensor in model.graph.initializer:
        model.graph.input.insert(0, helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    x = random(6, 4)
    w = numpy_helper.to_array(model.graph.initializer[1])
    np.testing.assert_allclose(result(tool, tmp_path, model, {"x": x}), x.reshape(3, 8) @ w, rtol=1e-4, atol=1e-5)
    assert tool("megactx-translate", "--import-onnx", tmp_path / "model.onnx", "-o", tmp_path / "m.mlir").status == 0
    assert tool("megactx-translate", "--export-onnx", tmp_path / "m.mlir", "-o", tmp_path / "again.onnx").status == 0
    assert list(onnx.load(tmp_path / "again.onnx").graph.input) == list(model.graph.input)
    with pytest.raises(megactx.Error, match="expected the inputs x, but got x, w"):
        megactx.load(tmp_path / "model.mctx").run({"x": x, "w": w})


@pytest.mark.parametrize("sizes, kernel, more", [((2, 8, 300, 1), (6, 8, 5, 1), {}), ((1, 8, 1, 300), (6, 4, 1, 5), {"group": 2, "strides": [3, 2]}),
                                                 ((2, 8, 1, 30, 1), (6, 8, 1, 3, 1), {"dilations": [1, 2, 1]}), ((2, 8, 1, 1), (6, 8, 1, 1), {}), ((1, 8, 40, 3), (6, 8, 5, 3), {"pads": [2, 0, 2, 0]})], ids=str)
def test_convolutions_along_one_axis(sizes, kernel, more, tool, tmp_path):
    check(tool, tmp_path, [helper.make_node("Conv", ["x", "w"], ["y"], **more)], {"x": random(*sizes)}, {"w": random(*kernel)})


@pytest.mark.parametrize("heads", [(), (3,)], ids=["one", "heads"])
def test_attention_of_channels_first(heads, tool, tmp_path):
    """As of EfficientViT and CoAtNet: values times transposed probabilities, also under a pattern."""
    q, k, v = (random(2, *heads, *sizes) for sizes in ((8, 7), (8, 7), (6, 7)))
    swap = [*range(len(heads) + 1), len(heads) + 2, len(heads) + 1]
    nodes = [helper.make_node("Transpose", ["q"], ["rows"], perm=swap), helper.make_node("MatMul", ["rows", "k"], ["s"]), helper.make_node("Softmax", ["s"], ["p"]),
             helper.make_node("Transpose", ["p"], ["t"], perm=swap), helper.make_node("MatMul", ["v", "t"], ["y"])]
    check(tool, tmp_path, nodes, {"q": q, "k": k, "v": v})
    done = tool("megactx-compile", tmp_path / "model.onnx", "--pattern", "window<left = 1, right = 2>", "-o", tmp_path / "model.mctx")
    assert "raised 1 attentions, sparsified 1" in done.err
    got = megactx.load(tmp_path / "model.mctx").run({"q": q, "k": k, "v": v})["y"]
    scores, off = q.swapaxes(-1, -2) @ k, np.arange(7) - np.arange(7)[:, None]
    exp = np.exp(scores) * ((off >= -1) & (off <= 2))
    np.testing.assert_allclose(got, v @ (exp / exp.sum(-1, keepdims=True)).swapaxes(-1, -2), rtol=1e-4, atol=1e-5)


def test_lists_of_one_byte(tool, tmp_path):
    """Zero points of each channel that are all the same, and a list of one element."""
    weights = rng.integers(0, 256, (3, 2, 3, 3)).astype(np.uint8)
    constants = {"w": weights, "points": np.full(3, 128, np.uint8), "point": np.uint8([3]), "scales": np.float32([.1, .2, .3])}
    cases = {
        "dequantized": ([helper.make_node("DequantizeLinear", ["w", "scales", "points"], ["f"], axis=0), helper.make_node("Conv", ["x", "f"], ["y"])],
                        {"x": random(1, 2, 5, 5)}, np.float32),
        "sums": ([helper.make_node("ConvInteger", ["x", "w", "point"], ["y"])], {"x": rng.integers(0, 256, (1, 2, 5, 5)).astype(np.uint8)}, np.int32),
    }
    for name, (nodes, inputs, dtype) in cases.items():
        used = {key: array for key, array in constants.items() if any(key in node.input for node in nodes)}
        model, folder = model_of(nodes, inputs, dtype, used), tmp_path / name
        folder.mkdir()
        np.testing.assert_allclose(results(tool, folder, model, inputs)["y"], expected(model, inputs), rtol=1e-4, atol=1e-4, err_msg=name)


def test_sizes_after_cumulative_sums(tool, tmp_path):
    """Those that the sums have from a node before them, whose first use may be in the sums' own loop."""
    nodes = [helper.make_node("Pad", ["x", "pads"], ["padded"]), helper.make_node("CumSum", ["padded", "axis"], ["sums"]), helper.make_node("Relu", ["sums"], ["y"])]
    inputs = {"x": random(5, 7)}
    model = model_of(nodes, inputs, np.float32, {"pads": np.int64([0, 1, 0, 0]), "axis": np.int64(0)})
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, "nm", strict=True):
        dim.dim_param = name
    np.testing.assert_allclose(results(tool, tmp_path, model, inputs)["y"], expected(model, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keepdims", (0, 1))
@pytest.mark.parametrize("opset", (13, 18))
def test_exponentials_beyond_a_float(opset, keepdims, tool, tmp_path):
    """Sums of exponentials that are 0, or beyond a float, have logarithms (Reformer's masked scores); infinities have theirs."""
    x = random(2, 6, 5)
    x[0, 0], x[0, 1], x[0, 2], x[1, 1, 2:], x[1, 2, 0], x[1, 3] = -1e9, -1e5, 900, -1e30, np.inf, -np.inf
    node = helper.make_node("ReduceLogSumExp", ["x"] if opset < 18 else ["x", "axes"], ["y"], keepdims=keepdims, **({"axes": [-1]} if opset < 18 else {}))
    check(tool, tmp_path, [node], {"x": x}, {} if opset < 18 else {"axes": np.array([-1])}, opset)
