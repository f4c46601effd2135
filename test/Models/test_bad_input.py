"""Bad input: exit status 1, a message that says where, no output file, no crash."""

import json
import os
import shutil
import stat
import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import reference
from conftest import generated


@pytest.fixture(scope="module")
def good(request):
    """The folder of one good model."""
    return generated(request.config.getoption("--build")) / "gpt_sdpa_ts17"


@pytest.fixture(scope="module")
def artifact(good, tool, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.mctx"
    done = tool("megactx-compile", good / "model.onnx", "-o", path)
    assert done.status == 0, done
    return path


def refuses(done, *words, output=None):
    """Status 1 and an error that names the place."""
    assert done.status == 1, done
    assert "error" in done.err.lower(), done
    for word in words:
        assert word in done.err, f"expected '{word}' in the message\n{done}"
    assert "Stack dump" not in done.err and "Assertion" not in done.err, done
    if output is not None:
        assert not os.path.lexists(output), f"left {output}\n{done}"


def refuse_model(tool, path, *words):
    """Both the import and the compiler refuse the file."""
    out = path.parent / "out"
    refuses(tool("megactx-translate", "--import-onnx", path, "-o", out), path.name, *words, output=out)
    refuses(tool("megactx-compile", path, "-o", out), path.name, *words, output=out)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_truncated_model(good, tool, tmp_path, keep):
    data = (good / "model.onnx").read_bytes()
    path = tmp_path / "truncated.onnx"
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    refuse_model(tool, path)


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_as_model(tool, tmp_path, seed):
    path = tmp_path / "random.onnx"
    path.write_bytes(np.random.default_rng(seed).bytes(5000))
    refuse_model(tool, path)


def test_no_such_model(tool, tmp_path):
    refuse_model(tool, tmp_path / "absent.onnx")


def test_a_folder_as_model(tool, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    refuse_model(tool, tmp_path / "folder.onnx")


@pytest.mark.parametrize("name, word", [("model.bin", "end in .onnx"), ("folder.mlir", "is a folder"), ("made.mctx", "is an artifact")])
def test_what_is_no_model_by_its_name(good, artifact, tool, tmp_path, name, word):
    path = tmp_path / name
    if name == "model.bin":
        path.write_bytes((good / "model.onnx").read_bytes())
    elif name == "folder.mlir":
        path.mkdir()
    else:
        path = artifact
    refuses(tool("megactx-compile", path, "-o", tmp_path / "out.mctx"), word, output=tmp_path / "out.mctx")


def test_what_is_no_artifact(good, artifact, tool, tmp_path):
    (tmp_path / "folder").mkdir()
    for path, word in ((good / "model.onnx", "a file, not an artifact, the folder that megactx-compile makes"),
                       (tmp_path / "folder", "it has no manifest.json"), (tmp_path / "absent", "No such file")):
        refuses(tool("megactx-run", path), str(path), word)


def test_an_artifact_is_as_readable_as_files_are(good, artifact, tmp_path):
    """By whom the user's mask says."""
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(artifact.stat().st_mode) == 0o777 & ~mask


def test_a_model_on_standard_input(request, good, tool, tmp_path):
    """Known by what it holds, as it has no name."""
    explain = request.config.getoption("--build").resolve() / "bin" / "megactx-explain"
    module = tmp_path / "model.mlir"
    assert tool("megactx-translate", "--import-onnx", good / "model.onnx", "-o", module).status == 0
    told = {subprocess.run([explain, "-"], input=path.read_bytes(), capture_output=True, check=True).stdout for path in (good / "model.onnx", module)}
    assert len(told) == 1 and b"causal" in told.pop()
    done = subprocess.run([explain, "-"], input=(good / "model.onnx").read_bytes()[:3000], capture_output=True)
    assert done.returncode == 1 and b"not an ONNX model" in done.stderr


def test_an_artifact_is_not_for_standard_output(good, tool):
    refuses(tool("megactx-compile", good / "model.onnx", "-o", "-"), "an artifact is a folder")


def test_names_in_capitals(good, tool, tmp_path):
    (tmp_path / "MODEL.ONNX").write_bytes((good / "model.onnx").read_bytes())
    assert tool("megactx-compile", tmp_path / "MODEL.ONNX", "--compile-to=attention", "-o", tmp_path / "out.mlir").status == 0


def small_model(nodes, initializers=(), outputs=("y",), inputs=("x",)):
    value = lambda n: helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph(nodes, "g", [value(i) for i in inputs], [value(o) for o in outputs], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def written(tmp_path, model):
    path = tmp_path / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_missing_external_data(tool, tmp_path):
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "absent.bin", 0, 24)
    weight.ClearField("raw_data")
    model = small_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    refuse_model(tool, written(tmp_path, model), "absent.bin")


def test_external_data_beyond_its_file(tool, tmp_path):
    (tmp_path / "short.bin").write_bytes(b"1234")
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "short.bin", 0, 24)
    weight.ClearField("raw_data")
    model = small_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    refuse_model(tool, written(tmp_path, model), "w")


def test_external_data_in_a_pipe(tool, tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "pipe.bin", 0, 24)
    weight.ClearField("raw_data")
    model = small_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    refuse_model(tool, written(tmp_path, model), "pipe.bin", "not a regular file")


def test_external_data_outside_the_folder(tool, tmp_path):
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "../../../etc/passwd", 0, 24)
    weight.ClearField("raw_data")
    model = small_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    refuse_model(tool, written(tmp_path, model), "w")


def test_cyclic_graph(tool, tmp_path):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"], name="second"),
             helper.make_node("Relu", ["b"], ["y"], name="third")]
    refuse_model(tool, written(tmp_path, small_model(nodes)), "first")


def test_dangling_input(tool, tmp_path):
    model = small_model([helper.make_node("Add", ["x", "nowhere"], ["y"], name="lonely")])
    refuse_model(tool, written(tmp_path, model), "lonely", "nowhere")


def test_graph_output_without_a_producer(tool, tmp_path):
    model = small_model([helper.make_node("Relu", ["x"], ["y"])], outputs=("y", "z"))
    refuse_model(tool, written(tmp_path, model), "z")


NO_HEADS = {
    "queries": ("Attention", "", {"q_num_heads": 0, "kv_num_heads": 2}, "q_num_heads"),
    "keys": ("Attention", "", {"q_num_heads": 2, "kv_num_heads": 0}, "kv_num_heads"),
    "negative": ("Attention", "", {"q_num_heads": 2, "kv_num_heads": -2}, "kv_num_heads"),
    "onnxruntime's": ("MultiHeadAttention", "com.microsoft", {"num_heads": 0}, "num_heads"),
    "none given": ("MultiHeadAttention", "com.microsoft", {}, "num_heads"),
}


@pytest.mark.parametrize("operator, domain, attributes, word", NO_HEADS.values(), ids=NO_HEADS)
def test_attention_without_heads(tool, tmp_path, operator, domain, attributes, word):
    node = helper.make_node(operator, ["x", "x", "x"], ["y"], name="odd", domain=domain, **attributes)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 5, 16])],
                              [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)])
    path = written(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]))
    refuses(tool("megactx-compile", path, "-o", tmp_path / "out"), "odd", word, output=tmp_path / "out")


def test_a_name_that_is_no_utf8_is_only_a_name(tool, tmp_path):
    path = tmp_path / "latin.onnx"
    path.write_bytes(small_model([helper.make_node("Relu", ["x"], ["y"])]).SerializeToString().replace(b"\x01x", b"\x01\xe9"))
    out = tmp_path / "latin.mctx"
    assert tool("megactx-compile", path, "-o", out).status == 0
    assert run_with(tool, out, tmp_path, [("x", np.ones((2, 3), np.float32))]).status == 0


def gemm(bias, batch):
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(np.ones((3, 4), np.float32), "w"), numpy_helper.from_array(np.ones(bias, np.float32), "b")]
    return helper.make_model(helper.make_graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="odd")], "g", [x], [y], weights),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("bias", [[3], [5], [2, 3], [3, 4]], ids=str)
def test_bias_of_a_wrong_size(tool, tmp_path, bias):
    refuses(tool("megactx-compile", written(tmp_path, gemm(bias, 2)), "-o", tmp_path / "out"), "odd", "Gemm", output=tmp_path / "out")


def test_bias_that_a_run_finds_to_be_wrong(tool, tmp_path):
    out = tmp_path / "gemm.mctx"
    assert tool("megactx-compile", written(tmp_path, gemm([3, 4], "batch")), "-o", out).status == 0
    assert run_with(tool, out, tmp_path, [("x", np.ones((3, 3), np.float32))]).status == 0
    shutil.rmtree(tmp_path / "out")
    done = run_with(tool, out, tmp_path, [("x", np.ones((2, 3), np.float32))])
    refuses(done, "error: node 'odd' (Gemm): operands do not broadcast\n", output=tmp_path / "out" / "output_0.pb")


@pytest.mark.parametrize("name, said", [("", "node 'Gather'"), ("first", "node 'first' (Gather)"), ("zero\0", "node 'zero' (Gather)"), ("no\x01utf8", "node 'no\ufffdutf8' (Gather)")],
                         ids=["none", "name", "zero byte", "no UTF-8"])
def test_errors_of_a_run_name_the_node(tool, tmp_path, name, said):
    """Not one that does the same before it, and succeeds."""
    gather = lambda out, ids, **options: helper.make_node("Gather", ["table", ids], [out], **options)
    ids = [helper.make_tensor_value_info(ids, onnx.TensorProto.INT64, [2]) for ids in ("good", "bad")]
    rows = [helper.make_tensor_value_info(rows, onnx.TensorProto.FLOAT, None) for rows in ("x", "y")]
    graph = helper.make_graph([gather("x", "good", name="before"), gather("y", "bad", name=name)], "g", ids, rows, [numpy_helper.from_array(np.ones((3, 4), np.float32), "table")])
    path, out = tmp_path / "rows.onnx", tmp_path / "rows.mctx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString().replace(b"no\x01", b"no\xe9"))
    assert tool("megactx-compile", path, "-o", out).status == 0
    done = run_with(tool, out, tmp_path, [("good", np.array([0, 2])), ("bad", np.array([1, 3]))])
    refuses(done, f"error: {said}: an index of Gather is out of range\n", output=tmp_path / "out" / "output_0.pb")


@pytest.mark.parametrize("wrong", ["value", "output"])
def test_declared_sizes_that_a_run_finds_to_be_wrong(tool, tmp_path, wrong):
    """A file that says of a value of any size that it has one row: a part of the result would be no answer. Of a result exporters say what their
    example had; it has the size that the graph gives it, as in onnxruntime, which warns."""
    shapes = {"x": ["rows", 3], "twice": [1, 3] if wrong == "value" else None, "y": [1, 3] if wrong == "output" else None}
    x, twice, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items())
    nodes = [helper.make_node("Reshape", ["x", "to"], ["again"]), helper.make_node("Relu", ["again"], ["twice"], name="odd"), helper.make_node("Neg", ["twice"], ["y"], name="odd")]
    to = helper.make_tensor_value_info("to", onnx.TensorProto.INT64, [2])
    model = helper.make_model(helper.make_graph(nodes, "g", [x, to], [y], value_info=[twice]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    out = tmp_path / "declared.mctx"
    assert tool("megactx-compile", written(tmp_path, model), "-o", out).status == 0
    run = lambda rows: run_with(tool, out, tmp_path, [("x", np.ones((rows, 3), np.float32)), ("to", np.array([rows, 3]))])
    assert run(1).status == 0
    shutil.rmtree(tmp_path / "out")
    if wrong == "value":
        return refuses(run(2), "node 'odd' (Relu): the model declares size 1 for dim 0 of a result, which has another", output=tmp_path / "out" / "output_0.pb")
    assert run(2).status == 0
    (_, value), = reference.load_tensors(tmp_path / "out", "output")
    np.testing.assert_array_equal(value, -np.ones((2, 3), np.float32))


def test_a_declared_rank_that_is_wrong(tool, tmp_path):
    """As onnxruntime, which warns: a result has the rank that the graph gives it."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in {"x": ["rows", 3], "y": [1, "rows"]}.items())
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "to"], ["y"])], "g", [x], [y], [numpy_helper.from_array(np.array([-1, 1, 3]), "to")])
    path, out = written(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)), tmp_path / "declared.mctx"
    assert tool("megactx-compile", path, "-o", out).status == 0
    assert run_with(tool, out, tmp_path, [("x", np.ones((2, 3), np.float32))]).status == 0
    (_, value), = reference.load_tensors(tmp_path / "out", "output")
    assert value.shape == (2, 1, 3)


def test_declared_sizes_that_contradict_the_graph(tool, tmp_path):
    model = small_model([helper.make_node("Neg", ["x"], ["y"])])
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 5
    refuses(tool("megactx-compile", written(tmp_path, model), "-o", tmp_path / "out"), "the model declares 'tensor<5x3xf32>' for operand 0, which is 'tensor<2x3xf32>'", output=tmp_path / "out")


@pytest.mark.parametrize("indices, good", [([[1, 2], [-2, -3]], True), ([[1, 3]], False), ([[2, 1]], False), ([[0, -4]], False)], ids=str)
def test_indices_out_of_range(tool, tmp_path, indices, good):
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    path = written(tmp_path, small_model([node], [numpy_helper.from_array(np.array(indices), "i")]))
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    path.write_bytes(model.SerializeToString())
    out = tmp_path / "gather.mctx"
    assert tool("megactx-compile", path, "-o", out).status == 0
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    done = run_with(tool, out, tmp_path, [("x", x)])
    if good:
        assert done.status == 0, done
        (_, value), = reference.load_tensors(tmp_path / "out", "output")
        assert value.tolist() == [x[tuple(i)] for i in indices]
    else:
        refuses(done, "GatherND", output=tmp_path / "out" / "output_0.pb")


def test_unknown_operator_imports_but_does_not_compile(tool, tmp_path):
    path = written(tmp_path, small_model([helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="com.example")]))
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    path.write_bytes(model.SerializeToString())
    assert tool("megactx-translate", "--import-onnx", path, "-o", tmp_path / "odd.mlir").status == 0
    out = tmp_path / "odd.mctx"
    refuses(tool("megactx-compile", path, "-o", out), "odd", "Frobnicate", output=out)


@pytest.mark.parametrize("pattern", ["", "causal and", "windw<left = 3>", "window<left = x>", "strided<stride = 0>", "(causal", "causal causal",
                                     "per_head<[]>", "window<left = 99999999999999999999, right = 0>"])
def test_pattern_errors_point_at_the_place(good, tool, tmp_path, pattern):
    out = tmp_path / "out.mctx"
    done = tool("megactx-compile", good / "model.onnx", "--pattern", pattern, "-o", out)
    refuses(done, "^", output=out)
    done = tool("megactx-pattern", pattern, "--queries", "8", "--print=relation")
    refuses(done, "^")


@pytest.mark.parametrize("policy, word", [
    ({"rules": [{"layers": "7", "heads": "*", "pattern": "causal"}]}, "7"),
    ({"rules": [{"layers": "0", "heads": "9", "pattern": "causal"}]}, "9"),
    ({"rules": [{"layers": "0", "pattern": "causl"}]}, "causl"),
    ({"rules": [{"layers": "zero", "pattern": "causal"}]}, "zero"),
    ({"rules": [{"layers": "0"}]}, "pattern"),
    ({"rules": [{"layer": "0", "pattern": "causal"}]}, "unknown key 'layer', a rule has layers, heads, kind, and pattern or schedule"),
    ({"rules": [{"layers": 0, "pattern": "causal"}]}, "must be a string: a number, a range ('0-3' or '4-') or '*'"),
    ({"rules": [{"layers": "0,1", "pattern": "causal"}]}, "expected a number, a range ('0-3' or '4-') or '*'"),
    ({"rules": [{"kind": "both", "pattern": "causal"}]}, "expected 'self' or 'cross', but got 'both'"),
    ({"rules": [{"schedule": [{"until_step": "5", "pattern": "dense"}, {"pattern": "causal"}]}]}, "expected entries with an 'until_step', an integer"),
    ({"rules": [{"schedule": [{"pattern": "causal", "until_step": 1.5}]}]}, "expected entries with an 'until_step', an integer"),
    ({"rules": [{"schedule": [{"until_stp": 5, "pattern": "dense"}, {"pattern": "causal"}]}]}, "unknown key 'until_stp'"),
    ({"rules": [{"schedule": "causal"}]}, "expected either a 'pattern' or a 'schedule' with entries"),
    ({"rule": []}, "rule"),
    ([], ""),
    ("{", ""),
    ('{"rules": [{"pattern": "causal", "kind": "self", "pattern" : "dense"}]}', "an object has the key 'pattern' twice"),
    ('{"rules": [{"pattern": "causal"}, {"pattern": "causl"}]}', "causl"),
    ('{"rules": "\\', ""),
    ("[" * 100000, "nested too deeply"),
], ids=lambda value: str(value)[:60])
def test_policy_errors(good, tool, tmp_path, policy, word):
    path, out = tmp_path / "policy.json", tmp_path / "out.mctx"
    path.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    refuses(tool("megactx-compile", good / "model.onnx", "--policy", path, "-o", out), "policy.json", word, output=out)


def test_no_such_policy(good, tool, tmp_path):
    out = tmp_path / "out.mctx"
    refuses(tool("megactx-compile", good / "model.onnx", "--policy", tmp_path / "absent.json", "-o", out), "absent.json", output=out)


def test_unwritable_output(good, tool, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "model.mctx"
    done = tool("megactx-compile", good / "model.onnx", "-o", out)
    refuses(done, "model.mctx")
    assert "read" not in done.err  # it says so before the work
    refuses(tool("megactx-translate", "--import-onnx", good / "model.onnx", "-o", out), "model.mctx")


def test_a_folder_of_other_things_is_not_replaced(good, tool, artifact, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(good, folder)
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    for out in (folder, f"{folder}/", folder / "test_data_set_0" / ".."):
        refuses(tool("megactx-compile", folder / "model.onnx", "-o", out), str(out), "folder that holds")
        assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["models"], "left a folder beside the output"


@pytest.mark.parametrize("end", ["", "/"])
def test_an_older_artifact_is_replaced(good, tool, artifact, tmp_path, end):
    out = tmp_path / "old.mctx"
    shutil.copytree(artifact, out)
    (out / "manifest.json").write_text("old")
    assert tool("megactx-compile", good / "model.onnx", "-o", f"{out}{end}").status == 0
    assert tool("megactx-run", out, "--test-data", good / "test_data_set_0").status == 0
    assert [p.name for p in tmp_path.iterdir()] == ["old.mctx"]


def run_with(tool, artifact, tmp_path, inputs):
    reference.save_tensors(tmp_path / "in", "input", inputs)
    return tool("megactx-run", artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")


@pytest.mark.parametrize("value", [np.zeros((2, 3, 4), np.int64), np.zeros((2, 3), np.float32), np.zeros((), np.int64)],
                         ids=["rank", "type", "scalar"])
def test_inputs_of_a_wrong_shape_or_type(tool, artifact, tmp_path, value):
    refuses(run_with(tool, artifact, tmp_path, [("ids", value)]), "ids", output=tmp_path / "out" / "output_0.pb")


def test_missing_and_additional_inputs(tool, artifact, tmp_path):
    (tmp_path / "in").mkdir()
    refuses(tool("megactx-run", artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out"), "ids")
    ids = np.zeros((1, 4), np.int64)
    refuses(run_with(tool, artifact, tmp_path, [("ids", ids), ("more", ids)]), "more")


def test_a_static_dimension_that_differs(tool, request, tmp_path):
    folder = generated(request.config.getoption("--build")) / "vit_sdpa_ts17"
    done = tool("megactx-compile", folder / "model.onnx", "-o", tmp_path / "vit.mctx")
    assert done.status == 0, done
    done = run_with(tool, tmp_path / "vit.mctx", tmp_path, [("pixel_values", np.zeros((1, 3, 24, 20), np.float32))])
    refuses(done, "pixel_values", "24", "20")


def test_token_beyond_the_vocabulary_does_not_crash(tool, artifact, tmp_path):
    done = run_with(tool, artifact, tmp_path, [("ids", np.full((1, 4), 10**6, np.int64))])
    assert done.status in (0, 1), done


def test_files_where_a_run_takes_folders(good, tool, artifact, tmp_path):
    data = good / "test_data_set_0"
    (tmp_path / "file").write_text("")
    refuses(tool("megactx-run", artifact, "--inputs", data / "input_0.pb"), "is no folder with input_0.pb")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        refuses(tool("megactx-run", artifact, "--inputs", data, "--outputs", out), f"error: cannot write to '{out}': Not a directory")


def test_inputs_by_their_names(good, tool, artifact, tmp_path):
    for kind in ("input", "output"):
        (name, value), = reference.load_tensors(good / "test_data_set_0", kind)
        np.save(tmp_path / f"{name}.npy", value)
    assert tool("megactx-run", artifact, "--test-data", tmp_path).status == 0
    os.rename(tmp_path / "ids.npy", tmp_path / "id.npy")
    refuses(tool("megactx-run", artifact, "--inputs", tmp_path), "input 'ids': no file", "input_0.pb' or .npy, nor of its name")


def test_a_description_counts_weights(tool, artifact):
    said = json.loads(tool("megactx-run", artifact).out)
    assert said["weights"] == {"count": 11, "bytes": (artifact / "weights.bin").stat().st_size} and said["inputs"][0]["name"] == "ids"


@pytest.mark.parametrize("option", [["--benchmark"], ["--outputs", "out"]], ids=str)
def test_a_run_without_inputs(tool, artifact, option):
    refuses(tool("megactx-run", artifact, *option), option[0], "--inputs")


def test_a_report_that_cannot_be_written(request, good, artifact):
    folder = request.config.getoption("--build").resolve() / "bin"
    for command in (["megactx-run", artifact, "--test-data", good / "test_data_set_0"], ["megactx-explain", artifact]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([folder / command[0], *command[1:]], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "error: cannot write to standard output" in done.stderr


def test_beyond_tolerance_is_status_1(good, tool, artifact, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(good / "test_data_set_0", data)
    name, value = reference.load_tensors(data, "output")[0]
    value = value.copy()
    value.flat[7] += 1.0
    reference.save_tensors(data, "output", [(name, value)])
    done = tool("megactx-run", artifact, "--test-data", data, "--rtol", "1e-4", "--atol", "1e-4")
    assert done.status == 1, done
    value.flat[7] = np.nan
    reference.save_tensors(data, "output", [(name, value)])
    assert tool("megactx-run", artifact, "--test-data", data, "--rtol", "1e-4", "--atol", "1e-4").status == 1


def files_of(artifact):
    return [artifact] if artifact.is_file() else sorted(p for p in artifact.rglob("*") if p.is_file())


def damaged_copies(artifact, tmp_path):
    """Copies with one file truncated or with bytes turned over, of every file in the artifact."""
    for index, victim in enumerate(files_of(artifact)):
        for kind in ("cut", "flip", "empty"):
            copy = tmp_path / f"{index}-{kind}.mctx"
            shutil.copytree(artifact, copy) if artifact.is_dir() else shutil.copy(artifact, copy)
            target = copy / victim.relative_to(artifact) if artifact.is_dir() else copy
            data = bytearray(target.read_bytes())
            if kind == "flip":
                middle = len(data) // 2
                data[middle:middle + 4] = bytes(255 - b for b in data[middle:middle + 4])
            os.chmod(target, 0o644)
            target.write_bytes(data[: len(data) // 2] if kind == "cut" else b"" if kind == "empty" else data)
            yield copy


def test_corrupted_artifact(good, tool, artifact, tmp_path):
    for copy in damaged_copies(artifact, tmp_path):
        refuses(tool("megactx-run", copy, "--test-data", good / "test_data_set_0"), copy.name)


def checksum(data):
    """The FNV-1a over words that manifests record."""
    value, words = 0xCBF29CE484222325, len(data) // 8 * 8
    for part in [int.from_bytes(data[i : i + 8], "little") for i in range(0, words, 8)] + list(data[words:]):
        value = (value ^ part) * 0x100000001B3 % 2**64
    return value


def with_manifest(artifact, copy, change):
    """A copy whose manifest `change` has edited and whose checksum is right again."""
    shutil.copytree(artifact, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    manifest["checksum"] = "0" * 16
    text = json.dumps(manifest)
    (copy / "manifest.json").write_text(text.replace("0" * 16, f"{checksum(text.encode()):016x}"))
    return copy


def test_an_edited_manifest_with_its_checksum_is_accepted(good, tool, artifact, tmp_path):
    copy = with_manifest(artifact, tmp_path / "same.mctx", lambda manifest: None)
    done = tool("megactx-run", copy, "--test-data", good / "test_data_set_0")
    assert done.status == 0, done


def test_artifact_for_another_cpu(good, tool, artifact, tmp_path):
    copy = with_manifest(artifact, tmp_path / "other.mctx", lambda manifest: manifest["target"].update(cpu="future", features=["future9000"]))
    refuses(tool("megactx-run", copy, "--test-data", good / "test_data_set_0"), "other.mctx", "'future'", "future9000")


@pytest.mark.parametrize("change", [
    lambda m: m.update(version=99), lambda m: m.update(version="one"), lambda m: m.update(format=7), lambda m: m.pop("version"),
    lambda m: m.pop("target"), lambda m: m.pop("files"), lambda m: m.pop("inputs"), lambda m: m.pop("outputs"),
    lambda m: m.update(inputs=7), lambda m: m["inputs"].append({}), lambda m: m["inputs"][0].update(dtype="float7"),
    lambda m: m["files"].pop("model.so"), lambda m: m["target"].update(features=[7])], ids=[
    "newer", "version text", "format number", "no version", "no target", "no files", "no inputs", "no outputs",
    "inputs number", "input empty", "dtype", "no code", "feature number"])
def test_manifest_with_other_contents(good, tool, artifact, tmp_path, change):
    copy = with_manifest(artifact, tmp_path / "odd.mctx", change)
    refuses(tool("megactx-run", copy, "--test-data", good / "test_data_set_0"), "odd.mctx")


@pytest.mark.parametrize("kind", ["cut.pb", "random.pb", "cut.npy", "absurd.npy", "random.npy", "empty.npy"])
def test_damaged_inputs(tool, artifact, tmp_path, kind):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / ("input_0" + kind[kind.index("."):])
    ids = np.zeros((1, 4), np.int64)
    if path.suffix == ".npy":
        np.save(path, ids)
    else:
        path.write_bytes(numpy_helper.from_array(ids, "ids").SerializeToString())
    data = path.read_bytes()
    if kind.startswith("cut"):
        data = data[:-5]
    elif kind.startswith("absurd"):
        data = data.replace(b"(1, 4), }                ", b"(4294967296, 4294967296)}")
    else:
        data = b"" if kind.startswith("empty") else np.random.default_rng(0).bytes(200)
    path.write_bytes(data)
    done = tool("megactx-run", artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    refuses(done, "input_0", output=tmp_path / "out" / "output_0.pb")


@pytest.mark.parametrize("dims", [[2**62, 4], [2**31, 2**31, 2**31], [-1, 3], [2**40]], ids=str)
def test_absurd_size_of_a_weight(tool, tmp_path, dims):
    weight = onnx.TensorProto(name="weight", data_type=onnx.TensorProto.FLOAT, dims=dims, raw_data=b"\0" * 24)
    refuse_model(tool, written(tmp_path, small_model([helper.make_node("Add", ["x", "weight"], ["y"])], [weight])), "weight")


@pytest.mark.parametrize("size", [2**33, 2**62, -(2**40)], ids=str)
def test_absurd_size_of_a_value(tool, tmp_path, size):
    """Refused by the compiler, or by the run for want of memory; never a crash."""
    shape = numpy_helper.from_array(np.array([size, 2, 3], np.int64), "shape")
    path = written(tmp_path, small_model([helper.make_node("Expand", ["x", "shape"], ["large"], name="large"),
                                          helper.make_node("ReduceSum", ["large"], ["y"], keepdims=0)], [shape]))
    out = tmp_path / "out.mctx"
    done = tool("megactx-compile", path, "-o", out, timeout=60)
    if done.status == 0:
        done = run_with(tool, out, tmp_path, [("x", np.zeros((2, 3), np.float32))])
    refuses(done, output=tmp_path / "out" / "output_0.pb")


def test_a_name_with_two_producers(tool, tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="first"), helper.make_node("Neg", ["x"], ["y"], name="second")]
    refuse_model(tool, written(tmp_path, small_model(nodes)), "y")


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a disk with 4 KB left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(good, tool, artifact, full_disk):
    for done in [tool("megactx-compile", good / "model.onnx", "-o", full_disk / "model.mctx"),
                 tool("megactx-translate", "--import-onnx", good / "model.onnx", "-o", full_disk / "model.mlir")]:
        refuses(done, "model.m", "No space left")
        assert not list(full_disk.iterdir()), done
    filling = full_disk / "filling"
    with filling.open("wb", buffering=0) as stream, pytest.raises(OSError):
        while True:
            stream.write(b"\0" * 4096)
    done = tool("megactx-run", artifact, "--inputs", good / "test_data_set_0", "--outputs", full_disk)
    refuses(done, "output_0.pb")
    assert list(full_disk.iterdir()) == [filling], done


def test_output_to_a_full_device(good, tool, tmp_path):
    """A device is written to, never replaced; this one is the test's own."""
    device = tmp_path / "full"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        device.open("wb", buffering=0).close()
    except OSError:
        pytest.skip("needs the right to make a device")
    module = tmp_path / "model.mlir"
    assert tool("megactx-translate", "--import-onnx", good / "model.onnx", "-o", module).status == 0
    for command in [("megactx-translate", "--import-onnx", good / "model.onnx"), ("megactx-translate", "--export-onnx", module),
                    ("megactx-compile", good / "model.onnx", "--compile-to=attention"), ("megactx-compile", good / "model.onnx")]:
        done = tool(*command, "-o", device)
        refuses(done, "full")
        assert device.is_char_device(), done


@pytest.mark.parametrize("side", ["input", "output"])
def test_more_dims_than_the_runtime_has(tool, tmp_path, side):
    shape = [2] * 9
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape if side == "input" else [])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    nodes = [helper.make_node("Add", ["x", "w"], ["sum"]), helper.make_node("ReduceSum" if side == "input" else "Neg", ["sum"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(np.ones(shape, np.float32), "w")]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    refuses(tool("megactx-compile", written(tmp_path, model), "-o", tmp_path / "out"), "expected inputs and outputs of at most 8 dims", output=tmp_path / "out")
