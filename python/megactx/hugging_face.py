"""Attention of Hugging Face's transformers by megactx's kernels, with patterns: an implementation, "megactx", of their interface of attention.

Masks come there as functions of positions, which become patterns; padding becomes lengths, or a bias per key.
"""

import inspect
import re
import sys

import torch
import transformers
from torch.nn.attention.flex_attention import BlockMask
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function, sdpa_mask

from .attention_function import attention
from .flex import hidden
from .mask_function import documents_of, mask_of_function
from .pattern import Pattern, compares_documents, text_of
from .symbols import packed_positions
from .tools import Error

NAME = "megactx"
_PATTERN = "megactx_pattern"  # a module's attribute, the pattern's text: copies of the module have it, too


class Mask(BlockMask):
    """What a model's masks come to, where FlexAttention has its BlockMask: models know these, and hand them on. Positions count from the first key.

    offset: of the queries, an integer or a tensor; bias [B, 1, 1 or N, M], lengths [B], segments [B, M]: as `attention` has them.
    """

    def __init__(self, shape, pattern, offset=0, bias=None, lengths=None, segments=None):
        self.dims, self.pattern, self.offset, self.bias, self.lengths, self.segments = shape, pattern, offset, bias, lengths, segments

    @property
    def shape(self):
        return self.dims

    def __repr__(self):
        return f"Mask{self.dims}: {self.pattern}"

    __str__ = __repr__

    def _changed(self, *_):
        raise Error(f"{NAME}: the model computes with its masks, and not only with those of transformers' interface: export it to ONNX, for megactx.compile")

    __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __invert__ = __and__ = __rand__ = __or__ = __ror__ = _changed


def _added(mask):
    """What a mask of truths, or of numbers, adds to scores."""
    return hidden(mask) if mask.dtype == torch.bool else mask


def _padding(padding, keys):
    """lengths and bias of a mask of truths [B, M]."""
    if padding is None or bool(padding.all()):
        return None, None
    counts = padding.sum(1)
    if bool((padding == (torch.arange(keys, device=padding.device) < counts[:, None])).all()):
        return counts, None
    return None, _added(padding)[:, None, None]


def _traced(function, offset):
    """The truth of a model's function, with positions that count from `offset` on; None where it has no pattern."""
    try:
        mask = mask_of_function(function)
        if isinstance(offset, int) and offset and not mask.reach.by_distance:
            mask = mask_of_function(lambda b, h, q, k: function(b, h, q + offset, k + offset))
        return mask
    except Error:
        with packed_positions() as tables:
            try:
                mask = mask_of_function(function)
            except Error:
                return None
        return mask if tables and mask.reach.by_distance and all(_counts_within(table, mask.table) for table in tables) else None


def _counts_within(positions, documents):
    """Whether positions count up within each document."""
    if documents is None or positions.shape != documents.shape:
        return False
    starts_anew = (positions - torch.arange(positions.shape[-1], device=positions.device)).diff() != 0
    return not bool((starts_anew & (documents.diff() == 0)).any())


def _padded(mask, first, keys):
    """The part of a mask of truths [B, tokens] that is for the keys; tokens that it does not have are none."""
    if mask is None:
        return None
    missing = max(0, first + keys - mask.shape[-1])
    return torch.nn.functional.pad(mask.bool(), (0, missing))[:, first:first + keys]


@torch.compiler.disable
def mask(batch_size, kv_length, q_length=None, q_offset=0, kv_offset=0, mask_function=causal_mask_function, attention_mask=None, cache_position=None, **more):
    """The masks of a forward pass, which all layers of a kind share. Transformers before 5 say queries' places by cache_position."""
    queries = dict(q_length=q_length, q_offset=q_offset)
    if cache_position is not None:
        queries = dict(cache_position=cache_position)
        q_length, q_offset = len(cache_position), int(cache_position[0])
    shape = batch_size, 1, q_length, kv_length
    found = _traced(mask_function, kv_offset)
    if found is None:  # as SDPA would have it
        more = {**more, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        kept = sdpa_mask(batch_size=batch_size, kv_length=kv_length, kv_offset=kv_offset, mask_function=mask_function, attention_mask=attention_mask, **queries, **more)
        return Mask(shape, "dense", q_offset - kv_offset, _added(kept))
    lengths, bias = _padding(_padded(attention_mask, kv_offset, kv_length), kv_length)
    return Mask(shape, found.pattern, q_offset - kv_offset, bias, lengths, documents_of(found.table, batch_size, kv_length))


def _without_mask(module, query, key, is_causal):
    """Of a model that leaves it to the implementation."""
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    shape = query.shape[0], 1, query.shape[2], key.shape[2]
    return Mask(shape, "causal" if is_causal and query.shape[2] > 1 else "dense", key.shape[2] - query.shape[2] if is_causal else 0)


def attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None, s_aux=None, sinks=None, position_bias=None, is_causal=None, **_):
    """[B, N, Hq, Dv] and no weights; query [B, Hq, N, D], key [B, Hkv, M, D], value [B, Hkv, M, Dv]. s_aux [Hq]: a score beside the keys', whose value is 0."""
    if dropout:
        raise Error(f"{NAME}: attention has no dropout, but the model asks for {dropout}: set its config's attention_dropout to 0, or call model.eval()")
    if isinstance(attention_mask, torch.Tensor):
        given = attention_mask[..., :key.shape[2]]
        attention_mask = Mask(given.shape, "dense", key.shape[2] - query.shape[2], _added(given))
    elif attention_mask is None:
        attention_mask = _without_mask(module, query, key, is_causal)
    pattern = getattr(module, _PATTERN, None)
    is_of_others = query.shape[2] != key.shape[2] and not getattr(module, "is_causal", True)
    if pattern is None or is_of_others:
        pattern = attention_mask.pattern
    elif attention_mask.pattern != "dense":
        pattern = f"({attention_mask.pattern}) and ({pattern})"
    biases = [bias for bias in (attention_mask.bias, position_bias) if bias is not None]
    out, lse = attention(query, key, value, pattern, scale=scaling, softcap=softcap, bias=biases or None, lengths=attention_mask.lengths,
                         segments=attention_mask.segments, offset=attention_mask.offset, return_lse=True)
    s_aux = sinks if s_aux is None else s_aux
    if s_aux is not None:
        out = out * torch.sigmoid(lse - s_aux.float().view(1, -1, 1)).unsqueeze(-1).to(out.dtype)
    return out.transpose(1, 2).contiguous(), None


transformers.AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, mask)


def _source(code):
    """The text of a function or module, empty where it has none."""
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return ""


def _goes_through_the_interface(module):
    return "ALL_ATTENTION_FUNCTIONS" in _source(inspect.unwrap(type(module).forward))


def _is_of_others(name, module):
    """Whether keys are another sequence's, as names have it."""
    text = f"{name} {type(module).__name__}".lower()
    return any(word in text for word in ("cross", "encoder_attn", "encdec", "x_attn", "resampler", "perceiver"))


def _check_support(model, modules):
    """That the models which have the modules leave masks to the interface, as they say of implementations that do."""
    for part in model.modules():
        if not isinstance(part, transformers.PreTrainedModel) or not {*modules} & {*part.modules()}:
            continue
        supported = any(getattr(part, f"_supports_{name}", False) for name in ("attention_backend", "flex_attn", "sdpa"))
        asks = re.search(r"isinstance\([^()]*BlockMask", _source(sys.modules[type(part).__module__]))
        if not supported or asks:
            raise Error(f"sparsify: {type(part).__name__} makes masks of its own for each implementation of attention: export it to ONNX, for megactx.compile")


def _texts(pattern, count):
    """The patterns of so many layers, where None is the model's own attention."""
    each = list(pattern) if isinstance(pattern, (list, tuple)) else [pattern] * count
    if len(each) != count:
        raise Error(f"sparsify: expected a pattern for each of {count} layers, but got {len(each)}")
    texts = [None if one is None else text_of(one) for one in each]
    for text in {*texts} - {None}:
        Pattern(text).check()
        if compares_documents(text):
            raise Error("sparsify: a model's documents are those that its position_ids pack, without 'segments' in the pattern")
    return texts


def sparsify(model, pattern=None):
    """The model, whose attention is megactx's from now on: of the patterns' keys alone, among those that its own masks leave.

        model = megactx.sparsify(AutoModelForCausalLM.from_pretrained(...), "window<left = 1023, right = 0> or strided<stride = 128>")

    model: a PreTrainedModel of Hugging Face's transformers whose attention goes through their AttentionInterface. pattern: for all self-attention, a
    Pattern, its text or a function of batch, head, query and key; or a list of them, one for each layer, where None is the model's own attention, as it
    is without a pattern. Positions are those of tokens, from the first key in the cache on. Attention to another sequence stays as it is. Generation
    with caches and training work; dropout of attention and returned weights do not. Raises Error.
    """
    if not isinstance(model, transformers.PreTrainedModel):
        raise Error(f"sparsify: expected a PreTrainedModel of transformers, but got {type(model).__name__}; a file is for megactx.compile")
    modules = {name: module for name, module in model.named_modules() if _goes_through_the_interface(module)}
    own = [module for name, module in modules.items() if not _is_of_others(name, module)]
    if not own:
        raise Error(f"sparsify: no attention of {type(model).__name__} goes through transformers' AttentionInterface: export it to ONNX, for megactx.compile")
    _check_support(model, modules.values())
    texts = _texts(pattern, len(own))
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:
        raise Error(f"sparsify: the attention of {type(model).__name__} does not go through transformers' AttentionInterface: export it to ONNX, for megactx.compile")
    for module, text in zip(own, texts):
        setattr(module, _PATTERN, text)
    return model
