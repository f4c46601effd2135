"""What is known of integers when a model is compiled is what a run gives: graphs beside each other may use the same names, casts may change numbers."""

import re

import numpy as np
import onnx
import pytest

import megactx
import reference

NEGATED = """
  {0} = If(decided)
    <then_branch = yes () => (float[m, k] a) {{ a = Neg(x) }},
     else_branch = no () => (float[m, k] b) {{ b = Identity(x) }}>"""

NARROWED = """
  sizes = Shape <start = 0, end = 1> (x)
  many = Constant <value_ints = [{many}]> ()
  more = Add(sizes, many)
  narrow = Cast <to = {type}> (more)
  number = Cast <to = 7> (narrow)
  decided = Equal(number, sizes)""" + NEGATED.format("y").replace("{", "{{").replace("}", "}}")

X = np.arange(30, dtype=np.float32).reshape(5, 6)
WAYS = [{"p": np.array(way)} for way in (True, False)]
CASES = {
    "a condition of one name in two branches": ("float[5, 6] x, bool p, int64[1] r", """
  y = If(p)
    <then_branch = t () => (float[m, k] c) {
       sizes = Shape <start = 0, end = 1> (x)
       five = Constant <value_ints = [5]> ()
       decided = Equal(sizes, five)""" + NEGATED.format("c") + """ },
     else_branch = e () => (float[m, k] d) {
       sizes = Identity(r)
       five = Constant <value_ints = [5]> ()
       decided = Equal(sizes, five)""" + NEGATED.format("d") + " }>", [{**way, "r": np.array([size])} for way in WAYS for size in (5, 7)]),
    "a shape of one name in two branches": ("float[5, 6] x, bool p, int64[2] r", """
  y = If(p)
    <then_branch = t () => (float[m, k] a) {
       sizes = Shape(x)
       a = ConstantOfShape(sizes) },
     else_branch = e () => (float[m, k] b) {
       sizes = Identity(r)
       b = Reshape(x, sizes) }>""", [{**way, "r": np.array([10, 3])} for way in WAYS]),
    "an iteration's number that a branch has as a constant": ("float[5, 6] x, bool p", """
  four = Constant <value = int64 {4}> ()
  true = Constant <value = bool {1}> ()
  two = Constant <value = int64 {2}> ()
  first = If(p)
    <then_branch = t () => (float[m, k] c) {
       i = Constant <value = int64 {2}> ()
       decided = Equal(i, two)""" + NEGATED.format("c") + """ },
     else_branch = e () => (float[m, k] d) { d = Identity(x) }>
  y = Loop(four, true, first)
    <body = l (int64 i, bool go, float[5, 6] w) => (bool goes, float[5, 6] v) {
       goes = Identity(go)
       decided = Equal(i, two)
       v = If(decided)
         <then_branch = t () => (float[m, k] a) { a = Neg(w) },
          else_branch = e () => (float[m, k] b) { b = Add(w, x) }> }>""", WAYS),
    "a name that hides another": ("float[5, 6] x, bool p", """
  sum = Add(x, x)
  y = If(p)
    <then_branch = t () => (float[m, k] c) { c = Identity(sum) },
     else_branch = e () => (float[m, k] d) {
       c = Neg(sum)
       d = Mul(c, sum) }>""", WAYS),
    "a number as a bool": ("float[5, 6] x", """
  sizes = Shape <start = 0, end = 1> (x)
  any = Cast <to = 9> (sizes)
  number = Cast <to = 7> (any)
  one = Constant <value_ints = [1]> ()
  decided = Equal(number, one)""" + NEGATED.format("y"), [{}]),
    "quotients and remainders": ("float[5, 6] x", """
  seven = Constant <value_ints = [-7]> ()
  three = Constant <value_ints = [3]> ()
  four = Constant <value_ints = [-4]> ()
  quotient = Div(seven, three)
  above = Mod(seven, three)
  below = Mod(three, four)
  both = Add(above, below)
  sum = Add(both, quotient)
  wanted = Constant <value_ints = [-1]> ()
  decided = Equal(sum, wanted)""" + NEGATED.format("y"), [{}]),
    "a shape in reverse": ("float[5, 6] x", """
  sizes = Shape(x)
  last = Constant <value_ints = [-1]> ()
  first = Constant <value_ints = [-9]> ()
  axis = Constant <value_ints = [0]> ()
  turned = Slice(sizes, last, first, axis, last)
  y = Reshape(x, turned)""", [{}]),
    "a number of eight bits": ("float[5, 6] x", NARROWED.format(many=256, type=onnx.TensorProto.UINT8), [{}]),
    "a number of 32 bits": ("float[5, 6] x", NARROWED.format(many=1 << 32, type=onnx.TensorProto.INT32), [{}]),
    "products beyond 32 bits": ("float[5, 6] x", """
  sizes = Shape <start = 0, end = 1> (x)
  many = Constant <value_ints = [1000000000]> ()
  more = Mul(sizes, many)
  decided = Greater(more, many)""" + NEGATED.format("y"), [{}]),
    "a difference beyond 32 bits": ("float[5, 6] x", """
  sizes = Shape <start = 0, end = 1> (x)
  many = Constant <value_ints = [3000000000]> ()
  less = Sub(many, sizes)
  zero = Constant <value_ints = [0]> ()
  decided = Greater(less, zero)""" + NEGATED.format("y"), [{}]),
    "sums of 32 bits that begin again": ("float[5, 6] x", """
  most = Constant <value = int32[1] {2147483647}> ()
  twice = Add(most, most)
  wide = Constant <value_ints = [4294967301]> ()
  narrow = Cast <to = 6> (wide)
  both = Concat <axis = 0> (twice, narrow)
  numbers = Cast <to = 1> (both)
  axes = Constant <value_ints = [0]> ()
  y = Unsqueeze(numbers, axes)""", [{}]),
    "a table of numbers": ("float[5, 6] x", """
  sizes = Shape(x)
  zero = Constant <value = int64 {0}> ()
  one = Constant <value = int64 {1}> ()
  axis = Constant <value_ints = [0]> ()
  row = Unsqueeze(sizes, axis)
  table = Concat <axis = 0> (row, row)
  second = Gather <axis = 0> (table, one)
  number = Gather <axis = 0> (second, zero)
  five = Constant <value = int64 {5}> ()
  decided = Equal(number, five)""" + NEGATED.format("y"), [{}]),
    "a column of a table, and sums of tables": ("float[5, 6] x", """
  sizes = Shape(x)
  shape = Constant <value_ints = [2, 1]> ()
  column = Reshape(sizes, shape)
  all = Concat <axis = 1> (column, column)
  sum = Add(column, sizes)
  list = Constant <value_ints = [-1]> ()
  sums = Reshape(sum, list)
  twice = Reshape(all, list)
  both = Concat <axis = 0> (sums, twice)
  numbers = Cast <to = 1> (both)
  axes = Constant <value_ints = [0]> ()
  y = Unsqueeze(numbers, axes)""", [{}]),
    "a table cut, turned round and transposed": ("float[5, 6] x", """
  sizes = Shape(x)
  more = Constant <value_ints = [7, 8, 9, 10]> ()
  six = Concat <axis = 0> (sizes, more)
  shape = Constant <value_ints = [3, 2]> ()
  table = Reshape(six, shape)
  last = Constant <value_ints = [-1]> ()
  least = Constant <value_ints = [-9]> ()
  axis = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  turned = Slice(table, last, least, axis, last)
  columns = Transpose <perm = [1, 0]> (turned)
  end = Constant <value_ints = [3]> ()
  cut = Slice(columns, one, end, last, one)
  numbers = Reshape(cut, last)
  first = Slice(numbers, last, least, axis, last)
  begin = Constant <value_ints = [0]> ()
  found = Gather <axis = 0> (first, begin)
  wanted = Constant <value_ints = [6]> ()
  decided = Equal(found, wanted)""" + NEGATED.format("y"), [{}]),
}

# As PyTorch exports padding up to whole blocks: pairs from the last dim on, of which one number is not known; then slices of rows.
PADDED = """
  rows = Shape <start = 0, end = 1> (x)
  block = Constant <value_ints = [8]> ()
  less = Neg(rows)
  free = Mod(less, block)
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  pairs = Concat <axis = 0> (zero, one, zero, free)
  two = Constant <value_ints = [-1, 2]> ()
  table = Reshape(pairs, two)
  last = Constant <value_ints = [-1]> ()
  least = Constant <value_ints = [-9223372036854775807]> ()
  turned = Slice(table, last, least, zero, last)
  ends = Transpose <perm = [1, 0]> (turned)
  pads = Reshape(ends, last)
  padded = Pad(x, pads)
  y = Slice(padded, one, rows, zero, one)"""


@pytest.mark.parametrize("name", CASES)
def test_against_onnxruntime(name, tool, tmp_path):
    inputs, body, feeds = CASES[name]
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\nm ({inputs}) => (float[rows, columns] y) {{{body}\n}}')
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx")
    assert done.status == 0, done
    ours, theirs = megactx.load(tmp_path / "m.mctx"), reference.session(model)
    for feed in feeds:
        np.testing.assert_array_equal(ours.run({"x": X, **feed})["y"], theirs.run(None, {"x": X, **feed})[0], err_msg=str(feed))


def test_axes_that_are_computed(tool, tmp_path):
    """As an exporter splits an axis: the rank of what comes out is known."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
m (float[a, b, c] x, int64[1] k) => (y, z) {
  sizes = Shape(x)
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  rank = Constant <value_ints = [3]> ()
  end = Constant <value_ints = [9223372036854775807]> ()
  back = Constant <value_ints = [-1]> ()
  wrapped = Mod(back, rank)
  axis = Reshape(wrapped, one)
  next = Add(wrapped, one)
  behind = Reshape(next, one)
  left = Slice(sizes, zero, axis)
  right = Slice(sizes, behind, end)
  parts = Constant <value_ints = [-1, 2]> ()
  shape = Concat <axis = 0> (left, parts, right)
  y = Reshape(x, shape)
  some = Slice(sizes, k, end)
  other = Concat <axis = 0> (some, back)
  z = Reshape(x, other)
}""")
    onnx.save(model, tmp_path / "m.onnx")
    assert tool("megactx-translate", "--import-onnx", tmp_path / "m.onnx", "-o", tmp_path / "m.mlir").status == 0
    done = tool("megactx-opt", tmp_path / "m.mlir", "--megactx-normalize-onnx")
    assert done.status == 0 and "-> (tensor<?x?x?x2xf32>" in done.out, done
    assert re.search(r"tensor<\*xf32> {onnx.*\"z\"", done.out), done.out


def test_sizes_beside_unknown_ones(tool, tmp_path):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\nm (float[n, 6] x) => (float[rows, columns] y) {{{PADDED}\n}}')
    onnx.save(model, tmp_path / "m.onnx")
    done = tool("megactx-compile", "--compile-to=attention", tmp_path / "m.onnx", "-o", tmp_path / "m.mlir")
    assert done.status == 0, done
    text = (tmp_path / "m.mlir").read_text()
    assert re.search(r"onnx\.Pad .* -> tensor<\?x7xf32>", text), text
    assert re.search(r"onnx\.Slice .*tensor<\?x7xf32>, .* -> tensor<\?x7xf32>", text), text
    assert tool("megactx-compile", "-O0", tmp_path / "m.onnx", "-o", tmp_path / "m.mctx").status == 0
    ours, theirs = megactx.load(tmp_path / "m.mctx"), reference.session(model)
    for rows in (2, 5, 8, 9):
        x = np.arange(rows * 6, dtype=np.float32).reshape(rows, 6)
        np.testing.assert_array_equal(ours.run({"x": x})["y"], theirs.run(None, {"x": x})[0])
