"""Compiles a decoder whose caches are inputs with a policy, and runs two steps: python compile_and_step.py model.onnx"""

import sys

import numpy as np

import megactx

SPARSE = "window<left = 255, right = 0> or strided<stride = 64>"
POLICY = {"rules": [{"layers": "*", "pattern": SPARSE}, {"layers": "0", "heads": "0-1", "pattern": "causal"}]}

print(megactx.compile(sys.argv[1], "policy.mctx", policy=POLICY, caches_in_place=True))
model = megactx.load("policy.mctx")
caches = {entry["name"]: np.zeros((1, entry["shape"][1], 32, entry["shape"][3]), np.float32)  # room for 32 tokens
          for entry in model.manifest["inputs"] if entry["name"].startswith("past_key_values.")}
tokens, past = [3, 14, 15], 0
for _ in range(2):
    out = model.run({"input_ids": [tokens], "past_sequence_length": past, **caches})
    past, tokens = past + len(tokens), [int(out["logits"][0, -1].argmax())]
print(f"{past} tokens in the caches that came in: {out['present.0.key'] is caches['past_key_values.0.key']}")
