"""The focus loop: a working context of tokens and gists, edited where LensNet's scores ask for it.

One round is: LensNet scores the entries; megactx.focus_allocate chooses edits; megactx.focus_apply makes
them. These ops, megactx.lod_gather for the first context and megactx.lens_score for a LensNet without a
scoring head, are compiled; here is what joins them.
"""

import contextlib
import dataclasses

import numpy as np

from . import files, focus_picture
from .artifacts import Artifacts
from .pyramid import Pyramid, same_model
from .runtime import load
from .timeline import Timeline
from .tools import Error


MOST = 2**31 - 1  # of what counts entries


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of megactx.focus_allocate, in entries, except where it says otherwise."""

    budget: int
    ratio: int = 32
    top: int = 2
    width: int = 1
    recent: int = 128
    max_edits: int = 32
    expand: float = 0.25  # scores
    collapse: float = 0.25

    def check(self):
        for name, least in (("budget", 1), ("ratio", 2), ("recent", 0), ("max_edits", 0)):
            if not least <= getattr(self, name) <= MOST:
                bound = f"least {least}" if getattr(self, name) < least else f"most {MOST}"
                raise Error(f"expected a {name.replace('_', '-')} of at {bound}, but got {getattr(self, name)}")
        for name in ("expand", "collapse"):
            if not 0 < np.float32(getattr(self, name)) < np.inf:
                raise Error(f"expected a threshold {name} that is positive and finite, but got {getattr(self, name)}")


@dataclasses.dataclass
class Round:
    """The entries after a round's edits."""

    lods: np.ndarray
    positions: np.ndarray
    expanded: int = 0
    collapsed: int = 0


@dataclasses.dataclass
class Focus:
    """A working context: rows [W, E], lods and positions [W] (of an entry's last token); rounds[0] is the start."""

    context: np.ndarray
    lods: np.ndarray
    positions: np.ndarray
    ratio: int
    rounds: list

    def svg(self):
        """The timeline over the rounds, as text."""
        return focus_picture.svg(self.rounds, self.ratio)

    def save(self, path, picture=None):
        """Writes a .npz with context, lods, positions and ratio, and the picture as SVG; all of it or nothing."""
        arrays = dict(context=self.context, lods=self.lods, positions=self.positions, ratio=np.int64(self.ratio))
        writers = {path: lambda file: np.savez(file, **arrays)}
        if picture is not None:
            writers[picture] = lambda file: file.write(self.svg().encode())
        files.write_all(writers)


# --- the compiled ops ---


def _types(settings):
    rows, entries = f"tensor<1x?x{settings.width}xf32>", "tensor<1x?xi64>"
    levels = range(settings.top + 1)
    return rows, entries, ", ".join(f"%x{l}: {rows}" for l in levels), ", ".join(f"%x{l}" for l in levels), f", {rows}" * len(levels)


def gather_module(settings):
    """main(lods, positions, levels...) -> context"""
    rows, entries, arguments, levels, types = _types(settings)
    return f"""func.func @main(%l: {entries}, %p: {entries}, {arguments}) -> {rows} {{
  %c = megactx.lod_gather %l, %p levels({levels}) {{ratio = {settings.ratio}}} : ({entries}, {entries}{types}) -> {rows}
  return %c : {rows}
}}
"""


def round_module(settings):
    """main(scores, context, lods, positions, levels...) -> edits, context, lods, positions, length"""
    rows, entries, arguments, levels, types = _types(settings)
    b = settings.budget
    new = f"tensor<1x{b}x{settings.width}xf32>, tensor<1x{b}xi64>, tensor<1x{b}xi64>"
    return f"""func.func @main(%s: tensor<1x?xf32>, %c: {rows}, %l: {entries}, %p: {entries}, {arguments}) -> ({entries}, {new}, tensor<1xi64>) {{
  %e = megactx.focus_allocate %s, %l, %p
      {{ratio = {settings.ratio}, top = {settings.top}, expand_threshold = {settings.expand:.9e} : f32, collapse_threshold = {settings.collapse:.9e} : f32,
        recent = {settings.recent}, max_edits = {settings.max_edits}, budget = {b}}}
      : (tensor<1x?xf32>, {entries}, {entries}) -> {entries}
  %r:4 = megactx.focus_apply %c, %l, %p, %e levels({levels}) {{ratio = {settings.ratio}, budget = {b}}}
      : ({rows}, {entries}, {entries}, {entries}{types}) -> ({new}, tensor<1xindex>)
  %n = arith.index_cast %r#3 : tensor<1xindex> to tensor<1xi64>
  return %e, %r#0, %r#1, %r#2, %n : {entries}, {new}, tensor<1xi64>
}}
"""


def head_module(settings, features):
    """main(features, weight, bias, lods) -> scores"""
    return f"""func.func @main(%f: tensor<1x?x{features}xf32>, %w: tensor<{features}xf32>, %b: tensor<f32>, %l: tensor<1x?xi64>) -> tensor<1x?xf32> {{
  %s = megactx.lens_score %f, %w bias(%b) lods(%l) {{top = {settings.top}}}
      : (tensor<1x?x{features}xf32>, tensor<{features}xf32>, tensor<f32>, tensor<1x?xi64>) -> tensor<1x?xf32>
  return %s : tensor<1x?xf32>
}}
"""


# --- LensNet ---


class Lens:
    """LensNet: a compiled model from a context [B, W, E], lods [B, W] and positions [B, W] to scores [B, W], or to features
    [B, W, F], which `head` (weight [F] and bias, a scalar) makes scores of.

    first: positions are those of an entry's first token; otherwise of its last, as everywhere else.
    """

    def __init__(self, lensnet, settings, first=True, head=None):
        self.model, self.settings, self.first = same_model(lensnet), settings, first
        inputs, outputs = self.model.manifest["inputs"], self.model.manifest["outputs"]
        forms = [(i["dtype"], len(i["shape"])) for i in inputs]
        if len(forms) != 3 or forms[0] != ("float", 3) or any(form not in (("int64", 2), ("int32", 2)) for form in forms[1:]):
            raise Error("lensnet: expected the inputs context [batch, entries, width] of float, lods and positions [batch, entries] of int64 "
                        "or int32, but it has " + ", ".join(f"{i['name']} {i['shape']} of {i['dtype']}" for i in inputs))
        width, sizes = inputs[0]["shape"][2], [i["shape"][1] for i in inputs]
        if isinstance(width, int) and width != settings.width:
            raise Error(f"lensnet: its entries have width {width}, but GistNet's have {settings.width}")
        if any(isinstance(size, int) for size in sizes):
            raise Error("lensnet: expected a dynamic number of entries, but got " + ", ".join(map(str, sizes)))
        shape = outputs[0]["shape"]
        if len(outputs) != 1 or outputs[0]["dtype"] != "float" or len(shape) != (2 if head is None else 3):
            want = "scores [batch, entries]" if head is None else "features [batch, entries, size] for the head"
            raise Error(f"lensnet: expected one output, {want}, of float, but it has "
                        + ", ".join(f"{o['name']} {o['shape']} of {o['dtype']}" for o in outputs))
        self.dtypes = [np.dtype(dtype) for dtype, _ in forms[1:]]
        self.head = head and self._checked_head(head, shape[2])

    @staticmethod
    def _checked_head(head, features):
        weight, bias = (np.asarray(part, np.float32) for part in head)
        if weight.ndim != 1 or bias.size != 1 or isinstance(features, int) and len(weight) != features:
            raise Error(f"head: expected a weight [{features}] and one bias, but got shapes {list(weight.shape)} and {list(bias.shape)}")
        return weight, bias.reshape(())

    def compile_head(self, artifacts):
        if self.head:
            self.head_model = load(artifacts.of_module(head_module(self.settings, len(self.head[0]))))

    def scores(self, context, lods, positions):
        """[W, E], [W], [W] -> [W]"""
        seen = positions - self.settings.ratio**lods + 1 if self.first else positions
        inputs = [context[None], lods[None].astype(self.dtypes[0]), seen[None].astype(self.dtypes[1])]
        scores, = self.model.run(dict(zip(self.model.inputs, inputs))).values()
        if scores.shape[:2] != (1, len(lods)):
            raise Error(f"lensnet: expected an output for each of {len(lods)} entries, but got shape {list(scores.shape)}")
        if self.head:
            inputs = [scores, *self.head, lods[None]]
            scores, = self.head_model.run(dict(zip(self.head_model.inputs, inputs))).values()
        bad = np.flatnonzero(np.isnan(scores[0]))
        if len(bad):
            raise Error(f"lensnet: NaN is the score of entry {bad[0]} (lod {lods[bad[0]]}, position {positions[bad[0]]}) and of {len(bad)} in all")
        return scores[0]


# --- the loop ---


def coarsest(first, tokens, settings):
    """lods and positions of the fewest entries for tokens first .. tokens - 1 whose newest `recent` are tokens."""
    detailed = max(first, tokens - settings.recent)
    lods, positions = [], []
    while first < tokens:
        fits = lambda l: first % settings.ratio**l == 0 and first + settings.ratio**l <= detailed
        lod = max((l for l in range(1, settings.top + 1) if fits(l)), default=0)
        first += settings.ratio**lod
        lods.append(lod)
        positions.append(first - 1)
    return np.array(lods, np.int64), np.array(positions, np.int64)


def checked_start(lods, positions, tokens, settings):
    """A given start, to its last token or an error that names the entry."""
    lods, positions = np.asarray(lods), np.asarray(positions)
    for name, array in (("lods", lods), ("positions", positions)):
        if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) != len(lods) or not len(array):
            raise Error(f"start: expected lods and positions [entries] of integers, but {name} are {list(array.shape)} of {array.dtype}")
    lods, positions = lods.astype(np.int64), positions.astype(np.int64)
    before = np.concatenate([[-1], positions[:-1]])
    for wrong, say in (((lods < 0) | (lods > settings.top), f"a lod outside of 0 to {settings.top}"),
                       (positions <= before, "a position that is not after the one before"),
                       (positions >= tokens, f"a position past the timeline's {tokens} tokens")):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise Error(f"start: entry {at} (lod {lods[at]}, position {positions[at]}) has {say}")
    return lods, positions


def start_entries(start, tokens, settings):
    """Where the loop begins: the coarsest context, or a given one with the tokens behind it."""
    lods, positions = (np.empty(0, np.int64),) * 2
    if start is not None:
        lods, positions = checked_start(*start, tokens, settings)
    newer = coarsest(int(positions[-1]) + 1 if len(positions) else 0, tokens, settings)
    lods, positions = np.concatenate([lods, newer[0]]), np.concatenate([positions, newer[1]])
    if len(lods) > settings.budget:
        raise Error(f"the first working context has {len(lods)} entries, more than the budget of {settings.budget}"
                    + (f"; fewer than {settings.recent} recent tokens may fit" if start is None and settings.recent else ""))
    return lods, positions


def focus(timeline, gistnet, lensnet, budget, *, ratio=32, rounds=8, recent=128, max_edits=32, expand=0.25, collapse=0.25, history=0,
          first_positions=True, head=None, start=None, artifacts=None, progress=lambda line: None):
    """Gives a long timeline's working context after some rounds of lens, allocate, apply.

    timeline: token embeddings [N, E] of float32, an array or a .npy file; gistnet, lensnet: Models or paths of artifacts (see Pyramid
    and Lens for what they take and give); budget: the most entries that the context may have; rounds end early where one makes no edit.
    recent: the newest entries that are not edited, tokens at the start; max_edits: per round; expand, collapse: thresholds of |score|;
    history: see Pyramid; head, first_positions: see Lens; start: (lods, positions) of an earlier context, whose timeline may
    have grown since; artifacts: where compiled ops are kept; progress: takes lines of text. Raises Error. Gives a Focus.
    """
    settings = Settings(budget, ratio, recent=recent, max_edits=max_edits, expand=expand, collapse=collapse)
    settings.check()
    if rounds < 0:
        raise Error(f"expected at least 0 rounds, but got {rounds}")
    timeline = timeline if isinstance(timeline, Timeline) else Timeline(timeline)
    gists = Pyramid(gistnet, ratio, history)
    settings = dataclasses.replace(settings, top=gists.top, width=gists.width)
    lens = Lens(lensnet, settings, first_positions, head)
    lods, positions = start_entries(start, len(timeline), settings)
    gists.extend(timeline, progress)
    levels = [rows[None] for rows in [timeline.rows, *gists.levels]]
    with contextlib.nullcontext(artifacts) if artifacts else Artifacts() as artifacts:
        lens.compile_head(artifacts)
        gather, edit = (load(artifacts.of_module(module(settings))) for module in (gather_module, round_module))
        return _loop(lens, gather, edit, levels, lods, positions, rounds, settings, progress)


def _loop(lens, gather, edit, levels, lods, positions, rounds, settings, progress):
    call = lambda model, *inputs: [out[0] for out in model.run(dict(zip(model.inputs, inputs))).values()]
    context, = call(gather, lods[None], positions[None], *levels)
    done = [Round(lods, positions)]
    progress(_line("start", done[-1], settings))
    for number in range(1, rounds + 1):
        scores = lens.scores(context, lods, positions)
        edits, context, lods, positions, length = call(edit, scores[None], context[None], lods[None], positions[None], *levels)
        context, lods, positions = (array[:length] for array in (context, lods, positions))
        done.append(Round(lods, positions, int((edits > 0).sum()), int((edits < 0).sum())))
        progress(_line(f"round {number}", done[-1], settings))
        if not edits.any():
            break
    return Focus(context, lods, positions, settings.ratio, done)


def _line(name, state, settings):
    counts = ", ".join(f"{np.count_nonzero(state.lods == l):,} of lod {l}" for l in range(settings.top + 1))
    edits = f"{state.expanded} expanded, {state.collapsed} collapsed, " if name != "start" else ""
    return f"{name}: {edits}{len(state.lods):,} of {settings.budget:,} entries ({counts})"
