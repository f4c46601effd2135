"""A decoder of both kinds in one file, as optimum merges them: an If on `use_cache_branch`, weights of the graph around it."""

import zlib

import numpy as np
import onnx
from onnx import helper, numpy_helper

import attention
from families import project
from graph import INT64, Graph

LAYERS, WIDTH, HEADS, VOCAB, CONTEXT = 2, 40, 4, 90, 64
DIM = WIDTH // HEADS


class Branch(Graph):
    """One of the two graphs. A weight depends on its name alone, so that both have the same."""

    def __init__(self, weights, *facts):
        super().__init__(*facts, seed=0)
        self.weights = weights

    def tensor(self, name, array):
        self.weights[name] = np.array(array, order="C")
        return name

    def weight(self, name, *shape, scale=None):
        self.random = np.random.default_rng(zlib.crc32(".".join([*self.path, name]).encode()))
        return super().weight(name, *shape, scale=scale)

    def graph(self, name):
        return helper.make_graph(self.nodes, name, [], self.outputs)


class Merged:
    def __init__(self, exporter, opset):
        self.facts, self.weights = (exporter, opset), {}

    def model(self, name):
        graph = Graph(*self.facts, seed=0)
        mask = graph.input("encoder_attention_mask", INT64, ["batch", "encoder_length"])
        ids = graph.input("input_ids", INT64, ["batch", "length"])
        encoded = graph.input("encoder_hidden_states", np.float32, ["batch", "encoder_length", WIDTH])
        caches = {n: graph.input(n, np.float32, ["batch", HEADS, f"past_{n.split('.')[2]}_length", DIM]) for n in cache_names("past_key_values")}
        graph.input("use_cache_branch", bool, [1])
        then, other = (self.branch(ids, mask, encoded, past, title) for past, title in ((caches, "with_past"), (None, "no_past")))
        outputs = [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", "length", VOCAB])]
        outputs += [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [f"{n}_batch", HEADS, f"{n}_length", DIM]) for n in cache_names("present")]
        node = helper.make_node("If", ["use_cache_branch"], [o.name for o in outputs], name="optimum::if", then_branch=then, else_branch=other)
        weights = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        made = helper.make_model(helper.make_graph([node], name, graph.inputs, outputs, weights), ir_version=7,
                                 opset_imports=[helper.make_opsetid("", self.facts[1])], producer_name="optimum-onnx")
        onnx.checker.check_model(made, full_check=True)
        return made

    def branch(self, ids, encoder_mask, encoded, past, name):
        g = Branch(self.weights, *self.facts)
        batch, length = g.size(ids, 0), g.size(ids, 1)
        before = g.size("past_key_values.0.decoder.key", 2) if past else g.int(0)
        total = g.op("Add", before, length)
        rows = g.op("Add", g.range(length), before)
        x = g.op("Gather", g.weight("embed_tokens.weight", VOCAB, WIDTH, scale=1.0), ids)
        x = g.op("Add", x, g.op("Gather", g.weight("embed_positions.weight", CONTEXT, WIDTH, scale=0.3), rows))
        least = g.const(np.finfo(np.float32).min)
        below = g.op("LessOrEqual", g.unsqueeze(g.range(total), 0), g.unsqueeze(rows, 1))
        causal = g.unsqueeze(g.op("Where", below, g.const(0.0), least), 0, 1)
        hidden = g.op("Mul", g.op("Sub", g.const(1.0), g.cast(g.unsqueeze(encoder_mask, 1, 2), np.float32)), least)
        caches = {}
        for layer in range(LAYERS):
            with g.module(f"layers.{layer}"):
                def attend(kind, states, bias):
                    """Attention over rows of `states` and, of the decoder's own, over the cache; those of the encoder are in the cache."""
                    q = g.heads(project(g, x, "q_proj", WIDTH, WIDTH), batch, length, HEADS, DIM)
                    names = [f"{layer}.{kind}.{part}" for part in ("key", "value")]
                    if past and kind == "encoder":
                        pair = [f"past_key_values.{n}" for n in names]
                    else:
                        pair = [g.heads(project(g, states, n, WIDTH, WIDTH), g.size(states, 0), g.size(states, 1), HEADS, DIM) for n in ("k_proj", "v_proj")]
                    if past and kind == "decoder":
                        pair = [g.op("Concat", f"past_key_values.{n}", new, axis=2) for n, new in zip(names, pair)]
                    caches.update(zip(names, pair))
                    y = attention.eager(g, q, *pair, DIM, bias)
                    y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), batch, length, WIDTH)
                    return g.layer_norm(g.op("Add", x, project(g, y, "out_proj", WIDTH, WIDTH)), WIDTH)

                with g.module("self_attn"):
                    x = attend("decoder", x, causal)
                with g.module("encoder_attn"):
                    x = attend("encoder", encoded, hidden)
                h = project(g, g.gelu(project(g, x, "fc1", WIDTH, 2 * WIDTH)), "fc2", 2 * WIDTH, WIDTH)
                with g.module("final_layer_norm"):
                    x = g.layer_norm(g.op("Add", x, h), WIDTH)
        g.output(project(g, x, "lm_head", WIDTH, VOCAB, bias=False), np.float32, ["batch", "length", VOCAB], f"{name}/logits")
        for full in cache_names(""):
            key = full.removeprefix(".")
            # What a step with caches does not change has no contents there.
            value = g.const(np.zeros((0, HEADS, 0, DIM))) if past and ".encoder." in full else caches[key]
            g.output(value, np.float32, [f"{name}{full}_batch", HEADS, f"{name}{full}_length", DIM], f"{name}/present{full}")
        return g.graph(name)


def cache_names(prefix):
    return [f"{prefix}.{layer}.{kind}.{part}" for layer in range(LAYERS) for kind in ("decoder", "encoder") for part in ("key", "value")]


def step(rng, batch, length):
    """The first step, without caches, or a later one of few tokens."""
    later, source = length <= 3, 13
    lengths = {"decoder": 21 if later else 0, "encoder": source if later else 0}
    caches = {n: 0.5 * rng.standard_normal((batch, HEADS, lengths[n.split(".")[2]], DIM)).astype(np.float32) for n in cache_names("past_key_values")}
    mask = np.ones((batch, source), np.int64)
    mask[-1, source - 4:] = 0
    return {"encoder_attention_mask": mask, "input_ids": rng.integers(2, VOCAB, (batch, length)),
            "encoder_hidden_states": rng.standard_normal((batch, source, WIDTH)).astype(np.float32), **caches, "use_cache_branch": np.array([later])}
