#!/usr/bin/env python3
"""Writes small transformers as ONNX models with inputs and expected outputs; needs onnx and onnxruntime only.

    make_models.py OUT [NAME ...]          default: all
    make_models.py --demo OUT              the model of the demonstration: a GPT of 4 layers, 256 wide
    make_models.py --medium OUT            the models of the benchmark: a GPT, a LLaMA and a T5 of 6 layers, 512 wide

Each model becomes OUT/NAME/model.onnx and OUT/NAME/test_data_set_K/{input,output}_I.pb, the layout of
ONNX's own backend tests; OUT/models.json says how many attentions a model has. Weights are random from a
fixed seed, outputs are onnxruntime's on the CPU in f32. The second data set has another batch size and
a length that no block size divides.
"""

import argparse
import fcntl
import functools
import hashlib
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import families
import megacontext
import merged
import quantized

HERE = pathlib.Path(__file__).resolve().parent


def ids(name="ids", vocab=90):
    return lambda rng, batch, length: {name: rng.integers(2, vocab, (batch, length))}


def padded(rng, batch, length):
    mask = np.ones((batch, length), np.int64)
    mask[-1, length - length // 4:] = 0
    return {**ids("input_ids")(rng, batch, length), "attention_mask": mask}


def cached(rng, batch, length):
    past = 0.5 * rng.standard_normal((2, 2, batch, 2, length // 2 + 1, 8)).astype(np.float32)
    return {**ids("input_ids")(rng, batch, length), "past": past}


def grown(layers=2, heads=2, dim=16, mask=True):
    """New tokens behind caches, one of each key and value."""
    def draw(rng, batch, length):
        past = 0 if batch > 1 and length > 1 else 21
        names = [f"past_key_values.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
        caches = {name: 0.5 * rng.standard_normal((batch, heads, past, dim)).astype(np.float32) for name in names}
        ones = {"attention_mask": np.ones((batch, past + length), np.int64)} if mask else {}
        return {**ids("input_ids")(rng, batch, length), **ones, **caches}

    return draw


def pixels(rng, batch, _):
    return {"pixel_values": rng.standard_normal((batch, 3, 24, 24)).astype(np.float32)}


def entry(builder, inputs, causal, sizes=((2, 48), (3, 29)), attentions=2, quantizes=False, **facts):
    return dict(builder=builder, inputs=inputs, sizes=sizes, quantizes=quantizes, facts=dict(facts, attentions=attentions, causal=causal))


def table():
    models = {}
    for spelling, exporter, opset in (("masked_fill", "torchscript", 14), ("masked_fill", "dynamo", 20), ("sdpa", "torchscript", 17),
                                      ("sdpa", "dynamo", 18), ("attention_op", "dynamo", 23), ("bmm", "torchscript", 17), ("einsum", "torchscript", 13),
                                      ("softcap", "torchscript", 17), ("alibi", "torchscript", 17), ("alibi", "dynamo", 20),
                                      ("alibi_distances", "torchscript", 17), ("keras", "torchscript", 17),
                                      ("synthesizer_dense", "torchscript", 17), ("synthesizer_factorized", "dynamo", 18)):
        name = f"gpt_{spelling}_{'dynamo' if exporter == 'dynamo' else 'ts'}{opset}"
        models[name] = entry(functools.partial(families.gpt, spelling, exporter, opset), ids(), True)
    make = functools.partial
    models["bert_eager_ts14"] = entry(make(families.bert, "torchscript", 14, "eager"), padded, False)
    models["bert_sdpa_ts17"] = entry(make(families.bert, "torchscript", 17, "sdpa"), padded, False)
    models["bert_sdpa_dynamo20"] = entry(make(families.bert, "dynamo", 20, "sdpa"), padded, False)
    models["llama_eager_ts17"] = entry(make(families.llama, "torchscript", 17, "eager", padding=True), padded, True)
    models["llama_sdpa_dynamo20"] = entry(make(families.llama, "dynamo", 20, "sdpa"), ids("input_ids"), True)
    models["llama_past_sdpa_ts17"] = entry(make(families.llama, "torchscript", 17, "sdpa", caches="stacked"), cached, True)
    models["llama_decode_sdpa_ts17"] = entry(make(families.llama, "torchscript", 17, "sdpa", caches="single"), grown(dim=8, mask=False), True, sizes=((2, 1), (1, 3)))
    models["mistral_window_sdpa_ts17"] = entry(make(families.llama, "torchscript", 17, "sdpa", padding=True, window=8), padded, True, window=7)
    models["llama_genai21"] = entry(quantized.genai_llama, grown(), True, sizes=((2, 29), (1, 7), (2, 1)))
    models["bert_int8_ts17"] = entry(quantized.Dynamic(make(families.bert, "torchscript", 17, "sdpa")), padded, False, sizes=((2, 24), (3, 13)), quantizes=True)
    models["t5_encoder_ts17"] = entry(make(families.t5, "torchscript", 17, causal=False), padded, False)
    models["t5_decoder_dynamo18"] = entry(make(families.t5, "dynamo", 18, causal=True), ids("input_ids"), True)
    models["merged_bart_ts14"] = entry(make(merged.Merged, "torchscript", 14), merged.step, True, sizes=((2, 24), (3, 1), (1, 3)), attentions=8)
    models["vit_sdpa_ts17"] = entry(make(families.vit, "torchscript", 17), pixels, False)
    models["vit_sdpa_dynamo18"] = entry(make(families.vit, "dynamo", 18), pixels, False)
    models["gistnet_ts17"] = entry(make(megacontext.gistnet, "torchscript", 17), megacontext.tokens(), True, sizes=((2, 2048), (1, 1024)), attentions=3)
    models["lensnet_ts17"] = entry(make(megacontext.lensnet, "torchscript", 17), megacontext.working_context(), False, sizes=((2, 96), (1, 41)))
    models["lensnet_dynamo20"] = entry(make(megacontext.lensnet, "dynamo", 20), megacontext.working_context(), False, sizes=((2, 96), (1, 41)))
    return models


def lone_gpt(layers, width, heads, vocab, sizes):
    builder = functools.partial(families.gpt, "sdpa", "torchscript", 17, layers=layers, width=width, heads=heads, vocab=vocab, context=8192)
    return entry(builder, ids(vocab=vocab), True, sizes=sizes, attentions=layers)


def lone_t5(layers, width, heads, vocab, sizes):
    builder = functools.partial(families.t5, "torchscript", 17, causal=False, layers=layers, width=width, heads=heads, vocab=vocab)
    return entry(builder, padded, False, sizes=sizes, attentions=layers)


def lone_llama(layers, width, heads, kv_heads, vocab, sizes):
    builder = functools.partial(families.llama, "torchscript", 17, "sdpa", layers=layers, width=width, heads=heads, kv_heads=kv_heads, vocab=vocab)
    return entry(builder, ids("input_ids", vocab=vocab), True, sizes=sizes, attentions=layers)


LARGER = {
    "demo": {"gpt_demo": lone_gpt(4, 256, 4, 512, ((1, 2048), (1, 777)))},
    "medium": {"gpt_medium": lone_gpt(6, 512, 8, 1024, ((1, 512), (2, 333))),
               "llama_medium": lone_llama(6, 512, 8, 2, 1024, ((1, 512), (2, 333))),
               "t5_medium": lone_t5(6, 512, 8, 1024, ((1, 512), (2, 333)))},
}


def hinges_on_rounding(model, feeds, outputs):
    """Whether errors of f32 in weights show in the outputs: activations that are quantised may stand where they round to one step or to another."""
    for seed in range(8):
        other, rng = onnx.ModelProto(), np.random.default_rng(seed)
        other.CopyFrom(model)
        for tensor in other.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                value = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array((value * (1 + 1e-6 * rng.standard_normal(value.shape))).astype(np.float32), tensor.name))
        run = onnxruntime.InferenceSession(other.SerializeToString(), providers=["CPUExecutionProvider"])
        if any(not np.allclose(x, y, rtol=3e-5, atol=3e-5) for x, y in zip(run.run(None, feeds), outputs)):
            return True
    return False


def write(name, spec, out):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model = spec["builder"]().model(name)
    path = folder / "model.onnx"
    onnx.save(model, path)
    run = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for index, (batch, length) in enumerate(spec["sizes"]):
        rng = np.random.default_rng(100 + index)
        feeds = spec["inputs"](rng, batch, length)
        while spec["quantizes"] and hinges_on_rounding(model, feeds, run.run(None, feeds)):
            feeds = spec["inputs"](rng, batch, length)
        data = folder / f"test_data_set_{index}"
        data.mkdir(exist_ok=True)
        values = [("input", i, v.name, feeds[v.name]) for i, v in enumerate(run.get_inputs())]
        values += [("output", i, v.name, r) for i, (v, r) in enumerate(zip(run.get_outputs(), run.run(None, feeds)))]
        for kind, i, value_name, value in values:
            assert np.isfinite(value).all(), f"{name}: {value_name} is not finite"
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(value, value_name).SerializeToString())
    return dict(spec["facts"], opset=model.opset_import[0].version, nodes=len(model.graph.node), bytes=path.stat().st_size)


def digest():
    text = hashlib.sha256(onnxruntime.__version__.encode())
    for source in sorted(HERE.glob("*.py")):
        text.update(source.read_bytes())
    return text.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help="models to write (default: all)")
    for name in LARGER:
        parser.add_argument(f"--{name}", dest="larger", action="store_const", const=name)
    parser.add_argument("--if-changed", action="store_true", help="do nothing where OUT was written by this very script")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lock = open(options.out / ".lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # held until the process ends: of several that start at once, one writes
    stamp = options.out / ".made-by"
    if options.if_changed and stamp.exists() and stamp.read_text() == digest():
        return
    models = LARGER[options.larger] if options.larger else table()
    unknown = [n for n in options.names if n not in models]
    if unknown:
        parser.error(f"no model named {unknown[0]}; there are {', '.join(models)}")
    facts = {name: write(name, models[name], options.out) for name in options.names or models}
    (options.out / "models.json").write_text(json.dumps(facts, indent=1) + "\n")
    stamp.write_text(digest())


if __name__ == "__main__":
    sys.exit(main())
