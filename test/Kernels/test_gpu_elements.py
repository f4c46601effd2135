"""Elementwise kernels and column sums, which move vectors, as a GPU would run them, against numpy: mixed types, ragged rows, odd offsets."""

import ml_dtypes
import numpy as np
import pytest

ARRAYS = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f64": np.float64, "i64": np.int64, "i8": np.int8, "i1": np.bool_}
MAPS = """\
#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i = affine_map<(i, j) -> (i)>
#j = affine_map<(i, j) -> (j)>
#v = affine_map<(i) -> (i)>
#abcd = affine_map<(a, b, c, d) -> (a, b, c, d)>
#acbd = affine_map<(a, b, c, d) -> (a, c, b, d)>
"""


def generic(out, maps, ins, body, kinds="parallel parallel"):
    """One op that makes %r, of type `out`, in %e; `ins`: (name, type)."""
    element = out.split("x")[-1]
    arguments = ", ".join(f"%{name}_: {kind.split('x')[-1]}" for name, kind in ins)
    return f"""\
  %r = linalg.generic {{indexing_maps = [{", ".join("#" + m for m in maps.split())}], iterator_types = [{", ".join(f'"{k}"' for k in kinds.split())}]}}
      ins({", ".join(f"%{name}" for name, _ in ins)} : {", ".join(f"tensor<{kind}>" for _, kind in ins)}) outs(%e : tensor<{out}>) {{
  ^bb0({arguments}, %old: {element}):
    {body}
  }} -> tensor<{out}>
"""


def of(name, dim, as_name):
    return f"  %c{dim}_{name} = arith.constant {dim} : index\n  %{as_name} = tensor.dim %{name}, %c{dim}_{name} : {{{name}}}\n"


WIDEN = "%w = arith.extf %x_ : bf16 to f32\n    %s = arith.addf %w, %y_ : f32\n    linalg.yield %s : f32"
ADD = "%s = arith.addf %x_, %y_ : bf16\n    linalg.yield %s : bf16"
ADD32 = "%s = arith.addf %x_, %y_ : f32\n    linalg.yield %s : f32"
WHERE = "%s = arith.select %m_, %x_, %y_ : f32\n    linalg.yield %s : f32"
CLIP = "%t = arith.trunci %x_ : i64 to i8\n    %s = arith.addi %t, %y_ : i8\n    linalg.yield %s : i8"
DOUBLE = "%s = arith.addf %t_, %t_ : f32\n    linalg.yield %s : f32"
COPY = "linalg.yield %x_ : bf16"
TOTAL = "%s = arith.addf %old, %x_ : f32\n    linalg.yield %s : f32"


def widened(width, text):
    """bf16 rows and a vector of f32, rows of this many elements; "?": the compiler does not know."""
    x, y = f"?x{text}xbf16", f"{text}xf32"
    sizes = "%n, %m" if text == "?" else "%n"
    code = of("x", 0, "n") + of("x", 1, "m") + f"  %e = tensor.empty({sizes}) : tensor<?x{text}xf32>\n"
    return {"x": (x, (3, width)), "y": (y, (width,))}, f"?x{text}xf32", code + generic(f"?x{text}xf32", "ij j ij", [("x", x), ("y", y)], WIDEN), \
        lambda x, y: x.astype(np.float32) + y


def vector(length):
    """One row: it begins at a multiple, and ends anywhere."""
    kind, code = "?xbf16", of("x", 0, "n") + "  %e = tensor.empty(%n) : tensor<?xbf16>\n"
    return {"x": (kind, (length,)), "y": (kind, (length,))}, kind, code + generic(kind, "v v v", [("x", kind), ("y", kind)], ADD, "parallel"), lambda x, y: x + y


def sliced(first, count, whole):
    """Columns from `first` on of rows of `whole`."""
    part, x, y = f"?x{count}xbf16", f"?x{whole}xbf16", f"?x{count}xbf16"
    code = of("x", 0, "n") + f"""\
  %p = tensor.extract_slice %x[0, {first}] [%n, {count}] [1, 1] : tensor<{x}> to tensor<{part}>
  %e = tensor.empty(%n) : tensor<{part}>
"""
    return {"x": (x, (5, whole)), "y": (y, (5, count))}, part, code + generic(part, "ij ij ij", [("p", part), ("y", y)], ADD.replace("%x_", "%p_")), \
        lambda x, y: x[:, first:first + count] + y


def carried(times):
    """Memory that a loop carries: the compiler does not know where it starts."""
    kind = "?x64xf32"
    double = generic(kind, "ij ij", [("t", kind)], DOUBLE).replace("%r =", "%next =")
    code = of("x", 0, "n") + of("y", 0, "times") + f"""\
  %c1 = arith.constant 1 : index
  %r = scf.for %k = %c0_x to %times step %c1 iter_args(%t = %x) -> tensor<{kind}> {{
    %e = tensor.empty(%n) : tensor<{kind}>
{double}    scf.yield %next : tensor<{kind}>
  }}
"""
    return {"x": (kind, (3, 64)), "y": ("?xf32", (times,))}, kind, code, lambda x, y: x * np.float32(2**len(y))


def heads(length):
    """Heads of 24 out of the middle third of rows, apart from one another."""
    x, part, kind, out = "2x?x72xbf16", "2x?x24xbf16", "2x?x3x8xbf16", "2x3x?x8xbf16"
    code = of("x", 1, "n") + f"""\
  %p = tensor.extract_slice %x[0, 0, 24] [2, %n, 24] [1, 1, 1] : tensor<{x}> to tensor<{part}>
  %h = tensor.expand_shape %p [[0], [1], [2, 3]] output_shape [2, %n, 3, 8] : tensor<{part}> into tensor<{kind}>
  %e = tensor.empty(%n) : tensor<{out}>
"""
    return {"x": (x, (2, length, 72))}, out, code + generic(out, "acbd abcd", [("h", kind)], COPY.replace("%x_", "%h_"), "parallel " * 4), \
        lambda x: x[:, :, 24:48].reshape(2, length, 3, 8).transpose(0, 2, 1, 3)


def static(out, maps, ins, shapes, body, numpy, kinds="parallel parallel"):
    """Static sizes; sums start at 0."""
    code = f"  %e = tensor.empty() : tensor<{out}>\n"
    if "reduction" in kinds:
        code = f"""\
  %empty = tensor.empty() : tensor<{out}>
  %zero = arith.constant 0.0 : f32
  %e = linalg.fill ins(%zero : f32) outs(%empty : tensor<{out}>) -> tensor<{out}>
"""
    return {name: (kind, shape) for (name, kind), shape in zip(ins, shapes, strict=True)}, out, code + generic(out, maps, ins, body, kinds), numpy


CASES = {
    **{f"widen_{width}_{'known' if text != '?' else 'unknown'}": widened(width, text)
       for width, text in [(512, "512"), (40, "40"), (33, "33"), (100, "100"), (2056, "2056"), (4100, "4100"), (1, "1"), (40, "?"), (37, "?"), (4100, "?"), (1, "?")]},
    **{f"vector_{length}": vector(length) for length in (1, 7, 8, 37, 2051)},
    "odd_offset": sliced(1, 32, 64), "aligned_part": sliced(16, 32, 64), "half_aligned_part": sliced(4, 32, 64), "odd_rows": sliced(8, 32, 65),
    "odd_count": sliced(8, 31, 64), "heads": heads(5), "no_rows": heads(0), "carried": carried(3),
    "transposed": static("48x40xf32", "ji ij ij", [("x", "40x48xf32"), ("y", "48x40xf32")], [(40, 48), (48, 40)], ADD32, lambda x, y: x.T + y),
    "mask": static("6x40xf32", "ij ij i ij", [("m", "6x40xi1"), ("x", "6x40xf32"), ("y", "6xf32")], [(6, 40), (6, 40), (6,)], WHERE,
                   lambda m, x, y: np.where(m, x, y[:, None])),
    "wide_and_narrow": static("6x40xi8", "ij ij ij", [("x", "6x40xi64"), ("y", "6x40xi8")], [(6, 40), (6, 40)], CLIP, lambda x, y: x.astype(np.int8) + y),
    "column_sum": static("40xf32", "ij j", [("x", "50x40xf32")], [(50, 40)], TOTAL, lambda x: x.sum(0), "reduction parallel"),
    "row_sum": static("50xf32", "ij i", [("x", "50x36xf32")], [(50, 36)], TOTAL, lambda x: x.sum(1), "parallel reduction"),
}


def values(kind, shape, random):
    dtype = ARRAYS[kind.split("x")[-1]]
    return random.integers(-9, 9, shape).astype(dtype) if dtype in (np.int64, np.int8) else \
        random.integers(0, 2, shape).astype(bool) if dtype is np.bool_ else random.normal(0, 2, shape).astype(dtype)


@pytest.mark.parametrize("case", CASES)
def test_elements(case, gpu_model, tmp_path):
    inputs, result, code, numpy = CASES[case]
    for name, (kind, _) in inputs.items():
        code = code.replace(f"{{{name}}}", f"tensor<{kind}>")
    arguments = ", ".join(f'%{name}: tensor<{kind}> {{onnx.name = "{name}"}}' for name, (kind, _) in inputs.items())
    (tmp_path / "m.mlir").write_text(f"{MAPS}func.func @main({arguments}) -> (tensor<{result}> {{onnx.name = \"r\"}}) {{\n{code}  return %r : tensor<{result}>\n}}\n")
    random = np.random.default_rng(5)
    arrays = [values(kind, shape, random) for kind, shape in inputs.values()]
    (got,) = gpu_model(tmp_path / "m.mlir").run([a.view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else a for a in arrays])
    want = numpy(*arrays)
    got = got.view(ml_dtypes.bfloat16) if result.endswith("bf16") else got
    assert got.shape == want.shape
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=1e-5, atol=1e-5)
