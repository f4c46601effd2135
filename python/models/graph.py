"""A builder of ONNX graphs that writes what PyTorch's two exporters write.

The TorchScript exporter makes a Constant node per number, takes shapes apart with Shape, Gather and
Unsqueeze, and names values by module path. The dynamo exporter puts numbers into initializers, reads
sizes with Shape(start, end), and numbers its values. Operators newer than the opset are spelled out.
"""

import contextlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAST = 2**63 - 1  # "to the end" of a Slice
INT64 = np.int64


class Graph:
    def __init__(self, exporter, opset, seed):
        self.dynamo, self.opset = exporter == "dynamo", opset
        self.random = np.random.default_rng(seed)
        self.nodes, self.initializers = [], []
        self.inputs, self.outputs = [], []
        self.path, self.used, self.constants = [], {}, {}

    # --- values ---

    @contextlib.contextmanager
    def module(self, name):
        self.path.append(name)
        yield
        self.path.pop()

    def fresh(self, op):
        if self.dynamo:
            self.used["val"] = self.used.get("val", -1) + 1
            return f"val_{self.used['val']}"
        stem = "/".join(["", *self.path, op])
        count = self.used[stem] = self.used.get(stem, -1) + 1
        return f"{stem}_{count}_output_" if count else f"{stem}_output_"

    def op(self, kind, *inputs, outputs=1, **attributes):
        """Adds a node; gives its output's name, or a list of them."""
        stem = self.fresh(kind)
        names = [stem if self.dynamo and outputs == 1 else f"{stem}{'_' if self.dynamo else ''}{i}" for i in range(outputs)]
        name = f"node_{stem}" if self.dynamo else stem.removesuffix("_output_")
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        return name

    def output(self, value, dtype, shape, name=None):
        """Names a value as an output: exporters rename its producer's result."""
        name = name or ("output" if not self.outputs else f"output_{len(self.outputs)}")
        for node in self.nodes:
            node.output[:] = [name if o == value else o for o in node.output]
            node.input[:] = [name if i == value else i for i in node.input]
        self.outputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))

    def tensor(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def weight(self, name, *shape, scale=None):
        """Random numbers whose products keep their size."""
        scale = scale if scale is not None else shape[0] ** -0.5
        return self.tensor(".".join([*self.path, name]), (self.random.standard_normal(shape) * scale).astype(np.float32))

    def const(self, value, dtype=np.float32):
        array = np.asarray(value, dtype=dtype)
        if not self.dynamo:
            return self.op("Constant", value=numpy_helper.from_array(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = self.tensor(self.fresh("Constant"), array)
        return self.constants[key]

    def ints(self, *values):
        return self.const(values, INT64)

    def int(self, value):
        return self.const(value, INT64)

    # --- sizes ---

    def size(self, value, axis):
        """One size of a value: a scalar (TorchScript) or one element (dynamo)."""
        if self.dynamo:
            return self.op("Shape", value, start=axis, end=axis + 1)
        return self.op("Gather", self.op("Shape", value), self.int(axis), axis=0)

    def scalar(self, size):
        return self.op("Squeeze", size) if self.dynamo else size

    def element(self, size):
        if isinstance(size, int):
            return self.ints(size)
        return size if self.dynamo else self.op("Unsqueeze", size, self.ints(0))

    def shape(self, *sizes):
        return self.op("Concat", *[self.element(s) for s in sizes], axis=0)

    def reshape(self, value, *sizes):
        attributes = {"allowzero": 1 if self.dynamo else 0} if self.opset >= 14 else {}
        return self.op("Reshape", value, self.shape(*sizes), **attributes)

    def unsqueeze(self, value, *axes):
        for axis in axes:
            value = self.op("Unsqueeze", value, self.ints(axis))
        return value

    def slice(self, value, axis, start, end):
        """start and end: numbers, or sizes."""
        bounds = [self.element(b) for b in (start, end)]
        return self.op("Slice", value, *bounds, self.ints(axis), self.ints(1))

    def cast(self, value, dtype):
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def range(self, size, start=0):
        end = self.scalar(size) if self.dynamo else self.cast(size, INT64)
        return self.op("Range", self.int(start), end, self.int(1))

    def expand(self, value, *sizes):
        """TorchScript's expand: a size of -1 keeps what is there."""
        target = self.shape(*sizes)
        if not self.dynamo:
            target = self.op("Reshape", target, self.ints(-1), **({"allowzero": 0} if self.opset >= 14 else {}))
            ones = self.op("ConstantOfShape", self.op("Shape", target), value=helper.make_tensor("value", TensorProto.INT64, [1], [1]))
            keep = self.op("Equal", target, self.op("Mul", ones, self.int(-1)))
            target = self.op("Where", keep, ones, target)
        return self.op("Expand", value, target)

    # --- layers ---

    def linear(self, x, inputs, outputs, bias=True):
        weight = self.weight("weight", inputs, outputs)
        product = self.op("MatMul", x, weight)
        if not bias:
            return product
        bias = self.weight("bias", outputs, scale=0.02)
        return self.op("Add", product, bias) if self.dynamo else self.op("Add", bias, product)

    def layer_norm(self, x, width, epsilon=1e-5):
        scale = self.tensor(".".join([*self.path, "weight"]), (1 + 0.1 * self.random.standard_normal(width)).astype(np.float32))
        bias = self.weight("bias", width, scale=0.1)
        if self.opset >= 17:
            return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon, **({"stash_type": 1} if self.dynamo else {}))
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Pow", centred, self.const(2.0)), axes=[-1])
        deviation = self.op("Sqrt", self.op("Add", variance, self.const(epsilon)))
        return self.op("Add", self.op("Mul", self.op("Div", centred, deviation), scale), bias)

    def rms_norm(self, x, width, epsilon=1e-6):
        weight = self.tensor(".".join([*self.path, "weight"]), (1 + 0.1 * self.random.standard_normal(width)).astype(np.float32))
        mean = ((lambda v: self.op("ReduceMean", v, self.ints(-1), keepdims=1)) if self.opset >= 18 else
                (lambda v: self.op("ReduceMean", v, axes=[-1], keepdims=1)))
        square = self.op("Pow", x, self.const(2.0))
        root = self.op("Sqrt", self.op("Add", mean(square), self.const(epsilon)))
        inverse = self.op("Reciprocal", root) if self.dynamo else self.op("Div", self.const(1.0), root)
        return self.op("Mul", weight, self.op("Mul", x, inverse))

    def gelu(self, x):
        if self.opset >= 20:
            return self.op("Gelu", x, approximate="none")
        erf = self.op("Erf", self.op("Div", x, self.const(2**0.5)))
        return self.op("Mul", self.op("Mul", x, self.op("Add", erf, self.const(1.0))), self.const(0.5))

    def heads(self, x, batch, length, count, dim, key=False):
        """[B, N, count·dim] to [B, count, N, dim]."""
        return self.op("Transpose", self.reshape(x, batch, length, count, dim), perm=[0, 2, 1, 3])

    # --- the model ---

    def model(self, name):
        producer = dict(producer_name="pytorch", producer_version="2.9.0")
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], **producer)
        made.ir_version = 10 if self.dynamo else 7 if self.opset < 15 else 8
        if self.dynamo:
            helper.set_model_props(made, {"model": name})
        onnx.checker.check_model(made, full_check=True)
        return made
