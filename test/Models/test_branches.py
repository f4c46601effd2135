"""If: branches against onnxruntime's, and what they are refused for."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import megactx
from conftest import generated

FLOAT, INT, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
node = helper.make_node


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


X, C, M = value("x", ["n", 4]), value("c", [], BOOL), value("m", [], INT)


def tensors(named):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in (named or {}).items()]


def subgraph(nodes, outputs, inputs=(), constants=None):
    infos = [value(output) if isinstance(output, str) else output for output in outputs]
    return helper.make_graph(nodes, "sub", list(inputs), infos, tensors(constants))


def model(nodes, inputs, outputs, constants=None):
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chosen(then, other, outputs=("y",), condition="c", name="if"):
    return node("If", [condition], list(outputs), name=name, then_branch=then, else_branch=other)


def random(rows, columns=4):
    return np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)


W = random(4)


def compile_(made, tool, tmp_path, *options):
    onnx.save(made, tmp_path / "m.onnx")
    return tool("megactx-compile", tmp_path / "m.onnx", *options, "-o", tmp_path / "m.mctx")


def check(made, all_feeds, tool, tmp_path):
    """Runs of one compilation, whose outputs and their shapes are onnxruntime's."""
    done = compile_(made, tool, tmp_path)
    assert done.status == 0, done
    ours = megactx.load(tmp_path / "m.mctx")
    theirs = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for feeds in all_feeds:
        got = ours.run(feeds)
        for output, want in zip(theirs.get_outputs(), theirs.run(None, feeds)):
            assert got[output.name].shape == want.shape and got[output.name].dtype == want.dtype
            np.testing.assert_allclose(got[output.name], want, rtol=1e-5, atol=1e-5)


def both_ways(*rows):
    return [{"x": random(n), "c": np.array(way)} for n in rows for way in (True, False)]


def check_if(then, other, tool, tmp_path, outputs=(value("y", [None, None]),), constants=None, rows=(3, 5)):
    names = [output.name for output in outputs]
    check(model([chosen(then, other, names)], [X, C], outputs, constants), both_ways(*rows), tool, tmp_path)


def refused(made, words, tool, tmp_path, *options):
    done = compile_(made, tool, tmp_path, *options)
    assert done.status == 1 and done.err.count("error:") == 1 and words in done.err, done


@pytest.mark.parametrize("compare", ["Equal", "Less"])
def test_condition_of_shapes(compare, tool, tmp_path):
    """Is known when compiled, and the branch becomes part of the graph: the other's types do not matter."""
    condition = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "one"], ["d"]), node(compare, ["d", "four"], ["c"])]
    then, other = subgraph([node("MatMul", ["x", "w"], ["t"])], ["t"], constants={"w": W}), subgraph([node("ReduceSum", ["x"], ["e"], keepdims=0)], ["e"])
    made = model([*condition, chosen(then, other, ["b"]), node("Relu", ["b"], ["y"])], [X], [value("y")], {"one": 1, "four": 4})
    check(made, [{"x": random(3)}], tool, tmp_path)


def test_condition_of_ranks(tool, tmp_path):
    """Branches that ranks decide, also within others: attention behind them is found, which other branches' ranks would hide. Branches have values of
    one name, and weights."""
    flat = subgraph([node("Reshape", ["x", "flat"], ["t"])], ["t"], constants={"flat": [-1]})
    half = subgraph([node("Mul", ["x", "s"], ["t"])], ["t"], constants={"s": np.float32(0.5)})
    less = subgraph([node("Abs", ["x"], ["i"]), chosen(subgraph([node("Neg", ["i"], ["t"])], ["t"]), flat, ["o"], "is_two", "inner")], ["o"])
    weight = subgraph([], ["t"], constants={"t": random(6)})
    nodes = [node("Shape", ["x"], ["sizes"]), node("Size", ["sizes"], ["rank"]), node("Equal", ["rank", "two"], ["is_two"]),
             node("Greater", ["rank", "two"], ["is_more"]), node("Not", ["is_more"], ["is_less"]), chosen(half, flat, ["q"], "is_two", "first"),
             chosen(flat, less, ["k"], "is_more", "second"), chosen(weight, flat, ["w"], "is_less", "third"), node("Concat", ["k", "w"], ["all"], axis=0),
             *(node("Unsqueeze", [name, "zero"], [name + "3"]) for name in ("q", "all")), node("Transpose", ["all3"], ["kt"], perm=[0, 2, 1]),
             node("MatMul", ["q3", "kt"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "all3"], ["y"])]
    made = model(nodes, [X], [value("y")], {"two": 2, "zero": [0]})
    check(made, [{"x": random(3)}, {"x": random(5)}], tool, tmp_path)
    assert "raised 1 attentions" in compile_(made, tool, tmp_path).err


def test_weights_of_branches(tool, tmp_path):
    """Branches have weights of one name, and give other sizes, also of dims that are known."""
    branches = [subgraph([node("MatMul", ["x", "w"], ["t"])], ["t"], constants={"w": random(4, size)}) for size in (300, 7)]
    check_if(*branches, tool, tmp_path)


def test_values_from_outside(tool, tmp_path):
    """What a branch gives may be an input or a weight, which a run does not own."""
    check_if(subgraph([node("Identity", ["x"], ["t"])], ["t"]), subgraph([node("Identity", ["w"], ["t"])], ["t"]), tool, tmp_path,
             constants={"w": random(90)})


def test_one_value_as_two_outputs(tool, tmp_path):
    then = subgraph([node("Neg", ["x"], ["a"]), node("Identity", ["a"], ["b"])], ["a", "b"])
    other = subgraph([node("Abs", ["x"], ["p"]), node("Exp", ["x"], ["q"])], ["p", "q"])
    check_if(then, other, tool, tmp_path, outputs=(value("y", [None, 4]), value("z", [None, 4])))


def test_checks_are_of_the_branch_taken(tool, tmp_path):
    """3 rows of 4 are no 2 x 8: the branch that says so is not taken."""
    then, other = subgraph([node("Reshape", ["x", "s"], ["t"])], ["t"], constants={"s": [2, 8]}), subgraph([node("Abs", ["x"], ["e"])], ["e"])
    made = model([chosen(then, other)], [X, C], [value("y", [None, None])])
    check(made, [both_ways(3)[1], *both_ways(4)], tool, tmp_path)
    with pytest.raises(Exception, match="a reshape changes"):
        megactx.load(tmp_path / "m.mctx").run(both_ways(3)[0])


def test_operators_that_rules_replace(tool, tmp_path):
    """onnxruntime's operators in a branch, of which one becomes an operator of a domain that the model does not name."""
    attention = node("Attention", ["x3", "w", "b"], ["a"], domain="com.microsoft", num_heads=2)
    then = subgraph([node("Unsqueeze", ["x", "zero"], ["x3"]), attention, node("Squeeze", ["a", "zero"], ["t"])], ["t"],
                    constants={"zero": [0], "w": random(4, 12), "b": random(1, 12)[0]})
    other = subgraph([node("BiasGelu", ["x", "v"], ["e"], domain="com.microsoft")], ["e"], constants={"v": random(4)[0]})
    made = model([chosen(then, other)], [X, C], [value("y", [None, None])])
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    check(made, both_ways(3, 5), tool, tmp_path)
    assert "raised 1 attentions" in compile_(made, tool, tmp_path).err


def test_sizes_of_data(tool, tmp_path):
    """A size that the one branch computes, also after it."""
    nodes = [node("ReduceMax", ["x"], ["most"], keepdims=0), node("Abs", ["most"], ["far"]), node("Ceil", ["far"], ["whole"]),
             node("Cast", ["whole"], ["count"], to=INT), node("Unsqueeze", ["count", "zero"], ["rows"]), node("Concat", ["rows", "four"], ["shape"], axis=0),
             node("Slice", ["x", "zero", "one"], ["first"]), node("Expand", ["first", "shape"], ["t"])]
    then, other = subgraph(nodes, ["t"], constants={"four": [4]}), subgraph([node("Slice", ["x", "zero", "one", "one"], ["e"])], ["e"])
    after = [node("Shape", ["b"], ["s"]), node("ConstantOfShape", ["s"], ["o"]), node("Sub", ["b", "o"], ["p"]), node("Concat", ["p", "b"], ["y"], axis=0)]
    made = model([chosen(then, other, ["b"]), *after], [X, C], [value("y", [None, None])], {"zero": [0], "one": [1]})
    check(made, both_ways(3, 5), tool, tmp_path)


def test_chosen_shape(tool, tmp_path):
    branches = [subgraph([node("Identity", [name], ["t"])], [value("t", [2], INT)]) for name in ("wide", "high")]
    made = model([chosen(*branches, ["s"]), node("Reshape", ["x", "s"], ["y"])], [X, C], [value("y", [None, None])], {"wide": [2, -1], "high": [-1, 2]})
    check(made, both_ways(4, 6), tool, tmp_path)


def test_branches_in_branches(tool, tmp_path):
    inner = chosen(subgraph([node("Mul", ["r", "r"], ["s"])], ["s"]), subgraph([node("Sub", ["x", "r"], ["s"])], ["s"]), ["i"], "d", "inner")
    then = subgraph([node("Relu", ["x"], ["r"]), inner, node("Exp", ["i"], ["t"])], ["t"])
    made = model([chosen(then, subgraph([node("Abs", ["x"], ["e"])], ["e"]), ["b"]), node("MatMul", ["b", "w"], ["y"])], [X, C, value("d", [], BOOL)],
                 [value("y", [None, 4])], {"w": W})
    check(made, [{**feeds, "d": np.array(way)} for feeds in both_ways(3) for way in (True, False)], tool, tmp_path)


def test_layers_of_a_merged_decoder(tool, request, tmp_path):
    """A step has four attentions, whichever branch it takes, and so has the model layers."""
    path, policy = generated(request.config.getoption("--build")) / "merged_bart_ts14" / "model.onnx", tmp_path / "policy.json"
    policy.write_text('{"rules": [{"layers": "2", "pattern": "window<left = 3, right = 0>"}]}')
    lines = tool("megactx-explain", path, "--policy", policy).out.splitlines()
    assert [line.split()[:2] for line in lines[1:9]] == 2 * [[str(layer), kind] for layer, kind in enumerate(["self", "cross"] * 2)]
    sparse = [line for line in lines if "window" in line]
    assert len(sparse) == 2 and sparse[0].endswith("in then_branch of 'optimum::if'") and sparse[1].endswith("in else_branch of 'optimum::if'")
    policy.write_text('{"rules": [{"layers": "4", "pattern": "causal"}]}')
    assert "layer 4 is not there, the model has 4 layers" in tool("megactx-explain", path, "--policy", policy).err
    assert "onnx.Softmax" not in tool("megactx-compile", path, "--compile-to=attention", "-o", "-").out, "what was raised is dead"
    done = tool("megactx-explain", path, "--reach=all", "--queries", "64")
    assert done.status == 0 and "reach of 2 self-attentions" in done.out, done


PLAIN = subgraph([node("Abs", ["x"], ["e"])], ["e"])


@pytest.mark.parametrize("then, words", [
    (subgraph([node("ReduceSum", ["x"], ["t"], keepdims=0)], ["t"]), "types of output 0: 'tensor<f32>' and 'tensor<?x4xf32>'"),
    (subgraph([node("Cast", ["x"], ["t"], to=INT)], [value("t", None, INT)]), "types of output 0: 'tensor<?x4xi64>' and 'tensor<?x4xf32>'"),
    (subgraph([node("Abs", ["x"], ["t"])], ["t", "x"]), "expected 1 outputs of its then_branch, but got 2"),
], ids=["rank", "element", "count"])
def test_branches_that_disagree(then, words, tool, tmp_path):
    refused(model([chosen(then, PLAIN)], [X, C], [value("y")]), f"node 'if' (If): {'its branches give different ' if 'types' in words else ''}{words}",
            tool, tmp_path)


@pytest.mark.parametrize("condition, words", [(value("c", [2], BOOL), "expected one bool as its condition, but got 'tensor<2xi1>'"),
                                              (value("c", ["k"], BOOL), "expected one bool as its condition, but got 'tensor<?xi1>'"),
                                              (value("c", [], INT), "node name: if")], ids=["two", "unknown", "integer"])
def test_conditions_that_are_none(condition, words, tool, tmp_path):
    refused(model([chosen(PLAIN, PLAIN)], [X, condition], [value("y")]), words, tool, tmp_path)


def squeezed(nodes, tail):
    """What PyTorch makes of x.squeeze(0): a branch without that dim where it is 1."""
    then = subgraph([node("Constant", [], ["axis"], value_ints=[0]), node("Squeeze", ["h", "axis"], ["t"])], ["t"])
    other = subgraph([node("Identity", ["h"], ["e"])], ["e"])
    condition = [node("Shape", ["h"], ["s"]), node("Gather", ["s", "zero"], ["d"]), node("Equal", ["d", "one"], ["c"])]
    return model([*nodes, *condition, chosen(then, other, ["b"], name="odd"), *tail], [X], [value("y")], {"zero": [0], "one": [1], "two": 2, "w": W, "row": random(1)[0]})


def test_branches_of_ranks_that_nodes_behind_them_decide(tool, tmp_path):
    """Of which one has a rank that a node behind it does not take, here only in what another If makes of that rank. A run that asks for it is refused."""
    widened = [subgraph([node("Constant", [], ["axis"], value_ints=[axis]), node("Unsqueeze", ["b", "axis"], ["t"])], ["t"]) for axis in (0, 1)]
    more = chosen(*widened, ["m"], "vector", "rank")
    tail = [node("Shape", ["b"], ["sizes"]), node("Size", ["sizes"], ["count"]), node("Less", ["count", "two"], ["vector"]), more, node("Gemm", ["m", "w", "row"], ["y"])]
    check(squeezed([node("Neg", ["x"], ["h"])], tail), [{"x": random(1)}], tool, tmp_path)
    with pytest.raises(megactx.Error, match="a reshape changes the number of elements"):
        megactx.load(tmp_path / "m.mctx").run({"x": random(2)})


def test_a_branch_of_a_rank_that_is_not_taken(tool, tmp_path):
    check(squeezed([node("Neg", ["x"], ["h"])], [node("Gemm", ["b", "w", "row"], ["y"])]), [{"x": random(3)}, {"x": random(2)}], tool, tmp_path)
    with pytest.raises(megactx.Error, match=r"node 'odd' \(Assume\): the sizes ask for a branch whose result has a rank that the nodes behind it do not take"):
        megactx.load(tmp_path / "m.mctx").run({"x": random(1)})


@pytest.mark.parametrize("then, constant", [(node("Squeeze", ["x", "k"], ["t"]), [0]), (node("Unsqueeze", ["x", "k"], ["t"]), [0]), (node("ReduceSum", ["x", "k"], ["t"], keepdims=0), [1]),
                                            (node("Reshape", ["x", "k"], ["t"]), [-1])], ids=lambda given: given.op_type if hasattr(given, "op_type") else "")
@pytest.mark.parametrize("is_node", [False, True], ids=["weight", "node"])
def test_branches_of_ranks_that_constants_outside_say(then, constant, is_node, tool, tmp_path):
    """The order of dims behind them is of one of both ranks."""
    rank = {"Squeeze": 2, "Unsqueeze": 4, "ReduceSum": 2, "Reshape": 1}[then.op_type]
    made = node("Constant", [], ["k"], value_ints=constant)
    nodes = [*([made] if is_node else []), chosen(subgraph([then], ["t"]), subgraph([node("Identity", ["x"], ["e"])], ["e"])), node("Transpose", ["y"], ["z"], perm=list(range(rank))[::-1])]
    whole = model(nodes, [value("x", ["n", "m", 4]), C], [value("z")], {} if is_node else {"k": constant})
    data = np.random.default_rng(3).standard_normal((1, 5, 4)).astype(np.float32)
    check(whole, [{"x": data, "c": np.array(True)}], tool, tmp_path)
    with pytest.raises(megactx.Error, match="ask for a branch"):
        megactx.load(tmp_path / "m.mctx").run({"x": data, "c": np.array(False)})


def test_branches_of_ranks_that_nothing_decides(tool, tmp_path):
    refused(squeezed([node("Neg", ["x"], ["h"])], [node("Exp", ["b"], ["y"])]), "node 'odd' (If): its branches give different types", tool, tmp_path)
