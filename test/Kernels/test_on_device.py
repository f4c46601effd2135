"""What gpu-check runs on a GPU, here with a driver for tests: artifacts, the runtime, all memory between poisoned zones."""

import os
import pathlib
import re
import subprocess
import sys


def test_kernels_by_the_runtime(request, tmp_path):
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    log = tmp_path / "log"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(build / "lib" / "fake-cuda"), "MEGACTX_FAKE_CUDA_LOG": str(log)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pathlib.Path(__file__).with_name("test_gpu_emulated.py"), "--build", build,
               "--device", "fake", "--target", "sm_80", "--artifacts", tmp_path / "artifacts", "-k", "sm_80 and (test_lengths and causal or test_softcap and bf16)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"\b2 passed", done.stdout), done.stdout + done.stderr
    # A query of 20 rows of 32, 3 batches and 4 heads, between zones of 64 KB.
    assert "cuMemAlloc 146432" in log.read_text()
