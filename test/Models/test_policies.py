"""The policies that docs/policies ships, on the networks that they are for."""

import json

import pytest

import test_models
from conftest import ROOT

POLICIES = {"gistnet_": ["gistnet"], "lensnet_": ["lensnet"], "bert_sdpa_": ["longformer", "bigbird"], "gpt_sdpa_": ["sparse_transformer"], "vit_sdpa_": ["neighborhood"]}
FAMILIES = [f"{family}*" for family in POLICIES]


def test_every_policy_is_tested():
    assert {p.stem for p in (ROOT / "docs" / "policies").glob("*.json")} == {name for names in POLICIES.values() for name in names}


@pytest.mark.one_of_a_family
@pytest.mark.parametrize("choice", range(max(map(len, POLICIES.values()))))
def test_shipped_policy_equals_brute_force(model, choice, tool, tmp_path):
    names = next(names for family, names in POLICIES.items() if model.name.startswith(family))
    if choice >= len(names):
        pytest.skip("a family with fewer policies")
    policy, artifact = ROOT / "docs" / "policies" / f"{names[choice]}.json", tmp_path / "model.mctx"
    done = test_models.compiled(model, tool, artifact, "--policy", policy)
    count = model.facts["attentions"]
    assert done.err.rstrip().endswith(f"raised {count} attentions, sparsified {count}"), done
    test_models.check_sparse(model, tool, artifact, json.loads(policy.read_text()), tmp_path)
