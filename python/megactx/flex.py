"""PyTorch's flex_attention, by megactx's kernels: its functions of scores and masks become patterns and biases."""

import math
import warnings
import weakref

import torch

from .attention_function import attention
from .mask_function import documents_of, truth_of_function
from .pattern import Pattern
from .score_function import score_of_function
from .symbols import Truth
from .tools import Error

_checked = weakref.WeakKeyDictionary()  # of a BlockMask, the pattern that its blocks agree with


def _places(term, shape, device):
    """Tensors for batch, head, query and key, of four dims that line up, or of three where the last goes through all distances of key from query."""
    batch, heads, queries, keys = shape
    if term.reach.of & {"p", "k"} and term.reach.by_distance:
        distance = torch.arange(max(0, queries + keys - 1), device=device) - (queries - 1)
        by_position = {"p": (-distance).clamp(min=0), "k": distance.clamp(min=0)}
    else:
        by_position = {"p": torch.arange(queries, device=device)[:, None], "k": torch.arange(keys, device=device)[None]}
    inner = (1,) * (1 if by_position["p"].ndim == 1 else 2)
    return {"b": torch.arange(batch, device=device).view(-1, 1, *inner), "h": torch.arange(heads, device=device).view(-1, *inner),
            **by_position}, len(inner)


def hidden(mask):
    """What a mask of truths adds to scores."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)


def _bias(term, shape, device, is_mask=False):
    """What a term adds to scores: by distance [B or 1, H or 1, N + M - 1], or of four dims, 1 where they do not matter."""
    values, inner = _places(term, shape, device)
    try:
        bias = torch.as_tensor(term.evaluate(values), device=device)
    except (IndexError, RuntimeError, TypeError) as error:
        raise Error(f"flex_attention: score_mod or mask_mod cannot be computed for {shape[2]} queries and {shape[3]} keys: {error}") from error
    bias = hidden(bias) if is_mask else bias
    bias = bias if bias.dtype in (torch.float32, torch.float16, torch.bfloat16) else bias.float()
    bias = bias.view(*(1,) * (2 + inner - bias.ndim), *bias.shape)
    return bias.expand(*bias.shape[:-1], max(0, shape[2] + shape[3] - 1)).contiguous() if inner == 1 else bias.contiguous()


def _dense_blocks(counts, indices):
    """[B, H, rows, columns] of truths from lists of columns."""
    columns = indices.shape[-1]
    is_listed = torch.arange(columns, device=counts.device) < counts[..., None]
    table = torch.zeros(*indices.shape[:-1], columns + 1, dtype=torch.bool, device=counts.device)
    return table.scatter_(-1, torch.where(is_listed, indices, columns).long(), True)[..., :columns]


def _check_blocks(block_mask, mask, shape):
    """That a BlockMask's blocks are those of its function, which alone is computed: at the corners of each block."""
    if mask.pattern and _checked.get(block_mask) == mask.pattern:
        return
    partial = _dense_blocks(block_mask.kv_num_blocks, block_mask.kv_indices)
    has_full = block_mask.full_kv_num_blocks is not None
    full = _dense_blocks(block_mask.full_kv_num_blocks, block_mask.full_kv_indices) if has_full else torch.zeros_like(partial)
    device = partial.device
    corners = [torch.stack([torch.arange(0, n, size, device=device), torch.arange(size - 1, n + size - 1, size, device=device).clamp(max=n - 1)], -1)
               for n, size in zip(shape[2:], block_mask.BLOCK_SIZE)]
    values = {"b": torch.arange(partial.shape[0], device=device).view(-1, 1, 1, 1, 1, 1), "h": torch.arange(partial.shape[1], device=device).view(-1, 1, 1, 1, 1),
              "p": corners[0][:, None, :, None], "k": corners[1][None, :, None, :]}
    holds = torch.as_tensor(mask.evaluate(values), device=device).expand(*partial.shape, 2, 2)
    if (holds.any((-1, -2)) & ~(full | partial)).any() or (~holds.all((-1, -2)) & full).any():
        raise Error("block_mask: its blocks are not those of its mask_mod, from which the pattern is made: expected what create_block_mask gives")
    _checked[block_mask] = mask.pattern


def _mask_of(block_mask, shape):
    if block_mask is None:
        return Truth(True, "1", pattern="dense")
    if isinstance(block_mask, (str, Pattern)):
        return Truth(None, pattern=str(block_mask))
    if not hasattr(block_mask, "mask_mod"):
        return truth_of_function(block_mask)
    if tuple(block_mask.seq_lengths) != shape[2:]:
        raise Error(f"block_mask: it is for {block_mask.seq_lengths[0]} queries and {block_mask.seq_lengths[1]} keys, but there are {shape[2]} and {shape[3]}")
    mask = truth_of_function(block_mask.mask_mod)
    _check_blocks(block_mask, mask, shape)
    return mask


@torch.compiler.disable
def _run(query, key, value, score_mod, block_mask, scale, enable_gqa, return_lse):
    if not all(isinstance(x, torch.Tensor) and x.ndim == 4 for x in (query, key, value)):
        raise Error("flex_attention: expected query, key and value as tensors of PyTorch of 4 dims")
    if query.shape[1] != key.shape[1] and not enable_gqa:
        raise Error(f"flex_attention: {query.shape[1]} heads of queries and {key.shape[1]} of keys need enable_gqa=True")
    shape = (*query.shape[:3], key.shape[2])
    mask = _mask_of(block_mask, shape)
    scale = 1 / math.sqrt(max(1, query.shape[3])) if scale is None else scale
    softcap, terms = None, []
    if score_mod is not None:
        score = score_of_function(score_mod)
        mask = mask if score.mask is None else mask & score.mask
        scale = scale * score.inner
        if score.outer is not None:  # the kernels' form is softcap * tanh(scale * x / softcap)
            softcap, scale = abs(score.outer), scale * score.outer
        terms += score.terms
    pattern, table, without = mask.parts()
    if table is not None and shape[2] > shape[3]:  # documents are the keys', and queries at their positions
        pattern, table, without = None, None, [mask]
    biases = [*(_bias(term, shape, query.device) for term in terms), *(_bias(term, shape, query.device, is_mask=True) for term in without)] or None
    return attention(query, key, value, pattern or "dense", scale=scale, softcap=softcap, bias=biases, segments=documents_of(table, shape[0], shape[3]), return_lse=return_lse)


def flex_attention(query, key, value, score_mod=None, block_mask=None, scale=None, enable_gqa=False, return_lse=False, kernel_options=None, *, return_aux=None):
    """PyTorch's function of this name: softmax of score_mod(scale * q k^T), where block_mask says so, times v; with gradients.

        from megactx import flex_attention      # instead of: from torch.nn.attention.flex_attention import flex_attention

    query [B, Hq, N, D], key [B, Hkv, M, D], value [B, Hkv, M, Dv]; enable_gqa lets Hq be a multiple of Hkv. return_lse: also the log-sum-exp [B, Hq, N].
    block_mask: a BlockMask, of which the function is taken (create_block_mask takes longer than it is worth here), such a function
    mask_mod(b, h, q_idx, kv_idx), or a pattern's text. score_mod(score, b, h, q_idx, kv_idx) may multiply the score by numbers, have a softcap
    c * tanh(score / c), add what depends on b, h, q_idx and kv_idx, by arithmetic and tables, and hide pairs by torch.where(mask, score, -inf). What is added
    is a number per distance where it depends on q_idx - kv_idx alone, else a matrix [N, M]; its tensors have gradients.
    return_aux: PyTorch's AuxRequest(lse=True), for the result and an AuxOutput. kernel_options: those of PyTorch's kernels, of which a warning says that
    they are not looked at. Runs as it is, also in what torch.compile compiles, which splits there. Raises Error, with what of a function has no form here."""
    if kernel_options:
        warnings.warn(f"flex_attention: kernel_options {', '.join(kernel_options)} are of PyTorch's kernels; those of megactx are tiled by its own rules", stacklevel=2)
    if return_aux is None:
        return _run(query, key, value, score_mod, block_mask, scale, enable_gqa, return_lse)
    if return_lse:
        raise Error("flex_attention: expected return_lse or return_aux, but got both")
    if return_aux.max_scores:
        raise Error("return_aux: kernels keep no max_scores, which are for PyTorch's own; the log-sum-exp is there: AuxRequest(lse=True)")
    out, lse = _run(query, key, value, score_mod, block_mask, scale, enable_gqa, return_lse=True)
    from torch.nn.attention.flex_attention import AuxOutput  # as new as what asks for it

    return out, AuxOutput(lse=lse if return_aux.lse else None)
