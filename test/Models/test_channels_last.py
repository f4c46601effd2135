"""Convolutions and what stands between them, with channels last in memory on the way: against float64, and chains against onnxruntime."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import reference
from test_corners import results


class Graph:
    def __init__(self, seed):
        self.nodes, self.weights, self.names = [], [], itertools.count()
        self.rng = np.random.default_rng(seed)

    def random(self, *shape, scale=1):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def const(self, array):
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"w{next(self.names)}"))
        return self.weights[-1].name

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{next(self.names)}" for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, channels, filters, *kernel, group=1, bias=True, **attributes):
        depth = channels // group
        weight = self.random(filters, depth, *kernel, scale=1 / np.sqrt(depth * np.prod(kernel)))
        return self.op("Conv", x, self.const(weight), *([self.const(self.random(filters))] if bias else []), group=group, **attributes)

    def model(self, shape, *outputs):
        for i, name in enumerate(outputs):
            self.nodes.append(helper.make_node("Identity", [name], [f"y{i}"]))
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_empty_tensor_value_info(f"y{i}") for i in range(len(outputs))], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def convolved(x, w, group, strides, dilations, pads):
    """In float64, tap by tap."""
    axes = x.ndim - 2
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *((pads[a], pads[axes + a]) for a in range(axes))])
    w = w.astype(np.float64)
    counts = [(x.shape[2 + a] - (w.shape[2 + a] - 1) * dilations[a] - 1) // strides[a] + 1 for a in range(axes)]
    x = x.reshape(x.shape[0], group, -1, *x.shape[2:])
    grouped = w.reshape(group, -1, *w.shape[1:])
    y = np.zeros([x.shape[0], group, grouped.shape[1], *counts])
    for tap in itertools.product(*map(range, w.shape[2:])):
        taken = x[(..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilations, counts, strides)))]
        y += np.einsum("ngc...,gmc->ngm...", taken, grouped[(..., *tap)])
    return y.reshape(y.shape[0], -1, *counts)


# Channels, filters, groups, sizes, kernel, strides, dilations, pads.
CONVOLUTIONS = {
    "padded": (3, 5, 1, (13, 17), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    "uneven_pads": (4, 7, 1, (9, 31), (3, 5), (2, 1), (1, 2), (0, 5, 2, 3)),
    "first": (3, 16, 1, (37, 41), (7, 7), (2, 2), (1, 1), (3, 3, 3, 3)),
    "one_element": (19, 23, 1, (7, 9), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    "one_element_steps": (19, 33, 1, (7, 9), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
    "one_element_padded": (5, 6, 1, (7, 9), (1, 1), (1, 1), (1, 1), (1, 0, 2, 1)),
    "by_channel": (37, 37, 37, (11, 14), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    "by_channel_steps": (40, 40, 40, (15, 14), (5, 5), (2, 2), (1, 1), (2, 2, 2, 2)),
    "by_channel_large": (18, 18, 18, (9, 12), (7, 7), (1, 1), (1, 1), (3, 3, 3, 3)),
    "several_filters": (6, 18, 6, (8, 9), (3, 3), (1, 1), (2, 2), (2, 2, 2, 2)),
    "two_filters_steps": (19, 38, 19, (13, 30), (7, 7), (2, 2), (1, 1), (3, 3, 3, 3)),
    "by_channel_three_axes": (17, 17, 17, (4, 7, 16), (3, 3, 3), (1, 2, 1), (1, 1, 2), (1, 1, 2, 1, 1, 2)),
    "by_channel_uneven": (16, 16, 16, (5, 29), (3, 4), (1, 3), (2, 1), (2, 0, 3, 3)),
    "by_channel_larger_than_data": (20, 20, 20, (2, 1), (5, 5), (1, 1), (1, 1), (4, 4, 4, 4)),
    "groups": (12, 20, 4, (21, 10), (3, 2), (1, 2), (1, 1), (1, 0, 1, 1)),
    "larger_than_data": (8, 9, 1, (2, 1), (5, 5), (1, 1), (1, 1), (4, 4, 4, 4)),
    "one_place": (48, 30, 1, (1, 1), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    "pads_beyond": (4, 4, 1, (5, 6), (2, 2), (1, 1), (1, 1), (3, 0, 0, 4)),
    "three_axes": (5, 7, 1, (6, 7, 5), (3, 3, 2), (1, 2, 1), (1, 1, 2), (1, 1, 0, 1, 1, 2)),
    "rows_for_tasks": (8, 8, 1, (70, 33), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("known", [True, False], ids=["sizes", "dynamic"])
def test_convolutions(tool, tmp_path, known):
    """All on inputs of one batch; bias and an activation behind each."""
    models, inputs, wanted = {}, {}, {}
    for name, (channels, filters, group, sizes, kernel, strides, dilations, pads) in CONVOLUTIONS.items():
        g = Graph(len(models))
        x = g.random(2, channels, *sizes)
        y = g.op("Relu", g.conv("x", channels, filters, *kernel, group=group, strides=strides, dilations=dilations, pads=pads))
        models[name] = g.model(x.shape if known else [f"d{i}" if i != 1 else channels for i in range(x.ndim)], y)
        weight, bias = (numpy_helper.to_array(t) for t in g.weights)
        inputs[name] = x
        wanted[name] = np.maximum(convolved(x, weight, group, strides, dilations, pads) + bias.reshape(-1, *[1] * len(sizes)), 0)
    for name, model in models.items():
        folder = tmp_path / name
        folder.mkdir()
        got = results(tool, folder, model, {"x": inputs[name]})["y0"]
        assert got.shape == wanted[name].shape, name
        np.testing.assert_allclose(got, wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", [name for name, case in CONVOLUTIONS.items() if case[2] > 1 and case[0] == case[2]])
def test_single_channels(tool, tmp_path, name):
    """Behind a product, which leaves channels last."""
    channels, filters, group, sizes, kernel, strides, dilations, pads = CONVOLUTIONS[name]
    g = Graph(1)
    x = g.random(2, channels, *sizes)
    y = g.conv("x", channels, channels, *[1] * len(sizes), bias=False)
    model = g.model(x.shape, g.conv(y, channels, filters, *kernel, group=group, bias=False, strides=strides, dilations=dilations, pads=pads))
    product, weight = (numpy_helper.to_array(t) for t in g.weights)
    rows = np.einsum("fc,nc...->nf...", product.reshape(channels, channels).astype(np.float64), x)
    got = results(tool, tmp_path, model, {"x": x})["y0"]
    np.testing.assert_allclose(got, convolved(rows, weight, group, strides, dilations, pads), rtol=1e-5, atol=1e-5)


def gated(g, x, channels):
    """Squeeze and excitation."""
    y = g.op("Relu", g.conv(g.op("GlobalAveragePool", x), channels, 5, 1, 1))
    return g.op("Mul", x, g.op("Sigmoid", g.conv(y, 5, channels, 1, 1)))


def residual(g):
    x = g.op("Relu", g.conv("x", 6, 12, 3, 3, pads=[1] * 4, strides=[2, 2]))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = g.conv(g.op("Relu", g.conv(x, 12, 12, 3, 3, pads=[1] * 4)), 12, 12, 1, 1)
    x = g.op("Add", x, gated(g, y, 12))
    return g.op("Flatten", g.op("ReduceMean", x, g.const(np.array([2, 3])), keepdims=0)), x


def parts(g):
    """Splits and joins channels, and places."""
    x = g.op("Sigmoid", g.conv("x", 6, 14, 3, 3, pads=[1] * 4))
    a, b = g.op("Split", x, outputs=2, num_outputs=2, axis=1)
    b = g.op("Add", b, g.conv(b, 7, 7, 3, 3, pads=[1] * 4, group=7))
    x = g.op("Concat", x, a, b, axis=1)
    y = g.op("Slice", x, g.const(np.array([1, 0])), g.const(np.array([100, 5])), g.const(np.array([2, 3])), g.const(np.array([2, 1])))
    z = g.op("AveragePool", x, kernel_shape=[2, 3], pads=[1, 1, 0, 1])
    return g.conv(y, 28, 3, 2, 2), z, g.op("Concat", z, z, axis=2)


def rows(g):
    """Between rows of channels and images, as in vision transformers."""
    x = g.conv("x", 6, 16, 2, 2, strides=[2, 2])
    shape = g.op("Shape", x)
    x = g.op("Transpose", g.op("Reshape", x, g.const(np.array([0, 0, -1]))), perm=[0, 2, 1])
    x = g.op("LayerNormalization", x, g.const(g.random(16)), g.const(g.random(16)))
    x = g.op("MatMul", x, g.const(g.random(16, 16, scale=0.25)))
    x = g.op("Reshape", g.op("Transpose", x, perm=[0, 2, 1]), shape)
    y = g.op("Transpose", g.conv(x, 16, 16, 3, 3, pads=[1] * 4, group=16), perm=[0, 2, 3, 1])
    y = g.op("Transpose", g.op("Mul", y, g.const(g.random(16))), perm=[0, 3, 1, 2])
    return g.op("Add", x, y), y


def broadcasts(g):
    """Operands of other ranks and sizes, and what counts places."""
    x = g.conv("x", 6, 4, 3, 3)
    x = g.op("Add", g.op("Mul", x, g.const(g.random(4, 1, 1))), g.const(g.random(1)))
    x = g.op("Add", x, g.op("ReduceMax", x, g.const(np.array([1]))))
    x = g.op("Add", x, g.op("ReduceMean", x, g.const(np.array([3]))))
    one = g.op("ReduceSum", x, g.const(np.array([0])))
    y = g.op("Hardmax", x, axis=1)
    z = g.op("Where", g.op("Greater", x, g.const(np.float32(0))), x, g.op("Concat", one, one, axis=0))
    return y, g.op("BatchNormalization", z, *[g.const(np.abs(g.random(4)) + 0.5) for _ in range(4)]), g.op("Softmax", z, axis=-1)


@pytest.mark.parametrize("known", [True, False], ids=["sizes", "dynamic"])
@pytest.mark.parametrize("build", [residual, parts, rows, broadcasts], ids=lambda build: build.__name__)
def test_chains(tool, tmp_path, build, known):
    g = Graph(3)
    x = g.random(2, 6, 18, 22)
    model = g.model(x.shape if known else ["n", 6, "h", "w"], *build(g))
    got = results(tool, tmp_path, model, {"x": x})
    for i, want in enumerate(reference.session(model).run(None, {"x": x})):
        assert got[f"y{i}"].shape == want.shape
        np.testing.assert_allclose(got[f"y{i}"], want, rtol=1e-4, atol=1e-4)


def test_no_channels(tool, tmp_path):
    """Nothing to sum is zero everywhere, but the bias."""
    g = Graph(0)
    y = g.op("Conv", "x", g.const(np.zeros([4, 0, 3, 3], np.float32)), g.const(np.arange(4, dtype=np.float32)), pads=[1] * 4, kernel_shape=[3, 3])
    got = results(tool, tmp_path, g.model(["n", 0, 5, 6], y), {"x": np.zeros([2, 0, 5, 6], np.float32)})["y0"]
    np.testing.assert_array_equal(got, np.broadcast_to(np.arange(4.0).reshape(4, 1, 1), [2, 4, 5, 6]))
