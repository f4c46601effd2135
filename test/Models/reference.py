"""A brute-force reference for sparsified models, run by onnxruntime.

Every attention's scores get a mask of 0 and -inf that numpy made from the pattern, right before their
softmax; nothing else of the model changes. Queries are the last rows of the keys (a key-value cache
comes first), and a row that attends nothing gives 0.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from patterns import relation

NORMALISERS = {"IsNaN", "Where", "Cast", "Dropout", "Identity", "Reshape"}


def load_tensors(folder, kind):
    """The named tensors input_I.pb or output_I.pb of a test data set, in order."""
    files = sorted(pathlib.Path(folder).glob(f"{kind}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
    return [(t.name, numpy_helper.to_array(t)) for t in map(onnx.load_tensor, files)]


def save_tensors(folder, kind, tensors):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, value) in enumerate(tensors):
        (folder / f"{kind}_{index}.pb").write_bytes(numpy_helper.from_array(value, name).SerializeToString())


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Graph:
    """Producers and consumers of a model's values."""

    def __init__(self, model):
        self.nodes = list(model.graph.node)
        self.constants = {t.name for t in model.graph.initializer}
        self.inputs = {i.name for i in model.graph.input} - self.constants
        self.producer = {o: n for n in self.nodes for o in n.output if o}
        self.consumers = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def reaches_product(self, value):
        """Is a softmax's result (through guards against NaN, casts) the left side of a product with values?"""
        for node in self.consumers.get(value, []):
            if node.op_type in ("MatMul", "Einsum") and node.input[0] == value:
                return node
            if node.op_type in NORMALISERS:
                found = self.reaches_product(node.output[0])
                if found is not None:
                    return found
        return None

    def projected(self, value):
        """The activation behind the nearest product with a weight, walking up from a query or key."""
        todo, seen = [value], set()
        while todo:
            value = todo.pop(0)
            node = self.producer.get(value)
            if value in seen or node is None:
                continue
            seen.add(value)
            if node.op_type in ("MatMul", "Gemm") and node.input[1] not in self.producer:
                return self.original(node.input[0])
            todo += [i for i in node.input[:1 if node.op_type not in ("Concat", "Add", "Mul") else None] if i]
        return None

    def original(self, value):
        """A value before reshapes, which exporters repeat per use."""
        node = self.producer.get(value)
        return self.original(node.input[0]) if node is not None and node.op_type in ("Reshape", "Identity", "Cast") else value

    def scores_product(self, value):
        node = self.producer.get(value)
        if node is None:
            return None
        if node.op_type in ("MatMul", "Einsum"):
            return node
        for name in node.input:
            found = self.scores_product(name) if node.op_type in ("Add", "Where", "Div", "Mul", "Cast", "Reshape", "Max", "Sub") else None
            if found is not None:
                return found
        return None

    def is_cache(self, value):
        """Is a key a model's input as it is: without new ones behind it, it is no step of a decoder's own attention?"""
        while (node := self.producer.get(value)) is not None and node.op_type in ("Transpose", "Reshape", "Identity"):
            value = node.input[0]
        return value in self.inputs

    def is_cross(self, softmax):
        product = self.scores_product(softmax.input[0])
        if product is not None and self.is_cache(product.input[1]):
            return True
        query, key = (self.projected(i) for i in product.input[:2]) if product is not None else (None, None)
        return query is not None and key is not None and query != key


def attentions(model):
    """The model's attention nodes in graph order, as (node, input that takes a mask, is cross attention)."""
    graph, found = Graph(model), []
    for node in graph.nodes:
        if node.op_type == "Softmax" and graph.reaches_product(node.output[0]) is not None:
            axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
            if axis in (-1, 3):
                found.append((node, None, graph.is_cross(node)))
        elif node.op_type == "Attention":
            found.append((node, 3 if node.domain in ("", "ai.onnx") else 5, False))
        elif node.op_type == "GroupQueryAttention":
            found.append((node, 10, False))
    return found


def policy_patterns(policy, layers, heads):
    """patterns[layer][head] of a policy: later rules win; None = untouched."""
    table = [[None] * heads for _ in range(layers)]
    for rule in policy["rules"]:
        if rule.get("kind", "self") != "self":
            continue
        for layer in ranges(rule.get("layers", "*"), layers):
            for head in ranges(rule.get("heads", "*"), heads):
                table[layer][head] = rule["pattern"]
    return table


def ranges(text, count):
    if text == "*":
        return range(count)
    found = []
    for part in str(text).split(","):
        first, dash, last = part.partition("-")
        found += range(int(first), (int(last) + 1 if last else count) if dash else int(first) + 1)
    return [i for i in found if i < count]


def mask(layer_patterns, queries, keys):
    """0 where a pair attends, -inf elsewhere: [heads, queries, keys]; the last query stands at the last key."""
    rows = np.arange(queries) + (keys - queries)
    out = np.zeros((len(layer_patterns), queries, keys), dtype=np.float32)
    for head, pattern in enumerate(layer_patterns):
        if pattern is not None:
            allowed = relation(pattern, rows, np.arange(keys), len(layer_patterns))[head]
            out[head][~allowed] = -np.inf
    return out


def score_shapes(model, found, feeds):
    """Runs the model once to learn [.., heads, queries, keys] of each attention."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for node, slot, _ in found:
        names = [node.input[0]] if slot is None else list(node.input[:2]) + [node.output[1 if slot == 10 else 0]]
        for name in names:
            if all(o.name != name for o in probe.graph.output):
                probe.graph.output.append(helper.make_empty_tensor_value_info(name))
    run = session(probe)
    names = [o.name for o in run.get_outputs()]
    return dict(zip(names, (v.shape for v in run.run(None, feeds))))


def attribute(node, name, default=None):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def dimensions(node, slot, shapes, batch):
    """(heads, queries, keys, heads folded into the batch)"""
    if slot is None:
        shape = shapes[node.input[0]]
        return (*shape[-3:], False) if len(shape) == 4 else (shape[0] // batch, *shape[1:], True)
    query, key = shapes[node.input[0]], shapes[node.input[1]]
    if slot == 10:
        return attribute(node, "num_heads"), query[1], shapes[node.output[1]][2], False
    if slot == 5:
        return attribute(node, "num_heads"), query[1], query[1], False
    return (query[1], query[2], key[2], False) if len(query) == 4 else (attribute(node, "q_num_heads"), query[1], key[1], False)


def with_branches_taken(model, feeds):
    """The model with each If on an input replaced by the branch that these inputs take: a run has the attentions of that alone."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    for node in model.graph.node:
        if node.op_type != "If" or node.input[0] not in feeds:
            copy.graph.node.append(node)
            continue
        branch = attribute(node, "then_branch" if feeds[node.input[0]].all() else "else_branch")
        copy.graph.initializer.extend(branch.initializer)
        copy.graph.node.extend(branch.node)
        copy.graph.node.extend(helper.make_node("Identity", [inner.name], [outer]) for inner, outer in zip(branch.output, node.output))
    return copy


def sparsified(model, feeds, patterns):
    """The model with each self-attention's scores masked. patterns: text, or a policy as a dictionary."""
    model = with_branches_taken(model, feeds)
    found = attentions(model)
    shapes = score_shapes(model, found, feeds)
    batch = next(iter(feeds.values())).shape[0] if "past" not in feeds else feeds["past"].shape[2]
    policy = {"rules": [{"pattern": patterns}]} if isinstance(patterns, str) else patterns
    for layer, (node, slot, cross) in enumerate(found):
        if cross:
            continue
        heads, queries, keys, folded = dimensions(node, slot, shapes, batch)
        values = mask(policy_patterns(policy, len(found), heads)[layer], queries, keys)
        values = np.tile(values, (batch, 1, 1)) if folded else values[None]
        insert_mask(model, node, slot, layer, values)
    return model


def insert_mask(model, node, slot, layer, values):
    name = f"reference_mask_{layer}"
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    at = list(model.graph.node).index(node)
    if slot is not None:
        merge_mask(model, node, slot, at, name)
        return
    scores, result = node.input[0], node.output[0]
    node.input[0], node.output[0] = f"{name}_scores", f"{name}_softmax"
    zero = numpy_helper.from_array(np.zeros(1, np.float32), f"{name}_zero")
    model.graph.initializer.append(zero)
    model.graph.node.insert(at, helper.make_node("Add", [scores, name], [f"{name}_scores"]))
    model.graph.node.insert(at + 2, helper.make_node("IsNaN", [f"{name}_softmax"], [f"{name}_empty"]))
    model.graph.node.insert(at + 3, helper.make_node("Where", [f"{name}_empty", zero.name, f"{name}_softmax"], [result]))


def merge_mask(model, node, slot, at, name):
    node.input.extend([""] * (slot + 1 - len(node.input)))
    old = node.input[slot]
    node.input[slot] = name
    if old:
        node.input[slot] = f"{name}_both"
        model.graph.node.insert(at, helper.make_node("Add", [old, name], [f"{name}_both"]))


def expected_outputs(path, feeds, patterns):
    """[(name, value)] of the model at `path`, sparsified."""
    run = session(sparsified(onnx.load(path), feeds, patterns))
    return list(zip([o.name for o in run.get_outputs()], run.run(None, feeds)))


def facts(folder):
    """models.json of a folder of models; a folder without one is taken as it is."""
    table = pathlib.Path(folder) / "models.json"
    if table.exists():
        return json.loads(table.read_text())
    return {p.parent.name: {} for p in sorted(pathlib.Path(folder).glob("*/model.onnx"))}
