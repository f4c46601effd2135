"""Bad input of the GPU target: exit status 1, a message that says where, no output. On a driver for tests, with and without what it has."""

import ctypes
import os
import pathlib
import re
import shutil

import numpy as np
import onnx
import pytest
from onnx import helper

import reference
from conftest import generated
from test_bad_input import refuses, written

ATTENTION = """\
!t = tensor<1x2x?x64xf16>
!s = !megactx.source<tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
"""


@pytest.fixture(scope="module")
def good(request):
    """The folder of one good model."""
    return generated(request.config.getoption("--build")) / "gpt_sdpa_ts17"


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    path = tmp_path_factory.mktemp("attention") / "attention.mlir"
    path.write_text(ATTENTION)
    return path


@pytest.fixture(scope="module")
def artifact(attention, fake_gpu):
    """One attention for sm_80, for the tests' driver."""
    path = attention.with_suffix(".mctx")
    fake_gpu.compile(attention, path)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    reference.save_tensors(folder, "input", [(name, random.standard_normal((1, 2, 20, 64)).astype(np.float16)) for name in "qkv"])
    return folder


# --- compiling ---


@pytest.mark.parametrize("name, meant", [("sm90a", "sm_90a"), ("sm_9O", "sm_90"), ("SM_80", "sm_80"), ("90a", "sm_90a"), ("compute_80", "sm_80"),
                                         ("sm_80a", "sm_80"), ("sm_90b", "sm_90"), ("h100", None), ("sm_75", None), ("gpu", None), ("", None)])
def test_unknown_architecture(good, tool, tmp_path, name, meant):
    out = tmp_path / "out"
    done = tool("megactx-compile", good / "model.onnx", f"--target={name}", "-o", out)
    refuses(done, f"unknown target '{name}'", "sm_80, sm_86", output=out)
    found = re.search(r"did you mean '(\w+)'", done.err)
    assert (found[1] if found else None) == meant, done


@pytest.mark.parametrize("arch", ["sm_86", "sm_90", "sm_100a", "sm_100f", "sm_103", "sm_120"])
def test_every_architecture_has_code(attention, tool, tmp_path, arch):
    """Also where ptxas is older than the architecture: then PTX is what its own message is about."""
    out = tmp_path / "out.mctx"
    done = tool("megactx-compile", attention, f"--target={arch}", "-o", out)
    if done.status:
        refuses(done, "cannot assemble kernels", arch, output=out)
    else:
        assert (out / "model.so").read_bytes().count(f".target {arch}".encode()) or b"\x7fELF" in (out / "model.so").read_bytes()[64:], done


def test_a_kernel_of_a_node_that_does_not_fit(good, tool, tmp_path):
    """The node is named: all have one place in the file."""
    out = tmp_path / "out"
    schedule = "#nvx.schedule<rows = 256, columns = 256, warps = 16, stages = 8, product = fma, held = false, blocks = 1>"
    done = tool("megactx-compile", good / "model.onnx", "--target=sm_80", f"--schedule={schedule}", "-o", out)
    refuses(done, "model.onnx:0:0: error:", "bytes of shared memory on sm_80", "(node '", output=out)
    assert done.err.count("error:") == 1, done


def test_a_kernel_that_does_not_fit_in_shared_memory(attention, tool, tmp_path):
    out = tmp_path / "out"
    schedule = "#nvx.schedule<rows = 256, columns = 256, warps = 16, stages = 4, product = mma_sync, held = false, blocks = 1>"
    done = tool("megactx-compile", attention, "--target=sm_86", f"--schedule={schedule}", "-o", out)
    refuses(done, "attention.mlir:5:", "expected at most 101376 bytes of shared memory on sm_86", output=out)
    assert done.err.count("error:") == 1, done


@pytest.mark.parametrize("dim", [20, 264])
def test_a_head_dim_without_a_kernel_takes_the_generic_way(tool, fake_gpu, tmp_path, dim):
    (tmp_path / "odd.mlir").write_text(ATTENTION.replace("x64x", f"x{dim}x").replace("f16", "f32"))
    out = tmp_path / "out.mctx"
    fake_gpu.compile(tmp_path / "odd.mlir", out)
    q, k, v = (np.random.default_rng(i).standard_normal((1, 2, 9, dim)).astype(np.float32) / 4 for i in range(3))
    reference.save_tensors(tmp_path / "in", "input", [("q", q), ("k", k), ("v", v)])
    done = fake_gpu.run(out, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
    assert done.status == 0, done
    scores = np.where(np.tri(9, dtype=bool), q @ k.swapaxes(2, 3), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    (_, got), = reference.load_tensors(tmp_path / "out", "output")
    np.testing.assert_allclose(got, weights @ v / weights.sum(-1, keepdims=True), atol=1e-5)


ODD = helper.make_model(helper.make_graph([helper.make_node("Exp", ["x"], ["y"], name="odd")], "g",
                                          [helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ["n"])],
                                          [helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, ["n"])]),
                        opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def test_what_has_no_lowering_to_a_gpu_is_named(tool, tmp_path):
    """The same model compiles for the CPU."""
    path, out = written(tmp_path, ODD), tmp_path / "out"
    done = tool("megactx-compile", path, "--target=sm_80", "-o", out)
    refuses(done, "small.onnx:0:0: error: no lowering to a GPU for exp of f64; --target=cpu compiles it (node 'odd')", output=out)
    assert done.err.count("error:") == 1, done
    assert tool("megactx-compile", path, "-o", out).status == 0


def test_an_attention_of_a_type_that_has_no_kernel_is_named(tool, tmp_path):
    (tmp_path / "double.mlir").write_text(ATTENTION.replace("f16", "f64"))
    out = tmp_path / "out"
    done = tool("megactx-compile", tmp_path / "double.mlir", "--target=sm_80", "-o", out)
    refuses(done, "double.mlir:", "f64", output=out)
    assert done.err.count("error:") == 1, done


def toolkit(folder, ptxas):
    """A CUDA toolkit whose ptxas is a script."""
    (folder / "bin").mkdir()
    for name, text in (("ptxas", ptxas), ("fatbinary", "exit 1")):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


def with_path(*folders):
    return {**os.environ, "PATH": os.pathsep.join(map(str, folders))}


def test_ptxas_that_fails(attention, tool, tmp_path):
    path, out = toolkit(tmp_path, "echo 'ptxas fatal: Value sm_80 is not defined for option gpu-name'; exit 1"), tmp_path / "out"
    done = tool("megactx-compile", attention, "--target=sm_80", "-o", out, environment=with_path(path, "/usr/bin", "/bin"))
    refuses(done, "error: cannot assemble kernels for sm_80: ", "ptxas", "not defined for option gpu-name", output=out)
    assert done.err.count("error:") == 1, done


def test_a_toolkit_without_libdevice_does(attention, tool, tmp_path):
    """Kernels call nothing of it, so that nothing is said of it."""
    real = shutil.which("ptxas")
    if not real or not shutil.which("fatbinary"):
        pytest.skip("needs ptxas and fatbinary")
    path = toolkit(tmp_path, f'exec {real} "$@"')
    (path / "fatbinary").write_text(f'#!/bin/sh\nexec {shutil.which("fatbinary")} "$@"\n')
    done = tool("megactx-compile", attention, "--target=sm_80", "-o", tmp_path / "out", environment=with_path(path, "/usr/bin", "/bin"))
    assert done.status == 0 and "error" not in done.err, done


def test_no_ptxas_where_one_is_needed(attention, tool, tmp_path):
    """Machine code alone needs it; an artifact without has PTX."""
    fused = tool("megactx-compile", attention, "--target=sm_80", "--compile-to=memref", "-o", tmp_path / "fused.mlir")
    assert fused.status == 0, fused
    (tmp_path / "bin").mkdir()
    done = tool("megactx-opt", tmp_path / "fused.mlir", f"--megactx-gpu-launches-pipeline=format=bin toolkit={tmp_path}", "-o", tmp_path / "out",
                environment={"PATH": "/nowhere"})
    refuses(done, "error: cannot assemble kernels for sm_80: ", "Couldn't find the `ptxas` binary", output=tmp_path / "out")
    assert done.err.count("error:") == 1 and len(done.err) < 1000, done


def test_an_unknown_format(attention, tool, tmp_path):
    done = tool("megactx-opt", attention, "--megactx-attention-to-gpu-pipeline=format=elf", "-o", tmp_path / "out")
    refuses(done, "expected the format llvm, isa, bin or fatbin, but got 'elf'", output=tmp_path / "out")


# --- loading and running ---


def test_a_good_run(artifact, inputs, fake_gpu, tmp_path):
    """What the others are broken forms of."""
    done = fake_gpu.run(artifact, "--inputs", inputs, "--outputs", tmp_path / "out", settings="capability=86")
    assert done.status == 0 and (tmp_path / "out" / "output_0.pb").exists(), done


def refuses_run(done, tmp_path, *words):
    refuses(done, *words, output=tmp_path / "out" / "output_0.pb")
    assert done.err.count("\n") == 1, f"more than one line\n{done}"


@pytest.mark.parametrize("library, words", [(None, ["there is no CUDA driver"]), ("runtime", ["the CUDA driver is too old", "has no cuInit"])],
                         ids=["none", "too old"])
def test_no_driver(artifact, inputs, fake_gpu, tmp_path, library, words):
    """A file that is none stands in for what is not there, on machines that have one too."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    if library:
        (folder / "libcuda.so.1").symlink_to(fake_gpu.build / "lib" / "libmegactx_runtime.so")
    else:
        (folder / "libcuda.so.1").write_text("")
    done = fake_gpu.run(artifact, "--inputs", inputs, "--outputs", tmp_path / "out", libraries=folder)
    refuses_run(done, tmp_path, *words)


def has_cublas():
    for name in ("libcublasLt.so.13", "libcublasLt.so.12", *map(str, pathlib.Path("/usr/local/cuda").glob("lib*/libcublasLt.so.1?"))):
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            pass
    return False


def test_no_cublas(good, fake_gpu, tmp_path):
    """A model with products; where the machine has the library, it is found."""
    if has_cublas():
        pytest.skip("there is a cuBLASLt")
    artifact, folder = tmp_path / "gpt.mctx", tmp_path / "libraries"
    fake_gpu.compile(good / "model.onnx", artifact)
    folder.mkdir()
    for name in ("libcuda.so.1", "libmegactx_gpu_emulator.so"):
        (folder / name).symlink_to(next((fake_gpu.build / "lib").rglob(name)))
    done = fake_gpu.run(artifact, "--inputs", good / "test_data_set_0", "--outputs", tmp_path / "out", libraries=folder)
    refuses_run(done, tmp_path, "this model needs cuBLASLt", "libcublasLt.so.13", "LD_LIBRARY_PATH can name its folder")


def test_no_device(artifact, inputs, fake_gpu, tmp_path):
    done = fake_gpu.run(artifact, "--inputs", inputs, "--outputs", tmp_path / "out", settings="devices=0")
    refuses_run(done, tmp_path, "this model needs an NVIDIA GPU, and the CUDA driver has none")


@pytest.mark.parametrize("arch, capability, runs", [("sm_80", 75, False), ("sm_80", 80, True), ("sm_80", 90, True), ("sm_90a", 80, False),
                                                    ("sm_90a", 90, True), ("sm_90a", 100, False)])
def test_another_architecture(attention, inputs, fake_gpu, tmp_path, arch, capability, runs):
    artifact = attention.with_suffix(f".{arch}.mctx")
    if not artifact.exists():
        fake_gpu.compile(attention, artifact, arch=arch)
    done = fake_gpu.run(artifact, "--inputs", inputs, "--outputs", tmp_path / "out", settings=f"capability={capability}")
    if runs:
        assert done.status == 0, done
    else:
        refuses_run(done, tmp_path, f"compiled for {arch}", "CUDA device 0 (Fake GPU)", f"sm_{capability}", "--target")


@pytest.mark.parametrize("settings, words", [
    ("memory=3000", ["out of memory: 5120 bytes", "CUDA device 0 (Fake GPU)"]),
    ("fail=cuModuleLoadDataEx:200", ["loading the model's device code", "CUDA_ERROR_INVALID_IMAGE", "the fake's compiler does not like it"]),
    ("fail=cuModuleLoadDataEx:209", ["no code for this device", "sm_80", "CUDA_ERROR_NO_BINARY_FOR_GPU"]),
    ("fail=cuModuleLoadDataEx:222", ["this driver cannot compile the model's PTX", "newer"]),
    ("fail=cuModuleGetFunction:500", ["mctx_attention_0", "cuModuleGetFunction failed"]),
    ("fail=cuLaunchKernel:719", ["mctx_attention_0", "CUDA_ERROR_LAUNCH_FAILED"]),
    ("fail=cuMemcpyAsync:1", ["a copy failed", "CUDA_ERROR_INVALID_VALUE"]),
    ("fail=cuStreamSynchronize:719", ["the model's run failed", "CUDA_ERROR_LAUNCH_FAILED"]),
    ("fail=cuDevicePrimaryCtxRetain:2", ["CUDA device 0 (Fake GPU)", "cuDevicePrimaryCtxRetain failed", "CUDA_ERROR_OUT_OF_MEMORY"]),
], ids=lambda x: x if isinstance(x, str) else "")
def test_a_driver_that_fails(artifact, inputs, fake_gpu, tmp_path, settings, words):
    done = fake_gpu.run(artifact, "--inputs", inputs, "--outputs", tmp_path / "out", settings=settings)
    refuses_run(done, tmp_path, *words)


BOXES = "#nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma>"


@pytest.fixture(scope="module")
def boxes(attention, fake_gpu):
    """The attention with tensor maps."""
    path = attention.with_suffix(".boxes.mctx")
    fake_gpu.compile(attention, path, schedule=BOXES, arch="sm_90a")
    return path


def test_tensor_maps_that_the_driver_refuses(boxes, inputs, fake_gpu, tmp_path):
    run = lambda **more: fake_gpu.run(boxes, "--inputs", inputs, "--outputs", tmp_path / "out", **more)
    refuses_run(run(settings="capability=90 fail=cuTensorMapEncodeTiled:1"), tmp_path, "cuTensorMapEncodeTiled failed", "CUDA_ERROR_INVALID_VALUE")
    assert run(settings="capability=90").status == 0


def test_a_driver_without_tensor_maps(boxes, inputs, fake_gpu, tmp_path):
    """Other models do not ask for them."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    driver = (fake_gpu.build / "lib" / "fake-cuda" / "libcuda.so.1").read_bytes()
    assert driver.count(b"\0cuTensorMapEncodeTiled\0")
    (folder / "libcuda.so.1").write_bytes(driver.replace(b"\0cuTensorMapEncodeTiled\0", b"\0cuTensorMapEncodeNever\0"))
    (folder / "libmegactx_gpu_emulator.so").symlink_to(fake_gpu.build / "lib" / "libmegactx_gpu_emulator.so")
    done = fake_gpu.run(boxes, "--inputs", inputs, "--outputs", tmp_path / "out", settings="capability=90", libraries=folder)
    refuses_run(done, tmp_path, "the CUDA driver is too old", "cuTensorMapEncodeTiled")


def test_device_code_that_is_damaged(artifact, inputs, fake_gpu, tmp_path):
    """A byte of it is missed before anything is loaded."""
    path = tmp_path / "damaged.mctx"
    shutil.copytree(artifact, path)
    code = bytearray((path / "model.so").read_bytes())
    code[code.index(b"mctx_attention_0")] ^= 1
    (path / "model.so").write_bytes(code)
    done = fake_gpu.run(path, "--inputs", inputs, "--outputs", tmp_path / "out")
    refuses_run(done, tmp_path, "damaged.mctx/model.so' is damaged")


def test_a_run_after_one_that_failed(artifact, fake_gpu, tmp_path):
    """Errors are of a run, not of the model; nothing of the failed one is in the next."""
    done = fake_gpu.python("""
import os, numpy as np
model = megactx.load(sys.argv[1])
give = {name: np.ones((1, 2, 20, 64), np.float16) for name in model.inputs}
want = [np.asarray(out) for out in model.run(give).values()]
os.environ["MEGACTX_FAKE_CUDA"] = "fail=cuLaunchKernel:719"
try:
    model.run(give)
    sys.exit("expected an error")
except megactx.Error as error:
    print(error)
os.environ["MEGACTX_FAKE_CUDA"] = ""
for a, b in zip(want, model.run(give).values()):
    np.testing.assert_array_equal(a, np.asarray(b))
""", artifact)
    assert done.status == 0 and "CUDA_ERROR_LAUNCH_FAILED" in done.out, done


@pytest.mark.parametrize("change, words", [("shape", ["'input_0'", "dim 3", "expected 64, but got 32"]), ("dtype", ["'input_0'", "expected dtype float16"])])
def test_wrong_inputs(artifact, fake_gpu, tmp_path, change, words):
    array = np.ones((1, 2, 20, 32), np.float16) if change == "shape" else np.ones((1, 2, 20, 64), np.float32)
    reference.save_tensors(tmp_path / "in", "input", [(name, array) for name in "qkv"])
    refuses_run(fake_gpu.run(artifact, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out"), tmp_path, *words)
