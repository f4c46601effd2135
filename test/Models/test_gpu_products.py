"""Products with what follows them, on a driver and a cuBLASLt for tests: to numpy's numbers, and how many kernels are left."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import reference

WIDTH = 16  # as many as there are rows: a bias along them would not be noticed by its size
TYPES = {"f32": (np.float32, TensorProto.FLOAT, 2e-6), "f16": (np.float16, TensorProto.FLOAT16, 2e-3), "bf16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16, 1e-2)}


class Graph:
    """A model of one input x [B, N, WIDTH]; constants are random and normal, by a fixed seed."""

    def __init__(self, dtype):
        self.numpy, self.code, self.tolerance = TYPES[dtype]
        self.rng, self.nodes, self.constants = np.random.default_rng(7), [], {}

    def op(self, kind, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"{kind}_{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def constant(self, *shape, value=None, scale=1.0, dtype=None):
        name = f"c{len(self.constants)}"
        array = np.asarray(scale * self.rng.standard_normal(shape) if value is None else value).astype(dtype or self.numpy)
        self.constants[name] = array
        return name

    def matrix(self):
        return self.constant(WIDTH, WIDTH, scale=WIDTH**-0.5)

    def save(self, path, outputs):
        of = lambda name: helper.make_tensor_value_info(name, self.code, ["B", "N", WIDTH])
        tensors = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "g", [of("x")], [of(name) for name in outputs], tensors)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)

    def wide(self, name):
        return self.constants[name].astype(np.float64)


def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_new(g, x):
    """As Hugging Face's models are exported."""
    cube = g.op("Mul", g.constant(value=0.044715), g.op("Pow", x, g.constant(value=3.0)))
    inner = g.op("Mul", g.op("Add", x, cube), g.constant(value=np.sqrt(2 / np.pi)))
    return g.op("Mul", g.op("Mul", x, g.constant(value=0.5)), g.op("Add", g.op("Tanh", inner), g.constant(value=1.0)))


ACTIVATIONS = {"none": (lambda g, x: x, lambda x: x), "relu": (lambda g, x: g.op("Relu", x), lambda x: np.maximum(x, 0)),
               "gelu_tanh": (lambda g, x: g.op("Gelu", x, approximate="tanh"), gelu_tanh), "gelu_new": (gelu_new, gelu_tanh)}


def run(fake_gpu, tmp_path, g, outputs, wanted):
    """The calls of the run; its outputs are what `wanted` computes from x in float64."""
    g.save(tmp_path / "model.onnx", outputs)
    fake_gpu.compile(tmp_path / "model.onnx", tmp_path / "model.mctx", arch="sm_90a")
    x = g.rng.standard_normal((2, 8, WIDTH)).astype(g.numpy)
    reference.save_tensors(tmp_path / "in", "input", [("x", x)])
    done = fake_gpu.run(tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", settings="capability=90", log=tmp_path / "log")
    assert done.status == 0, done
    got = [array.astype(np.float64) for _, array in reference.load_tensors(tmp_path / "out", "output")]
    for array, want in zip(got, wanted(x.astype(np.float64)), strict=True):
        assert np.linalg.norm(array - want) / np.linalg.norm(want) < g.tolerance
    return (tmp_path / "log").read_text().splitlines()


def products(log):
    return [line.split("stream 0")[1] for line in log if line.startswith("cublasLtMatmul ")]


def launches(log):
    return sum(line.startswith("cuLaunchKernel") for line in log)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp(fake_gpu, tmp_path, dtype, activation):
    """Two layers and a residual are two products and no kernel; the tanh GELU of f32 is one."""
    g = Graph(dtype)
    a, b, v, u = g.matrix(), g.matrix(), g.constant(WIDTH), g.constant(WIDTH)
    emit, compute = ACTIVATIONS[activation]
    h = emit(g, g.op("Add", g.op("MatMul", "x", a), v))
    y = g.op("Add", "x", g.op("Add", u, g.op("MatMul", h, b)))
    log = run(fake_gpu, tmp_path, g, [y], lambda x: [x + g.wide(u) + compute(x @ g.wide(a) + g.wide(v)) @ g.wide(b)])
    by_kernel = activation.startswith("gelu") and dtype == "f32"
    name = "" if by_kernel or activation == "none" else f" {activation[:4]}"
    assert products(log) == [f" bias{name}", " bias onto another"] and launches(log) == by_kernel


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_residual_lives_on(fake_gpu, tmp_path, dtype):
    """It is read, by two products and a kernel behind them, and stays what it is."""
    g = Graph(dtype)
    a, b, c = g.matrix(), g.matrix(), g.matrix()
    r = g.op("MatMul", "x", a)
    y = g.op("Add", g.op("MatMul", r, b), r)
    z = g.op("Add", r, g.op("MatMul", y, c))
    twice = g.op("Mul", r, g.op("Sigmoid", r))

    def wanted(x):
        r = x @ g.wide(a)
        y = r @ g.wide(b) + r
        return [y, r + y @ g.wide(c), r / (1 + np.exp(-r))]

    log = run(fake_gpu, tmp_path, g, [y, z, twice], wanted)
    assert products(log) == ["", " onto another", " onto another"]


def test_two_products_of_one_sum(fake_gpu, tmp_path):
    """One is the residual of the other."""
    g = Graph("f32")
    a, b = g.matrix(), g.matrix()
    y = g.op("Add", g.op("MatMul", "x", a), g.op("MatMul", "x", b))
    log = run(fake_gpu, tmp_path, g, [y], lambda x: [x @ g.wide(a) + x @ g.wide(b)])
    assert products(log) == ["", " onto another"] and launches(log) == 0


def test_gemm_with_a_vector(fake_gpu, tmp_path):
    """A Linear as PyTorch exports it from rows: Gemm with the weights transposed."""
    g = Graph("f32")
    a, v = g.matrix(), g.constant(WIDTH)
    rows = g.op("Reshape", "x", g.constant(value=[-1, WIDTH], dtype=np.int64))
    y = g.op("Reshape", g.op("Gemm", rows, a, v, transB=1), g.op("Shape", "x"))
    log = run(fake_gpu, tmp_path, g, [y], lambda x: [x @ g.wide(a).T + g.wide(v)])
    assert products(log) == [" bias"]


def test_sums_in_f32(fake_gpu, tmp_path):
    """Casts to f32 before a sum and back behind it are a part of the product."""
    g = Graph("bf16")
    a, v = g.matrix(), g.constant(WIDTH)
    wide = lambda x: g.op("Cast", x, to=TensorProto.FLOAT)
    total = g.op("Add", wide("x"), g.op("Add", wide(g.op("MatMul", "x", a)), wide(v)))
    y = g.op("Cast", total, to=TensorProto.BFLOAT16)
    log = run(fake_gpu, tmp_path, g, [y], lambda x: [x + x @ g.wide(a) + g.wide(v)])
    assert products(log) == [" bias onto another"] and launches(log) == 0


def test_rounded_once(fake_gpu, tmp_path):
    """In bf16 the sum is rounded when it is whole: each element is the nearest to the exact one, but for sums in f32."""
    g = Graph("bf16")
    a, v = g.constant(WIDTH, WIDTH, scale=4.0), g.constant(WIDTH, scale=100.0)
    y = g.op("Add", g.op("MatMul", "x", a), v)
    g.tolerance = 2**-8 / np.sqrt(3)  # half a unit in the last place, uniform
    run(fake_gpu, tmp_path, g, [y], lambda x: [x @ g.wide(a) + g.wide(v)])
