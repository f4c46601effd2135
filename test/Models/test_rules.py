"""Operators that rules make of others, in the forms that ONNX's own node tests leave out: against onnxruntime."""

import itertools
import math

import numpy as np
import onnx
import pytest
from onnx import helper

import megactx
import reference

node = helper.make_node
KINDS = {np.dtype(k): v for k, v in [(np.float32, onnx.TensorProto.FLOAT), (np.int64, onnx.TensorProto.INT64), (np.int32, onnx.TensorProto.INT32),
                                     (np.int8, onnx.TensorProto.INT8), (np.uint8, onnx.TensorProto.UINT8), (np.float64, onnx.TensorProto.DOUBLE), (np.float16, onnx.TensorProto.FLOAT16)]}


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def model_of(made, feeds, constants=(), outputs=None, fixed=None):
    """A node as a model of run-time sizes, but of the ranks that its inputs have, and of the last sizes where there are several, or all or none where
    `fixed` says so."""
    def info(name, array):
        sizes = [size if (fixed is None and array.ndim > 1 and i == array.ndim - 1) or fixed else f"{name}_{i}" for i, size in enumerate(array.shape)]
        return helper.make_tensor_value_info(name, KINDS[array.dtype], sizes)
    inputs = [info(name, array) for name, array in feeds.items() if name not in constants]
    weights = [onnx.numpy_helper.from_array(feeds[name], name) for name in constants]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs or made.output if name]
    graph = helper.make_graph([made], "g", inputs, results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def results(model, feeds, tool, tmp_path):
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    return megactx.load(tmp_path / "m.mctx").run(feeds)


def check(made, feeds, tool, tmp_path, constants=(), tolerance=1e-5, fixed=None):
    model = model_of(made, feeds, constants, fixed=fixed)
    given = {name: array for name, array in feeds.items() if name not in constants}
    got = results(model, given, tool, tmp_path)
    for output, want in zip(model.graph.output, reference.session(model).run(None, given)):
        assert got[output.name].shape == want.shape and got[output.name].dtype == want.dtype
        np.testing.assert_allclose(got[output.name].astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance, err_msg=output.name)


STEPS, BATCH, SIZE, HIDDEN = 7, 3, 5, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(kind, directions=1, **given):
    """The inputs of a recurrent operator: always X, W, R, and others by name."""
    gates, states = GATES[kind] * HIDDEN, (directions, BATCH, HIDDEN)
    optional = {"b": normal(directions, 2 * gates), "lens": np.array([7, 0, 4], np.int32), "h": normal(*states), "c": -normal(*states),
                "p": normal(directions, 3 * HIDDEN)}
    feeds = {"x": normal(STEPS, BATCH, SIZE), "w": normal(directions, gates, SIZE), "r": normal(directions, gates, HIDDEN)}
    feeds |= {name: array for name, array in optional.items() if name in given.get("have", ())}
    return feeds, [name if name in feeds else "" for name in ("x", "w", "r", "b", "lens", "h", "c", "p")][:8 if kind == "LSTM" else 6]


FORMS = [("RNN", {"direction": "bidirectional", "activations": ["Relu", "Softsign"]}, "b lens h"), ("RNN", {"direction": "reverse"}, ""),
         ("GRU", {"direction": "bidirectional", "linear_before_reset": 1}, "b lens h"), ("GRU", {"linear_before_reset": 1}, "h"),
         ("GRU", {"direction": "reverse"}, "b lens"), ("LSTM", {"direction": "bidirectional"}, "b lens h c p"), ("LSTM", {"direction": "reverse"}, "lens c"),
         ("LSTM", {"activations": ["Sigmoid", "Softsign", "Relu"]}, "b h"), ("LSTM", {"clip": 0.5, "activations": ["Sigmoid", "Tanh", "Relu"]}, "b lens h c p"),
         ("LSTM", {"input_forget": 1, "clip": 0.5}, "b h c p"), ("RNN", {"clip": 0.5, "direction": "bidirectional"}, "b"), ("GRU", {"clip": 0.25}, "b h"),
         ("GRU", {"clip": 0.25, "linear_before_reset": 1}, "b h"),
         ("LSTM", {"direction": "bidirectional", "activations": ["HardSigmoid", "Affine", "LeakyRelu", "Elu", "Tanh", "ScaledTanh"],
                   "activation_alpha": [0.3, 0.5, 0.2, 0.7, 0.9], "activation_beta": [0.4, 0.1, 0.6]}, "b"),
         ("GRU", {"activations": ["HardSigmoid", "ThresholdedRelu"], "activation_alpha": [0.3, 0.25]}, "b"),
         ("RNN", {"direction": "bidirectional", "activations": ["LeakyRelu", "Elu"]}, "b"), ("RNN", {"activations": ["Softplus"], "activation_alpha": [0.3]}, "")]


@pytest.mark.parametrize("kind, attributes, have", FORMS, ids=[f"{kind}-{i}" for i, (kind, *_) in enumerate(FORMS)])
def test_recurrent(kind, attributes, have, tool, tmp_path):
    """Both directions, entries of several lengths, one of none, states to begin with."""
    feeds, inputs = recurrent(kind, 2 if attributes.get("direction") == "bidirectional" else 1, have=have.split())
    outputs = ["y", "y_h", "y_c"][:3 if kind == "LSTM" else 2]
    check(node(kind, inputs, outputs, hidden_size=HIDDEN, **attributes), feeds, tool, tmp_path)


@pytest.mark.parametrize("kind", GATES)
def test_recurrent_of_batches_first(kind, tool, tmp_path):
    """Which onnxruntime does not know: the same, but for the order of the dims."""
    feeds, inputs = recurrent(kind, 2, have=["b", "h", "c"])
    outputs = ["y", "y_h", "y_c"][:3 if kind == "LSTM" else 2]
    common = {"hidden_size": HIDDEN, "direction": "bidirectional"}
    want = reference.session(model_of(node(kind, inputs, outputs, **common), feeds)).run(None, feeds)
    turned = {name: array.swapaxes(0, 1).copy() if name in "xhc" else array for name, array in feeds.items()}
    got = results(model_of(node(kind, inputs, outputs, layout=1, **common), turned), turned, tool, tmp_path)
    np.testing.assert_allclose(got["y"], want[0].transpose(2, 0, 1, 3), rtol=1e-5, atol=1e-5)
    for name, array in zip(outputs[1:], want[1:]):
        np.testing.assert_allclose(got[name], array.swapaxes(0, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("made", [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=HIDDEN, clip=-0.5),
                                  node("GRU", ["x", "w", "r"], ["y"], hidden_size=HIDDEN, activations=["Affine", "Tanh"]),
                                  node("RNN", ["x", "w", "r"], ["y"], hidden_size=HIDDEN, activations=["Swish"])], ids=["clip", "parameters", "activation"])
def test_recurrent_forms_that_are_refused(made, tool, tmp_path):
    """A threshold below zero, an activation without the numbers that it has no default for, one that is unknown."""
    onnx.save(model_of(made, recurrent(made.op_type)[0]), tmp_path / "m.onnx")
    done = tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 1 and f"error: no lowering for {made.op_type}" in done.err, done


def test_recurrent_after_pads_of_a_run(tool, tmp_path):
    """Of a batch whose size is one that pads change, as EnCodec's is; states are of the same size by other means."""
    text = """<ir_version: 10, opset_import: ["": 21]>
m (float[batch, 1, len] x, float[1, 16, 4] r, int64[6] pads) => (float[steps, 1, entries, 4] y) {
  padded = Pad <mode = "reflect"> (x, pads)
  steps = Transpose <perm = [2, 0, 1]> (padded)
  entries = Shape <start = 1, end = 2> (steps)
  one = Constant <value_ints = [1]> ()
  four = Constant <value_ints = [4]> ()
  sizes = Concat <axis = 0> (one, entries, four)
  state = ConstantOfShape(sizes)
  w = Constant <value = float[1, 16, 1] {1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1}> ()
  y = LSTM <hidden_size = 4> (steps, w, r, "", "", state, state)
}"""
    model = onnx.parser.parse_model(text)
    feeds = {"x": normal(3, 1, 20), "r": normal(1, 16, 4), "pads": np.array([0, 0, 2, 0, 0, 3])}
    np.testing.assert_allclose(results(model, feeds, tool, tmp_path)["y"], reference.session(model).run(None, feeds)[0], rtol=1e-5, atol=1e-5)


def refused(made, feeds, word, tool, tmp_path, constants=(), fixed=None):
    """By the compiler, or by the run."""
    onnx.save(model_of(made, feeds, constants, fixed=fixed), tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    if done.status == 0:
        with pytest.raises(megactx.Error, match=word):
            megactx.load(tmp_path / "m.mctx").run({name: array for name, array in feeds.items() if name not in constants})
    else:
        assert done.status == 1 and done.err.count("error:") == 1 and word in done.err, done


@pytest.mark.parametrize("lens", [[7, 0, 8], [1, -1, 2], [3]], ids=["beyond", "below", "fewer"])
def test_lengths_that_are_none(lens, tool, tmp_path):
    feeds, inputs = recurrent("RNN", have=["lens"])
    word = "number of elements" if len(lens) == 1 else "negative"
    refused(node("RNN", inputs, ["y"], hidden_size=HIDDEN), {**feeds, "lens": np.array(lens, np.int32)}, word, tool, tmp_path)
    feeds = {"x": normal(7, 3, 2), "lens": np.array(lens)}
    refused(node("ReverseSequence", ["x", "lens"], ["y"]), feeds, word, tool, tmp_path)


@pytest.mark.parametrize("change, attributes", [({"w": normal(2, 16, SIZE)}, {}), ({"r": normal(1, HIDDEN, 16)}, {}), ({"b": normal(1, 2)}, {}),
                                                ({}, {"direction": "backward"}), ({}, {"hidden_size": 1 << 40})])
def test_recurrent_operands_that_do_not_fit(change, attributes, tool, tmp_path):
    feeds, inputs = recurrent("LSTM", have=["b"])
    refused(node("LSTM", inputs, ["y"], **{"hidden_size": HIDDEN, **attributes}), {**feeds, **change}, "LSTM", tool, tmp_path, fixed=True)


def test_no_entries(tool, tmp_path):
    """Of known sizes, which tensors of steps then have none of."""
    feeds = {"x": normal(STEPS, 0, SIZE), "w": normal(1, 4 * HIDDEN, SIZE), "r": normal(1, 4 * HIDDEN, HIDDEN)}
    got = results(model_of(node("LSTM", ["x", "w", "r"], ["y"], hidden_size=HIDDEN), feeds, fixed=True), feeds, tool, tmp_path)["y"]
    assert got.shape == (STEPS, 1, 0, HIDDEN)


@pytest.mark.parametrize("time", [0, 1])
def test_reversed_sequences(time, tool, tmp_path):
    feeds = {"x": normal(4, 4, 2, 3), "lens": np.array([4, 1, 0, 3])}
    check(node("ReverseSequence", ["x", "lens"], ["y"], time_axis=time, batch_axis=1 - time), feeds, tool, tmp_path)
    check(node("ReverseSequence", ["x", "lens"], ["y"], time_axis=time, batch_axis=1 - time), {**feeds, "x": normal(4, 4)}, tool, tmp_path)


@pytest.mark.parametrize("mode, padding", list(itertools.product(["nearest", "linear", "cubic"], ["zeros", "border", "reflection"])))
def test_grid_samples(mode, padding, tool, tmp_path):
    """Places far beyond the image, at its edges and between its elements; an image of one row."""
    edges = np.array([-3.7, -1.0, -0.99, 0.0, 0.3, 1.0, 1.01, 2.6], np.float32)
    grid = np.stack(np.meshgrid(edges, edges), -1)[None].repeat(2, 0)
    for aligned in (0, 1):
        made = node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=aligned)
        check(made, {"x": normal(2, 3, 5, 4), "grid": grid}, tool, tmp_path, tolerance=1e-4)
    if mode != "cubic":
        check(made, {"x": normal(1, 2, 1, 4), "grid": grid[:1, :, :, ::-1].copy()}, tool, tmp_path, tolerance=1e-4)
        volume = np.concatenate([grid, grid[..., :1]], -1)[:, None]
        check(made, {"x": normal(2, 3, 2, 5, 4), "grid": volume}, tool, tmp_path, tolerance=1e-4)


def test_samples_beside_what_is_not_finite(tool, tmp_path):
    """Places outside are 0, whatever is at the edge; images and grids of nothing."""
    x, grid = np.array([[[[np.inf, 1], [1, np.nan]]]], np.float32), np.array([[[[-3, -3], [3, 3], [-1, -1]]]], np.float32)
    check(node("GridSample", ["x", "grid"], ["y"], mode="nearest", align_corners=1), {"x": x, "grid": grid}, tool, tmp_path)
    for fixed in (True, False):
        check(node("GridSample", ["x", "grid"], ["y"]), {"x": normal(1, 0, 2, 2), "grid": grid}, tool, tmp_path, fixed=fixed)
        check(node("GridSample", ["x", "grid"], ["y"]), {"x": x, "grid": grid[:, :, :0]}, tool, tmp_path, fixed=fixed)
    refused(node("GridSample", ["x", "grid"], ["y"]), {"x": x, "grid": normal(1, 1, 3, 3)}, "GridSample", tool, tmp_path)


def test_narrow_places_on_a_wide_image(tool, tmp_path):
    """f16 does not hold the number of the last column."""
    x = normal(1, 1, 1, 4096)
    made = node("GridSample", ["x", "grid"], ["y"], mode="nearest", padding_mode="border", align_corners=1)
    grid = np.array([[[[1, 0], [-1, 0], [2, 0]]]], np.float16)
    got = results(model_of(made, {"x": x, "grid": grid}), {"x": x, "grid": grid}, tool, tmp_path)["y"]
    np.testing.assert_array_equal(got.ravel(), x[0, 0, 0, [-1, 0, -1]])


@pytest.mark.parametrize("shape, axis, length, attributes", [((2, 9, 1), 1, None, {}), ((2, 10, 2), 1, 7, {}), ((3, 4, 6, 2), 1, 9, {"inverse": 1}),
                                                             ((2, 12, 1), -2, 15, {"onesided": 1}), ((1024, 1), 0, None, {"onesided": 1})])
def test_fourier_transforms(shape, axis, length, attributes, tool, tmp_path):
    feeds = {"x": normal(*shape), "axis": np.array(axis)}
    if length:
        feeds["length"] = np.array(length)
    made = node("DFT", ["x", "length" if length else "", "axis"], ["y"], **attributes)
    check(made, feeds, tool, tmp_path, constants=["axis"], tolerance=1e-3 if shape[0] > 1000 else 1e-4)


@pytest.mark.parametrize("length", [None, 8, 9])
def test_real_transforms_come_back(length, tool, tmp_path):
    """Of all that the sides of a real signal's transform have in common, one is there."""
    x = normal(2, length or 10, 3)
    waves = np.fft.rfft(x, axis=1)
    feeds = {"x": np.stack([waves.real, waves.imag], -1).astype(np.float32), "axis": np.array(1)}
    if length:
        feeds["length"] = np.array(length)
    made = node("DFT", ["x", "length" if length else "", "axis"], ["y"], onesided=1, inverse=1)
    given = {name: array for name, array in feeds.items() if name != "axis"}
    got = results(model_of(made, feeds, ["axis"]), given, tool, tmp_path)["y"]
    np.testing.assert_allclose(got[..., 0], x, rtol=1e-4, atol=1e-5)


def test_frames_of_a_signal(tool, tmp_path):
    feeds = {"x": normal(2, 50, 1), "step": np.array(7), "window": np.hanning(12).astype(np.float32), "length": np.array(12)}
    check(node("STFT", ["x", "step", "window", "length"], ["y"], onesided=1), feeds, tool, tmp_path, tolerance=1e-4)
    check(node("STFT", ["x", "step", "window"], ["y"], onesided=0), {n: a for n, a in feeds.items() if n != "length"}, tool, tmp_path, tolerance=1e-4)


def test_frames_by_default_and_of_no_steps(tool, tmp_path):
    """One side of the transform, where nothing says otherwise, also where all sizes are known."""
    feeds = {"x": normal(2, 64, 1), "step": np.array(8), "window": np.hanning(16).astype(np.float32), "length": np.array(16)}
    made = node("STFT", ["x", "step", "window"], ["y"])
    given = {name: feeds[name] for name in ("x", "window")}
    model = model_of(made, {**given, "step": feeds["step"]}, ["step"], fixed=True)
    got = results(model, given, tool, tmp_path)["y"]
    frames = np.stack([feeds["x"][:, i:i + 16, 0] for i in range(0, 49, 8)], 1) * feeds["window"]
    want = np.fft.rfft(frames, axis=-1)
    np.testing.assert_allclose(got, np.stack([want.real, want.imag], -1), rtol=1e-4, atol=1e-4)
    made = node("STFT", ["x", "step", "window", "length"], ["y"])
    for change, word in (({"step": np.array(0)}, "negative"), ({"length": np.array(-3)}, "negative"), ({"length": np.array(7)}, "number of elements")):
        refused(made, {**feeds, **change}, word, tool, tmp_path)
    for length in (0, -7):
        refused(node("DFT", ["x", "length", "axis"], ["y"]), {"x": normal(2, 9, 1), "length": np.array(length), "axis": np.array(1)}, "negative", tool,
                tmp_path, constants=["axis"])


def bytes_of(kind, *shape):
    info = np.iinfo(kind)
    return np.random.default_rng(sum(shape)).integers(info.min, info.max + 1, shape).astype(kind)


@pytest.mark.parametrize("attributes, groups", [({"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}, 1), ({"auto_pad": "SAME_UPPER"}, 2)])
def test_integer_convolutions(attributes, groups, tool, tmp_path):
    """Sums that f32 does not hold; one zero point, one for each filter, none."""
    filters = 8
    feeds = {"x": bytes_of(np.uint8, 2, 64 * groups, 9, 10), "w": bytes_of(np.int8, filters, 64, 3, 2), "x_zero": np.array(131, np.uint8),
             "w_zero": np.array(-7, np.int8)}
    check(node("ConvInteger", ["x", "w", "x_zero", "w_zero"], ["y"], group=groups, **attributes), feeds, tool, tmp_path, constants=["w"], tolerance=0)
    scales = {"x_scale": np.array(0.02, np.float32), "w_scale": np.linspace(0.01, 0.05, filters, dtype=np.float32), "y_scale": np.array(20.0, np.float32),
              "y_zero": np.array(120, np.uint8), "bias": np.arange(filters, dtype=np.int32) * 1000 - 3000}
    inputs = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]
    feeds = {name: {**feeds, **scales, "w_zero": np.zeros(filters, np.int8)}[name] for name in inputs}
    check(node("QLinearConv", inputs, ["y"], group=groups, **attributes), feeds, tool, tmp_path, constants=["w", "w_scale", "w_zero"], tolerance=0)


@pytest.mark.parametrize("channels, kernel, groups, constants", [(40, (3, 3), 1, []), (40, (3, 3), 2, ["w", "zeros"]), (2, (17, 17), 1, []), (3, (17, 17), 1, ["w", "zeros"]), (300, (1, 1), 1, ["w"])])
def test_integer_convolutions_of_the_largest_numbers(channels, kernel, groups, constants, tool, tmp_path):
    """Of channels that are cut where f32 would not hold the sums, also of one that it does not hold; onnxruntime sums pairs in 16 bits on some CPUs."""
    rng = np.random.default_rng(channels)
    x = rng.integers(240, 256, (2, channels * groups, 18, 19)).astype(np.uint8)
    w, zeros = rng.integers(240, 256, (4, channels, *kernel)).astype(np.uint8), np.array([0, 255, 128, 1], np.uint8)
    feeds = {"x": x, "w": w, "zeros": zeros}
    made = node("ConvInteger", ["x", "w", "", "zeros"], ["y"], group=groups)
    onnx.save(model_of(made, feeds, constants), tmp_path / "m.onnx")
    assert tool("megactx-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx").status == 0
    got = megactx.load(tmp_path / "m.mctx").run({name: array for name, array in feeds.items() if name not in constants})["y"]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), kernel, axis=(2, 3)).reshape(2, groups, channels, -1, kernel[0] * kernel[1])
    kernels = (w - zeros.reshape(4, 1, 1, 1).astype(np.float64)).reshape(groups, 4 // groups, channels, -1)
    np.testing.assert_array_equal(got.ravel(), np.einsum("ngcpk,gmck->ngmp", windows, kernels).ravel())


def test_a_zero_point_for_each_filter(tool, tmp_path):
    x, w, zeros = bytes_of(np.uint8, 1, 3, 6, 6), bytes_of(np.int8, 4, 3, 2, 2), np.array([1, -128, 127, 0], np.int8)
    made = node("ConvInteger", ["x", "w", "", "zeros"], ["y"])
    refused(made, {"x": x, "w": w, "zeros": zeros[:2]}, "broadcast", tool, tmp_path)
    for attributes, word in (({"kernel_shape": [2]}, "kernel_shape"), ({"kernel_shape": [2, 3]}, "kernel_shape"), ({"auto_pad": "SOME"}, "auto_pad")):
        refused(node("ConvInteger", ["x", "w"], ["y"], **attributes), {"x": x, "w": w}, word, tool, tmp_path)
    got = results(model_of(made, {"x": x, "w": w, "zeros": zeros}), {"x": x, "w": w, "zeros": zeros}, tool, tmp_path)["y"]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (2, 2), axis=(2, 3))
    np.testing.assert_array_equal(got, np.einsum("nchwab,mcab->nmhw", windows, w.astype(np.int64) - zeros.reshape(4, 1, 1, 1)))


@pytest.mark.parametrize("made", [node("LRN", ["x"], ["y"], size=5, alpha=0.3, beta=0.6, bias=1.5), node("GlobalLpPool", ["x"], ["y"], p=3)],
                         ids=["LRN", "GlobalLpPool"])
def test_norms(made, tool, tmp_path):
    check(made, {"x": normal(2, 7, 3, 5)}, tool, tmp_path)


AXES = {"Unsqueeze": {}, "Squeeze": {}, "ReduceSum": {"keepdims": 0}}


@pytest.mark.parametrize("kind", [*AXES, "Split"])
def test_norms_of_ranks_that_a_count_of_axes_says(kind, tool, tmp_path):
    """The rule needs the rank; a run says which axes, or sizes of parts."""
    shape, given = ((7, 3, 5), [0]) if kind == "Unsqueeze" else ((3, 7, 3, 5), [1, 2]) if kind == "Split" else ((1, 2, 7, 3, 5), [0])
    feeds = {"x": normal(*shape), "a": np.array(given)}
    model = model_of(node(kind, ["x", "a"], ["y", "rest"] if kind == "Split" else ["y"], **AXES.get(kind, {})), feeds, outputs=["z"], fixed=True)
    model.graph.node.append(node("LRN", ["y"], ["z"], size=3))
    np.testing.assert_allclose(results(model, feeds, tool, tmp_path)["z"], reference.session(model).run(None, feeds)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("image, block, attributes", [((6, 7), (2, 3), {"strides": [2, 2], "pads": [1, 0, 0, 1]}), ((9, 8), (3, 2), {"dilations": [2, 3]}),
                                                      ((8, 8), (2, 2), {"strides": [2, 2]}), ((5, 4, 6), (2, 2, 3), {"strides": [1, 2, 2]}), ((11,), (4,), {"strides": [3]})])
def test_blocks_of_images_are_summed(image, block, attributes, tool, tmp_path):
    axes = len(image)
    pads, strides, dilations = (attributes.get(name, [otherwise] * count) for name, otherwise, count in
                                [("pads", 0, 2 * axes), ("strides", 1, axes), ("dilations", 1, axes)])
    steps = [(n + pads[i] + pads[axes + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i, n in enumerate(image)]
    x = normal(2, 3 * int(np.prod(block)), int(np.prod(steps)))
    feeds = {"x": x, "image": np.array(image), "block": np.array(block)}
    made = node("Col2Im", ["x", "image", "block"], ["y"], **attributes)
    padded = np.zeros((2, 3, *(n + pads[i] + pads[axes + i] for i, n in enumerate(image))))
    blocks = x.reshape(2, 3, *block, *steps)
    for at in np.ndindex(*block):
        where = tuple(slice(a * d, a * d + (n - 1) * s + 1, s) for a, d, n, s in zip(at, dilations, steps, strides))
        padded[(slice(None), slice(None), *where)] += blocks[(slice(None), slice(None), *at)]
    want = padded[(slice(None), slice(None), *(slice(pads[i], pads[i] + n) for i, n in enumerate(image)))]
    got = results(model_of(made, feeds, ("image", "block")), {"x": x}, tool, tmp_path)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


RANDOM = {"RandomNormal": ({"mean": 2.0, "scale": 3.0}, "shape"), "RandomNormalLike": ({"mean": -1.0, "scale": 0.5}, "x"),
          "RandomUniform": ({"low": -2.0, "high": 6.0}, "shape"), "RandomUniformLike": ({"low": 1.0, "high": 2.0}, "x")}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_numbers(kind, tool, tmp_path):
    """Their distribution, by Kolmogorov and Smirnov's distance; neighbours and the two nodes have nothing in common."""
    attributes, source = RANDOM[kind]
    if source == "shape":
        attributes = {**attributes, "shape": [100, 500]}
    feeds = {"x": normal(100, 500)}
    model = model_of(node(kind, ["x"] if source == "x" else [], ["y"], **attributes), feeds, fixed=False)
    model.graph.node.append(node("Identity", ["x"], ["same"]))
    model.graph.node.append(node(kind, ["x"] if source == "x" else [], ["z"], **attributes, seed=7.0))
    model.graph.output.append(helper.make_empty_tensor_value_info("z"))
    got = results(model, feeds, tool, tmp_path)
    low, scale = list(attributes.values())[:2]
    for values in (got["y"], got["z"]):
        assert values.shape == (100, 500) and values.dtype == np.float32
        values = np.sort(values.ravel().astype(np.float64))
        if "Normal" in kind:
            share = 0.5 * (1 + np.vectorize(math.erf)((values - low) / scale / 2**0.5))
        else:
            share = (values - low) / (scale - low)
            assert 0 <= share[0] and share[-1] < 1
        places = np.arange(values.size) / values.size
        assert max(np.abs(share - places).max(), np.abs(share - places - 1 / values.size).max()) < 1.63 / values.size**0.5
    flat = got["y"].ravel()
    for other in (np.roll(flat, 1), np.roll(flat, 500), got["z"].ravel(), feeds["x"].ravel()):
        assert abs(np.corrcoef(flat, other)[0, 1]) < 0.02
    again = results(model, feeds, tool, tmp_path)
    np.testing.assert_array_equal(got["y"], again["y"])


@pytest.mark.parametrize("kind", [np.float16, np.float32], ids=["f16", "f32"])
def test_uniform_numbers_stay_below(kind, tool, tmp_path):
    """Also where their type, or a sum, would round up."""
    made = node("RandomUniform", [], ["y"], shape=[300, 1000], low=1.0, high=2.0, dtype=KINDS[np.dtype(kind)])
    got = results(model_of(made, {}), {}, tool, tmp_path)["y"]
    assert got.dtype == kind and got.min() >= 1 and got.max() < 2


@pytest.mark.parametrize("attributes", [{"low": 3.0, "high": 1.0}, {"low": -3e38, "high": 3e38}, {"shape": [-1, 3]}], ids=["order", "range", "shape"])
def test_random_numbers_that_are_none(attributes, tool, tmp_path):
    refused(node("RandomUniform", [], ["y"], **{"shape": [5], **attributes}), {}, "no lowering for RandomUniform", tool, tmp_path)


def test_chances(tool, tmp_path):
    feeds = {"x": np.linspace(0, 1, 30000, dtype=np.float32).reshape(10, 3000)}
    got = results(model_of(node("Bernoulli", ["x"], ["y"]), feeds), feeds, tool, tmp_path)["y"]
    assert set(np.unique(got)) == {0, 1} and abs(got.mean() - 0.5) < 0.01 and got[0].mean() < 0.1 < 0.9 < got[-1].mean()


@pytest.mark.parametrize("size", [(2, 3, 1, 5), (2, 3, 4, 5), (2, 3, 4, 1, 5)], ids=str)
@pytest.mark.parametrize("aligned", [0, 1])
def test_grids_of_unknown_matrices(size, aligned, tool, tmp_path):
    axes = len(size) - 2
    feeds = {"theta": normal(2, axes, axes + 1), "size": np.array(size)}
    made = node("AffineGrid", ["theta", "size"], ["y"], align_corners=aligned)
    got = results(model_of(made, feeds, ["size"], fixed=False), {"theta": feeds["theta"]}, tool, tmp_path)["y"]
    points = [np.linspace(-1, 1, n) if aligned and n > 1 else np.array([-1.0]) if aligned else (2 * np.arange(n) + 1) / n - 1 for n in size[2:]]
    grid = np.stack([*reversed(np.meshgrid(*points, indexing="ij")), np.ones(size[2:])], -1)
    np.testing.assert_allclose(got, np.einsum("nac,...c->n...a", feeds["theta"], grid), rtol=1e-4, atol=1e-5)


def results_by_loops(model, feeds, tool, tmp_path):
    """As GPUs have it: what CPUs leave to a library is loops."""
    onnx.save(model, tmp_path / "m.onnx")
    for step in (["megactx-compile", tmp_path / "m.onnx", "--compile-to=attention", "-o", tmp_path / "m.mlir"],
                 ["megactx-opt", tmp_path / "m.mlir", "--megactx-onnx-to-linalg-pipeline", "-o", tmp_path / "loops.mlir"],
                 ["megactx-compile", "-O0", tmp_path / "loops.mlir", "-o", tmp_path / "m.mctx"]):
        done = tool(*step)
        assert done.status == 0, done
    assert "top_k" not in (tmp_path / "loops.mlir").read_text()
    return megactx.load(tmp_path / "m.mctx").run(feeds)


@pytest.mark.parametrize("results, kind, largest", [(results, np.float32, 1), (results, np.float16, 0), (results, np.int64, 1), (results, np.uint8, 0),
                                                    (results_by_loops, np.float32, 0), (results_by_loops, np.uint8, 1)])
def test_top_of_many(results, kind, largest, tool, tmp_path):
    """More elements than a turn for each would find soon; equal ones come in order. Axes of no power of two, of one element, and of as many as are asked for."""
    for shape, axis, k in [((3, 333), -1, 100), ((2, 77, 3), 1, 77), ((5, 1), -1, 1), ((2, 17), -1, 0), ((1, 257), 1, 8), ((0, 40), 1, 9)]:
        values = np.random.default_rng(k).integers(0, 40, shape).astype(kind)
        feeds = {"x": values, "k": np.array([k], np.int64)}
        made = node("TopK", ["x", "k"], ["values", "places"], axis=axis, largest=largest)
        for constants, fixed in (["k"], False), ([], True):
            got = results(model_of(made, feeds, constants, fixed=fixed), {name: array for name, array in feeds.items() if name not in constants}, tool, tmp_path)
            order = np.argsort(-values.astype(np.float64) if largest else values.astype(np.float64), axis=axis, kind="stable")
            places = np.take(order, range(k), axis)
            np.testing.assert_array_equal(got["places"], places)
            np.testing.assert_array_equal(got["values"], np.take_along_axis(values, places, axis))


@pytest.mark.parametrize("results", [results, results_by_loops])
def test_top_of_many_with_nans(results, tool, tmp_path):
    """Those are last, whichever are asked for, and no element comes twice."""
    x = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)
    x[:, ::3] = np.nan
    for largest in 0, 1:
        got = results(model_of(node("TopK", ["x", "k"], ["values", "places"], largest=largest), {"x": x, "k": np.array([90])}, ["k"]), {"x": x}, tool, tmp_path)
        want = np.sort(x if not largest else -x, axis=-1)[:, :66] * (-1 if largest else 1)
        np.testing.assert_array_equal(got["values"][:, :66], want)
        assert np.isnan(got["values"][:, 66:]).all() and all(len(set(row)) == 90 for row in got["places"].tolist())


@pytest.mark.parametrize("kind", ["CumSum", "CumProd"])
def test_long_cumulations(kind, tool, tmp_path):
    """Axes that take several passes, and lengths at which their number changes, from either end, with and without the element itself."""
    for length, exclusive, reverse in [(600, 0, 0), (513, 1, 0), (512, 0, 1), (65, 1, 1), (64, 0, 0), (9, 1, 0), (8, 0, 1), (1, 1, 0), (0, 0, 0)]:
        x = np.random.default_rng(length).uniform(0.9, 1.1, (2, length, 3))
        if kind == "CumSum":
            x = np.round(10 * x).astype(np.int64)
        feeds = {"x": x, "axis": np.array(1)}
        got = results(model_of(node(kind, ["x", "axis"], ["y"], exclusive=exclusive, reverse=reverse), feeds, ["axis"], fixed=False), {"x": x}, tool, tmp_path)["y"]
        turned = x[:, ::-1] if reverse else x
        want = (np.cumsum if kind == "CumSum" else np.cumprod)(turned, 1)
        if exclusive:
            want = np.concatenate([np.full_like(want[:, :1], kind == "CumProd"), want[:, :-1]], 1)
        np.testing.assert_allclose(got, want[:, ::-1] if reverse else want, rtol=1e-12)
