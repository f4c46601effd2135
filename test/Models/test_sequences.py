"""Sequences of tensors: what is taken out of them equals onnxruntime's, and what they are not known for is refused."""

import numpy as np
import onnx
import pytest

import reference

CASES = {
    "pieces of a number of rows, by place": ("float[n, 6] x", """
        two = Constant <value = int64 {2}> ()
        pieces = SplitToSequence <axis = 0> (x, two)
        first = Constant <value = int64 {1}> ()
        last = Constant <value = int64 {-1}> ()
        a = SequenceAt(pieces, first)
        b = SequenceAt(pieces, last)
        count = SequenceLength(pieces)""", "float[p, 6] a, float[q, 6] b, int64 count"),
    "a place and a size that are inputs": ("float[n, 6] x, int32 size, int64 place", """
        pieces = SplitToSequence <axis = -1> (x, size)
        a = SequenceAt(pieces, place)""", "float[n, p] a"),
    "listed sizes": ("float[n, 6] x", """
        sizes = Constant <value_ints = [1, 3, 2]> ()
        pieces = SplitToSequence <axis = 1> (x, sizes)
        zero = Constant <value = int64 {0}> ()
        last = Constant <value = int64 {-1}> ()
        a = SequenceAt(pieces, zero)
        b = SequenceAt(pieces, last)
        count = SequenceLength(pieces)
        pair = SequenceConstruct(b, b)
        c = ConcatFromSequence <axis = 0> (pair)""", "float[n, 1] a, float[n, 2] b, int64 count, float[m, 2] c"),
    "rows without their dim": ("float[n, 6] x", """
        rows = SplitToSequence <axis = 0, keepdims = 0> (x)
        columns = SplitToSequence <axis = -1, keepdims = 0> (x)
        three = Constant <value = int64 {3}> ()
        a = SequenceAt(rows, three)
        b = SequenceAt(columns, three)
        c = ConcatFromSequence <axis = -1, new_axis = 1> (columns)""", "float[6] a, float[n] b, float[n, 6] c"),
    "a list that grows and shrinks": ("float[n, 6] x", """
        twice = Add(x, x)
        none = SequenceEmpty()
        one = SequenceInsert(none, x)
        two = SequenceInsert(one, twice)
        minus = Constant <value = int64 {-1}> ()
        negative = Neg(x)
        three = SequenceInsert(two, negative, minus)
        same = Identity(three)
        zero = Constant <value = int64 {0}> ()
        left = SequenceErase(same, zero)
        a = ConcatFromSequence <axis = 0, new_axis = 1> (left)
        shorter = SequenceErase(left)
        b = SequenceAt(shorter, minus)
        count = SequenceLength(three)""", "float[2, n, 6] a, float[n, 6] b, int64 count"),
    "a list that is empty again": ("float[n, 6] x", """
        one = SequenceConstruct(x)
        none = SequenceErase(one)
        negative = Neg(x)
        other = SequenceInsert(none, negative)
        a = ConcatFromSequence <axis = 0> (other)
        count = SequenceLength(none)""", "float[m, 6] a, int64 count"),
    "pieces by other names": ("float[n, 6] x", """
        two = Constant <value = int64 {2}> ()
        pieces = SplitToSequence(x, two)
        same = Identity(pieces)
        again = Identity(same)
        a = SequenceAt(again, two)
        count = SequenceLength(again)""", "float[m, 6] a, int64 count"),
    "pieces of a run-time size, joined again": ("float[n, 6] x, int32 size", """
        pieces = SplitToSequence <axis = -1> (x, size)
        a = ConcatFromSequence <axis = 1> (pieces)
        rows = SplitToSequence <keepdims = 0> (x)
        b = ConcatFromSequence <axis = -2, new_axis = 1> (rows)""", "float[n, 6] a, float[n, 6] b"),
    "in a branch and in a loop": ("float[n, 6] x, int64 place", """
        list = SequenceConstruct(x, x)
        two = Constant <value = int64 {2}> ()
        three = Constant <value = int64 {3}> ()
        zero = Constant <value = int64 {0}> ()
        true = Constant <value = bool {1}> ()
        isFirst = Equal(place, zero)
        a = If(isFirst)
          <then_branch = t () => (float[p, q] then) {
             pieces = SplitToSequence <axis = 0> (x, two)
             then = SequenceAt(pieces, zero) },
           else_branch = e () => (float[p, q] else) {
             negative = Neg(x)
             pieces = SequenceInsert(list, negative)
             else = ConcatFromSequence <axis = 1> (pieces) }>
        b = Loop(three, true, x)
          <body = l (int64 i, bool go, float[n, 6] w) => (bool goes, float[n, 6] v) {
             goes = Identity(go)
             halves = SplitToSequence <axis = 1> (w, three)
             one = Constant <value = int64 {1}> ()
             left = SequenceAt(halves, zero)
             right = SequenceAt(halves, one)
             v = Concat <axis = 1> (right, left) }>""", "float[p, q] a, float[n, 6] b"),
    "names that the model has already": ('float[n, 6] x, float[n, 1] "a/starts", int64 place', """
        "a/one" = Constant <value_float = 1.5> ()
        two = Constant <value = int64 {2}> ()
        "a/length" = Add("a/starts", "a/one")
        pieces = SplitToSequence(x, two)
        a = SequenceAt(pieces, place)""", 'float[p, 6] a, float[n, 1] "a/length"'),
    "hundreds of tensors": ("float[n, 6] x", "none = SequenceEmpty()\n" + "".join(
        f"list{i} = SequenceInsert({f'list{i - 1}' if i else 'none'}, x)\n" for i in range(60)) + """
        wide = ConcatFromSequence <axis = 1> (list59)
        pieces = SplitToSequence <axis = 1> (wide)
        place = Constant <value = int64 {77}> ()
        a = SequenceAt(pieces, place)
        shorter = SequenceErase(pieces, place)
        b = ConcatFromSequence <axis = 1> (shorter)""", "float[n, 1] a, float[n, 359] b"),
}
INPUTS = {"x": np.arange(30, dtype=np.float32).reshape(5, 6), "size": np.array(4, np.int32), "place": np.array(-1), "a/starts": np.arange(5, dtype=np.float32).reshape(5, 1)}


def model_of(inputs, body, outputs):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\nm ({inputs}) => ({outputs}) {{{body}\n}}')


def run(tool, folder, model):
    onnx.save(model, folder / "m.onnx")
    done = tool("megactx-compile", "-O0", folder / "m.onnx", "-o", folder / "m.mctx")
    if done.status != 0:
        return done
    reference.save_tensors(folder / "in", "input", [(i.name, INPUTS[i.name]) for i in model.graph.input])
    return tool("megactx-run", folder / "m.mctx", "--inputs", folder / "in", "--outputs", folder / "out")


@pytest.mark.parametrize("name", CASES)
def test_against_onnxruntime(name, tool, tmp_path):
    model = model_of(*CASES[name])
    want = reference.session(model).run(None, {i.name: INPUTS[i.name] for i in model.graph.input})
    done = run(tool, tmp_path, model)
    assert done.status == 0, done
    got = dict(reference.load_tensors(tmp_path / "out", "output"))
    for output, array in zip(model.graph.output, want):
        np.testing.assert_array_equal(got[output.name], array, err_msg=output.name)


REFUSED = {
    "a place past the end": ("float[n, 6] x", """
        place = Constant <value = int64 {2}> ()
        list = SequenceConstruct(x, x)
        a = SequenceAt(list, place)""", "float[n, 6] a", "SequenceAt"),
    "a place past the pieces": ("float[n, 6] x", """
        two = Constant <value = int64 {2}> ()
        place = Constant <value = int64 {3}> ()
        pieces = SplitToSequence(x, two)
        a = SequenceAt(pieces, place)""", "float[m, 6] a", "Gather"),
    "pieces of no rows": ("float[n, 6] x", """
        zero = Constant <value = int64 {0}> ()
        pieces = SplitToSequence(x, zero)
        a = SequenceAt(pieces, zero)""", "float[m, 6] a", "cannot lower node 'SequenceAt/ConstantOfShape' (ConstantOfShape): the result has a size of -1"),
    "pieces of no rows, counted": ("float[n, 6] x", """
        zero = Constant <value = int64 {0}> ()
        pieces = SplitToSequence(x, zero)
        a = SequenceLength(pieces)""", "int64 a", "a size of -1"),
    "pieces of fewer rows than none": ("float[n, 6] x, int64 place", """
        pieces = SplitToSequence(x, place)
        a = ConcatFromSequence <axis = 0> (pieces)""", "float[n, 6] a", "negative"),
    "sizes that are not all": ("float[5, 6] x", """
        sizes = Constant <value_ints = [1, 3]> ()
        place = Constant <value = int64 {0}> ()
        pieces = SplitToSequence(x, sizes)
        a = SequenceAt(pieces, place)""", "float[m, 6] a", "Split"),
    "an axis that there is not": ("float[5, 6] x", """
        two = Constant <value = int64 {2}> ()
        pieces = SplitToSequence <axis = -9> (x, two)
        a = SequenceAt(pieces, two)""", "float[m, 6] a", "axis -9"),
    "a list by a place that is an input": ("float[n, 6] x, int64 place", """
        list = SequenceConstruct(x, x)
        a = SequenceAt(list, place)""", "float[n, 6] a", "SequenceAt"),
}


def test_sizes_that_are_a_large_weight(tool, tmp_path):
    """Of which the rules see nothing; the model's other nodes are not to blame."""
    model = model_of("float[n, 6] x", """
        zero = Constant <value = int64 {0}> ()
        pieces = SplitToSequence(x, sizes)
        a = SequenceAt(pieces, zero)""", "float[m, 6] a")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(500, np.int64), "sizes"))
    done = run(tool, tmp_path, model)
    assert done.status == 1 and "error: no lowering for SplitToSequence" in done.err, done


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tool, tmp_path):
    *model, word = REFUSED[name]
    done = run(tool, tmp_path, model_of(*model))
    assert done.status == 1 and "error" in done.err and word in done.err, done
