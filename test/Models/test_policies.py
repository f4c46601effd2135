"""The policies that docs/policies ships, on the networks that they are for."""

import json

import test_models
from conftest import ROOT

FAMILIES = ["gistnet_*", "lensnet_*"]


def test_shipped_policy_equals_brute_force(model, tool, tmp_path):
    policy, artifact = ROOT / "docs" / "policies" / f"{model.name.split('_')[0]}.json", tmp_path / "model.mctx"
    done = test_models.compiled(model, tool, artifact, "--policy", policy)
    count = model.facts["attentions"]
    assert done.err.rstrip().endswith(f"raised {count} attentions, sparsified {count}"), done
    test_models.check_sparse(model, tool, artifact, json.loads(policy.read_text()), tmp_path)
