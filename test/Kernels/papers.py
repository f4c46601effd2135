"""Attention of follow-up papers by definition, row by row, in float64."""

import numpy as np


def softmax_rows(scores):
    """Softmax over the last axis; a row of minus infinities gives zeros."""
    top = scores.max(-1, keepdims=True, initial=-1e300)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)


def attend(q, k, v, allowed=None, scale=None, bias=0):
    """q [..., N, D], k [..., M, D], v [..., M, Dv]; allowed [N, M]."""
    scores = np.einsum("...id,...jd->...ij", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    return softmax_rows(scores) @ v


def block_recurrent(x, state, w, block=8):
    """x [B, N, E] and state [B, S, E] to their successors; w by the names of the example's arguments."""
    x, state, w = x.astype(np.float64), state.astype(np.float64), {name: a.astype(np.float64) for name, a in w.items()}
    heads = lambda rows, weight: np.einsum("bne,ehd->bhnd", rows, weight)
    joined = lambda rows: np.concatenate(list(rows.transpose(1, 0, 2, 3)), -1)  # [B, H, N, D] to [B, N, H D]
    stacked = lambda *weights: np.concatenate([m.reshape(-1, m.shape[-1]) for m in weights])
    out, window = [], (np.zeros((len(x), 0, x.shape[2])))
    for start in range(0, x.shape[1], block):
        rows = x[:, start:start + block]
        seen = np.concatenate([window, rows], 1)
        past = np.arange(seen.shape[1])[None] - np.arange(seen.shape[1] - block, seen.shape[1])[:, None]
        tokens = attend(heads(rows, w["wq_tt"]), heads(seen, w["wk_t"]), heads(seen, w["wv_t"]), (past < 0) & (past >= -block))
        placed = state + w["ids"]
        memory = heads(placed, w["wk_s"]), heads(placed, w["wv_s"])
        recalled = attend(heads(rows, w["wq_ts"]), *memory)
        out.append(rows + np.concatenate([joined(tokens), joined(recalled)], -1) @ stacked(w["wo_tt"], w["wo_ts"]))
        itself = attend(heads(placed, w["wq_ss"]), *memory)
        inputs = attend(heads(placed, w["wq_st"]), heads(rows, w["wk_t"]), heads(rows, w["wv_t"]))
        z = np.concatenate([joined(itself), joined(inputs)], -1) @ stacked(w["wo_ss"], w["wo_st"]) + w["bias"]
        gate = 1 / (1 + np.exp(-w["gate"]))
        state, window = state * gate + z * (1 - gate), rows
    return np.concatenate(out, 1) if out else x, state


def layer_norm(x):
    x = x.astype(np.float64) - x.astype(np.float64).mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def scores_of(rows, centroids):
    """[B, H, C, N]; NaN is less than every number."""
    scores = np.einsum("bhnd,hcd->bhcn", rows.astype(np.float64), centroids.astype(np.float64))
    return np.where(np.isnan(scores), -np.inf, scores), np.isnan(scores)


def route(rows, centroids, window, lengths=None):
    """Lists of members, ascending, by (b, h, c)."""
    scores, none = scores_of(rows, centroids)
    members = {}
    for at in np.ndindex(scores.shape[:3]):
        length = rows.shape[2] if lengths is None else min(max(lengths[at[0]], 0), rows.shape[2])
        order = sorted(range(length), key=lambda n: (none[at][n], -scores[at][n], n))
        members[at] = sorted(order[:window])
    return members


def gap(rows, centroids, window, lengths=None):
    """The least difference between the scores of a cluster's last member and the best row that is none."""
    scores, _ = scores_of(rows, centroids)
    least = np.inf
    for at, chosen in route(rows, centroids, window, lengths).items():
        length = rows.shape[2] if lengths is None else lengths[at[0]]
        rest = [scores[at][n] for n in range(length) if n not in chosen]
        if rest and chosen:
            least = min(least, scores[at][chosen].min() - max(rest))
    return least


def routed_attention(q, k, v, query_members, key_members, causal, scale=1.0):
    """Attention of each cluster's queries to its keys; the mean over clusters, 0 for rows in none."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    total, count = np.zeros((*q.shape[:3], v.shape[3])), np.zeros(q.shape[:3])
    for (b, h, c), chosen in query_members.items():
        for i in chosen:
            keys = [j for j in key_members[b, h, c] if not causal or j <= i]
            count[b, h, i] += 1
            if keys:
                total[b, h, i] += softmax_rows(scale * k[b, h, keys] @ q[b, h, i]) @ v[b, h, keys]
    return total / np.maximum(count, 1)[..., None]
