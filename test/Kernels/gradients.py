"""Gradients of attention: a module for megactx-compile, and the float64 reference."""

import dataclasses

import numpy as np

import attention
from attention import tensor

TOLERANCE = {"f32": 3e-5, "f16": 8e-3, "bf16": 6e-2}  # of the largest entry, or of 1


@dataclasses.dataclass(frozen=True)
class Spec(attention.Spec):
    bias_gradients: bool = False
    diagonals: bool = False  # of the bias's gradient, the sums over pairs of equal distances
    given: bool = False  # what attention gave comes in, so that its kernels need not be compiled

    def module(self):
        """attention and its gradients by random dout and dlse."""
        args, lines, query, source, offset, types = self.operands()
        q, k, v, o = [(self.heads, self.head_dim), (self.key_heads, self.head_dim), (self.key_heads, self.value_dim), (self.heads, self.value_dim)]
        lse = f"tensor<?x{self.heads}x?xf32>"
        args += [f"%d: {tensor(*o, 'f32')}", f"%dl: {lse}"]
        dout, out = self.narrowed("d", o, lines)
        if self.given:
            args += [f"%r: {tensor(*o, 'f32')}", f"%lse: {lse}"]
            result, _ = self.narrowed("r", o, lines)
        else:
            result = "%r"
            lines.append(f"%r, %lse = megactx.attention {query[0]}, %s{offset} {self.attributes} : ({', '.join([query[1], source, *types])}) -> ({out}, {lse})")
        shapes = [q, k, v]
        made = [tensor(*shape, self.dtype) for shape in shapes] + [self.bias_type] * self.bias_gradients
        attributes = self.attributes[:-1] + ", bias_gradients" * self.bias_gradients + "}"
        lines.append(f"%x:{len(made)} = megactx.attention_backward {query[0]}, %s out({result}) lse(%lse) dout({dout}) dlse(%dl){offset} {attributes} : "
                     f"({', '.join([query[1], source, out, lse, out, lse, *types])}) -> ({', '.join(made)})")
        results = [self.widened(f"%x#{i}", shape, lines) for i, shape in enumerate(shapes)] + ["%x#3"] * self.bias_gradients
        made = [tensor(*shape, "f32") for shape in shapes] + [self.bias_type] * self.bias_gradients
        if self.diagonals:
            results[3], made[3] = "%table", self.bias_type.replace("x?x?x", "x?x")
            lines.append(f"%table = megactx.diagonal_sums %x#3 : {self.bias_type} to {made[3]}")
        body = "\n  ".join(lines)
        return f"func.func @main({', '.join(args)}) -> ({', '.join(made)}) {{\n  {body}\n  return {', '.join(results)} : {', '.join(made)}\n}}\n"


def reference(spec, q, k, v, offset, bias, lengths, key_offset, segments, dout, dlse):
    """dq, dk, dv, the gradient of the scores before they are summed into a bias's, and what attention gives, out and lse, in float64."""
    repeat = spec.heads // spec.key_heads
    q, k, v, dout = q.astype(np.float64), np.repeat(k, repeat, 1).astype(np.float64), np.repeat(v, repeat, 1).astype(np.float64), dout.astype(np.float64)
    scores, slope = attention.scores_of(spec, q, k, offset, bias, lengths, key_offset, segments)
    weights, lse = attention.softmax(scores)
    out = np.einsum("bhij,bhjd->bhid", weights, v)
    delta = (dout * out).sum(-1) - dlse
    ds = weights * (np.einsum("bhid,bhjd->bhij", dout, v) - delta[..., None])
    dx = ds * slope
    grouped = lambda x: x.reshape(x.shape[0], spec.key_heads, repeat, *x.shape[2:]).sum(2)
    return (np.einsum("bhij,bhjd->bhid", dx, k), grouped(np.einsum("bhij,bhid->bhjd", dx, q)),
            grouped(np.einsum("bhij,bhid->bhjd", weights, dout)), ds, out, lse)


def check(run, specs, batch, queries, keys, offset=0, bias=None, apart=0):
    """`specs` differ in the pattern alone; where what attention gave comes in, there is one. `apart`: how far queries and keys are from zero, on either side of it."""
    spec = specs[0]
    inputs, given = attention.draw_inputs(spec, batch, queries, keys, offset, bias)
    for array, by in zip(inputs, (-apart, apart)):
        array[...] = attention.rounded(array + by, spec.dtype)
    random = np.random.default_rng()
    dout = attention.rounded(random.standard_normal((batch, spec.heads, queries, spec.value_dim)), spec.dtype)
    dlse = random.standard_normal((batch, spec.heads, queries)).astype(np.float32)
    references = [reference(spec, *given, dout, dlse) for spec in specs]
    known = [x.astype(np.float32) for x in references[0][-2:]] if spec.given else []
    if len(specs) == 1:  # what rows without keys have there is nothing
        dlse = np.where(np.isinf(references[0][-1]), np.nan, dlse).astype(np.float32)
    results = run([*inputs, dout, dlse, *known])
    names = ("dq", "dk", "dv", "dbias")[:3 + spec.bias_gradients]
    assert len(results) == len(names) * len(specs)
    wrong = []
    for i, spec in enumerate(specs):
        *want, ds, _, _ = references[i]
        if spec.bias_gradients:
            added = given[4]
            sums = ds.sum(tuple(i for i in range(4) if added.shape[i] == 1), keepdims=True)
            if spec.diagonals:
                sums = np.stack([sums.trace(distance, 2, 3) for distance in range(1 - queries, keys)], -1)
            want.append(sums)
        for name, g, w in zip(names, results[i * len(names):], want):
            assert g.shape == w.shape, name
            error = np.abs(g - w).max(initial=0) / max(1, np.abs(w).max(initial=0))
            wrong += [] if error <= TOLERANCE[spec.dtype] else [f"{name} of {spec.pattern}: error {error:.1e}"]
    assert not wrong, f"{queries} queries, {keys} keys: {'; '.join(wrong)}"
