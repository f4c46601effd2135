"""`attention` as an operator of PyTorch with gradients, megactx::attention, which torch.compile takes as a whole; imported where PyTorch is in use."""

import itertools
import warnings
from typing import List, Optional, Tuple

import numpy as np
import torch
from torch.autograd import forward_ad

from .attention_function import attention_backward, check_offset, real_number, run
from .pattern import text_of
from .tools import Error

# What torch.compile does not look into.
constant_text_of = torch.compiler.assume_constant_result(text_of)


def _detached(tensor):
    return tensor.detach() if tensor.requires_grad or type(tensor) is not torch.Tensor else tensor


def _tensor(result):
    if not isinstance(result, np.ndarray):
        return torch.from_dlpack(result)
    if result.dtype.kind == "V":  # numpy's bfloat16, which is not PyTorch's
        return torch.from_numpy(result.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(result)


def _run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset):
    (out, lse), heads_inside = run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, return_lse=True)
    out = _tensor(out)
    return out.transpose(1, 2) if heads_inside else out, _tensor(lse)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pattern: str, scale: Optional[float], softcap: Optional[float],
               biases: List[torch.Tensor], lengths: Optional[torch.Tensor], segments: Optional[torch.Tensor], offset: Optional[int], offsets: Optional[torch.Tensor]) -> Tuple[torch.Tensor, torch.Tensor]:
    """The result and the log-sum-exp; see megactx.attention."""
    query, key, value, *biases = map(_detached, (query, key, value, *biases))
    return _run(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset if offsets is None else offsets)


attention = torch.library.custom_op("megactx::attention", _attention, mutates_args=())


@attention.register_fake
def _(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, offsets):
    batch, heads, rows, _ = query.shape
    inside = not query.is_contiguous() and query.transpose(1, 2).is_contiguous()
    out = query.new_empty((batch, rows, heads, value.shape[3])).transpose(1, 2) if inside else query.new_empty((batch, heads, rows, value.shape[3]))
    return out, query.new_empty((batch, heads, rows), dtype=torch.float32)


def _check_order(device):
    """Of the sums of biases' gradients on a device: as PyTorch does where its own operators add atomically."""
    if device.type != "cuda" or not torch.are_deterministic_algorithms_enabled():
        return
    text = "attention: gradients of biases on a GPU are added up in another order each time, but torch.use_deterministic_algorithms is on"
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise Error(text)
    warnings.warn(text, stacklevel=2)


def _backward(dout: torch.Tensor, dlse: Optional[torch.Tensor], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: torch.Tensor, lse: torch.Tensor,
              pattern: str, scale: Optional[float], softcap: Optional[float], biases: List[torch.Tensor], lengths: Optional[torch.Tensor],
              segments: Optional[torch.Tensor], offset: Optional[int], offsets: Optional[torch.Tensor], bias_gradients: List[bool]) -> List[torch.Tensor]:
    """The gradients of query, key, value and of those biases of which they are asked for; see megactx.attention_backward."""
    dout, query, key, value, out, lse, *biases = map(_detached, (dout, query, key, value, out, lse, *biases))
    dlse = None if dlse is None else _detached(dlse)
    if any(bias_gradients):
        _check_order(dout.device)
    dq, dk, dv, *of_biases = attention_backward(dout, query, key, value, out, lse, pattern, dlse=dlse, scale=scale, softcap=softcap, bias=biases or None,
                                                lengths=lengths, segments=segments, offset=offset if offsets is None else offsets, bias_gradients=bias_gradients)
    return [*map(_tensor, (dq, dk, dv)), *(_tensor(gradient).to(bias.dtype) for gradients in of_biases for gradient, bias in zip(gradients, biases) if gradient is not None)]


backward = torch.library.custom_op("megactx::attention_backward", _backward, mutates_args=())


@backward.register_fake
def _(dout, dlse, query, key, value, out, lse, pattern, scale, softcap, biases, lengths, segments, offset, offsets, bias_gradients):
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key, value, *itertools.compress(biases, bias_gradients))]


def _remember(ctx, inputs, output):
    query, key, value, ctx.pattern, ctx.scale, ctx.softcap, biases, lengths, segments, ctx.offset, offsets = inputs
    ctx.biases = len(biases)
    ctx.save_for_backward(query, key, value, *output, lengths, segments, offsets, *biases)
    ctx.set_materialize_grads(False)


def _gradients(ctx, dout, dlse, backward=backward):
    query, key, value, out, lse, lengths, segments, offsets, *biases = ctx.saved_tensors
    if dout is None and dlse is None:
        return (None,) * 6 + ([None] * ctx.biases,) + (None,) * 4
    dout = torch.zeros_like(out) if dout is None else dout
    wanted = [bias.requires_grad for bias in biases]
    dq, dk, dv, *made = backward(dout, dlse, query, key, value, out, lse, ctx.pattern, ctx.scale, ctx.softcap, biases, lengths, segments, ctx.offset, offsets, wanted)
    of_biases = iter(made)
    return dq, dk, dv, None, None, None, [next(of_biases) if each else None for each in wanted], None, None, None, None


class _Eager(torch.autograd.Function):
    """The operator for autograd alone, without PyTorch's dispatcher, which takes longer than all else that is not the kernel."""

    @staticmethod
    def forward(ctx, query, key, value, pattern, scale, softcap, lengths, segments, offset, offsets, *biases):
        output = _attention(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, offsets)
        _remember(ctx, (query, key, value, pattern, scale, softcap, biases, lengths, segments, offset, offsets), output)
        return output

    @staticmethod
    def backward(ctx, dout, dlse):
        given = [x for x in (dout, dlse) if x is not None]
        if any(map(torch._C._functorch.is_legacy_batchedtensor, given)):  # is_grads_batched
            _no_vmap()
        # By create_graph the operator, whose own derivative is the error.
        is_plain = not torch.is_grad_enabled() and not torch.compiler.is_compiling() and not _is_looked_at(given)
        dq, dk, dv, *_, of_biases, _, _, _, _ = _gradients(ctx, dout, dlse, _backward if is_plain else backward)
        return dq, dk, dv, *(None,) * 7, *of_biases


attention.register_autograd(_gradients, setup_context=_remember)


def _no_second(*_):
    raise Error("attention: second derivatives are not supported: call backward or torch.autograd.grad without create_graph")


backward.register_autograd(_no_second)


def _no_vmap(*_):
    raise Error("attention: torch.vmap, and what uses it, is not supported: make what it goes over part of the batch, the first dim of queries, keys and values")


attention.register_vmap(_no_vmap)
backward.register_vmap(_no_vmap)


def _check_transforms(tensors):
    """That no derivative is asked for which would be 0, or an error in PyTorch's own terms."""
    if any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise Error("attention: derivatives in forward mode (torch.func.jvp, torch.autograd.forward_ad) are not supported: use torch.autograd.grad")
    if any(torch._C._functorch.is_gradtrackingtensor(x) for x in tensors):
        raise Error("attention: torch.func.grad, vjp and jacrev are not supported: use torch.autograd.grad")


def _is_looked_at(tensors):
    """Whether the operator is there for somebody: a mode, a tracer or a profiler of PyTorch, a subclass of its tensors or one without memory."""
    return (torch._C._len_torch_dispatch_stack() > 0 or torch.autograd._profiler_enabled() or torch._C._functorch.peek_interpreter_stack() is not None or torch._C._get_tracing_state() is not None
            or any(x.is_meta or type(x) not in (torch.Tensor, torch.nn.Parameter) for x in tensors))


def _of_autocast(tensors):
    """As SDPA has them: of autocast's type where that is on."""
    kind = tensors[0].device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return [x.to(dtype) if x.dtype.is_floating_point and x.dtype != torch.float64 else x for x in tensors]


def _integers(name, value, device):
    """The tensor, or the one number, of an argument."""
    if value is None or isinstance(value, int):
        return value
    try:
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise Error(f"{name}: expected integers, but got {value!r}") from None


def attend(query, key, value, pattern, scale, softcap, biases, lengths, segments, offset):
    """`attention` of PyTorch's tensors: its result and the log-sum-exp."""
    for name, array in [("key", key), ("value", value), *(("bias", bias) for bias in biases)]:
        if not isinstance(array, torch.Tensor):
            raise Error(f"{name}: expected a tensor of PyTorch, as the query is, but got {type(array).__name__}")
    for name, numbers, wanted in (("lengths", lengths, [*query.shape[:1]]), ("segments", segments, [*query.shape[:1], *key.shape[2:3]])):
        if isinstance(numbers, int):
            raise Error(f"{name}: expected {wanted}, but got []")
    is_compiling = torch.compiler.is_compiling()
    if not is_compiling:  # where numbers may be symbols; the operator looks at them as it runs
        _check_transforms((query, key, value, *biases))
        scale, softcap = (number if number is None else real_number(name, number) for name, number in (("scale", scale), ("softcap", softcap)))
        if isinstance(offset, int):
            check_offset(offset)
    query, key, value = _of_autocast((query, key, value))
    lengths, segments, offset = (_integers(name, x, query.device) for name, x in (("lengths", lengths), ("segments", segments), ("offset", offset)))
    one, each = (offset, None) if isinstance(offset, int) else (None, offset)
    if is_compiling or _is_looked_at((query, key, value, *biases)):
        return attention(query, key, value, pattern, scale, softcap, biases, lengths, segments, one, each)
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value, *biases)):
        return _Eager.apply(query, key, value, pattern, scale, softcap, lengths, segments, one, each, *biases)
    return _attention(query, key, value, pattern, scale, softcap, biases, lengths, segments, one, each)
