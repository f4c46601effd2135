"""Steps of a decoder that was compiled with --caches-in-place: a prompt, then tokens one by one.

  python steps_in_place.py model.mctx [room]     room: so many tokens the caches can hold, 32 by default

The model is of the form that onnxruntime-genai's model builder writes, or of Hugging Face's exports: input_ids,
past_key_values.N.key and .value, maybe attention_mask and position_ids, logits, and caches that go out. Of the latter
--caches-in-place makes models that are told by past_sequence_length how many tokens the caches hold.
"""

import sys

import numpy as np

import megactx


def empty_caches(model, room):
    """{name: zeros}; of the inputs' sizes that are names, the second is how many tokens there are."""
    caches = {}
    for entry in model.manifest["inputs"]:
        if entry["name"].startswith("past_key_values."):
            batch, heads, _, depth = entry["shape"]
            caches[entry["name"]] = np.zeros((1, heads, room, depth), np.float32)
    return caches


def main(artifact, room=32):
    model = megactx.load(artifact)
    caches, tokens = empty_caches(model, int(room)), [3, 14, 15, 9, 26, 5, 35, 8]
    new = tokens
    for _ in range(4):
        past = len(tokens) - len(new)
        given = {"input_ids": [new], "position_ids": [range(past, len(tokens))], "attention_mask": [[1] * len(tokens)], "past_sequence_length": past}
        out = model.run({name: np.array(value) for name, value in given.items() if name in model.inputs} | caches)
        assert all(out[entry["name"]] is caches[model.inputs[entry["updates"]]] for entry in model.manifest["outputs"] if "updates" in entry)
        new = [int(out["logits"][0, -1].argmax())]
        tokens = tokens + new
        print(f"{len(tokens)} tokens, the last {new[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
