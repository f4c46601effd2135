"""A timeline over the rounds of the focus loop, as SVG: which spans are tokens, gists, gists of gists.

Tokens run to the right, rounds down. A long timeline has more tokens than the picture has columns: a
column takes the colour of the finest entry that touches it, so that an island of tokens is seen in any
ocean of gists. Two more panels magnify where the edits were, and the newest tokens.
"""

import numpy as np

WIDTH, LEFT, RIGHT, ROW, GAP = 1000, 100, 230, 16, 3  # pixels
CELL = 2  # pixels per column
COLORS = ["#c2410c", "#5b93c7", "#dbe4ee", "#f1ece0", "#e3e3e3"]  # tokens, gists, gists of gists, ...
SPANS = 8  # of the highest level, in a magnified panel


def name_of(lod, ratio):
    """How the legend calls a level."""
    if lod == 0:
        return "tokens"
    name = ["gists", "gists of gists"][lod - 1] if lod < 3 else f"gists of level {lod}"
    return f"{name} ({ratio**lod:,} tokens each)"


def color_of(lod):
    return COLORS[min(lod, len(COLORS) - 1)]


def columns(state, ratio, first, last, count):
    """Per column of tokens first .. last - 1 the finest lod that touches it, -1 where nothing does."""
    finest = np.full(count, np.iinfo(np.int64).max)
    ends = state.positions + 1
    starts = ends - ratio**state.lods
    for lod in np.unique(state.lods):
        here = (state.lods == lod) & (ends > first) & (starts < last)
        scale = count / (last - first)
        left = np.clip(np.floor((starts[here] - first) * scale).astype(np.int64), 0, count - 1)
        right = np.clip(np.ceil((ends[here] - first) * scale).astype(np.int64), 1, count)
        edges = np.zeros(count + 1, np.int64)
        np.add.at(edges, left, 1)
        np.add.at(edges, right, -1)
        covered = np.cumsum(edges)[:count] > 0
        finest[covered] = np.minimum(finest[covered], lod)
    finest[finest == np.iinfo(np.int64).max] = -1
    return finest


def runs(values):
    """[(first, last + 1, value)] of equal neighbours."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(a, b, int(values[a])) for a, b in zip(cuts, cuts[1:])]


def ticks(first, last):
    """Up to ten round numbers of tokens, powers of two as spans are."""
    step = 1
    while (last - first) / step > 10:
        step *= 2
    return [t for t in range(-(-first // step) * step, last + 1, step)]


def text(x, y, content, anchor="start", size=12, **more):
    extra = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{extra}>{content}</text>'


def panel(rounds, ratio, first, last, top, title, marks=None):
    """SVG elements of the rounds over tokens first .. last - 1, and the y below them. marks: {letter: token} above the rows; where
    they are given, each row ends with its entries and edits."""
    out, count = [text(LEFT, top, title, size=13, font_weight="bold")], WIDTH // CELL
    y = top + 8
    scale = WIDTH / (last - first)
    if marks is not None:
        y += 14 if marks else 0
        out += [text(LEFT + (token - first) * scale, y - 4, letter, "middle", font_weight="bold") for letter, token in marks.items()]
        out.append(text(LEFT + WIDTH + 104, top, "expanded, collapsed", size=11, fill="#555"))
    for number, state in enumerate(rounds):
        label = "start" if number == 0 else f"round {number}"
        out.append(text(LEFT - 8, y + ROW - 4, label, "end", 11))
        for a, b, lod in runs(columns(state, ratio, first, last, count)):
            if lod >= 0:
                out.append(f'<rect x="{LEFT + a * CELL}" y="{y}" width="{(b - a) * CELL}" height="{ROW}" fill="{color_of(lod)}"/>')
        out += separators(state, ratio, first, last, scale, y)
        if marks is not None:
            edits = f"+{state.expanded} −{state.collapsed}" if number else ""
            out.append(text(LEFT + WIDTH + 8, y + ROW - 4, f"{len(state.lods):,} entries", size=11))
            out.append(text(LEFT + WIDTH + 104, y + ROW - 4, edits, size=11, fill="#555"))
        y += ROW + GAP
    for tick in ticks(first, last):
        x = LEFT + (tick - first) * scale
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 5}" stroke="#333"/>')
        out.append(text(x, y + 17, f"{tick:,}", "middle", 11))
    out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="#333"/>')
    out.append(text(LEFT - 34, y + 17, "tokens", "end", 11))
    return out, y + 48


def separators(state, ratio, first, last, scale, y):
    """Thin lines between entries that are wide enough to be told apart."""
    ends = state.positions + 1
    wide = (ratio**state.lods * scale >= 5) & (ends > first) & (ends < last)
    path = "".join(f"M{LEFT + int((end - first) * scale)}.5 {y}v{ROW}" for end in ends[wide].tolist())
    return [f'<path d="{path}" stroke="white"/>'] if path else []


def busiest(rounds, ratio, span, total):
    """The first token of the `span` tokens with the most entries that came in a round; None where none did."""
    came = []
    for before, after in zip(rounds, rounds[1:]):
        old = set(zip(before.lods.tolist(), before.positions.tolist()))
        came += [p for l, p in zip(after.lods.tolist(), after.positions.tolist()) if (l, p) not in old]
    if not came:
        return None
    step = max(1, span // 2)
    counts = np.bincount(np.array(came) // step)
    pairs = counts + np.append(counts[1:], 0)
    return min(int(pairs.argmax()) * step, max(0, total - span))


def svg(rounds, ratio):
    """rounds: states with lods, positions, expanded and collapsed; the first is the start."""
    lods = np.unique(np.concatenate([state.lods for state in rounds])).tolist()
    first, total = int(rounds[0].positions[0] + 1 - ratio ** rounds[0].lods[0]), int(rounds[0].positions[-1]) + 1
    out, y = legend(lods, ratio), 60
    span = SPANS * ratio ** max(1, lods[-1])
    details = []
    if total - first > 2 * span:
        at = busiest(rounds, ratio, span, total)
        if at is not None and at < total - span:
            details.append((at, at + span, "where most edits were"))
        details.append((total - span, total, "the newest tokens"))
    marks = {letter: (a + b) / 2 for letter, (a, b, _) in zip("AB", details)}
    elements, y = panel(rounds, ratio, first, total, y, f"The timeline, {total - first:,} tokens", marks)
    out += elements
    for letter, (a, b, title) in zip("AB", details):
        elements, y = panel(rounds, ratio, a, b, y, f"{letter}: {title}, {b - a:,} tokens")
        out += elements
    size = f'width="{LEFT + WIDTH + RIGHT}" height="{y}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" shape-rendering="crispEdges">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *out, "</svg>"]) + "\n"


def legend(lods, ratio):
    """Colours of the levels."""
    out, x = [], LEFT
    for lod in lods:
        name = name_of(lod, ratio)
        out.append(f'<rect x="{x}" y="14" width="14" height="14" fill="{color_of(lod)}" stroke="#888" stroke-width="0.5"/>')
        out.append(text(x + 20, 26, name))
        x += 48 + 7 * len(name)
    return out
