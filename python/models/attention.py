"""The spellings of attention that PyTorch code and its exporters produce.

Every function takes q, k, v [B, H, N, D] (values of a Graph) and gives [B, H, Nq, D].
"""

import numpy as np
from onnx import TensorProto, helper

from graph import LAST


def head_dim(g, q):
    """q.size(-1) as a number, the long way that TorchScript takes."""
    last = g.op("Slice", g.op("Shape", q), g.ints(-1), g.ints(LAST), g.ints(0))
    return g.cast(g.op("Squeeze", last, g.ints(0)), np.float32)


def matmul_softmax(g, q, k, v, mask):
    """softmax(mask(q kᵀ)) v."""
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    return g.op("MatMul", g.op("Softmax", mask(scores), axis=-1), v)


def masked_fill(g, q, k, v, dim, length, tril, **_):
    """(q kᵀ · d^-½).masked_fill(tril[:, :, :N, :N] == 0, -inf), minGPT's form."""

    def mask(scores):
        scale = g.const(dim**-0.5) if g.dynamo else g.op("Pow", head_dim(g, q), g.const(-0.5))
        scores = g.op("Mul", scores, scale)
        rows = g.slice(g.slice(tril, 2, 0, length), 3, 0, length)
        above = g.op("Equal", rows, g.const(0.0))
        return g.op("Where", above if g.dynamo else g.cast(above, bool), g.const(-np.inf), scores)

    return matmul_softmax(g, q, k, v, mask)


def einsum(g, q, k, v, length, tril, **_):
    """einsum products, division by √d, a finite -1e9 for what is masked."""
    scores = g.op("Einsum", q, k, equation="bhid,bhjd->bhij")
    scores = g.op("Div", scores, g.op("Pow", head_dim(g, q), g.const(0.5)))
    rows = g.slice(g.slice(tril, 2, 0, length), 3, 0, length)
    above = g.cast(g.op("Not", g.cast(rows, bool)), bool)
    weights = g.op("Softmax", g.op("Where", above, g.const(-1e9), scores), axis=-1)
    return g.op("Einsum", weights, v, equation="bhij,bhjd->bhid")


def bmm(g, q, k, v, batch, length, heads, **_):
    """fairseq's form: heads folded into the batch, a triu of -inf added."""
    rows = g.op("Mul", batch, g.int(heads))
    fold = lambda t: g.reshape(t, rows, length, -1)
    scaled = g.op("Mul", fold(q), g.op("Pow", head_dim(g, q), g.const(-0.5)))
    scores = g.op("MatMul", scaled, g.op("Transpose", fold(k), perm=[0, 2, 1]))
    minus = g.op("ConstantOfShape", g.shape(length, length), value=helper.make_tensor("value", TensorProto.FLOAT, [1], [-np.inf]))
    scores = g.op("Add", scores, g.op("Trilu", minus, g.int(1), upper=1))
    out = g.op("MatMul", g.op("Softmax", scores, axis=-1), fold(v))
    return g.reshape(out, batch, heads, length, -1)


def sdpa(g, q, k, v, dim, causal=True, mask=None, **_):
    """scaled_dot_product_attention as either exporter spells it out: √scale on both sides, then an added mask.

    mask: boolean [.., Nq, Nk], True = attend; causal makes one from the operands' shapes.
    """
    root, added = sdpa_scale(g, q, dim, causal), None
    if mask is not None:
        added = g.op("Where", mask, g.const([0.0]), g.const([-np.inf]))
    elif causal:
        added = causal_bias(g, q, k)
    left, right = g.op("Mul", q, root()), g.op("Mul", transposed_keys(g, k), root())
    scores = g.op("MatMul", left, right)
    weights = g.op("Softmax", scores if added is None else g.op("Add", scores, added), axis=-1)
    if mask is not None:  # rows that attend nothing
        weights = g.op("Where", g.op("IsNaN", weights), g.const([0.0]), weights)
    return g.op("MatMul", weights, v)


def sdpa_scale(g, q, dim, causal):
    if g.dynamo or not causal:
        return lambda: g.const([dim**-0.25] if g.dynamo else dim**-0.25)
    last = g.op("Slice", g.op("Shape", q), g.ints(-1), g.ints(LAST))
    scale = g.cast(g.op("Div", g.const([1.0]), g.op("Sqrt", g.cast(last, np.float32))), np.float32)
    return lambda: g.op("Sqrt", scale)


def causal_bias(g, q, k):
    sizes = [g.op("Slice", g.op("Shape", t), g.ints(-2), g.ints(-1)) for t in (q, k)]
    ones = g.op("Expand", g.const(1.0 if g.dynamo else [1.0]), g.op("Concat", *sizes, axis=0))
    outside = g.op("Equal", g.op("Trilu", ones, upper=0), g.const(0.0 if g.dynamo else [0.0]))
    return g.op("Where", outside, g.const([-np.inf]), g.const([0.0]))


def transposed_keys(g, k):
    if not g.dynamo:
        return g.op("Transpose", k, perm=[0, 1, 3, 2])
    shape = g.op("Shape", k, start=0)
    part = lambda a, b: g.op("Slice", shape, g.ints(a), g.ints(b))
    rows, columns, outer = part(-2, -1), part(-1, LAST), part(0, -2)
    flat = g.op("Reshape", k, g.op("Concat", g.ints(-1), rows, columns, axis=0), allowzero=0)
    turned = g.op("Transpose", flat, perm=[0, 2, 1])
    return g.op("Reshape", turned, g.op("Concat", outer, columns, rows, axis=0), allowzero=0)


def softcap(g, q, k, v, dim, cap=3.0, **_):
    """Gemma 2's eager form: cap · tanh(scores / cap) before the mask."""
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Div", g.op("Mul", scores, g.const(dim**-0.5)), g.const(cap))
    capped = g.op("Mul", g.op("Tanh", scores), g.const(cap))
    return g.op("MatMul", g.op("Softmax", g.op("Add", capped, causal_bias(g, q, k)), axis=-1), v)


def alibi(g, q, k, v, dim, batch, length, heads, context, **_):
    """BLOOM's form: products with heads folded into the batch and a bias per key added, a mask of unfolded ones."""
    rows = g.op("Mul", batch, g.int(heads))
    fold = lambda t: g.reshape(t, rows, length, -1)
    slopes = 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
    table = g.tensor(".".join([*g.path, "alibi"]), (slopes[:, None, None] * np.arange(context)).astype(np.float32))
    bias = g.expand(g.unsqueeze(g.slice(table, 2, 0, length), 0), batch, heads, 1, length)
    scores = g.op("Mul", g.op("MatMul", fold(q), g.op("Transpose", fold(k), perm=[0, 2, 1])), g.const(dim**-0.5))
    scores = g.op("Add", g.reshape(bias, rows, 1, length), scores)
    scores = g.op("Add", g.reshape(scores, batch, heads, length, length), causal_bias(g, q, k))
    weights = g.reshape(g.op("Softmax", scores, axis=-1), rows, length, length)
    return g.reshape(g.op("MatMul", weights, fold(v)), batch, heads, length, -1)


def alibi_distances(g, q, k, v, dim, length, heads, **_):
    """ALiBi as its paper has it: slopes times distances, below a causal mask."""
    rows, keys = g.unsqueeze(g.range(length), 1), g.unsqueeze(g.range(length), 0)
    distances = g.cast(g.op("Abs", g.op("Sub", keys, rows)), np.float32)
    slopes = g.const(-(2.0 ** (-8.0 * np.arange(1, heads + 1) / heads))[:, None, None])
    bias = g.unsqueeze(g.op("Mul", slopes, g.unsqueeze(distances, 0)), 0)
    return eager(g, q, k, v, dim, g.op("Add", bias, causal_bias(g, q, k)))


def relative_bias(g, heads, length, bidirectional, buckets=12, farthest=20):
    """T5's: a number for each head and bucket of distances, which far from 0 grow as their logarithm; [1, heads, N, N]."""
    distance = g.op("Sub", g.unsqueeze(g.range(length), 0), g.unsqueeze(g.range(length), 1))
    table, index = g.weight("relative_attention_bias.weight", buckets, heads, scale=1.0), None
    if bidirectional:
        buckets //= 2
        index = g.op("Mul", g.cast(g.op("Greater", distance, g.int(0)), np.int64), g.int(buckets))
        distance = g.op("Abs", distance)
    else:
        distance = g.op("Neg", g.op("Min", distance, g.int(0)))
    exact = buckets // 2
    ratio = g.op("Log", g.op("Div", g.cast(distance, np.float32), g.const(float(exact))))
    far = g.op("Mul", g.op("Div", ratio, g.const(np.log(farthest / exact))), g.const(float(buckets - exact)))
    far = g.op("Min", g.op("Add", g.cast(far, np.int64), g.int(exact)), g.int(buckets - 1))
    near = g.op("Where", g.op("Less", distance, g.int(exact)), distance, far)
    index = g.op("Add", index, near) if index else near
    return g.unsqueeze(g.op("Transpose", g.op("Gather", table, index, axis=0), perm=[2, 0, 1]), 0)


def keras(g, q, k, v, dim, **_):
    """Keras' products: keys before queries, heads behind tokens."""
    q, k, v = (g.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, k, v))
    scores = g.op("Einsum", k, g.op("Mul", q, g.const(dim**-0.5)), equation="aecd,abcd->acbe")
    rows = [g.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, k)]
    weights = g.op("Softmax", g.op("Add", scores, causal_bias(g, *rows)), axis=-1)
    return g.op("Transpose", g.op("Einsum", weights, v, equation="acbe,aecd->abcd"), perm=[0, 2, 1, 3])


def learned_scores(g, scores, v, length, tril):
    """softmax(scores masked by tril) v."""
    rows = g.slice(g.slice(tril, 2, 0, length), 3, 0, length)
    scores = g.op("Where", g.op("Equal", rows, g.const(0.0)), g.const(-np.inf), scores)
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def synthesizer_dense(g, q, k, v, dim, length, heads, tril, context, **_):
    """Dense Synthesizer: a column of weights, shared by the batch, for each position is its key."""
    columns = g.slice(g.weight("dense.weight", heads, dim, context, scale=0.6), 2, 0, length)
    bias = g.slice(g.weight("dense.bias", heads, 1, context, scale=0.5), 2, 0, length)
    scores = g.op("Add", g.op("MatMul", g.op("Relu", q), columns), bias)
    return learned_scores(g, scores, v, length, tril)


def synthesizer_factorized(g, q, k, v, length, heads, tril, context, rank=4, **_):
    """Factorized random Synthesizer: scores are a product of learned matrices, whatever the tokens."""
    left = g.slice(g.weight("left", 1, heads, context, rank, scale=1.0), 2, 0, length)
    right = g.slice(g.weight("right", 1, heads, rank, context, scale=1.0), 3, 0, length)
    return learned_scores(g, g.op("MatMul", left, right), v, length, tril)


def attention_op(g, q, k, v, **_):
    """Opset 23's operator."""
    return g.op("Attention", q, k, v, is_causal=1, qk_matmul_output_mode=0, softcap=0.0)


def eager(g, q, k, v, dim, bias, divide=False, **_):
    """Hugging Face's eager form: scores scaled, a float mask added."""
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Div", scores, g.const(dim**0.5)) if divide else g.op("Mul", scores, g.const(dim**-0.5))
    weights = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
    return g.op("MatMul", g.cast(g.cast(weights, np.float32), np.float32), v)
