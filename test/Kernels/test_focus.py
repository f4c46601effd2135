"""Focus ops, compiled, against lod.py: a thousand timelines as the batch, edited round after round, and values that are wrong at run time."""

import numpy as np
import pytest

import lod

RATIO, TOP, BUDGET, RECENT, MAX_EDITS, EXPAND, COLLAPSE = 3, 3, 48, 4, 5, 0.25, 0.5
INTS, ROWS = "tensor<?x?xi64>", "tensor<?x?x2xf32>"
LEVELS = f"levels({', '.join(f'%x{l}' for l in range(TOP + 1))})"


@pytest.fixture(params=["cpu", "gpu"])
def program(request, program):
    """On the CPU, and as a GPU would run it."""
    return program if request.param == "cpu" else request.getfixturevalue("gpu_program")


def module(result):
    """main(scores, context, lods, positions, edits, lengths, levels...); result is `edits` (of the scores) or `applied`."""
    arguments = f"%s: tensor<?x?xf32>, %c: {ROWS}, %l: {INTS}, %p: {INTS}, %e: {INTS}, %k: tensor<?xi64>"
    arguments += "".join(f", %x{l}: {ROWS}" for l in range(TOP + 1))
    text = f"func.func @main({arguments}) -> "
    n = "  %n = arith.index_cast %k : tensor<?xi64> to tensor<?xindex>\n"
    if result == "edits":
        return text + f"""{INTS} {{
{n}  %r = megactx.focus_allocate %s, %l, %p lengths(%n) {{ratio = {RATIO}, top = {TOP}, expand_threshold = {EXPAND} : f32,
      collapse_threshold = {COLLAPSE} : f32, recent = {RECENT}, max_edits = {MAX_EDITS}, budget = {BUDGET}}}
      : (tensor<?x?xf32>, {INTS}, {INTS}, tensor<?xindex>) -> {INTS}
  return %r : {INTS}
}}
"""
    new = f"tensor<?x{BUDGET}x2xf32>, tensor<?x{BUDGET}xi64>, tensor<?x{BUDGET}xi64>"
    return text + f"""({new}, tensor<?xi64>) {{
{n}  %r:4 = megactx.focus_apply %c, %l, %p, %e {LEVELS} lengths(%n) {{ratio = {RATIO}, budget = {BUDGET}}}
      : ({ROWS}, {INTS}, {INTS}, {INTS}{f', {ROWS}' * (TOP + 1)}, tensor<?xindex>) -> ({new}, tensor<?xindex>)
  %m = arith.index_cast %r#3 : tensor<?xindex> to tensor<?xi64>
  return %r#0, %r#1, %r#2, %m : {new}, tensor<?xi64>
}}
"""


def timeline(random):
    """Random entries that tile the timeline from some block of the top level on, at most BUDGET."""
    entries, start = [], int(random.integers(3)) * RATIO**TOP
    chance = random.random()

    def split(level, last):
        if level and random.random() < chance:
            for child in lod.children((level, last), RATIO):
                split(*child)
        else:
            entries.append((level, last))

    for level in [TOP] * int(random.integers(5)) + sorted(random.integers(0, TOP, random.integers(4)).tolist(), reverse=True):
        start += RATIO**level
        split(level, start - 1)
    return entries[:BUDGET]


def draw_levels(random, batch):
    tokens = 12 * RATIO**TOP
    return [random.standard_normal((batch, tokens // RATIO**l, 2)).astype(np.float32) for l in range(TOP + 1)]


def draw_scores(random, shape):
    """Ties, exact thresholds, infinities and NaN among them."""
    scores = random.choice(np.array([0.25, -0.5, 0.75, -0.75, 1, -1, 0, -0.0, np.inf, -np.inf, np.nan, 0.2499, -0.4999]), shape)
    return np.where(random.random(shape) < 0.5, scores, random.uniform(-1, 1, shape)).astype(np.float32)


def packed(rows):
    """Lists of entries as arrays [B, BUDGET] and lengths; what is no entry is poisoned."""
    lods, positions = np.full((len(rows), BUDGET), 77), np.full((len(rows), BUDGET), -5)
    for b, entries in enumerate(rows):
        for w, entry in enumerate(entries):
            lods[b, w], positions[b, w] = entry[:2]
    return lods, positions, np.array([len(entries) for entries in rows], dtype=np.int64)


def tiles(entries):
    return all(p % RATIO**l == RATIO**l - 1 and (w == 0 or p - RATIO**l == entries[w - 1][1]) for w, (l, p) in enumerate(entries))


def unpacked(lods, positions, lengths):
    return [list(zip(lods[b, :n].tolist(), positions[b, :n].tolist())) for b, n in enumerate(lengths)]


def gathered(rows, levels):
    lods, positions, lengths = packed(rows)
    return lod.lod_gather(lods, positions, levels, lengths, RATIO).astype(np.float32)


class Focus:
    def __init__(self, program):
        self.run_edits, self.run_applied = program(module("edits")), program(module("applied"))

    def allocate(self, scores, rows):
        lods, positions, lengths = packed(rows)
        levels = [np.zeros((len(rows), 0, 2), np.float32)] * (TOP + 1)
        context = np.zeros((*lods.shape, 2), np.float32)
        return self.run_edits([scores, context, lods, positions, np.zeros_like(lods), lengths, *levels])[0]

    def apply(self, context, rows, edits, levels):
        lods, positions, lengths = packed(rows)
        return self.run_applied([np.zeros(lods.shape, np.float32), context, lods, positions, edits, lengths, *levels])


@pytest.fixture
def focus(program):
    return Focus(program)


def test_a_thousand_timelines(focus):
    random = np.random.default_rng()
    rows = [timeline(random) for _ in range(1000)]
    levels = draw_levels(random, len(rows))
    context = gathered(rows, levels)
    kinds = set()
    for _ in range(4):
        assert all(tiles(entries) for entries in rows)
        scores = draw_scores(random, (len(rows), BUDGET))
        edits = focus.allocate(scores, rows)
        want = np.zeros_like(edits)
        for b, entries in enumerate(rows):
            for w, edit in lod.focus_allocate(scores[b], entries, RATIO, TOP, EXPAND, COLLAPSE, RECENT, MAX_EDITS, BUDGET).items():
                want[b, w] = edit
        np.testing.assert_array_equal(edits, want)
        kinds |= set(edits.ravel().tolist())

        new_context, lods, positions, lengths = focus.apply(context, rows, edits, levels)
        new_rows = unpacked(lods, positions, lengths)
        for b, entries in enumerate(rows):
            made = lod.focus_apply(entries, {w: e for w, e in enumerate(edits[b]) if e}, RATIO)
            assert new_rows[b] == [entry[:2] for entry in made]
            assert tiles(new_rows[b]) and len(new_rows[b]) <= BUDGET
            span = lambda line: (line[0][1] - RATIO ** line[0][0], line[-1][1]) if line else None
            assert span(new_rows[b]) == span(entries)
        past = np.arange(BUDGET) >= lengths[:, None]
        assert (lods[past] == -1).all() and (positions[past] == -1).all() and not new_context[past].any()
        np.testing.assert_array_equal(new_context, gathered(new_rows, levels))

        # The opposite edits lead back.
        back = np.zeros_like(edits)
        for b, entries in enumerate(rows):
            slot = w = 0
            while w < len(entries):
                back[b, slot] = -edits[b, w]
                slot += RATIO if edits[b, w] == 1 else 1
                w += RATIO if edits[b, w] == -1 else 1
        old = focus.apply(new_context, new_rows, back, levels)
        assert unpacked(*old[1:]) == rows
        np.testing.assert_array_equal(old[0], context)
        rows, context = new_rows, new_context
    assert kinds == {-1, 0, 1}


def test_entries_without_an_edit_keep_their_row(focus):
    rows, levels = [[(2, 8), (0, 9)]], draw_levels(np.random.default_rng(), 1)
    context = np.random.default_rng().standard_normal((1, BUDGET, 2)).astype(np.float32)
    edits = np.zeros((1, BUDGET), np.int64)
    edits[0, 0] = 1
    new, *_ = focus.apply(context, rows, edits, levels)
    np.testing.assert_array_equal(new[0, :3], levels[1][0, :3])
    np.testing.assert_array_equal(new[0, 3], context[0, 1])


def test_nan_makes_no_edit(focus):
    assert not focus.allocate(np.full((1, BUDGET), np.nan, np.float32), [[(1, 2), (1, 5), (1, 8), (0, 9)] + [(0, p) for p in range(10, 18)]]).any()


UNTILED = [[(4, 80)], [(-1, 0)], [(2**40, 80)], [(1, 5), (1, 2)], [(1, 2), (1, 8)], [(1, 3)], [(0, 0), (0, 0)], [(1, -1)], [(0, -2**63)], [(2, 2)], [(0, 2), (1, 5), (1, 5)]]


@pytest.mark.parametrize("entries", UNTILED, ids=str)
def test_entries_that_do_not_tile(entries, focus):
    rows = [[(0, 4)], entries]
    text = "the entries' lods and positions do not tile the timeline"
    with pytest.raises(AssertionError, match="megactx.focus_allocate: " + text):
        focus.allocate(np.zeros((2, BUDGET), np.float32), rows)
    with pytest.raises(AssertionError, match="megactx.focus_apply: " + text):
        focus.apply(np.zeros((2, BUDGET, 2), np.float32), rows, np.zeros((2, BUDGET), np.int64), draw_levels(np.random.default_rng(), 2))


def apply_one(focus, entries, edits, levels=None):
    codes = np.zeros((1, BUDGET), np.int64)
    codes[0, :len(edits)] = edits
    return focus.apply(np.zeros((1, BUDGET, 2), np.float32), [entries], codes, levels or draw_levels(np.random.default_rng(), 1))


TRIPLE = [(1, 2), (1, 5), (1, 8)]


@pytest.mark.parametrize("entries, edits", [
    ([(0, 0)], [1]), ([(3, 26), (3, 53), (3, 80)], [-1]), (TRIPLE, [0, -1]), (TRIPLE, [-1, 1]), (TRIPLE, [-1, 0, -1]), (TRIPLE, [2]),
    (TRIPLE[:2], [-1]), ([(1, 5), (1, 8), (1, 11)], [-1]), ([(1, 2), (0, 3), (0, 4), (0, 5), (1, 8)], [-1])], ids=str)
def test_edits_that_entries_cannot_make(entries, edits, focus):
    with pytest.raises(AssertionError, match="megactx.focus_apply: an edit is not one that its entry can make"):
        apply_one(focus, entries, edits)


def test_more_entries_than_the_budget(focus):
    entries = [(1, 3 * w + 2) for w in range(BUDGET - 1)]
    with pytest.raises(AssertionError, match="megactx.focus_apply: the edits make more entries than the budget"):
        apply_one(focus, entries, [1])
    assert apply_one(focus, entries[1:], [1])[3] == BUDGET


def test_levels_that_lack_a_row(focus):
    levels = draw_levels(np.random.default_rng(), 1)
    levels[2] = levels[2][:, :0]
    with pytest.raises(AssertionError, match="megactx.focus_apply: an entry has a lod that is no level's or a position past the level's rows"):
        apply_one(focus, TRIPLE, [-1], levels)
    assert apply_one(focus, [(2, 8)], [0], levels)[3] == 1
