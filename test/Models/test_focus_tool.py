"""megactx-focus on small models of python/models/lod.py: against the reference round by round, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from conftest import ROOT

sys.path.insert(0, str(ROOT / "test" / "Kernels"))
import lod  # noqa: E402  the reference of the ops, test/Kernels/lod.py
import reference  # noqa: E402

import megactx  # noqa: E402
from megactx import files  # noqa: E402
from megactx.artifacts import Artifacts  # noqa: E402
from megactx.working_context import Lens, Settings  # noqa: E402

RATIO, WIDTH, TOKENS = 4, 8, 699


def script(*arguments):
    subprocess.run([sys.executable, str(ROOT / "python" / "models" / "lod.py"), *map(str, arguments)], check=True)


class World:
    """Models, their artifacts, and a timeline."""

    def __init__(self, folder, build, ratio=RATIO, width=WIDTH, tokens=TOKENS):
        megactx.use_build(build)
        self.folder = folder
        script(folder, "--ratio", ratio, "--width", width, "--tokens", tokens)
        for name in ("gistnet", "lensnet"):
            megactx.compile(folder / f"{name}.onnx", folder / f"{name}.mctx")
        self.gistnet, self.lensnet, self.tokens = folder / "gistnet.mctx", folder / "lensnet.mctx", folder / "tokens.npy"
        self.artifacts = Artifacts(folder / "cache")
        self.timeline = np.load(self.tokens)

    def focus(self, budget=120, **more):
        more = dict(dict(ratio=RATIO, recent=9, max_edits=6, artifacts=self.artifacts), **more)
        return megactx.focus(more.pop("timeline", self.timeline), self.gistnet, more.pop("lensnet", self.lensnet), budget, **more)


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    return World(tmp_path_factory.mktemp("lod"), request.config.getoption("--build").resolve())


def outside(path, *inputs):
    run = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return run.run(None, dict(zip([i.name for i in run.get_inputs()], inputs)))


def tiles(lods, positions, ratio):
    ends = positions + 1
    return np.array_equal(ends - ratio**lods, np.concatenate([[0], ends[:-1]])) and not (ends % ratio**lods).any()


# --- the pyramid ---


def test_gists_are_those_of_each_block(world):
    pyramid = megactx.Pyramid(world.gistnet, RATIO)
    pyramid.append(world.timeline)
    want = [[], []]
    for first in range(0, TOKENS, RATIO**2):
        block = np.zeros((1, RATIO**2, WIDTH), np.float32)
        part = world.timeline[first:first + RATIO**2]
        block[0, :len(part)] = part
        for level, rows in enumerate(outside(world.folder / "gistnet.onnx", block)):
            want[level].append(rows[0][:len(part) // RATIO ** (level + 1)])
    for got, rows in zip(pyramid.levels, want):
        np.testing.assert_allclose(got, np.concatenate(rows), atol=1e-4)


@pytest.mark.parametrize("history", [0, 16, 48])
def test_gists_do_not_depend_on_how_many_tokens_come_at_a_time(history, world):
    whole, random = megactx.Pyramid(world.gistnet, RATIO, history), np.random.default_rng()
    whole.append(world.timeline)
    pieces, first = megactx.Pyramid(world.gistnet, RATIO, history), 0
    while first < TOKENS:
        last = first + int(random.integers(1, 60))
        pieces.append(world.timeline[first:last])
        if random.random() < 0.3:
            assert [len(rows) for rows in pieces.levels] == [min(last, TOKENS) // RATIO, min(last, TOKENS) // RATIO**2]
        first = last
    for got, want in zip(pieces.levels, whole.levels):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_with_the_whole_timeline_as_history_gists_are_those_of_one_run(world):
    tokens = world.timeline[:12 * RATIO**2]
    pyramid = megactx.Pyramid(world.gistnet, RATIO, history=12 * RATIO**2)
    pyramid.append(tokens)
    for got, want in zip(pyramid.levels, outside(world.folder / "gistnet.onnx", tokens[None])):
        np.testing.assert_allclose(got, want[0], atol=1e-4)


def test_what_is_no_timeline_leaves_a_pyramid_as_it_is(world, monkeypatch):
    pyramid, whole = megactx.Pyramid(world.gistnet, RATIO), megactx.Pyramid(world.gistnet, RATIO)
    tokens, cut = world.timeline, RATIO**2 + 3
    whole.append(tokens)
    pyramid.append(tokens[:cut])
    assert [len(rows) for rows in pyramid.levels] == [cut // RATIO, 1]
    holed = tokens[cut:].copy()
    holed[-1, 0] = np.nan
    run, fails = pyramid._run, iter([False, True])
    for wrong, message in [(tokens[cut:].astype(np.float64), "float64"), (tokens[cut:cut + 2].astype(np.int32), "int32"), (tokens[cut:].tolist(), "float64"),
                           (holed, f"token {len(tokens) - 1} is not finite"), (tokens[cut:, 1:], "but got shape")]:
        with pytest.raises(megactx.Error, match=message):
            pyramid.append(wrong)
    monkeypatch.setattr(pyramid, "_step", RATIO**2)
    monkeypatch.setattr(pyramid, "_run", lambda block: 1 / 0 if next(fails) else run(block))
    with pytest.raises(ZeroDivisionError):
        pyramid.append(tokens[cut:])
    monkeypatch.undo()
    assert pyramid.tokens == cut
    pyramid.append(tokens[cut:])
    for got, want in zip(pyramid.levels, whole.levels):
        np.testing.assert_allclose(got, want, atol=1e-5)
        with pytest.raises(ValueError, match="read-only"):
            got[:] = 7


# --- the loop ---


@pytest.mark.parametrize("first_positions", [True, False])
def test_rounds_are_those_of_the_reference(first_positions, world):
    made = world.focus(rounds=6, first_positions=first_positions)
    pyramid, lens = megactx.Pyramid(world.gistnet, RATIO), megactx.load(world.lensnet)
    pyramid.append(world.timeline)
    levels = [rows[None] for rows in [world.timeline, *pyramid.levels]]
    gathered = lambda l, p: lod.lod_gather(l[None], p[None], levels, [len(l)], RATIO).astype(np.float32)
    assert len(made.rounds) > 3 and any(state.collapsed for state in made.rounds) and any(state.expanded for state in made.rounds)
    for before, after in zip(made.rounds, made.rounds[1:]):
        assert tiles(after.lods, after.positions, RATIO) and after.positions[-1] == TOKENS - 1 and len(after.lods) <= 120
        seen = before.positions - RATIO**before.lods + 1 if first_positions else before.positions
        scores = lens.run({"context": gathered(before.lods, before.positions), "lods": before.lods[None], "positions": seen[None]})["scores"][0]
        entries = list(zip(before.lods.tolist(), before.positions.tolist()))
        edits = lod.focus_allocate(scores, entries, RATIO, 2, 0.25, 0.25, 9, 6, 120)
        want = lod.focus_apply(entries, edits, RATIO)
        assert list(zip(after.lods.tolist(), after.positions.tolist())) == [entry[:2] for entry in want]
        assert (after.expanded, after.collapsed) == tuple(sum(e == kind for e in edits.values()) for kind in (1, -1))
    np.testing.assert_array_equal(made.context, gathered(made.lods, made.positions)[0])


@pytest.mark.parametrize("first, want", [(True, [0, 16, 20, 24]), (False, [15, 19, 23, 24])])
def test_positions_are_those_of_first_or_last_tokens(first, want, tmp_path, world):
    value = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
    rows = ["batch", "entries"]
    inputs = [value("context", onnx.TensorProto.FLOAT, [*rows, WIDTH]), *(value(name, onnx.TensorProto.INT64, rows) for name in ("lods", "positions"))]
    cast = helper.make_node("Cast", ["positions"], ["scores"], to=onnx.TensorProto.FLOAT)
    graph = helper.make_graph([cast], "g", inputs, [value("scores", onnx.TensorProto.FLOAT, rows)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "positions.onnx")
    megactx.compile(tmp_path / "positions.onnx", tmp_path / "positions.mctx")
    lens = Lens(tmp_path / "positions.mctx", Settings(9, RATIO, width=WIDTH), first)
    lods, positions = np.array([2, 1, 1, 0]), np.array([15, 19, 23, 24])
    assert lens.scores(np.zeros((4, WIDTH), np.float32), lods, positions).tolist() == want


def test_the_start_is_coarse_but_for_recent_tokens(world):
    made = world.focus(rounds=0)
    lods = made.lods.tolist()
    assert lods == [2] * 43 + [0] * 11 and tiles(made.lods, made.positions, RATIO)  # 699 = 43 * 16 + 11, and no whole 4 before the last 9


def test_rounds_end_where_nothing_is_edited(world):
    assert len(world.focus(rounds=50, expand=1.5, collapse=1.5).rounds) == 2


def test_a_timeline_that_grew(world):
    early = world.focus(timeline=world.timeline[:500], rounds=4)
    late = world.focus(start=(early.lods, early.positions), rounds=0, budget=400)
    assert tiles(late.lods, late.positions, RATIO) and late.positions[-1] == TOKENS - 1
    np.testing.assert_array_equal(late.lods[:len(early.lods)], early.lods)


def test_features_with_a_head_score_as_lensnet_does(world, tool, tmp_path):
    script(tmp_path, "--width", WIDTH, "--tokens", 1, "--features")
    megactx.compile(tmp_path / "lensnet.onnx", tmp_path / "lensnet.mctx")
    done = tool("megactx-focus", world.tokens, "--gistnet", world.gistnet, "--lensnet", tmp_path / "lensnet.mctx", "--head", tmp_path / "head.npz",
                "--ratio", RATIO, "--budget", 120, "--recent", 9, "--max-edits", 6, "-o", tmp_path / "c.npz")
    assert done.status == 0, done
    np.testing.assert_array_equal(np.load(tmp_path / "c.npz")["lods"], world.focus().lods)
    with pytest.raises(megactx.Error, match="head: expected a weight"):
        world.focus(lensnet=tmp_path / "lensnet.mctx", head=(np.zeros(WIDTH + 1, np.float32), np.float32(0)))
    with pytest.raises(megactx.Error, match="lensnet: expected one output, scores"):
        world.focus(lensnet=tmp_path / "lensnet.mctx")


def test_the_picture_shows_levels_at_their_tokens(world):
    made = world.focus()
    picture = xml.fromstring(made.svg())
    rects = [r.attrib for r in picture.iter("{http://www.w3.org/2000/svg}rect") if "x" in r.attrib and r.attrib["height"] == "16"]
    rows = sorted({float(r["y"]) for r in rects})[:len(made.rounds)]  # the first panel, all of the timeline
    colors = megactx.focus_picture.COLORS
    finest = np.concatenate([np.full(RATIO**l, l) for l in made.lods.tolist()])  # of each token
    for r in (r for r in rects if float(r["y"]) == rows[-1]):
        first, last = ((float(r["x"]) - 100 + w) / 1000 * TOKENS for w in (0.01, float(r["width"]) - 0.01))
        assert colors[finest[int(first):int(last) + 1].min()] == r["fill"]
    words = [t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"tokens", "gists (4 tokens each)", "gists of gists (16 tokens each)", "start", "round 1", "0"} <= set(words)


# --- exported networks ---


def folders(request, pattern):
    return [f for folder in request.config.getoption("--models") for f in sorted(folder.resolve().glob(pattern)) if (f / "model.onnx").exists()]


def test_exported_gistnets_and_lensnets(request, tmp_path):
    """In the folders of --models: whole-timeline gists are the stored outputs, and each LensNet drives the loop within its budget."""
    gistnets, lensnets = folders(request, "gistnet_*"), folders(request, "lensnet_*")
    if not gistnets or not lensnets:
        pytest.skip("no --models with a gistnet_* and a lensnet_*")
    megactx.use_build(request.config.getoption("--build").resolve())
    for folder in gistnets + lensnets:
        megactx.compile(folder / "model.onnx", tmp_path / f"{folder.name}.mctx")
    artifacts = Artifacts(tmp_path / "cache")
    for folder in gistnets:
        tokens = reference.load_tensors(folder / "test_data_set_0", "input")[0][1]
        for row, timeline in enumerate(tokens):
            pyramid = megactx.Pyramid(tmp_path / f"{folder.name}.mctx", history=len(timeline))
            pyramid.append(timeline)
            for got, (_, want) in zip(pyramid.levels, reference.load_tensors(folder / "test_data_set_0", "output")):
                np.testing.assert_allclose(got, want[row], atol=1e-4)
        timeline = np.random.default_rng(0).standard_normal((20000, tokens.shape[2]), np.float32)
        for lensnet in lensnets:
            made = megactx.focus(timeline, tmp_path / f"{folder.name}.mctx", tmp_path / f"{lensnet.name}.mctx", 1000, expand=0.05, collapse=0.05, artifacts=artifacts)
            assert any(state.expanded for state in made.rounds) or any(state.collapsed for state in made.rounds)
            assert all(tiles(state.lods, state.positions, 32) and len(state.lods) <= 1000 for state in made.rounds)


# --- the command ---


@pytest.fixture
def command(world, tool, tmp_path):
    """command(**changes) runs megactx-focus into tmp_path / "out", a fresh folder; None leaves an option out."""

    def run(**changes):
        (tmp_path / "out").mkdir(exist_ok=True)
        options = dict(timeline=world.tokens, gistnet=world.gistnet, lensnet=world.lensnet, budget=120, ratio=RATIO, recent=9, max_edits=6,
                       output=tmp_path / "out" / "c.npz", svg=tmp_path / "out" / "c.svg", cache=world.folder / "cache")
        options.update(changes)
        timeline = options.pop("timeline")
        named = [f"--{key.replace('_', '-')}={value}" for key, value in options.items() if value is not None]
        return tool("megactx-focus", timeline, *named)

    return run


def test_the_command_writes_what_the_call_gives(command, world, tmp_path):
    done = command(rounds=5)
    assert done.status == 0, done
    assert re.search(r"gists of 699 tokens in .* s: 174 of level 1, 43 of level 2", done.err) and "round 2: " in done.err
    made, got = world.focus(rounds=5), np.load(tmp_path / "out" / "c.npz")
    for name in ("context", "lods", "positions"):
        np.testing.assert_array_equal(got[name], getattr(made, name))
    assert (tmp_path / "out" / "c.svg").read_text() == made.svg()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["c.npz", "c.svg"]
    assert command(start=tmp_path / "out" / "c.npz", budget=130).status == 0


def refuses(done, tmp_path, *words):
    assert done.status == 1, done
    assert done.err.count("error: ") == 1 and "Traceback" not in done.err, done
    assert all(word in done.err for word in words), f"expected {words}\n{done}"
    assert not list((tmp_path / "out").iterdir()), done


def saved(path, array):
    np.save(path, array)
    return path


BAD_TIMELINES = {
    "absent": (lambda path, x: path, "cannot read"),
    "empty": (lambda path, x: path.write_bytes(b"") and path or path, "not a .npy file"),
    "text": (lambda path, x: path.write_text("tokens\n" * 50) and path, "not a .npy file"),
    "cut": (lambda path, x: path.write_bytes(saved(path, x).read_bytes()[:-100]) and path, "bytes for shape"),
    "header cut": (lambda path, x: path.write_bytes(saved(path, x).read_bytes()[:40]) and path, "not a .npy file"),
    "longer": (lambda path, x: path.write_bytes(saved(path, x).read_bytes() + b"more") and path, "bytes for shape"),
    "width": (lambda path, x: saved(path, x[:, :5].copy()), "width 8"),
    "rank": (lambda path, x: saved(path, x[0]), "[tokens, width]"),
    "batch": (lambda path, x: saved(path, np.stack([x, x])), "[tokens, width]"),
    "double": (lambda path, x: saved(path, x.astype(np.float64)), "expected float32, but got float64"),
    "big endian": (lambda path, x: saved(path, x.astype(">f4")), "expected float32"),
    "objects": (lambda path, x: saved(path, np.array([None])), "not a .npy file of numbers"),
    "fortran": (lambda path, x: saved(path, np.asfortranarray(x)), "C order"),
    "no tokens": (lambda path, x: saved(path, x[:0]), "no tokens"),
    "nan": (lambda path, x: saved(path, np.where(np.arange(len(x))[:, None] == 50, np.nan, x).astype(np.float32)), "token 50 is not finite"),
}


@pytest.mark.parametrize("name", BAD_TIMELINES)
def test_bad_timelines(name, command, world, tmp_path):
    make, word = BAD_TIMELINES[name]
    refuses(command(timeline=make(tmp_path / "bad.npy", world.timeline)), tmp_path, word)


@pytest.mark.parametrize("option, value, word", [
    ("budget", 0, "budget of at least 1"), ("budget", -3, "budget of at least 1"), ("budget", 10**20, "budget of at most 2147483647"),
    ("budget", 20, "54 entries, more than the budget of 20"),
    ("budget", "many", "--budget"), ("ratio", 8, "level 1 does not match the ratio"), ("ratio", 5, "does not run on blocks of 25 tokens"), ("ratio", 1, "ratio of at least 2"), ("rounds", -1, "rounds"),
    ("recent", -1, "recent"), ("max_edits", -1, "max-edits"), ("expand", 0, "expand"), ("expand", "nan", "expand"), ("collapse", "inf", "collapse"),
    ("history", 3, "multiple of 16"), ("history", 2**44, "out of memory"), ("threads", -1, "--threads"), ("gistnet", "absent.mctx", "absent.mctx"), ("output", "/nowhere/c.npz", "/nowhere"),
    ("head", "absent.npz", "absent.npz"), ("start", "absent.npz", "absent.npz"), ("colour", "red", "--colour")])
def test_bad_options(option, value, word, command, tmp_path):
    refuses(command(**{option: value}), tmp_path, word)


def test_outputs_that_would_be_lost(command, tmp_path):
    same = tmp_path / "out" / ".." / "out" / "c.npz"
    refuses(command(svg=same), tmp_path, "named for two outputs")
    os.mkfifo(tmp_path / "pipe")
    refuses(command(output=tmp_path / "pipe"), tmp_path, "no regular file")
    assert (tmp_path / "pipe").is_fifo()


def test_a_budget_below_one_entry_of_each_span(command, tmp_path):
    done = command(budget=20, recent=0)
    refuses(done, tmp_path, "entries, more than the budget of 20")
    assert "recent" not in done.err


def test_models_in_each_others_place(command, world, tmp_path):
    refuses(command(gistnet=world.lensnet), tmp_path, "gistnet: expected one input")
    refuses(command(lensnet=world.gistnet), tmp_path, "lensnet: expected the inputs context")


BAD_STARTS = [([2, 3], [15, 79], "a lod outside of 0 to 2"), ([2, -1], [15, 16], "a lod outside"), ([2, 2], [31, 15], "not after the one before"),
              ([2, 2], [15, 15], "not after the one before"), ([2, 1], [15, 703], "past the timeline"), ([2, 2], [15, 47], "do not tile"),
              ([2], [14], "do not tile"), ([[2]], [[15]], "[entries]"), ([2.0], [15.0], "integers"), ([], [], "[entries]")]


@pytest.mark.parametrize("lods, positions, word", BAD_STARTS, ids=str)
def test_bad_starts(lods, positions, word, command, tmp_path):
    np.savez(tmp_path / "s.npz", lods=np.array(lods), positions=np.array(positions), ratio=RATIO)
    refuses(command(start=tmp_path / "s.npz"), tmp_path, word)


def test_a_start_of_another_ratio_or_without_lods(command, tmp_path):
    np.savez(tmp_path / "s.npz", lods=[2], positions=[15], ratio=32)
    refuses(command(start=tmp_path / "s.npz"), tmp_path, "its ratio is 32")
    np.savez(tmp_path / "s.npz", positions=[15], ratio=RATIO)
    refuses(command(start=tmp_path / "s.npz"), tmp_path, "no array 'lods'")
    (tmp_path / "s.npz").write_bytes(b"PK\x03\x04 not much of a zip")
    refuses(command(start=tmp_path / "s.npz"), tmp_path, "s.npz")


def changed(world, name, output, *nodes):
    """The artifact of a model whose output `output` comes from more nodes, of what it was, `raw`."""
    model = onnx.load(world.folder / f"{name}.onnx")
    for n in model.graph.node:
        n.output[:] = ["raw" if o == output else o for o in n.output]
        n.input[:] = ["raw" if i == output else i for i in n.input]
    model.graph.node.extend(nodes)
    onnx.save(model, world.folder / "changed.onnx")
    megactx.compile(world.folder / "changed.onnx", world.folder / "changed.mctx")
    return world.folder / "changed.mctx"


def test_scores_that_are_nan(command, world, tmp_path):
    artifact = changed(world, "lensnet", "scores", helper.make_node("Sqrt", ["raw"], ["scores"]))
    refuses(command(lensnet=artifact), tmp_path, "NaN is the score of entry 0 (lod 2, position 15)")


def test_gists_that_are_not_finite(command, world, tmp_path):
    artifact = changed(world, "gistnet", "level2", helper.make_node("Log", ["raw"], ["level2"]))
    refuses(command(gistnet=artifact), tmp_path, "the level-2 gist of tokens 0 to 15 is not finite")


def test_gists_that_know_later_tokens(command, world, tmp_path):
    mean = helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[1])
    artifact = changed(world, "gistnet", "level1", mean, helper.make_node("Sub", ["raw", "mean"], ["level1"]))
    refuses(command(gistnet=artifact), tmp_path, "a gist of level 1 depends on tokens that come after its own")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_half_way_it_leaves_nothing(how, world, request, tmp_path):
    tokens = tmp_path / "long.npy"
    np.save(tokens, np.tile(world.timeline, (3000, 1)))
    out = tmp_path / "out"
    out.mkdir()
    command = [request.config.getoption("--build").resolve() / "bin" / "megactx-focus", tokens, "--gistnet", world.gistnet, "--lensnet", world.lensnet,
               "--ratio", RATIO, "--budget", 200000, "-o", out / "c.npz", "--svg", out / "c.svg"]
    process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
    assert "gists of" in process.stderr.readline()
    process.send_signal(how)
    process.stderr.read()
    assert process.wait() != 0 and not list(out.iterdir())


def test_files_appear_together_and_whole(tmp_path):
    (tmp_path / "a").write_text("old")

    def half(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(megactx.Error, match="cannot write '.*b': No space left on device"):
        files.write_all({tmp_path / "a": lambda file: file.write(b"new"), tmp_path / "b": half})
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    files.write_all({tmp_path / "a": lambda file: file.write(b"new")})
    assert (tmp_path / "a").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_memory_is_that_of_the_gists(world, request, tmp_path):
    """Half a gigabyte of tokens: the peak without pages of the file grows by less than a fourth of it."""
    code = "import sys, numpy as np; f = np.lib.format.open_memmap(sys.argv[1], 'w+', np.float32, (8_000_000, 16)); f[:] = 0.5"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "long.npy")], check=True)
    wide = World(tmp_path / "wide", request.config.getoption("--build").resolve(), ratio=32, width=16, tokens=2000)
    measure = """import resource, sys, megactx
megactx.use_build(sys.argv[1])
run = lambda path: megactx.focus(path, sys.argv[2], sys.argv[3], 10000, rounds=2)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(sys.argv[4]); small = peak(); run(sys.argv[5]); print((peak() - small) * 1024)"""
    arguments = [request.config.getoption("--build").resolve(), wide.gistnet, wide.lensnet, wide.tokens, tmp_path / "long.npy"]
    done = subprocess.run([sys.executable, "-c", measure, *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 128e6, done.stdout
