"""300 mutated models, the same on every run: each is imported or refused with a message (see fuzz_import.py)."""

import pathlib
import subprocess
import sys

from conftest import generated

MODELS = ["gpt_sdpa_ts17", "vit_sdpa_ts17"]


def test_mutated_models(request, tmp_path):
    build = request.config.getoption("--build").resolve()
    models = [generated(build) / name / "model.onnx" for name in MODELS]
    script = pathlib.Path(__file__).parent / "fuzz_import.py"
    done = subprocess.run([sys.executable, script, "--build", build, "--count", "300", "--keep", tmp_path, *models], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
