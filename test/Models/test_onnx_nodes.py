"""ONNX's own node tests, for the operators that the supported models use.

A case in the types of those models (f32, i64, i32, bool) must compile and give the stored outputs, but for
the forms in REFUSED. One in another type may also be refused, with a message that names the operator.
"""

import functools
import re

import ml_dtypes
import numpy as np
import onnx
import pytest

import reference
from merged import merged, version
from node_tests import folders

OPERATORS = """Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitCast BitShift BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike CausalConvWithState Ceil Celu CenterCropPad Clip Compress Concat Constant
    ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax Loop
    LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NegativeLogLikelihoodLoss
    NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence
    RotaryEmbedding Round STFT Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
    SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum SwiGLU Swish Tan Tanh TensorScatter ThresholdedRelu Tile
    TopK Transpose Trilu Unsqueeze Where Xor""".split()
# Forms without a lowering, by a word of the message; what data says is found by the run. DFT's axis must be known.
REFUSED = {"BatchNormalization": "training_mode", "DFT": "no lowering for DFT", "Dropout": "training_mode", "Scan": "before opset 9"}
# Cases whose numbers neither ONNX's text nor onnxruntime gives: corners are aligned by the size that a scale would give, were it not whole.
OTHERS = {"test_resize_downsample_scales_cubic_align_corners", "test_resize_downsample_scales_linear_align_corners"}
TYPES = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}


@functools.cache
def cases(build):
    """{operator: [folder]} of the node tests that hold one operator of the list (and constants)."""
    found = {name: [] for name in OPERATORS}
    for folder in folders(build):
        if folder.name in OTHERS:
            continue
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


def differences(folder, got, prefix=""):
    """What differs of the stored outputs, or None."""
    for name, want in reference.load_tensors(folder / "test_data_set_0", "output"):
        try:
            found = got[prefix + name]
            np.testing.assert_equal(found.shape, want.shape)
            np.testing.assert_allclose(found.astype(np.float64), want.astype(np.float64), rtol=rtol(want.dtype), atol=1e-5)
        except (AssertionError, KeyError) as error:
            return f"{name}: {' '.join(str(error).split())[:200]}"
    return None


def fault(tool, folder, operator, scratch):
    """What is wrong with a case by itself, or None."""
    artifact = scratch / f"{folder.name}.mctx"
    done = tool("megactx-compile", folder / "model.onnx", "-O0", "-o", artifact)
    if is_refused(done, operator):
        return None
    if done.status == 1 and any(kind in done.err for kind in kinds(onnx.load(folder / "model.onnx").graph)) and "error" in done.err:
        return f"refused: {done.err.strip().splitlines()[0][-200:]}" if plain(folder / "model.onnx") else None
    if done.status != 0:
        return f"status {done.status}: {done.err.strip()[-300:]}"
    out = scratch / folder.name
    done = tool("megactx-run", artifact, "--inputs", folder / "test_data_set_0", "--outputs", out)
    if is_refused(done, operator):
        return None
    if done.status != 0:
        return f"run: status {done.status}: {done.err.strip()[-300:]}"
    return differences(folder, dict(reference.load_tensors(out, "output")))


def compiled(tool, folders, artifact):
    """The cases that compile as one model, and the others."""
    rest, alone = {folder.name: folder for folder in folders}, []
    while len(rest) > 1:
        onnx.save(merged({name: onnx.load(folder / "model.onnx") for name, folder in rest.items()}), artifact.with_suffix(".onnx"))
        done = tool("megactx-compile", artifact.with_suffix(".onnx"), "-O0", "-o", artifact)
        if done.status == 0:
            return list(rest.values()), alone
        alone += (named := [rest.pop(name) for name in set(re.findall(r"[\w-]+", done.err)) & rest.keys()])
        if not named:
            break
    return [], alone + list(rest.values())


def faults_of_version(tool, folders, operator, scratch):
    """[(folder, what is wrong with it)] of cases that may be one model."""
    scratch.mkdir()
    together, alone = compiled(tool, folders, scratch / "merged.mctx")
    if together:
        inputs = [(f"{folder.name}.{name}", value) for folder in together for name, value in reference.load_tensors(folder / "test_data_set_0", "input")]
        reference.save_tensors(scratch / "in", "input", inputs)
        done = tool("megactx-run", scratch / "merged.mctx", "--inputs", scratch / "in", "--outputs", scratch / "out")
        if done.status != 0:
            together, alone = [], folders
    got = dict(reference.load_tensors(scratch / "out", "output")) if together else {}
    return [(folder, differences(folder, got, f"{folder.name}.")) for folder in together] + [(folder, fault(tool, folder, operator, scratch)) for folder in alone]


def by_version(folders):
    found = {}
    for folder in folders:
        found.setdefault(version(onnx.load(folder / "model.onnx")), []).append(folder)
    return found.values()


@pytest.mark.parametrize("operator", OPERATORS)
def test_node(operator, tool, request, tmp_path):
    """As one model, where a case that is refused is named and left to itself."""
    alike = enumerate(by_version(cases(request.config.getoption("--build"))[operator]))
    found = [f"{folder.name}: {what}" for i, folders in alike for folder, what in faults_of_version(tool, folders, operator, tmp_path / str(i)) if what]
    assert not found, "\n".join(found)


def attribute_kind(attribute):
    content = graph_kind(attribute.g) if attribute.HasField("g") else attribute.t.data_type
    return attribute.name, attribute.type, content


def graph_kind(graph):
    """What a file has of operators, attributes, operands and types: all but names, sizes and numbers."""
    nodes = [(n.domain, n.op_type, tuple(map(bool, n.input)), tuple(map(bool, n.output)), tuple(map(attribute_kind, n.attribute))) for n in graph.node]
    types = [(v.type.WhichOneof("value"), v.type.tensor_type.elem_type) for v in [*graph.input, *graph.output]]
    return tuple(nodes), tuple(types), tuple(tensor.data_type for tensor in graph.initializer)


def one_of_a_kind(folders):
    return list({graph_kind(onnx.load(folder / "model.onnx").graph): folder for folder in folders}.values())


def round_trip_fault(tool, path, back):
    from test_models import model_key, same

    done = tool("megactx-translate", "--import-onnx", "--export-onnx", path, "-o", back)
    if done.status != 0:
        return done.err.strip()[-200:]
    try:
        same(model_key(onnx.load(path)), model_key(onnx.load(back)), "model")
    except AssertionError as error:
        return str(error).splitlines()[0]
    return None


def test_every_node_test_survives_a_round_trip(tool, request, tmp_path):
    """Of ONNX's node tests, also of operators that we do not lower, one of each kind of graph; those of a version as one model, and one by itself."""
    option, found = request.config.getoption, []
    every = folders(option("--build"))
    for i, alike in enumerate(by_version(every if option("--all") else one_of_a_kind(every))):
        path, back = tmp_path / f"{i}.onnx", tmp_path / f"back-{i}.onnx"
        onnx.save(merged({folder.name: onnx.load(folder / "model.onnx") for folder in alike}), path)
        whole, first = (round_trip_fault(tool, p, back) for p in (path, alike[0] / "model.onnx"))
        if whole or first:
            of_each = [f"{folder.name}: {fault}" for folder in alike if (fault := round_trip_fault(tool, folder / "model.onnx", back))]
            found += of_each or [f"{alike[0].name} and others, but none by itself: {whole}"]
    assert not found, "\n".join(found[:20])
