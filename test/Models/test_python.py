"""The Python package: what the command-line tools cannot show."""

import pathlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import megactx
from megactx import artifacts
from conftest import generated


@pytest.fixture(scope="module")
def gpt(request):
    build = request.config.getoption("--build")
    megactx.use_build(build)
    return generated(build) / "gpt_sdpa_ts17" / "model.onnx"


def test_a_model_compiled_again_to_the_path_of_a_loaded_one(gpt, tmp_path):
    """Each model runs the code that it was loaded with, though the loader of libraries goes by names."""
    ids = {"ids": np.arange(40)[None] % 90}
    megactx.compile(gpt, tmp_path / "m.mctx")
    dense = megactx.load(tmp_path / "m.mctx")
    before = dense.run(ids)["output"]
    megactx.compile(gpt, tmp_path / "m.mctx", pattern="window<left = 1, right = 0>")
    sparse = megactx.load(tmp_path / "m.mctx")
    assert np.abs(sparse.run(ids)["output"] - before).max() > 0.01
    np.testing.assert_array_equal(dense.run(ids)["output"], before)
    again = megactx.load(tmp_path / "m.mctx")
    np.testing.assert_array_equal(again.run(ids)["output"], sparse.run(ids)["output"])


@pytest.mark.parametrize("drop", ["the first", "the second"])
def test_a_model_that_is_loaded_again(request, tmp_path, drop):
    """Of two that are the same file one goes; another model after that is no mixture with the one that stays."""
    megactx.use_build(request.config.getoption("--build"))
    for name in ("negf", "absf"):
        (tmp_path / f"{name}.mlir").write_text(f"""\
func.func @main(%x: tensor<?xf32> {{onnx.name = "x"}}) -> (tensor<?xf32> {{onnx.name = "y"}}) {{
  %y = {"arith.negf" if name == "negf" else "math.absf"} %x : tensor<?xf32>
  return %y : tensor<?xf32>
}}
""")
        megactx.compile(tmp_path / f"{name}.mlir", tmp_path / f"{name}.mctx")
    x = np.array([1, -2], np.float32)
    models = [megactx.load(tmp_path / "negf.mctx") for _ in range(2)]
    del models[drop == "the second"]
    others = [megactx.load(tmp_path / "absf.mctx") for _ in range(3)]
    for model in others:
        np.testing.assert_array_equal(model.run({"x": x})["y"], abs(x))
    np.testing.assert_array_equal(models[0].run({"x": x})["y"], -x)
    del models
    np.testing.assert_array_equal(megactx.load(tmp_path / "negf.mctx").run({"x": x})["y"], -x)


def test_levels_of_optimization(request, tmp_path, monkeypatch):
    megactx.use_build(request.config.getoption("--build"))
    (tmp_path / "m.mlir").write_text("""\
func.func @main(%x: tensor<?xf32> {onnx.name = "x"}) -> (tensor<?xf32> {onnx.name = "y"}) {
  %y = math.exp %x : tensor<?xf32>
  return %y : tensor<?xf32>
}
""")
    x, sizes = np.linspace(-2, 2, 37, dtype=np.float32), {}
    for level in (0, 3):
        megactx.compile(tmp_path / "m.mlir", tmp_path / "m.mctx", optimize=level)
        sizes[level] = (tmp_path / "m.mctx" / "model.so").stat().st_size
        np.testing.assert_allclose(megactx.load(tmp_path / "m.mctx").run({"x": x})["y"], np.exp(x), rtol=1e-5)
    assert sizes[0] != sizes[3]
    commands = []
    monkeypatch.setattr(megactx.tools, "run", lambda *command, **more: commands.append(command) or "compiled")
    megactx.compile(tmp_path / "m.mlir", tmp_path / "m.mctx")
    assert "-O2" in commands[0]
    monkeypatch.undo()
    for level in (4, -1, 2.0, True, "3"):
        with pytest.raises(megactx.Error, match=f"expected 0, 1, 2 or 3, but got {level!r}"):
            megactx.compile(tmp_path / "m.mlir", tmp_path / "m.mctx", optimize=level)


def test_arrays_of_another_byte_order_and_layout(gpt, tmp_path):
    megactx.compile(gpt, tmp_path / "m.mctx")
    run = megactx.load(tmp_path / "m.mctx").run
    ids = np.arange(80).reshape(2, 40) % 90
    want = run({"ids": ids})["output"]
    for other in (ids.astype(">i8"), np.asfortranarray(ids), np.repeat(ids, 2, axis=1)[:, ::2], ids.tolist()):
        np.testing.assert_array_equal(run({"ids": other})["output"], want)


def test_slices_that_are_returned(request, tmp_path):
    """Rows of a slice are further apart in memory than they are long; results are not."""
    megactx.use_build(request.config.getoption("--build"))
    (tmp_path / "m.mlir").write_text("""\
!t = tensor<?x?x4xf32>
func.func @main(%x: !t) -> (!t, !t) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %x, %c0 : !t
  %n = tensor.dim %x, %c1 : !t
  %less = arith.subi %n, %c1 : index
  %y = arith.addf %x, %x : !t
  %most = tensor.extract_slice %y[0, 0, 0] [%b, %less, 4] [1, 1, 1] : !t to !t
  %one = tensor.extract_slice %y[0, 0, 0] [%b, %c1, 4] [1, 1, 1] : !t to !t
  return %most, %one : !t, !t
}
""")
    megactx.compile(tmp_path / "m.mlir", tmp_path / "m.mctx")
    x = np.random.default_rng().standard_normal((3, 5, 4), dtype=np.float32)
    model = megactx.load(tmp_path / "m.mctx")
    most, one = model.run({model.inputs[0]: x}).values()
    np.testing.assert_array_equal(most, 2 * x[:, :-1])
    np.testing.assert_array_equal(one, 2 * x[:, :1])


def test_inputs_are_not_written_to(request, tmp_path):
    megactx.use_build(request.config.getoption("--build"))
    node = helper.make_node("ScatterND", ["data", "places", "updates"], ["out"], reduction="add")
    ends = [helper.make_tensor_value_info(name, kind, ["n"] if name != "places" else ["m", 1]) for name, kind in
            (("data", TensorProto.FLOAT), ("places", TensorProto.INT64), ("updates", TensorProto.FLOAT), ("out", TensorProto.FLOAT))]
    graph = helper.make_graph([node], "g", [ends[0], ends[1], helper.make_tensor_value_info("updates", TensorProto.FLOAT, ["m"])], ends[3:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    megactx.compile(tmp_path / "m.onnx", tmp_path / "m.mctx")
    inputs = {"data": np.arange(6, dtype=np.float32), "places": np.array([[1], [4]]), "updates": np.ones(2, np.float32)}
    run = megactx.load(tmp_path / "m.mctx").run
    for _ in range(2):
        np.testing.assert_array_equal(run(inputs)["out"], [0, 2, 2, 3, 5, 5])
    np.testing.assert_array_equal(inputs["data"], np.arange(6))


def test_schedules_count_by_their_content(monkeypatch, tmp_path):
    """Not by the file's name, which another tuning writes to again."""
    monkeypatch.setattr(artifacts, "compile", lambda model, output, schedules, **_: pathlib.Path(output).write_bytes(pathlib.Path(schedules).read_bytes()))
    path = tmp_path / "schedules.json"
    with artifacts.Artifacts(tmp_path / "cache") as kept:
        for content, compiled in ((b"first", 1), (b"second", 2), (b"first", 2)):
            path.write_bytes(content)
            assert kept.of_module("module {}", schedules=path).read_bytes() == content and kept.compiled == compiled
        other = tmp_path / "other.json"
        other.write_bytes(b"second")
        assert kept.of_module("module {}", schedules=other).read_bytes() == b"second" and kept.compiled == 2
        path.unlink()
        with pytest.raises(megactx.Error, match="schedules.json"):
            kept.of_module("module {}", schedules=path)


def test_what_the_command_line_has_python_has(gpt, tmp_path):
    """Policies as what their file holds, with a step; warnings; and errors without the lines of progress."""
    schedule = [{"until_step": 10, "pattern": "dense"}, {"pattern": "window<left = 1, right = 0>"}]
    rules = {"rules": [{"layers": "0", "schedule": schedule}]}
    for step, pattern in ((None, "causal"), (10, "window<left = 1, right = 0> and causal")):
        megactx.compile(gpt, tmp_path / "m.mctx", policy=rules, step=step, optimize=0)
        assert megactx.load(tmp_path / "m.mctx").manifest["attentions"][0]["sources"][0]["pattern"] == pattern
    with pytest.warns(RuntimeWarning, match="rule 0 is for cross-attention, and finds none"):
        assert megactx.compile(gpt, tmp_path / "m.mctx", policy={"rules": [{"kind": "cross", "pattern": "causal"}]}, optimize=0) == "raised 2 attentions, sparsified 0"
    with pytest.raises(megactx.Error, match=r"^[^\n]*model.onnx:0:0: error: sparsify: .*rule 0: unknown key 'layer'"):
        megactx.compile(gpt, tmp_path / "m.mctx", policy={"rules": [{"layer": "0", "pattern": "causal"}]})
    with pytest.raises(megactx.Error, match="policy: .*not JSON serializable"):
        megactx.compile(gpt, tmp_path / "m.mctx", policy={"rules": {1, 2}})


def test_caches_in_place_from_python(request, tmp_path):
    build = request.config.getoption("--build")
    megactx.use_build(build)
    megactx.compile(generated(build) / "llama_decode_sdpa_ts17" / "model.onnx", tmp_path / "m.mctx", caches_in_place=True, optimize=0)
    assert "past_sequence_length" in megactx.load(tmp_path / "m.mctx").inputs


def test_a_model_says_what_it_takes(gpt, tmp_path):
    megactx.compile(gpt, tmp_path / "m.mctx", optimize=0)
    model = megactx.load(tmp_path / "m.mctx")
    assert repr(model) == "<megactx.Model for cpu: ids int64 [batch, length] -> output float [batch, length, 96]>"
    for inputs in ([np.zeros((1, 4), int)], np.zeros((1, 4), int)):
        with pytest.raises(megactx.Error, match=r"expected the inputs by name, \{'ids': ...\}, but got a (list|ndarray)"):
            model.run(inputs)
