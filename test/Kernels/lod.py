"""Level-of-detail ops by definition, entry by entry, in float64."""

import numpy as np


def gist_pool(x, ratio, kind, weight=None):
    """[B, n, D] -> [B, n // ratio, D]."""
    out = np.zeros((x.shape[0], x.shape[1] // ratio, x.shape[2]))
    for b, j in np.ndindex(out.shape[:2]):
        block = x[b, j * ratio:(j + 1) * ratio].astype(np.float64)
        if kind == "mean":
            out[b, j] = block.sum(0) / ratio
        elif kind == "cls":
            out[b, j] = block[0]
        else:
            scores = block @ weight.astype(np.float64)
            shares = np.exp(scores - scores.max())
            out[b, j] = shares @ block / shares.sum()
    return out


def gaussian_rope(positions, lods, ratio, dim, base):
    """[B, W] -> cos, sin [B, W, dim / 2]."""
    frequency = base ** (-2 * np.arange(dim // 2) / dim)
    spread = np.maximum(1, float(ratio) ** lods)[..., None] * frequency
    angle = positions[..., None].astype(np.float64) * frequency
    fade = np.exp(-0.5 * spread**2)
    return np.cos(angle) * fade, np.sin(angle) * fade


def lod_gather(lods, positions, levels, lengths, ratio):
    out = np.zeros((*lods.shape, levels[0].shape[2]))
    for b, w in np.ndindex(lods.shape):
        if w < lengths[b]:
            out[b, w] = levels[lods[b, w]][b, positions[b, w] // ratio ** lods[b, w]]
    return out


def lens_score(features, weight, bias, lods, top):
    score = np.tanh(features.astype(np.float64) @ weight.astype(np.float64) + bias)
    for at in np.ndindex(lods.shape):
        if lods[at] <= 0 and score[at] > 0 or lods[at] >= top and score[at] < 0:
            score[at] = 0
    return score


def children(entry, ratio):
    lod, position = entry
    return [(lod - 1, position - ratio**lod + (i + 1) * ratio ** (lod - 1)) for i in range(ratio)]


def parent(entry, ratio):
    span = ratio ** (entry[0] + 1)
    return entry[0] + 1, entry[1] // span * span + span - 1


def focus_allocate(scores, entries, ratio, top, expand, collapse, recent, max_edits, budget):
    """One batch row; entries are pairs (lod, position). Returns {index: 1 or -1}."""
    edits, gone, size = {}, set(), len(entries)
    order = [w for w in range(len(entries)) if not np.isnan(scores[w])]
    for w in sorted(order, key=lambda w: -abs(scores[w])):
        lod = entries[w][0]
        if len(edits) == max_edits:
            break
        if scores[w] >= expand and lod > 0 and size + ratio - 1 <= budget:
            edit, taken = 1, {w}
        elif scores[w] <= -collapse and lod < top and entries[w:w + ratio] == children(parent(entries[w], ratio), ratio):
            edit, taken = -1, set(range(w, w + ratio))
        else:
            continue
        if taken & gone or max(taken) >= len(entries) - recent:
            continue
        edits[w] = edit
        gone |= taken
        size += edit * (ratio - 1)
    return edits


def focus_apply(entries, edits, ratio):
    """One batch row: [(lod, position, index of the old entry or None)]."""
    out, w = [], 0
    while w < len(entries):
        edit = edits.get(w, 0)
        if edit == 0:
            out.append((*entries[w], w))
        elif edit == 1:
            out += [(*child, None) for child in children(entries[w], ratio)]
        else:
            out.append((*parent(entries[w], ratio), None))
        w += ratio if edit < 0 else 1
    return out
