"""Whole models as code for other CPUs of this architecture than the one here; what other architectures do is in tools/dev/aarch64-check."""

import platform

import pytest

from conftest import generated


@pytest.mark.skipif(platform.machine() != "x86_64", reason="for CPUs of x86")
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", ["bert_int8_ts17", "llama_decode_sdpa_ts17", "vit_sdpa_ts17"])
def test_stored_outputs(name, cpu, request, tool, tmp_path):
    model = generated(request.config.getoption("--build")) / name
    compiled = tool("megactx-compile", model / "model.onnx", f"--target={cpu}", "-o", tmp_path / "m.mctx")
    assert compiled.status == 0, compiled
    for data in sorted(model.glob("test_data_set_*")):
        done = tool("megactx-run", tmp_path / "m.mctx", "--test-data", data)
        if "this one has no" in done.err:
            pytest.skip(f"no {cpu} here")
        assert done.status == 0, done
