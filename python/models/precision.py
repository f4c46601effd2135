"""ONNX models in other types, and with weights that take little room."""

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_CASTS = {TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)}


def convert(model, dtype):
    """The model with all of its f32 as f16 or bf16: values, weights, constants, inputs, outputs. In place. Finite numbers stay so: masks have the
    lowest of f32."""
    to = TYPES[dtype]
    most = float(ml_dtypes.finfo(_CASTS[to]).max)

    def narrow(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            array = np.where(np.isfinite(array), np.clip(array, -most, most), array).astype(_CASTS[to])
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    def visit(graph):
        for tensor in graph.initializer:
            narrow(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type = to
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            if attribute.type == onnx.AttributeProto.TENSOR:
                narrow(attribute.t)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                visit(attribute.g)
            elif attribute.name == "to" and attribute.i == TensorProto.FLOAT:  # of a Cast
                attribute.i = to

    visit(model.graph)
    return model


def coarsen(model):
    """Gives matrices of weights 16 values each, odd multiples of a power of two up to 15: exact in every type, and packed small
    by any compressor, eighth of f32. Their size stays about the same. In place."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2:
            values = numpy_helper.to_array(tensor)
            step = 2.0 ** np.round(np.log2(values.std() / 2.5 + 1e-30)) / 2
            odd = 2 * np.clip(np.floor(values / (2 * step)), -8, 7) + 1
            tensor.CopyFrom(numpy_helper.from_array((odd * step).astype(np.float32), tensor.name))
    return model
