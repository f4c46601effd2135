"""Caches of which a node writes some rows anew (TensorScatter, ScatterND, ScatterElements), with `--caches-in-place`: the input is the output."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import megactx

RNG = np.random.default_rng(3)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def artifact(tool, folder, node, places, opset=24):
    """node(cache, ...) is read by a sum over each entry, and comes out."""
    reads = helper.make_node("ReduceSum", ["all", "axes"], ["sum"], keepdims=0)
    graph = helper.make_graph([node, reads], "g", [value("cache", ["b", 2, "room", 4]), value("rows", ["b", 2, "n", 4]), value("at", places, TensorProto.INT64)],
                              [value("all", None), value("sum", None)], [onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes")])
    if node.op_type == "ScatterND":
        graph.input[1].CopyFrom(value("rows", ["n", 2, "room", 4]))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), folder / "model.onnx")
    return tool("megactx-compile", folder / "model.onnx", "-O0", "--caches-in-place", "-o", folder / "model.mctx")


def run(folder, cache, rows, at):
    return megactx.load(folder / "model.mctx").run({"cache": cache, "rows": rows, "at": at})


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(got, cache, want):
    assert got["all"] is cache
    np.testing.assert_array_equal(cache, want)
    np.testing.assert_allclose(got["sum"], want.sum((1, 2, 3)), rtol=1e-5, atol=1e-5)


def test_rows_of_each_entry(tool, tmp_path):
    done = artifact(tool, tmp_path, helper.make_node("TensorScatter", ["cache", "rows", "at"], ["all"], axis=-2), ["b"])
    assert done.status == 0, done
    for batch, room, count, places in ((1, 5, 1, [4]), (3, 9, 2, [0, 7, 3]), (2, 4, 4, [0, 0]), (2, 6, 0, [6, 1])):
        cache, rows = drawn(batch, 2, room, 4), drawn(batch, 2, count, 4)
        want = cache.copy()
        for entry, place in enumerate(places):
            want[entry, :, place : place + count] = rows[entry]
        check(run(tmp_path, cache, rows, np.array(places)), cache, want)


@pytest.mark.parametrize("place, message", [(-1, "rows of a cache are written to a negative place"), (5, "has no room for all tokens"),
                                            (2**63 - 1, "has no room for all tokens")])
def test_places_that_there_are_not(place, message, tool, tmp_path):
    artifact(tool, tmp_path, helper.make_node("TensorScatter", ["cache", "rows", "at"], ["all"], axis=2), ["b"])
    cache = drawn(1, 2, 6, 4)
    before = cache.copy()
    with pytest.raises(megactx.Error, match=message):
        run(tmp_path, cache, drawn(1, 2, 2, 4), np.array([place]))
    np.testing.assert_array_equal(cache, before)


def test_sizes_that_differ(tool, tmp_path):
    artifact(tool, tmp_path, helper.make_node("TensorScatter", ["cache", "rows", "at"], ["all"]), ["b"])
    with pytest.raises(megactx.Error, match="expected 'b' to be 2"):
        run(tmp_path, drawn(2, 2, 6, 4), drawn(1, 2, 1, 4), np.array([0, 0]))


def test_elements_by_indices(tool, tmp_path):
    for node, places in ((helper.make_node("ScatterND", ["cache", "at", "rows"], ["all"]), ["n", 1]),
                         (helper.make_node("ScatterElements", ["cache", "at", "rows"], ["all"], axis=2), ["b", 2, "n", 4])):
        done = artifact(tool, tmp_path, node, places)
        assert done.status == 0, done
        cache = drawn(4, 2, 5, 4)
        want = cache.copy()
        if node.op_type == "ScatterND":
            rows, at = drawn(2, 2, 5, 4), np.array([[3], [-4]])
            want[[3, 0]] = rows
        else:
            rows, at = drawn(4, 2, 2, 4), np.broadcast_to(np.array([4, 1])[:, None], (4, 2, 2, 4)).copy()
            want[:, :, [4, 1]] = rows
        check(run(tmp_path, cache, rows, at), cache, want)


def test_circular_caches_are_copied(tool, tmp_path):
    done = artifact(tool, tmp_path, helper.make_node("TensorScatter", ["cache", "rows", "at"], ["all"], mode="circular"), ["b"])
    assert done.status == 1 and "error: no cache can be written in place" in done.err, done


def test_on_a_gpu(fake_gpu, tool, tmp_path):
    """The cache is in the device's memory, and stays there; places are the host's."""
    done = artifact(tool, tmp_path, helper.make_node("TensorScatter", ["cache", "rows", "at"], ["all"], axis=-2), ["b"])
    assert done.status == 0, done
    fake_gpu.compile(tmp_path / "model.onnx", tmp_path / "gpu.mctx", "--caches-in-place")
    given = {"cache": drawn(2, 2, 9, 4), "rows": drawn(2, 2, 2, 4), "at": np.array([7, 1])}
    want = given["cache"].copy()
    want[0, :, 7:], want[1, :, 1:3] = given["rows"]
    np.savez(tmp_path / "given.npz", **given)
    done = fake_gpu.python("""
import numpy as np
given, model = dict(np.load(sys.argv[2])), megactx.load(sys.argv[1])
there = megactx.to_device(given["cache"])
got = model.run(given | {"cache": there})
assert got["all"] is there
np.savez(sys.argv[3], **{name: np.asarray(value) for name, value in got.items()})
""", tmp_path / "gpu.mctx", tmp_path / "given.npz", tmp_path / "got.npz")
    assert done.status == 0, done
    got = np.load(tmp_path / "got.npz")
    np.testing.assert_array_equal(got["all"], want)
    np.testing.assert_allclose(got["sum"], want.sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
