"""Models as they are deployed: onnxruntime-genai's form of a LLaMA, and what onnxruntime's quantiser makes of a model."""

import pathlib
import tempfile

import numpy as np
import onnx
from onnx import helper

from graph import INT64, Graph

CONTRIB = {"domain": "com.microsoft"}


class Contrib(Graph):
    """A graph with onnxruntime's operators."""

    def model(self, name):
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.initializers)
        sets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10, producer_name="onnxruntime-genai")

    def packed(self, x, name, inputs, outputs, size=32):
        """A product by weights of 4 bits in blocks, with zero points."""
        blocks = -(-inputs // size)
        draw = lambda *shape: self.random.integers(0, 256, shape).astype(np.uint8)
        stem = ".".join([*self.path, name, "MatMul", "weight"])
        weight = self.tensor(f"{stem}_Q4", draw(outputs, blocks, size // 2))
        scales = self.tensor(f"{stem}_scales", (inputs**-0.5 / 5 * (1 + self.random.random((outputs, blocks)))).astype(np.float32))
        zeros = self.tensor(f"{stem}_zp", draw(outputs, -(-blocks // 2)) & 0x11 | 0x77)
        return self.op("MatMulNBits", x, weight, scales, zeros, K=inputs, N=outputs, bits=4, block_size=size, **CONTRIB)

    def scale(self, width):
        return self.tensor(".".join([*self.path, "weight"]), (1 + 0.1 * self.random.standard_normal(width)).astype(np.float32))

    def skip_norm(self, x, skip, width):
        """The norm of a sum, and the sum."""
        norm, _, _, total = self.op("SkipSimplifiedLayerNormalization", x, skip, self.scale(width), outputs=4, epsilon=1e-6, **CONTRIB)
        self.nodes[-1].output[1:3] = ["", ""]
        return norm, total


def genai_llama(layers=2, width=64, heads=4, kv_heads=2, vocab=90, window=-1, seed=5):
    """Weights of 4 bits, grouped queries with caches, rotary tables and lengths by the attention mask."""
    g, dim, table = Contrib("dynamo", 21, seed), width // heads, 64
    ids = g.input("input_ids", INT64, ["batch", "length"])
    mask = g.input("attention_mask", INT64, ["batch", "total_length"])
    caches = [[g.input(f"past_key_values.{layer}.{kind}", np.float32, ["batch", kv_heads, "past_length", dim]) for kind in ("key", "value")]
              for layer in range(layers)]
    last = g.cast(g.op("Sub", g.op("ReduceSum", mask, g.ints(1), keepdims=0), g.ints(1)), np.int32)
    total = g.cast(g.op("Gather", g.op("Shape", mask), g.int(1), axis=0), np.int32)
    angles = np.outer(np.arange(table), 10000.0 ** (-np.arange(0, dim, 2) / dim))
    tables = [g.tensor(name, f(angles).astype(np.float32)) for name, f in (("cos_cache", np.cos), ("sin_cache", np.sin))]
    x = g.op("Gather", g.weight("embed.weight", vocab, width, scale=1.0), ids)
    with g.module("norm_0"):
        h = g.op("SimplifiedLayerNormalization", x, g.scale(width), axis=-1, epsilon=1e-6)
    for layer, past in enumerate(caches):
        with g.module(f"layers.{layer}"):
            q, k, v = (g.packed(h, f"{n}_proj", width, many * dim) for n, many in (("q", heads), ("k", kv_heads), ("v", kv_heads)))
            y, *present = g.op("GroupQueryAttention", q, k, v, *past, last, total, *tables, outputs=3, num_heads=heads, kv_num_heads=kv_heads,
                               do_rotary=1, local_window_size=window, **CONTRIB)
            h, x = g.skip_norm(x, g.packed(y, "o_proj", width, width), width)
            gate, up = (g.packed(h, n, width, 2 * width) for n in ("gate_proj", "up_proj"))
            h = g.packed(g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up), "down_proj", 2 * width, width)
        with g.module(f"norm_{layer + 1}"):
            h, x = g.skip_norm(x, h, width)
        for kind, value in zip(("key", "value"), present):
            g.output(value, np.float32, ["batch", kv_heads, "total_length", dim], f"present.{layer}.{kind}")
    g.output(g.packed(h, "lm_head", width, vocab), np.float32, ["batch", "length", vocab], "logits")
    return g


class Dynamic:
    """A builder's model with products of int8, activations quantised as they come."""

    def __init__(self, builder):
        self.builder = builder

    def __call__(self):
        return self

    def model(self, name):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as folder:
            plain, made = (pathlib.Path(folder) / f"{stem}.onnx" for stem in ("plain", "int8"))
            onnx.save(self.builder().model(name), plain)
            # Weights of 7 bits: onnxruntime's sums of pairs saturate on CPUs without VNNI.
            quantize_dynamic(plain, made, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
            return onnx.load(made)
