"""Loop and Scan: steps against onnxruntime's, and what both are refused for."""

import numpy as np
import onnx
import onnxruntime
import pytest

import reference
from test_branches import BOOL, FLOAT, INT, M, W, C, X, check, chosen, model, node, random, refused, subgraph, value  # noqa: F401

rng = np.random.default_rng(0)
HEAD = [value("i", [], INT), value("goes", [], BOOL), value("a")]
GOES_ON = node("Identity", ["goes"], ["on"])
ON, GROWN = value("on", [], BOOL), value("ao")


def loop(body, count="m", condition="", outputs=("y",), carried=("x",)):
    return node("Loop", [count, condition, *carried], list(outputs), name="loop", body=body)


def runs(rows, counts):
    return [{"x": random(n), "m": np.array(count)} for n in rows for count in counts]


def test_counted(tool, tmp_path):
    """Slices of steps have their place before the first; a loop may have no step."""
    nodes = [GOES_ON, node("MatMul", ["a", "w"], ["p"]), node("Tanh", ["p"], ["ao"]), node("ReduceMean", ["ao"], ["s"], axes=[0], keepdims=0)]
    made = model([loop(subgraph(nodes, [ON, GROWN, "s"], HEAD), outputs=("y", "z"))], [X, M], [value("y", [None, 4]), value("z", [None, 4])], {"w": W})
    check(made, runs((3, 1), (1, 5)), tool, tmp_path)


@pytest.mark.parametrize("count", ["", "m"], ids=["condition", "both"])
def test_ended_by_its_condition(count, tool, tmp_path):
    nodes = [node("Add", ["a", "a"], ["ao"]), node("ReduceSum", ["ao"], ["t"], keepdims=0), node("Abs", ["t"], ["far"]), node("Less", ["far", "most"], ["on"]),
             node("Cast", ["i"], ["step"], to=FLOAT), node("Add", ["t", "step"], ["s"])]
    made = model([loop(subgraph(nodes, [ON, GROWN, "s"], HEAD), count, "c", ("y", "z"))], [X, C, *([M] if count else [])],
                 [value("y", [None, 4]), value("z", [None])], {"most": np.float32(1000)})
    feeds = [{"x": random(n), "c": np.array(way)} for n in (3, 2) for way in (True, False)]
    check(made, [{**f, "m": np.array(m)} for f in feeds for m in (0, 2, 2**63 - 1)] if count else feeds, tool, tmp_path)


def test_carried_tensor_grows(tool, tmp_path):
    """Its size is that of the input in the first step alone. Of an output without a shape the rank is found."""
    body = subgraph([GOES_ON, node("Concat", ["a", "x"], ["ao"], axis=0)], [ON, GROWN], HEAD)
    check(model([loop(body)], [X, M], [value("y")]), runs((3, 1), (0, 1, 4)), tool, tmp_path)


@pytest.mark.parametrize("kept", [["y"], ["y", "p"], ["y", "p", "q"]], ids=len)
def test_steps_of_two_tensors(kept, tool, tmp_path):
    """Of as many rows each; what is carried on is one of a step's."""
    nodes = [GOES_ON, node("Sub", ["b", "x"], ["ao"]), node("Tanh", ["b"], ["bo"]), node("Identity", ["ao"], ["s"]), node("Identity", ["b"], ["t"])]
    body = subgraph(nodes, [ON, GROWN, value("bo"), "s", "t"], [*HEAD, value("b")])
    made = model([node("Neg", ["x"], ["less"]), loop(body, outputs=("y", "u", "p", "q"), carried=("less", "less"))], [X, M], [value(name) for name in kept])
    check(made, runs((3, 1), (1, 4)), tool, tmp_path)


def test_memory_beside_a_sum_of_lengths(tool, tmp_path):
    """Rows of what is carried, and those of two others together, are not as many."""
    nodes = [GOES_ON, node("Concat", ["k", "p"], ["kp"], axis=0), node("MatMul", ["kp", "w"], ["all"]), node("ReduceMean", ["all"], ["mean"], keepdims=1)]
    nodes += [node("MatMul", [before, "w"], [after]) for before, after in ("ar", "rs", "st")]
    nodes += [node("Add", ["t", "mean"], ["far"]), node("Tanh", ["far"], ["u"]), node("Concat", ["u", "row"], ["ao"], axis=0)]
    others = [value("k", ["K", 4]), value("p", ["P", 4]), value("row", [1, 4])]
    made = model([loop(subgraph(nodes, [ON, GROWN], HEAD))], [X, M, *others], [value("y")], {"w": W / 4})
    feeds = [{"x": random(q), "k": random(k), "p": random(p), "row": random(1), "m": np.array(4)} for q, k, p in [(5, 5, 5), (20, 1, 1), (3000, 1, 1), (700, 300, 1)]]
    check(made, feeds, tool, tmp_path)


def branch_in_a_loop():
    odd = chosen(subgraph([node("Neg", ["a"], ["t"])], ["t"]), subgraph([node("MatMul", ["a", "w"], ["t"])], ["t"]), ["b"], "odd")
    nodes = [GOES_ON, node("Mod", ["i", "two"], ["r"]), node("Cast", ["r"], ["odd"], to=BOOL), odd, node("Add", ["b", "x"], ["ao"])]
    return model([loop(subgraph(nodes, [ON, GROWN], HEAD))], [X, M], [value("y", [None, 4])], {"w": W, "two": 2})


def test_branch_in_a_loop(tool, tmp_path):
    check(branch_in_a_loop(), runs((3,), (0, 1, 4)), tool, tmp_path)


def test_on_a_gpu(fake_gpu, tmp_path):
    """The host takes branches and counts steps, and frees what each step leaves."""
    onnx.save(branch_in_a_loop(), tmp_path / "m.onnx")
    fake_gpu.compile(tmp_path / "m.onnx", tmp_path / "m.mctx", arch="sm_80")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for feeds in runs((3,), (0, 3)):
        reference.save_tensors(tmp_path / "in", "input", feeds.items())
        done = fake_gpu.run(tmp_path / "m.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", settings="capability=90", log=tmp_path / "log")
        assert done.status == 0, done
        np.testing.assert_allclose(dict(reference.load_tensors(tmp_path / "out", "output"))["y"], session.run(None, feeds)[0], rtol=1e-5, atol=1e-5)


def test_loop_in_a_branch(tool, tmp_path):
    """The number of steps, and where each reads, is counted by what is carried."""
    nodes = [node("Add", ["k", "one"], ["ko"]), node("Less", ["ko", "m"], ["on"]), node("Gather", ["x", "k"], ["row"], axis=0), node("Add", ["a", "row"], ["ao"])]
    inputs = [*HEAD[:2], value("k", [], INT), value("a")]
    body = subgraph(nodes, [ON, value("ko", [], INT), GROWN], inputs)
    then = subgraph([loop(body, "", "", ("k0", "t"), ("zero", "zeros"))], ["t"])
    other = subgraph([node("Gather", ["x", "zero"], ["e"], axis=0)], ["e"])
    made = model([chosen(then, other)], [X, C, M], [value("y", [4])], {"one": 1, "zero": 0, "zeros": np.zeros(4, np.float32)})
    check(made, [{"x": random(5), "c": np.array(way), "m": np.array(3)} for way in (True, False)], tool, tmp_path)


@pytest.mark.parametrize("axes", [{}, dict(scan_input_axes=[0, 1], scan_input_directions=[0, 1], scan_output_axes=[-1], scan_output_directions=[1])],
                         ids=["forwards", "axes"])
def test_scan(axes, tool, tmp_path):
    body = subgraph([node("Add", ["s", "t"], ["so"]), node("Mul", ["so", "u"], ["o"])], ["so", "o"], [value("s"), value("t"), value("u")])
    scan = node("Scan", ["zeros", "x", "u"], ["last", "y"], name="scan", body=body, num_scan_inputs=2, **axes)
    made = model([scan], [X, value("u", [4, "n"] if axes else ["n", 4])], [value("last", [4]), value("y", [None, None])], {"zeros": np.zeros(4, np.float32)})
    check(made, [{"x": random(n), "u": np.ascontiguousarray(random(n).T if axes else random(n))} for n in (3, 1)], tool, tmp_path)


@pytest.mark.parametrize("made", [
    [node("Transpose", ["s"], ["turned"], perm=[0, 1, 3, 2])],
    [node("ReduceMax", ["s"], ["most"], axes=[2]), node("Sub", ["s", "most"], ["turned"])],
    [node("Transpose", ["s"], ["turned"], perm=[1, 0, 2, 3])],
    [node("MatMul", ["w", "s"], ["turned"])],
], ids=["apart", "in_place", "mixed", "weights"])
def test_steps_of_slices(made, tool, tmp_path):
    """A state of batch and heads, which each step keeps apart, or not, and writes where it was read, or not."""
    nodes = [*made, node("Unsqueeze", ["t", "last"], ["column"]), node("Mul", ["turned", "column"], ["p"]), node("Tanh", ["p"], ["so"]), node("ReduceMax", ["so"], ["o"], axes=[2], keepdims=0)]
    scan = node("Scan", ["start", "x"], ["end", "y"], name="scan", num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
                body=subgraph(nodes, ["so", "o"], [value("s", [None] * 4), value("t", [None] * 3)]))
    sizes = [3, 3, 16, 16]
    made = model([scan], [value("start", ["B", *sizes[1:]]), value("x", ["B", "T", 3, 16])], [value("end", [None] * 4), value("y", [None] * 4)],
                 {"last": [3], "w": rng.standard_normal((16, 16)).astype(np.float32)})
    check(made, [{"start": rng.standard_normal(sizes).astype(np.float32), "x": rng.standard_normal((3, length, 3, 16)).astype(np.float32)} for length in (5, 1)], tool, tmp_path)


@pytest.mark.parametrize("nodes, outputs, words", [
    ([GOES_ON, node("ReduceSum", ["a"], ["ao"], keepdims=0)], [ON, GROWN], "carried as output 0: 'tensor<?x4xf32>' to 'tensor<f32>'"),
    ([GOES_ON, node("Concat", ["a", "x"], ["ao"], axis=0), node("Abs", ["ao"], ["s"])], [ON, GROWN, "s"], "sizes that are not known before the first"),
    ([GOES_ON, node("Neg", ["a"], ["ao"])], [ON], "expected a subgraph of 2 outputs, but got 1"),
    ([node("Greater", ["a", "a"], ["on"]), node("Neg", ["a"], ["ao"])], [value("on", None, BOOL), GROWN], "one bool as its condition, but got 'tensor<?x4xi1>'"),
], ids=["type", "slices", "count", "condition"])
def test_steps_that_do_not_fit(nodes, outputs, words, tool, tmp_path):
    results = ["y", "z"][:max(1, len(outputs) - 1)]
    refused(model([loop(subgraph(nodes, outputs, HEAD), outputs=results)], [X, M], [value(name) for name in results]), words, tool, tmp_path)


def test_loop_without_an_end(tool, tmp_path):
    refused(model([loop(subgraph([GOES_ON, node("Neg", ["a"], ["ao"])], [ON, GROWN], HEAD), "")], [X], [value("y")]), "node 'loop' (Loop): nothing ends the loop",
            tool, tmp_path)
