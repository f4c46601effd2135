"""Steps of a decoder that was compiled with --caches-in-place: a prompt, then tokens one by one.

  python steps_in_place.py model.mctx [room]     room: so many tokens the caches can hold, 32 by default

The model is of the form that onnxruntime-genai's model builder writes: input_ids, attention_mask,
past_key_values.N.key and .value, logits, and caches that go out.
"""

import sys

import numpy as np

import megactx


def empty_caches(model, room):
    """{name: zeros}; of the inputs' sizes that are names, the second is how many tokens there are."""
    caches = {}
    for entry in model.manifest["inputs"]:
        if entry["name"].startswith("past"):
            batch, heads, _, depth = entry["shape"]
            caches[entry["name"]] = np.zeros((1, heads, room, depth), np.float32)
    return caches


def main(artifact, room=32):
    model = megactx.load(artifact)
    caches, tokens = empty_caches(model, int(room)), [3, 14, 15, 9, 26, 5, 35, 8]
    new = tokens
    for _ in range(4):
        mask = np.ones((1, len(tokens)), np.int64)  # all tokens so far
        out = model.run({"input_ids": np.array([new]), "attention_mask": mask, **caches})
        assert all(out[entry["name"]] is caches[model.inputs[entry["updates"]]] for entry in model.manifest["outputs"] if "updates" in entry)
        new = [int(out["logits"][0, -1].argmax())]
        tokens = tokens + new
        print(f"{len(tokens)} tokens, the last {new[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
