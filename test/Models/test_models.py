"""Whole models: round trip, attentions found, dense and sparse numbers against onnxruntime."""

import json
import os
import re
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import reference
from conftest import ROOT, generated

SPARSE = "window<left = 5, right = 5> or strided<stride = 4>"
BUT_THE_FIRST = {"rules": [{"layers": "1-", "pattern": SPARSE}]}
POLICY = {
    "rules": [
        {"layers": "0", "heads": "0", "pattern": "window<left = 3, right = 3> or global_keys<first = 2>"},
        {"layers": "0", "heads": "1-", "pattern": "global_keys<first = 5>"},
        {"layers": "1-", "heads": "*", "pattern": "per_head<[strided<stride = 3>, columns<block = 6, first = 0, count = 2>]>"},
    ]
}
TOLERANCE = 1e-4


def tensor_key(tensor):
    """A tensor's meaning: where its numbers are stored (raw or typed) is not part of it."""
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    values = None
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        values = numpy_helper.to_array(tensor).tobytes()
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
            copy.ClearField(field)
    return copy.SerializeToString(deterministic=True), values


def attribute_key(attribute):
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    for field in ("t", "tensors", "g", "graphs"):
        copy.ClearField(field)
    tensors = [tensor_key(t) for t in ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors)]
    graphs = [graph_key(g) for g in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)]
    return attribute.name, copy.SerializeToString(deterministic=True), tensors, graphs


def node_key(node):
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("attribute")
    copy.ClearField("metadata_props")
    for field in ("name", "domain", "overload", "doc_string"):
        if not getattr(copy, field):  # an empty text says what an absent one says
            copy.ClearField(field)
    return copy.SerializeToString(deterministic=True), sorted(map(attribute_key, node.attribute)), pairs(node.metadata_props)


def pairs(properties):
    return sorted((p.key, p.value) for p in properties)


def graph_key(graph):
    """Fields in order; what is a map in all but name (initializers, value types, properties) sorted by its key."""
    text = lambda value: value.SerializeToString(deterministic=True)
    return {
        "name": graph.name,
        "doc_string": graph.doc_string,
        "inputs": [text(i) for i in graph.input],
        "outputs": [text(o) for o in graph.output],
        "nodes": [node_key(n) for n in graph.node],
        "initializers": sorted(map(tensor_key, graph.initializer)),
        "sparse_initializers": sorted(map(text, graph.sparse_initializer)),
        "types": sorted(map(text, graph.value_info)),
        "quantization": sorted(map(text, graph.quantization_annotation)),
        "metadata": pairs(graph.metadata_props),
    }


def model_key(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for field in ("graph", "metadata_props", "opset_import", "functions"):
        copy.ClearField(field)
    return {
        "header": copy.SerializeToString(deterministic=True),
        "opsets": sorted((o.domain, o.version) for o in model.opset_import),
        "metadata": pairs(model.metadata_props),
        "functions": sorted(f.SerializeToString(deterministic=True) for f in model.functions),
        **graph_key(model.graph),
    }


def same(want, got, what):
    """Every field of two keys, with the first difference in a list named by its place."""
    for field, value in want.items():
        other = got[field]
        if isinstance(value, list) and value != other:
            assert len(other) == len(value), f"{what}: {len(other)} {field} instead of {len(value)}"
            place = next(i for i, (a, b) in enumerate(zip(value, other)) if a != b)
            assert other[place] == value[place], f"{what}: {field}[{place}] differs"
        assert value == other, f"{what}: {field} differs"


def test_import_then_export_gives_an_equal_model(model, tool, tmp_path):
    done = tool("megactx-translate", "--import-onnx", model.path, "-o", tmp_path / "model.mlir")
    assert done.status == 0, done
    done = tool("megactx-translate", "--export-onnx", tmp_path / "model.mlir", "-o", tmp_path / "model.onnx")
    assert done.status == 0, done
    same(model_key(onnx.load(model.path)), model_key(onnx.load(tmp_path / "model.onnx")), model.name)


def compiled(model, tool, artifact, *options):
    """Compiles; None where an operator of a model beyond the supported families has no lowering, which must be named."""
    done = tool("megactx-compile", model.path, *options, "-o", artifact)
    if done.status != 0 and not model.must_run:
        operators = {n.op_type for n in onnx.load(model.path).graph.node}
        named = [o for o in operators if re.search(rf"\b{o}\b", done.err)]
        assert done.status == 1 and named and "error:" in done.err, f"expected the missing operator's name\n{done}"
        assert not artifact.exists(), "a failed compilation left its output"
        pytest.skip(f"no lowering: {done.err.strip().splitlines()[0][-160:]}")
    assert done.status == 0, done
    return done


def check_counts(done, raised, sparsified):
    last = (done.out + done.err).strip().splitlines()[-1]
    found = re.fullmatch(r"raised (\d+) attentions?, sparsified (\d+)", last)
    assert found, f"expected the closing line 'raised N attentions, sparsified M', found '{last}'"
    assert (int(found[1]), int(found[2])) == (int(found[1]) if raised is None else raised, sparsified), last


def attentions(model):
    """How many a model has, if that is said. Where an importer may leave them all, for their scores have more terms, ours raises these as biases."""
    said = model.facts.get("attentions")
    return len(reference.attentions(onnx.load(model.path))) if said == 0 else said


@pytest.fixture(scope="module")
def dense(model, tool, tmp_path_factory):
    artifact = tmp_path_factory.mktemp("dense") / "model.mctx"
    return artifact, compiled(model, tool, artifact)


@pytest.mark.one_of_a_family
def test_attentions_raised(model, dense):
    check_counts(dense[1], attentions(model), 0)


@pytest.mark.one_of_a_family
def test_dense_run_equals_stored_outputs_on_every_data_set(model, dense, tool):
    assert model.data_sets
    for data in model.data_sets:
        done = tool("megactx-run", dense[0], "--test-data", data, "--rtol", TOLERANCE, "--atol", TOLERANCE)
        assert done.status == 0, done


def check_sparse(model, tool, artifact, patterns, tmp_path):
    changed = 0.0
    for data in model.data_sets:
        feeds = dict(reference.load_tensors(data, "input"))
        out = tmp_path / data.name
        done = tool("megactx-run", artifact, "--inputs", data, "--outputs", out)
        assert done.status == 0, done
        got = dict(reference.load_tensors(out, "output"))
        stored = dict(reference.load_tensors(data, "output"))
        for name, want in reference.expected_outputs(model.path, feeds, patterns):
            assert name in got, f"no output {name}"
            np.testing.assert_allclose(got[name], want, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"{data.name} {name}")
            changed = max(changed, float(np.abs(stored[name] - want).max(initial=0.0)))
    assert changed > 10 * TOLERANCE, "the pattern changes nothing, so this run shows nothing"


def raised_for_sure(model):
    if attentions(model) == 0:
        pytest.skip("a model without an attention to sparsify")


@pytest.mark.one_of_a_name
@pytest.mark.besides_one_of_a_family
def test_dense_and_sparse_layers_equal_brute_force(model, tool, tmp_path):
    """By one compilation, without LLVM's optimizations: the first layer's attentions are as the model has them, the others have a pattern."""
    raised_for_sure(model)
    policy, artifact = tmp_path / "policy.json", tmp_path / "model.mctx"
    policy.write_text(json.dumps(BUT_THE_FIRST))
    done = compiled(model, tool, artifact, "-O0", "--policy", policy)
    found = reference.attentions(onnx.load(model.path))
    check_counts(done, model.facts.get("attentions") or len(found), sum(not cross for _, _, cross in found[1:]))
    check_sparse(model, tool, artifact, BUT_THE_FIRST, tmp_path)


@pytest.mark.one_of_a_family
def test_policy_per_layer_and_head_equals_brute_force(model, tool, tmp_path):
    raised_for_sure(model)
    policy, artifact = tmp_path / "policy.json", tmp_path / "model.mctx"
    policy.write_text(json.dumps(POLICY))
    compiled(model, tool, artifact, "-O0", "--policy", policy)
    check_sparse(model, tool, artifact, POLICY, tmp_path)


def test_layers_share_their_code(tool, tmp_path):
    sizes = {}
    for layers in (2, 6):
        path, artifact = tmp_path / f"{layers}.onnx", tmp_path / f"{layers}.mctx"
        script = f"import families, onnx; onnx.save(families.gpt('sdpa', 'torchscript', 17, layers={layers}).model('gpt'), {str(path)!r})"
        done = tool(sys.executable, "-c", script, environment=os.environ | {"PYTHONPATH": str(ROOT / "python" / "models")})
        assert done.status == 0, done
        done = tool("megactx-compile", path, "--pattern", SPARSE, "-o", artifact)
        assert done.status == 0, done
        sizes[layers] = (artifact / "model.so").stat().st_size
    assert sizes[6] < 1.4 * sizes[2], sizes  # 1.7 times, where they do not


@pytest.mark.parametrize("name", ["llama_eager_ts17", "llama_past_sdpa_ts17", "llama_sdpa_dynamo20", "mistral_window_sdpa_ts17"])
def test_rotary_embedding_is_one_pass(name, request, tool):
    """Of queries and of keys, in both layers."""
    path = generated(request.config.getoption("--build")) / name / "model.onnx"
    done = tool("megactx-compile", path, "--compile-to=fused", "--remarks-filter=fuse-lod", "-o", os.devnull)
    assert done.status == 0 and done.err.count("rotation-fused") == 4 and "rotation-not-fused" not in done.err, done
