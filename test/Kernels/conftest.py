import collections
import itertools
import os
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "Models"))

import attention
import days


def pytest_addoption(parser):
    parser.addoption("--build", default="build/dev", help="build folder")
    parser.addoption("--device", choices=["emulator", "none", "compile", "fake", "cuda"], default="emulator",
                     help="what GPU kernels run on: the emulator; none, these are left out; artifacts are only compiled; by the runtime, with a driver that emulates; a GPU")
    parser.addoption("--cpu", default="cpu", help="the CPU that other kernels are compiled for, by LLVM's name (this machine's)")
    parser.addoption("--target", default="sm_80", help="the GPU's architecture that artifacts are compiled for")
    parser.addoption("--artifacts", type=pathlib.Path, help="folder of artifacts, kept (default: a new one)")
    parser.addoption("--all", action="store_true", help="emulated kernels for each architecture, not for one of them in turn")
    parser.addoption("--runtime", type=pathlib.Path, help="folder with lib/libmegactx_runtime.so (default: the build folder)")


def is_for_gpus(item):
    return "gpu" in item.fixturenames or hasattr(item, "callspec") and "gpu" in item.callspec.params.values()


def in_turn(items):
    """Of tests that differ in the architecture alone, one."""
    alike = collections.defaultdict(list)
    for item in items:
        chosen = [mark.args[0] for mark in item.iter_markers("parametrize")]
        if hasattr(item, "callspec") and "arch" in item.callspec.params and not any("arch" in names for names in chosen):
            alike[item.nodeid.replace(f"[{item.callspec.params['arch']}", "[", 1)].append(item)
    kept = {group[zlib.crc32(name.encode()) % len(group)] for name, group in alike.items()}
    left = {item for group in alike.values() for item in group} - kept
    return [item for item in items if item not in left]


def pytest_collection_modifyitems(config, items):
    """On a device what is for GPUs, with none what is not; by the emulator each kernel for one architecture."""
    option = config.getoption
    if option("--device") == "none":
        kept = list(itertools.filterfalse(is_for_gpus, items))
    elif option("--device") != "emulator":
        kept = list(filter(is_for_gpus, items))
    else:
        kept = items if option("--all") else in_turn(items)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"


def tools_of(request):
    """The folder of the build's commands, which a machine with a GPU does not need; what needs them is not for it."""
    if request.config.getoption("--device") not in ("emulator", "none"):
        pytest.skip("needs no GPU")
    return pathlib.Path(request.config.getoption("--build")).resolve() / "bin"


@pytest.fixture
def tools(request):
    return tools_of(request)


@pytest.fixture(scope="session")
def program(request, tmp_path_factory):
    """MLIR with a function main, options of megactx-compile -> a function from inputs to the list of outputs; each is compiled once, and
    but every third day without LLVM's optimizations, which take half of the time. A run that fails raises AssertionError with the tool's message."""
    programs = {}

    import onnx
    from onnx import numpy_helper

    def make(module, *options):
        tools = tools_of(request)
        if (module, options) in programs:
            return programs[module, options]
        folder = tmp_path_factory.mktemp("kernel")
        (folder / "in.mlir").write_text(module)
        plain = not request.config.getoption("--all") and not days.is_due(module, 3)
        target = [] if any(option.startswith("--target") for option in options) else [f"--target={request.config.getoption('--cpu')}"]
        call(tools / "megactx-compile", folder / "in.mlir", *options, *target, *["-O0"] * plain, "-o", folder / "k.mctx")

        def run(inputs):
            for i, array in enumerate(inputs):
                np.save(folder / f"input_{i}.npy", np.asarray(array, order="C"))
            call(tools / "megactx-run", folder / "k.mctx", "--inputs", folder, "--outputs", folder / "out")
            outputs = []
            while (file := folder / "out" / f"output_{len(outputs)}.pb").exists():
                proto = onnx.TensorProto()
                proto.ParseFromString(file.read_bytes())
                outputs.append(numpy_helper.to_array(proto))
            return outputs

        programs[module, options] = run
        return run

    return make


@pytest.fixture(scope="session")
def gpu(request, tmp_path_factory):
    """What compiles code for GPUs and runs it, as --device says."""
    option = request.config.getoption
    build, device = pathlib.Path(option("--build")).resolve(), option("--device")
    if device == "emulator":
        import emulated_model

        return emulated_model.Emulator(build)
    import on_device

    return on_device.Device(device, option("--target"), build, option("--artifacts") or tmp_path_factory.mktemp("artifacts"), option("--runtime"))


@pytest.fixture(scope="session")
def gpu_model(gpu):
    """A file of ONNX or MLIR, options of megactx-compile -> its code for a GPU. `run` takes a list of arrays to one; those of bf16 are bits."""
    return gpu.model


@pytest.fixture(scope="session")
def gpu_program(gpu, tmp_path_factory):
    """As `program`, but for a GPU; `arch`: the emulator's, where it is to be another."""
    programs = {}

    def make(module, *options, **arch):
        key = (module, options, *arch.items())
        if key not in programs:
            file = tmp_path_factory.mktemp("gpu") / "in.mlir"
            file.write_text(module)
            programs[key] = gpu.model(file, *options, **arch)

        def run(inputs):
            try:
                return programs[key].run([np.asarray(array, order="C") for array in inputs])
            except gpu.Error as error:
                raise AssertionError(str(error)) from error

        return run

    return make


@pytest.fixture(scope="session")
def compiled(program):
    """Specifications that differ in the pattern alone -> Kernel."""

    def make(*specs):
        return attention.Kernel(specs, program(attention.together([spec.module() for spec in specs]), *(["--generic"] if specs[0].generic else [])))

    return make


@pytest.fixture(scope="session")
def emulate(gpu):
    """spec -> its GPU kernels, on what --device says."""
    return gpu.kernel
