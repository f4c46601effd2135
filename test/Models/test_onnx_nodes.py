"""ONNX's own node tests, from the onnx wheel, for the operators that the supported models use.

A case in the types of those models (f32, i64, i32, bool) must compile and give the stored outputs, but for
the forms in REFUSED. One in another type may also be refused, with a message that names the operator.
"""

import concurrent.futures
import functools
import os
import pathlib
import re

import ml_dtypes
import numpy as np
import onnx
import pytest

import reference

CASES = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
OPERATORS = """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitCast BitShift BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast Ceil Celu CenterCropPad Clip Concat Constant ConstantOfShape Conv ConvTranspose
    Cos Cosh CumProd CumSum DepthToSpace Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HammingWindow HannWindow HardSigmoid
    HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NegativeLogLikelihoodLoss Not OneHot
    Or PRelu Pad Pow RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize RotaryEmbedding Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid
    Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
    TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor""".split()
# Forms without a lowering, by a word of the message; what data says is found by the run.
REFUSED = {"BatchNormalization": "training_mode", "Dropout": "training_mode", "Resize": "has no lowering|have no lowering", "Scan": "before opset 9"}
PARTS = 8  # of the round trips, for workers to share
TYPES = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}


def cases():
    """{operator: [folder]} of the node tests that hold one operator of the list (and constants)."""
    found = {name: [] for name in OPERATORS}
    for folder in sorted(CASES.iterdir()):
        graph = onnx.load(folder / "model.onnx").graph
        kinds = {n.op_type for n in graph.node if not n.domain}
        kinds = kinds - {"Constant"} or kinds
        if len(kinds) == 1 and all(not n.domain for n in graph.node):
            found.get(kinds.pop(), []).append(folder)
    return found


def plain(path):
    graph = onnx.load(path).graph
    return all(v.type.tensor_type.elem_type in TYPES for v in [*graph.input, *graph.output])


def rtol(dtype):
    """A few units in the last place of narrow floats."""
    return max(1e-3, 2 * float(ml_dtypes.finfo(dtype).eps)) if dtype.kind in "fV" else 0


def kinds(graph):
    """The operators of a graph and of its subgraphs."""
    inner = [attribute.g for n in graph.node for attribute in n.attribute if attribute.HasField("g")]
    return {n.op_type for n in graph.node}.union(*map(kinds, inner))


def is_refused(done, operator):
    return done.status == 1 and operator in done.err and "error" in done.err and re.search(REFUSED.get(operator, "\0"), done.err) is not None


def fault(tool, folder, operator, scratch):
    """What is wrong with a case, or None."""
    artifact = scratch / f"{folder.name}.mctx"
    done = tool("megactx-compile", folder / "model.onnx", "-o", artifact)
    if is_refused(done, operator):
        return None
    if done.status == 1 and any(kind in done.err for kind in kinds(onnx.load(folder / "model.onnx").graph)) and "error" in done.err:
        return f"refused: {done.err.strip().splitlines()[0][-200:]}" if plain(folder / "model.onnx") else None
    if done.status != 0:
        return f"status {done.status}: {done.err.strip()[-300:]}"
    for data in sorted(folder.glob("test_data_set_*")):
        out = scratch / folder.name / data.name
        done = tool("megactx-run", artifact, "--inputs", data, "--outputs", out)
        if is_refused(done, operator):
            continue
        if done.status != 0:
            return f"run: status {done.status}: {done.err.strip()[-300:]}"
        got = dict(reference.load_tensors(out, "output"))
        for name, want in reference.load_tensors(data, "output"):
            try:
                np.testing.assert_equal(got[name].shape, want.shape)
                np.testing.assert_allclose(got[name].astype(np.float64), want.astype(np.float64), rtol=rtol(want.dtype), atol=1e-5)
            except (AssertionError, KeyError) as error:
                return f"{name}: {' '.join(str(error).split())[:200]}"
    return None


def faults(check, folders):
    """The faults that check(folder) finds, of several at a time."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return [f"{folder.name}: {found}" for folder, found in zip(folders, pool.map(check, folders)) if found]


@functools.cache
def cases_by_operator():
    return cases()


@pytest.mark.parametrize("operator", OPERATORS)
def test_node(operator, tool, tmp_path):
    found = faults(lambda folder: fault(tool, folder, operator, tmp_path), cases_by_operator()[operator])
    assert not found, "\n".join(found)


def attribute_kind(attribute):
    content = graph_kind(attribute.g) if attribute.HasField("g") else attribute.t.data_type
    return attribute.name, attribute.type, content


def graph_kind(graph):
    """What a file has of operators, attributes, operands and types: all but names, sizes and numbers."""
    nodes = [(n.domain, n.op_type, tuple(map(bool, n.input)), tuple(map(bool, n.output)), tuple(map(attribute_kind, n.attribute))) for n in graph.node]
    types = [(v.type.WhichOneof("value"), v.type.tensor_type.elem_type) for v in [*graph.input, *graph.output]]
    return tuple(nodes), tuple(types), tuple(tensor.data_type for tensor in graph.initializer)


@functools.cache
def one_of_a_kind():
    return list({graph_kind(onnx.load(folder / "model.onnx").graph): folder for folder in sorted(CASES.iterdir())}.values())


@pytest.mark.parametrize("part", range(PARTS))
def test_every_node_test_survives_a_round_trip(part, tool, request, tmp_path):
    """Of ONNX's node tests, also of operators that we do not lower, one of each kind of graph."""
    from test_models import model_key

    def check(folder):
        back = tmp_path / f"{folder.name}.onnx"
        done = tool("megactx-translate", "--import-onnx", "--export-onnx", folder / "model.onnx", "-o", back)
        if done.status != 0:
            return done.err.strip()[-200:]
        return None if model_key(onnx.load(folder / "model.onnx")) == model_key(onnx.load(back)) else "differs"

    folders = (sorted(CASES.iterdir()) if request.config.getoption("--all") else one_of_a_kind())[part::PARTS]
    found = faults(check, folders)
    assert not found, f"{len(found)} of {len(folders)}\n" + "\n".join(found[:20])
