"""MegaContext's networks, and a T5, as a GPU would run them, against the outputs that onnxruntime stored with them, and with their policies against the CPU."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import emulated
import emulated_model

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, str(ROOT / "python" / "models" / "make_models.py"), str(folder), "gistnet_ts17", "lensnet_ts17", "t5_encoder_ts17"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def build(request):
    return pathlib.Path(request.config.getoption("--build")).resolve()


@pytest.fixture(scope="module", params=["sm_80", "sm_90a"])
def arch(request):
    return request.param


@pytest.mark.parametrize("name", ["gistnet_ts17", "lensnet_ts17", "t5_encoder_ts17"])
def test_stored_outputs(arch, name, models, build):
    model = emulated_model.Model(emulated.Library(build), build / "bin", models / name / "model.onnx", arch=arch)
    for data_set in sorted((models / name).glob("test_data_set_*")):
        assert max(emulated_model.errors(model, data_set)) < 1e-5


@pytest.mark.parametrize("name", ["gistnet", "lensnet"])
def test_with_its_policy(name, models, build, tmp_path):
    file, policy = models / f"{name}_ts17" / "model.onnx", ROOT / "docs" / "policies" / f"{name}.json"
    subprocess.run([build / "bin" / "megactx-compile", file, "--policy", policy, "-o", tmp_path / "m.mctx"], check=True, capture_output=True)
    model = emulated_model.Model(emulated.Library(build), build / "bin", file, f"--policy={policy}")
    data_set = models / f"{name}_ts17" / "test_data_set_1"
    subprocess.run([build / "bin" / "megactx-run", tmp_path / "m.mctx", "--inputs", data_set, "--outputs", tmp_path / "out"], check=True, capture_output=True)
    for got, want in zip(model.run(emulated_model.stored(data_set, "input")), emulated_model.stored(tmp_path / "out", "output"), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
