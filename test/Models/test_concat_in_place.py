"""Caches that a Concat makes longer, as in Hugging Face's exports, with `--caches-in-place`: buffers with room, and how many tokens they hold."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import megactx
from conftest import generated

NAME, LENGTH = "llama_decode_sdpa_ts17", "past_sequence_length"
PATTERN = "window<left = 2, right = 0> or strided<stride = 4>"
CACHES = [f"past_key_values.{layer}.{kind}" for layer in range(2) for kind in ("key", "value")]
PRESENT = {name: name.replace("past_key_values", "present") for name in CACHES}
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def decoder(request, tool, tmp_path_factory):
    """decoder(options...): the artifact of the bundled decoder; decoder.path is the model."""
    folder, source, made = tmp_path_factory.mktemp("decoder"), generated(request.config.getoption("--build")) / NAME / "model.onnx", {}

    def artifact(*options):
        if options not in made:
            made[options] = folder / f"{len(made)}.mctx"
            done = tool("megactx-compile", source, "-O0", *options, "-o", made[options])
            assert done.status == 0, done
        return made[options]

    artifact.path = source
    return artifact


def drawn(batch, tokens):
    return {name: RNG.standard_normal((batch, 2, tokens, 8)).astype(np.float32) for name in CACHES}


def with_room(caches, room):
    """What is behind a cache's tokens must not matter."""
    wide = {name: np.full((*cache.shape[:2], room, cache.shape[3]), np.nan, np.float32) for name, cache in caches.items()}
    for name, cache in caches.items():
        wide[name][:, :, : cache.shape[2]] = cache
    return wide


@pytest.mark.parametrize("pattern", [None, PATTERN], ids=str)
def test_steps_equal_those_with_caches_that_are_copied(pattern, decoder):
    """A prompt, single tokens, parts of others, into a buffer that they fill."""
    sparse = ("--pattern", pattern) if pattern else ()
    copying, updating = (megactx.load(decoder(*more, *sparse)) for more in ((), ("--caches-in-place",)))
    session = onnxruntime.InferenceSession(decoder.path)
    caches, past = drawn(2, 0), 0
    room = with_room(caches, 16)
    for rows in (5, 1, 1, 3, 6):
        ids = RNG.integers(2, 90, (2, rows))
        wants = [copying.run({"input_ids": ids, **caches})]
        if pattern is None:
            wants.append(dict(zip([each.name for each in session.get_outputs()], session.run(None, {"input_ids": ids, **caches}))))
        got = updating.run({"input_ids": ids, LENGTH: np.array(past), **room})
        past += rows
        for want in wants:
            np.testing.assert_allclose(got["logits"], want["logits"], rtol=1e-4, atol=1e-4)
            for name, present in PRESENT.items():
                assert got[present] is room[name]
                np.testing.assert_allclose(room[name][:, :, :past], want[present], rtol=1e-5, atol=1e-5)
                assert np.isnan(room[name][:, :, past:]).all()
        caches = {name: wants[0][present] for name, present in PRESENT.items()}
    assert past == 16


def test_the_manifest_says_what_is_what(decoder):
    manifest = json.loads((decoder("--caches-in-place") / "manifest.json").read_text())
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    assert inputs[-1] == {"name": LENGTH, "dtype": "int64", "shape": []}
    updates = {entry["name"]: inputs[entry["updates"]] for entry in outputs if "updates" in entry}
    assert {name: entry["name"] for name, entry in updates.items()} == {present: name for name, present in PRESENT.items()}
    assert all(entry["shape"] == ["batch", 2, "past_length_room", 8] for entry in updates.values())


@pytest.mark.parametrize("past, message", [
    (4, "a cache that is written in place has no room for all tokens"),
    (2**63 - 1, "a cache that is written in place has no room for all tokens"),
    (-1, "past_sequence_length is negative"),
    (-2**63, "past_sequence_length is negative"),
])
def test_lengths_that_cannot_be(past, message, decoder):
    room = with_room(drawn(1, 3), 6)
    before = {name: cache.copy() for name, cache in room.items()}
    with pytest.raises(megactx.Error, match=message):
        megactx.load(decoder("--caches-in-place")).run({"input_ids": RNG.integers(2, 90, (1, 3)), LENGTH: np.array(past), **room})
    for name, cache in room.items():
        np.testing.assert_array_equal(cache, before[name])


def test_caches_of_other_sizes(decoder):
    model, ids = megactx.load(decoder("--caches-in-place")), RNG.integers(2, 90, (1, 3))
    room = with_room(drawn(1, 3), 6)
    for other, message in ((with_room(drawn(1, 3), 7), "dim 2: expected 'past_length_room' to be 6"), (with_room(drawn(2, 3), 6), "dim 0: expected 'batch' to be 1")):
        with pytest.raises(megactx.Error, match=message):
            model.run({"input_ids": ids, LENGTH: np.array(3), **room, CACHES[2]: other[CACHES[2]]})


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def appending(reads=(), outputs=("all",), inputs=(), axis=1):
    """A cache [b, n, 4] of which more nodes may read, and others with as many tokens."""
    nodes = [helper.make_node("Concat", ["cache", "new"], ["all"], axis=axis), helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0), *reads]
    graph = helper.make_graph(nodes, "g", [value("cache", ["b", "n", 4]), value("new", ["b", "m", 4] if axis else ["m", "n", 4]), *inputs],
                              [value("sum", []), *(value(name, None) for name in outputs)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compiled(tool, folder, model):
    onnx.save(model, folder / "model.onnx")
    return tool("megactx-compile", folder / "model.onnx", "-O0", "--caches-in-place", "-o", folder / "model.mctx")


@pytest.mark.parametrize("graph", [
    appending([helper.make_node("Exp", ["cache"], ["e"])], ("all", "e")),  # what was there is read
    appending([helper.make_node("Exp", ["all"], ["e"])], ("e",)),  # it does not go out
    appending([helper.make_node("Concat", ["new", "cache"], ["front"], axis=1)], ("front",)),
], ids=["read", "not_out", "in_front"])
def test_nothing_to_append_to(graph, tool, tmp_path):
    done = compiled(tool, tmp_path, graph)
    assert done.status == 1 and "error: no cache can be written in place" in done.err and not (tmp_path / "model.mctx").exists(), done


def test_an_input_of_that_name(tool, tmp_path):
    done = compiled(tool, tmp_path, appending(inputs=[value(LENGTH, [], TensorProto.INT64)]))
    assert done.status == 1 and f"error: caches cannot be written in place: the model has an input '{LENGTH}' of its own" in done.err, done


@pytest.mark.parametrize("axis", [1, -2, 0])
def test_sizes_are_those_of_what_it_holds(axis, tool, tmp_path):
    """Nodes that ask how long the cache was, another input as long as it, and the longer one as a second output."""
    other = ["n", "k"] if axis else ["b", "k"]
    reads = [helper.make_node("Shape", ["cache"], ["was"]), helper.make_node("Identity", ["all"], ["copy"]), helper.make_node("Exp", ["copy"], ["e"]),
             helper.make_node("Neg", ["other"], ["less"])]
    done = compiled(tool, tmp_path, appending(reads, ("all", "was", "e", "less"), [value("other", other)], axis))
    assert done.status == 0, done
    model, new = megactx.load(tmp_path / "model.mctx"), RNG.standard_normal((2, 3, 4)).astype(np.float32)
    cache = RNG.standard_normal((2, 5, 4) if axis else (4, 3, 4)).astype(np.float32)
    whole, past = np.concatenate([cache, new], axis), cache.shape[axis]
    room = np.full((2, 9, 4) if axis else (9, 3, 4), np.nan, np.float32)
    held = room[:, :past] if axis else room[:past]
    held[:] = cache
    given = {"cache": room, "new": new, "other": np.ones((past, 2), np.float32), LENGTH: np.array(past)}
    got = model.run(given)
    assert got["all"] is room and got["was"].tolist() == list(cache.shape)
    np.testing.assert_array_equal(room[:, : past + 3] if axis else room[: past + 2], whole)
    np.testing.assert_allclose(got["e"], np.exp(whole), rtol=1e-6)
    np.testing.assert_allclose(got["sum"], whole.sum(), rtol=1e-5, atol=1e-5)
    with pytest.raises(megactx.Error, match="inputs disagree on the size of dimension '[nb]'"):
        model.run({**given, "other": np.ones((past + 1, 2), np.float32)})


def test_on_a_gpu(fake_gpu, decoder, tmp_path):
    """Caches are in the device's memory, and stay there."""
    fake_gpu.compile(decoder.path, tmp_path / "gpu.mctx", "--caches-in-place")
    caches, ids = drawn(1, 6), RNG.integers(2, 90, (1, 2))
    want = megactx.load(decoder()).run({"input_ids": ids, **caches})
    np.savez(tmp_path / "given.npz", input_ids=ids, **{LENGTH: np.array(6)}, **with_room(caches, 11))
    done = fake_gpu.python("""
import numpy as np
given, model = dict(np.load(sys.argv[2])), megactx.load(sys.argv[1])
there = {name: megactx.to_device(array) for name, array in given.items() if name.startswith("past_key")}
got = model.run(given | there)
assert all(got[name.replace("past_key_values", "present")] is array for name, array in there.items())
np.savez(sys.argv[3], **{name: np.asarray(value) for name, value in got.items()})
""", tmp_path / "gpu.mctx", tmp_path / "given.npz", tmp_path / "got.npz")
    assert done.status == 0, done
    got = np.load(tmp_path / "got.npz")
    np.testing.assert_allclose(got["logits"], want["logits"], rtol=1e-3, atol=1e-3)
    for present in PRESENT.values():
        np.testing.assert_allclose(got[present][:, :, :8], want[present], rtol=1e-4, atol=1e-4)
        assert np.isnan(got[present][:, :, 8:]).all()
