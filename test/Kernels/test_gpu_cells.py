"""Every cell of docs/kernels.md that says tuned, with the schedule of its rule, against the float64 reference; by default nine of them, others
each day, and by --all the whole page. A test's name says its cell, by which it runs again on any day: --all -k NAME."""

import dataclasses
import datetime
import pathlib
import re

import numpy as np
import pytest

import attention
import gradients
import sources
from test_gpu_emulated import UNIT, check

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "kernels.md"
A_DAY = {"test_forward": 7, "test_gradients": 2}
APART = 97  # cells, a prime that divides no number of them
BAND = "causal and window<left = {}, right = 0>"
FAR = ((131, 701, 570), (9, 330, 321))  # queries, keys, offset: many rows, and few


@dataclasses.dataclass(frozen=True)
class Shape:
    pattern: str
    sizes: tuple = FAR
    more: tuple = ()  # fields of the specification
    bias: tuple | None = None


SHAPES = {
    "causal": Shape("causal"),
    "band": Shape(BAND.format(511)),
    "band of 2048": Shape(BAND.format(2047), ((70, 2180, 2110), (9, 2100, 2091))),
    "band of 4096": Shape(BAND.format(4095), ((70, 4230, 4160), (9, 4150, 4141))),
    "window, sinks": Shape("causal and (window<left = 511, right = 0> or global_keys<first = 4>)"),
    "strided view": Shape("causal and strided<stride = 3>", ((331, 701, 370), (75, 445, 370), (9, 330, 321))),
    "columns": Shape("causal and columns<block = 8, first = 6, count = 2>"),
    "fixed": Shape("causal and fixed<block = 256, count = 8>"),
    "per head": Shape("per_head<[causal, strided<stride = 3>]>"),
    "test of blocks": Shape("causal and blocks<block = 64, row_ptr = [0, 1, 2, 4, 6, 8, 9, 11, 12, 14, 16, 18], col_idx = [0, 0, 0, 2, 1, 3, 0, 4, 5, 1, 6, 7, 2, 8, 0, 9, 3, 10]>"),
    "test per element": Shape("causal and strided<stride = 4999>", ((131, 5200, 5069), (9, 5010, 5001))),
    "band, bias": Shape(BAND.format(511), more=(("bias", True),), bias=(0, 0, 0, 0)),
    "band, softcap": Shape(BAND.format(511), more=(("softcap", 30.0),)),
    "positions": Shape(BAND.format(511)),
    "segments": Shape("causal and segments", more=(("segments", True),)),
}


def tuned(title):
    """(target, dtype, D, shape) of the cells of the page's table under a title that say so."""
    part = PAGE.read_text().split(title)[1].split("\n## ")[0]
    names, *rows = ([cell.strip() for cell in line.strip("| \n").split("|")] for line in re.findall(r"^\| (?:target|sm_).*$", part, re.MULTILINE))
    return [(target, dtype, int(dim), shape) for target, dtype, dim, *cells in rows for shape, cell in zip(names[3:], cells, strict=True) if cell.startswith("tuned")]


CELLS = {"test_forward": tuned("# Kernels\n"), "test_gradients": tuned("## Gradients on a GPU\n")}


def pytest_generate_tests(metafunc):
    cells = CELLS[metafunc.function.__name__]
    if not metafunc.config.getoption("--all"):
        step, day = A_DAY[metafunc.function.__name__], datetime.date.today().toordinal()
        # In as many days as they take all of them, each day's from all parts of the page.
        cells = [cells[(day * step + i) * APART % len(cells)] for i in range(step)]
    metafunc.parametrize("cell", cells, ids=lambda cell: " ".join(map(str, cell)))


@pytest.fixture(autouse=True)
def by_the_emulator(request):
    if request.config.getoption("--device") != "emulator":
        pytest.skip("each cell is of one target")


def test_forward(cell, gpu, gpu_program):
    target, dtype, dim, name = cell
    shape = SHAPES[name]
    if name == "positions":
        return check_positions(gpu_program, target, dtype, dim, shape, of_gradients=False)
    spec = attention.Spec(shape.pattern, dtype, heads=2, key_heads=1, head_dim=dim, value_dim=dim, **dict(shape.more))
    kernel = gpu.kernel(spec, arch=target)
    for queries, keys, offset in shape.sizes:
        check(kernel, 1, queries, keys, offset, bias=shape.bias)


def test_gradients(cell, gpu_program):
    target, dtype, dim, name = cell
    shape = SHAPES[name]
    if name == "positions":
        return check_positions(gpu_program, target, dtype, dim, shape, of_gradients=True)
    spec = gradients.Spec(shape.pattern, dtype, heads=2, key_heads=1, head_dim=dim, value_dim=dim, given=True, offset=True, **dict(shape.more))
    of_bias = dataclasses.replace(spec, bias=True, bias_gradients=True, diagonals=True, bias_type="tensor<1x2x?x?xf32>")
    queries, keys, offset = shape.sizes[0]
    for each in [spec, of_bias]:
        gradients.check(gpu_program(each.module(), arch=target), [each], 1, queries, keys, offset=offset, bias=(2, 0, 1) if each.bias else None)


def check_positions(gpu_program, target, dtype, dim, shape, of_gradients):
    """Positions of queries in no order, and of keys in theirs, with gaps."""
    spec = sources.Spec((sources.Source(shape.pattern, positions=True),), positions=True, dim=dim, dtype=dtype, gradients=of_gradients)
    random, run = np.random.default_rng(), gpu_program(spec.module(), arch=target)
    queries, keys, _ = shape.sizes[0]
    at, own = random.integers(0, 2 * keys, (1, queries)), np.sort(random.integers(0, 2 * keys, (1, keys)), axis=1)
    given = sources.inputs(spec, random, 1, queries, [keys], at, [own])
    given = [attention.rounded(x, dtype) if x.dtype == np.float32 else x for x in given]
    if of_gradients:
        dout = attention.rounded(random.standard_normal((1, 2, queries, dim)).astype(np.float32), dtype)
        dlse = random.standard_normal((1, 2, queries)).astype(np.float32)
        got, want, bound = run([*given, dout, dlse]), sources.gradients_of(spec, given, dout, dlse), gradients.TOLERANCE[dtype]
    else:
        got, want, bound = run(given), sources.reference(spec, given), 8 * UNIT[dtype]
    for result, wanted in zip(got, want, strict=True):
        some = np.isfinite(wanted)
        assert (np.isfinite(result) == some).all()
        assert np.abs(result[some] - wanted[some]).max() <= bound * max(1, np.abs(wanted[some]).max())
