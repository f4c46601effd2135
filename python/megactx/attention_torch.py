"""`attention` as an operator of PyTorch, megactx::attention, which torch.compile takes as a whole; imported where PyTorch is in use."""

from typing import List, Optional, Tuple

import numpy as np
import torch

from .attention_function import run


def _tensor(result):
    if not isinstance(result, np.ndarray):
        return torch.from_dlpack(result)
    if result.dtype.name == "bfloat16":  # numpy's is not PyTorch's
        return torch.from_numpy(result.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(result)


@torch.library.custom_op("megactx::attention", mutates_args=())
def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pattern: str, scale: Optional[float], softcap: Optional[float],
              biases: List[torch.Tensor], lengths: Optional[torch.Tensor], segments: Optional[torch.Tensor], offset: Optional[int], offsets: Optional[torch.Tensor]) -> Tuple[torch.Tensor, torch.Tensor]:
    """The result and the log-sum-exp; see megactx.attention."""
    query, key, value, lengths, segments, offsets = (x if x is None else x.detach() for x in (query, key, value, lengths, segments, offsets))
    biases = [bias.detach() for bias in biases]
    (out, lse), heads_inside = run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset if offsets is None else offsets, return_lse=True)
    out = _tensor(out)
    return out.transpose(1, 2) if heads_inside else out, _tensor(lse)


@attention.register_fake
def _(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, offsets):
    batch, heads, rows, _ = query.shape
    inside = not query.is_contiguous() and query.transpose(1, 2).is_contiguous()
    out = query.new_empty((batch, rows, heads, value.shape[3])).transpose(1, 2) if inside else query.new_empty((batch, heads, rows, value.shape[3]))
    return out, query.new_empty((batch, heads, rows), dtype=torch.float32)
