"""Mutated models, the same on every run: each is imported or compiled, or refused with a message (see fuzz_models.py)."""

import pathlib
import subprocess
import sys

import pytest

from conftest import generated

IMPORTED = ["gpt_sdpa_ts17", "vit_sdpa_ts17"]
COMPILED = ["bert_eager_ts14", "gpt_einsum_ts13", "gpt_attention_op_dynamo23", "llama_past_sdpa_ts17", "vit_sdpa_ts17"]
PARTS = 4  # of the compiler's, for workers to share
COUNT = 25  # in each part


def fuzz(build, keep, names, *options):
    models = [generated(build) / name / "model.onnx" for name in names]
    script = pathlib.Path(__file__).parent / "fuzz_models.py"
    done = subprocess.run([sys.executable, script, "--build", build, "--keep", keep, *options, *models], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_importer(request, tmp_path):
    fuzz(request.config.getoption("--build").resolve(), tmp_path, IMPORTED, "--count", "200")


@pytest.mark.parametrize("part", range(PARTS))
def test_compiler(part, request, tmp_path):
    options = ["--compile", "--count", str(COUNT), "--seed", str(part * COUNT)]
    fuzz(request.config.getoption("--build").resolve(), tmp_path, COMPILED, *options)
