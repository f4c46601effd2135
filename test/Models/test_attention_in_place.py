"""Caches that come in, get the new rows where they are, and go out: `--caches-in-place`."""

import json

import numpy as np
import onnx
import pytest

import megactx
from contrib import by_onnxruntime, write
from test_contrib_ops import CASES, grouped, valid

IN_BUFFER = ["grouped_decode", "grouped_chunk", "grouped_prompt_in_buffer", "grouped_window", "grouped_smooth", "grouped_bias_of_batch"]
ROTARY = {"do_rotary": 1}


def compiled(tool, folder, case, *options):
    """The artifact of a case, which has onnxruntime's names for inputs, and its inputs."""
    model, given = write(folder, case)
    done = tool("megactx-compile", folder / "model.onnx", "-O0", *options, "-o", folder / "model.mctx")
    assert done.status == 0, done
    return model, given


@pytest.mark.parametrize("name", IN_BUFFER)
def test_outputs_are_the_inputs(name, tool, tmp_path):
    model, given = compiled(tool, tmp_path, CASES[name], "--caches-in-place")
    want = by_onnxruntime(name, model, {n: v.copy() for n, v in given.items()})
    got = megactx.load(tmp_path / "model.mctx").run(given)
    assert got["y1"] is given["x3"] and got["y2"] is given["x4"]
    for key, value in want.items():
        np.testing.assert_allclose(valid(name, key, got[key]), valid(name, key, value), rtol=1e-4, atol=1e-4, err_msg=key)
    manifest = json.loads((tmp_path / "model.mctx" / "manifest.json").read_text())
    names = {entry["name"]: manifest["inputs"][entry["updates"]]["name"] for entry in manifest["outputs"] if "updates" in entry}
    assert names == {"y1": "x3", "y2": "x4"}


def test_the_tool_writes_updated_caches(tool, tmp_path):
    model, given = compiled(tool, tmp_path, CASES["grouped_decode"], "--caches-in-place")
    done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path, "--outputs", tmp_path / "out")
    assert done.status == 0, done
    want = by_onnxruntime("grouped_decode", model, given)
    for i, key in enumerate(("y0", "y1", "y2")):
        tensor = onnx.TensorProto.FromString((tmp_path / "out" / f"output_{i}.pb").read_bytes())
        got = onnx.numpy_helper.to_array(tensor)
        np.testing.assert_allclose(valid("grouped_decode", key, got), valid("grouped_decode", key, want[key]), rtol=1e-4, atol=1e-4)


def steps(model, case, lengths, rows):
    """What runs one after the other give; each entry of the batch gets so many rows in each."""
    _, inputs, _, _ = case
    rng, caches, results = np.random.default_rng(2), [inputs[3].copy(), inputs[4].copy()], []
    for count in rows:
        lengths = lengths + count
        given = {f"x{i}": rng.standard_normal((*inputs[i].shape[:1], count, inputs[i].shape[2])).astype(np.float32) for i in range(3)}
        given |= {"x3": caches[0], "x4": caches[1], "x5": (lengths - 1).astype(np.int32), "x6": np.array(lengths.max(), np.int32).reshape(inputs[6].shape),
                  "x7": inputs[7], "x8": inputs[8]}
        got = model.run(given)
        caches = [got["y1"], got["y2"]]
        results.append(got["y0"].copy())
    return results, [cache[:, :, : lengths.max()] for cache in caches]


@pytest.mark.parametrize("pattern", [None, "window<left = 2, right = 0> or strided<stride = 4>"], ids=str)
def test_steps_equal_those_with_caches_that_are_copied(pattern, tool, tmp_path):
    """Models whose numbers of rows a run knows, and all sizes of whose caches, as in exports of onnxruntime-genai; a prompt, parts of others, single rows."""
    case, found = grouped(3, [3], past=16, **ROTARY), []
    for options in ((), ("--caches-in-place",)):
        folder = tmp_path / f"case{len(options)}"
        folder.mkdir()
        model, _ = write(folder, case, rows=1)
        for info in model.graph.input:
            for axis, dim in enumerate(info.type.tensor_type.shape.dim if info.name in ("x3", "x4") else []):
                dim.dim_param = f"cache{axis}"
        onnx.save(model, folder / "model.onnx")
        done = tool("megactx-compile", folder / "model.onnx", "-O0", *options, *(("--pattern", pattern) if pattern else ()), "-o", folder / "model.mctx")
        assert done.status == 0 and "16/16" in done.err, done  # head dims are those of the queries
        found.append(steps(megactx.load(folder / "model.mctx"), case, np.array([0]), [5, 1, 3, 1, 6]))
    for copied, updated in zip(*found):
        for one, other in zip(copied, updated):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_cache_without_room(tool, tmp_path):
    _, given = compiled(tool, tmp_path, grouped(1, [7, 4], past=6), "--caches-in-place")
    before = given["x3"].copy()
    with pytest.raises(megactx.Error, match="a cache that is written in place has no room for all tokens"):
        megactx.load(tmp_path / "model.mctx").run(given)
    np.testing.assert_array_equal(given["x3"], before)


def test_arrays_that_cannot_be_written_to(tool, tmp_path):
    _, given = compiled(tool, tmp_path, CASES["grouped_decode"], "--caches-in-place")
    model, cache = megactx.load(tmp_path / "model.mctx"), given["x3"]
    fixed = cache.copy()
    fixed.flags.writeable = False
    for other in (fixed, np.asfortranarray(cache), cache.tolist(), cache.astype(cache.dtype.newbyteorder())):
        with pytest.raises(megactx.Error, match="input 'x3': expected a numpy array in C order that can be written to"):
            model.run(given | {"x3": other})


@pytest.mark.parametrize("case", [grouped(5, [5, 5]), CASES["blocked_table"], ("Gelu", [np.ones(3, np.float32)], [0], {})], ids=lambda case: case[0])
def test_nothing_to_write_to(case, tool, tmp_path):
    if case[0] == "SparseAttention":
        case = (*case[:2], [0], *case[3:])  # caches that do not go out
    write(tmp_path, case)
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "--caches-in-place", "-o", tmp_path / "model.mctx")
    assert done.status == 1 and "model.onnx:0:0: error: no cache can be written in place" in done.err and not (tmp_path / "model.mctx").exists(), done


def test_on_a_gpu(fake_gpu, tmp_path):
    """Caches are in the device's memory, and stay there."""
    model, given = write(tmp_path, CASES["grouped_decode"])
    fake_gpu.compile(tmp_path / "model.onnx", tmp_path / "model.mctx", "--caches-in-place")
    want = by_onnxruntime("grouped_decode", model, given)
    np.savez(tmp_path / "given.npz", **given)
    done = fake_gpu.python("""
import numpy as np
given, model = dict(np.load(sys.argv[2])), megactx.load(sys.argv[1])
there = {name: megactx.to_device(given[name]) for name in ("x3", "x4")}
got = model.run(given | there)
assert got["y1"] is there["x3"] and got["y2"] is there["x4"]
np.savez(sys.argv[3], **{name: np.asarray(value) for name, value in got.items()})
try:
    model.run(given)
except megactx.Error as error:
    assert "input 'x3': expected memory of a CUDA device" in str(error), error
else:
    raise AssertionError
""", tmp_path / "model.mctx", tmp_path / "given.npz", tmp_path / "got.npz")
    assert done.status == 0, done
    got = np.load(tmp_path / "got.npz")
    for key, value in want.items():
        np.testing.assert_allclose(valid("grouped_decode", key, got[key]), valid("grouped_decode", key, value), rtol=1e-4, atol=1e-4, err_msg=key)
    done = fake_gpu.run(tmp_path / "model.mctx", "--inputs", tmp_path, "--outputs", tmp_path / "out")
    assert done.status == 0, done
