"""Biases of attention that are computed from positions, against onnxruntime: by distance they take no matrix, others stay what they are."""

import importlib.util
import re

import numpy as np
import onnx
import pytest

import reference
from conftest import ROOT
from merged import merged

SPEC = importlib.util.spec_from_file_location("graph", ROOT / "python" / "models" / "graph.py")
graph = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(graph)

HEADS, DIM = 3, 8


def distance(g, rows, columns):
    return g.op("Sub", g.unsqueeze(g.range(columns), 0), g.unsqueeze(g.range(rows), 1))


def looked_up(g, index, entries, axis=0):
    """A number per head of a table at [N, N] indices: [1, H, N, N]."""
    shape = (entries, HEADS) if axis == 0 else (HEADS, entries)
    found = g.op("Gather", g.weight(g.fresh("table"), *shape, scale=1.0), index, axis=axis)
    return g.unsqueeze(g.op("Transpose", found, perm=[2, 0, 1]) if axis == 0 else found, 0)


def clipped(g, d, most=6, axis=0):
    index = g.op("Add", g.op("Max", g.op("Min", d, g.int(most)), g.int(-most)), g.int(most))
    return looked_up(g, index, 2 * most + 1, axis)


def slopes(g, d):
    return g.op("Mul", g.const(np.float32([0.5, 0.25, -0.1])[:, None, None]), g.op("Cast", d, to=onnx.TensorProto.FLOAT))


def padding(g, rows, columns):
    return g.op("Where", g.op("Less", g.unsqueeze(g.range(columns), 0, 1, 2), g.cast(g.unsqueeze(g.input("count", np.int64, ["batch"]), 1, 2, 3), np.int64)),
                g.const(0.0), g.const(np.finfo(np.float32).min))


def sliced(g, rows, columns):
    """Of all positions up to the last key those of the last queries, as decoders with a cache have it."""
    return g.slice(clipped(g, distance(g, columns, columns)), 2, g.op("Neg", rows), graph.LAST)


def flags(g, rows, columns):
    """A byte per key."""
    return g.unsqueeze(g.input("flags", np.uint8, ["batch", "keys"]), 1, 2)


def wraps(g, d):
    """Whether the distance is 1 to 7 to the left, or farther to the right, and so on: in int32 the product changes its sign."""
    return g.op("Less", g.op("Mul", g.cast(d, np.int32), g.cast(g.int(2**28), np.int32)), g.cast(g.int(0), np.int32))


def of_bytes(g, d):
    return slopes(g, g.cast(g.op("Mul", d, g.int(20)), np.int8))


# The bias of g, number of queries and of keys; how many tables of distances there are.
CASES = {
    "clipped": (lambda g, n, m: clipped(g, distance(g, n, m)), 1),
    "other axis": (lambda g, n, m: clipped(g, distance(g, n, m), axis=1), 1),
    "from key to query": (lambda g, n, m: clipped(g, g.op("Transpose", distance(g, m, n), perm=[1, 0])), 1),
    "slopes": (lambda g, n, m: slopes(g, g.op("Abs", distance(g, n, m))), 1),
    "waves": (lambda g, n, m: g.op("Cos", slopes(g, distance(g, n, m))), 1),
    "far is hidden": (lambda g, n, m: g.op("Where", g.op("Less", g.op("Abs", distance(g, n, m)), g.int(9)), clipped(g, distance(g, n, m)), g.const(-1e9)), 1),
    "with padding": (lambda g, n, m: g.op("Add", clipped(g, distance(g, n, m)), padding(g, n, m)), 1),
    "hidden by padding": (lambda g, n, m: g.op("Where", g.op("Equal", padding(g, n, m), g.const(0.0)), clipped(g, distance(g, n, m)), g.const(-np.inf)), 1),
    "with numbers of keys": (lambda g, n, m: g.op("Add", slopes(g, g.op("Abs", distance(g, n, m))), slopes(g, g.unsqueeze(g.range(m), 0))), 1),
    "two": (lambda g, n, m: g.op("Add", clipped(g, distance(g, n, m)), slopes(g, g.op("Abs", distance(g, n, m)))), 1),
    "sliced": (sliced, 1),
    "no key with a number": (lambda g, n, m: g.op("Add", g.op("Add", clipped(g, distance(g, n, m)), padding(g, n, m)), g.input("numbers", np.float32, [1, HEADS, "queries", "keys"])), 1),
    "hidden by bytes": (lambda g, n, m: g.op("Where", g.cast(flags(g, n, m), bool), clipped(g, distance(g, n, m)), g.const(np.finfo(np.float32).min)), 1),
    "no key with a billion": (lambda g, n, m: g.op("Where", g.op("Equal", padding(g, n, m), g.const(0.0)), slopes(g, g.op("Mul", g.op("Abs", distance(g, n, m)), g.int(40))),
                                                   g.const(-1e9)), 0),
    "with sums of bytes": (lambda g, n, m: g.op("Add", clipped(g, distance(g, n, m)), g.cast(g.op("Add", flags(g, n, m), g.unsqueeze("flags", 1, 2)), np.float32)), 1),
    "of bytes": (lambda g, n, m: of_bytes(g, distance(g, n, m)), 1),
    "products that wrap": (lambda g, n, m: g.op("Where", wraps(g, distance(g, n, m)), g.const(1.0), g.const(-1.0)), 1),
    "hidden by products that wrap": (lambda g, n, m: g.op("Where", wraps(g, distance(g, n, m)), g.const(-1e9), g.const(0.0)), 1),
    "no key with a billion in a sum": (lambda g, n, m: g.op("Add", clipped(g, distance(g, n, m)), g.op("Max", padding(g, n, m), g.const(-1e9))), 1),
    "a billion and large numbers": (lambda g, n, m: g.op("Add", slopes(g, g.op("Mul", distance(g, n, m), g.int(40))), g.op("Max", padding(g, n, m), g.const(-1e9))), 0),
    "quotients": (lambda g, n, m: slopes(g, g.op("Div", g.cast(distance(g, n, m), np.float32), g.cast(g.int(3), np.float32))), 1),
    "one row": (lambda g, n, m: clipped(g, distance(g, g.size(g.input("one", np.float32, ["ones"]), 0), m)), 0),
    "two, of them one row": (lambda g, n, m: g.op("Add", slopes(g, distance(g, n, m)), clipped(g, distance(g, g.size(g.input("one", np.float32, ["ones"]), 0), m))), 0),
    "sum of positions": (lambda g, n, m: slopes(g, g.op("Sub", distance(g, n, m), g.unsqueeze(g.range(m), 0))), 0),
    "twice the key": (lambda g, n, m: clipped(g, g.op("Add", distance(g, n, m), g.unsqueeze(g.range(m), 0))), 0),
    "distance times query": (lambda g, n, m: clipped(g, g.op("Mul", distance(g, n, m), g.unsqueeze(g.range(n), 1))), 0),
    "product of positions": (lambda g, n, m: clipped(g, g.op("Mul", g.unsqueeze(g.range(m), 0), g.unsqueeze(g.range(n), 1))), 0),
    "data": (lambda g, n, m: clipped(g, g.op("Add", distance(g, n, m), g.unsqueeze(g.op("Gather", g.input("places", np.int64, ["keys"]), g.range(m)), 0))), 0),
}


def model_of(name, bias):
    g = graph.Graph("torchscript", 17, 3)
    q, k, v = (g.input(x, np.float32, ["batch", HEADS, "queries" if x == "q" or name == "sliced" else "keys", DIM]) for x in "qkv")
    # The keys end with the queries' own: in no other case are there as many as these or more, as far as the graph says.
    keys, v = (g.op("Concat", g.input(f"past_{x}", np.float32, ["batch", HEADS, "past", DIM]), x, axis=2) for x in (k, v)) if name == "sliced" else (k, v)
    rows, columns = g.size(q, 2), g.size(keys, 2)
    scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", keys, perm=[0, 1, 3, 2])), g.const(DIM**-0.5))
    weights = g.op("Softmax", g.op("Add", scores, bias(g, rows, columns)), axis=-1)
    g.output(g.op("MatMul", weights, v), np.float32, ["batch", HEADS, "queries", DIM])
    return g.model(name.replace(" ", "_"))


@pytest.mark.parametrize("name", CASES)
def test_tables(name, tool, tmp_path):
    bias, tables = CASES[name]
    onnx.save(model_of(name, bias), tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "--compile-to=fused", "-o", tmp_path / "fused.mlir")
    assert done.status == 0, done
    text = (tmp_path / "fused.mlir").read_text()
    assert len(re.findall(r"megactx\.fused_attention", text)) == 1
    assert len(re.findall(r"megactx\.toeplitz_view", text)) == tables


def inputs_of(name, model, batch, queries, keys):
    rng = np.random.default_rng()
    draw = lambda n: rng.standard_normal((batch, HEADS, n, DIM)).astype(np.float32)
    new = queries if name == "sliced" else keys
    inputs = dict(q=draw(queries), k=draw(new), v=draw(new), past_k=draw(keys - new), past_v=draw(keys - new), count=rng.integers(1, max(1, keys) + 1, batch), places=rng.integers(-9, 9, keys))
    inputs |= dict(numbers=rng.standard_normal((1, HEADS, queries, keys)).astype(np.float32), flags=rng.integers(0, 256, (batch, keys), np.uint8), one=np.ones(1, np.float32))
    if name.startswith("no key"):
        inputs["count"][0] = 0
    return {i.name: inputs[i.name] for i in model.graph.input}


def test_against_onnxruntime(tool, tmp_path):
    """All cases as one model."""
    models = {name: model_of(name, bias) for name, (bias, _) in CASES.items()}
    onnx.save(merged(models), tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    sessions = {name: reference.session(model) for name, model in models.items()}
    for batch, queries, keys in (2, 37, 37), (1, 1, 1), (1, 130, 130), (2, 5, 61), (1, 1, 40), (1, 0, 0):
        inputs = {name: inputs_of(name, model, batch, queries, keys) for name, model in models.items()}
        folder = tmp_path / f"{batch}-{queries}-{keys}"
        reference.save_tensors(folder / "in", "input", [(f"{name}.{key}", array) for name, some in inputs.items() for key, array in some.items()])
        done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", folder / "in", "--outputs", folder / "out")
        assert done.status == 0, done
        got = [array for _, array in reference.load_tensors(folder / "out", "output")]
        for (name, run), found in zip(sessions.items(), got, strict=True):
            np.testing.assert_allclose(found, run.run(None, inputs[name])[0], rtol=1e-4, atol=1e-4, err_msg=f"{name}: {queries} queries, {keys} keys")
