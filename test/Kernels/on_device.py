"""GPU kernels through artifacts and the runtime: what test_gpu_emulated.py asks of the emulator, asked of a device.

Artifacts are compiled where MLIR is, into a folder, and run where a GPU is, which needs neither MLIR nor a build:

    pytest test/Kernels/test_gpu_emulated.py --device compile --target sm_90 --artifacts build/gpu/kernels
    pytest test/Kernels/test_gpu_emulated.py --device cuda --runtime build/gpu --artifacts build/gpu/kernels
"""

import hashlib
import pathlib
import re
import sys
import tempfile

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "python"))

import emulated
import emulated_model
import megactx


def module(spec, patterns):
    """The specification on tensors as they are stored, lengths and offsets as ONNX has them: out and log-sum-exp.

    Arguments: q, then the keys of all sources, then their values, bias, lengths, segments, offset of the queries, offset of the keys."""
    tensor = lambda heads, dim: f"tensor<?x{heads}x?x{dim}x{spec.dtype}>"
    q, k, v, o = tensor(spec.heads, spec.head_dim), tensor(spec.key_heads, spec.head_dim), tensor(spec.key_heads, spec.value_dim), tensor(spec.heads, spec.value_dim)
    lse, bias, source = f"tensor<?x{spec.heads}x?xf32>", f"tensor<?x?x{1 if spec.bias_per_key else '?'}x?xf32>", f"!megactx.source<{k}, {v}>"
    sources = range(len(patterns))
    arguments = [f"%q: {q}", *(f"%k{i}: {k}" for i in sources), *(f"%v{i}: {v}" for i in sources)]
    arguments += [f"%b: {bias}"] * spec.bias + ["%l: tensor<?xi64>"] * spec.lengths + ["%g: tensor<?x?xi64>"] * spec.segments
    arguments += [f"%p: tensor<{'?x' * spec.offset_per_batch}i64>", "%kp: tensor<i64>"]
    more = " bias(%b)" * spec.bias + " lengths(%li)" * spec.lengths + " segments(%gi)" * spec.segments + " offset(%kpi)"
    more_types = f", {bias}" * spec.bias + ", tensor<?xindex>" * spec.lengths + ", tensor<?x?xindex>" * spec.segments + ", index"
    lines = ["%li = arith.index_cast %l : tensor<?xi64> to tensor<?xindex>"] * spec.lengths
    lines += ["%gi = arith.index_cast %g : tensor<?x?xi64> to tensor<?x?xindex>"] * spec.segments
    offset = "tensor<?xindex>" if spec.offset_per_batch else "index"
    lines += ["%pi = arith.index_cast %p : tensor<?xi64> to tensor<?xindex>"] * spec.offset_per_batch
    for name in ("kp",) if spec.offset_per_batch else ("p", "kp"):
        lines += [f"%{name}x = tensor.extract %{name}[] : tensor<i64>", f"%{name}i = arith.index_cast %{name}x : i64 to index"]
    lines += [f"%s{i} = megactx.source %k{i}, %v{i}{more} pattern(#megactx.pattern<{pattern}>) {{key_step = {spec.key_step} : i64}}"
              f" : ({k}, {v}{more_types}) -> {source}" for i, pattern in enumerate(patterns)]
    cap = f", softcap = {spec.softcap!r} : f32" if spec.softcap else ""
    lines.append(f"%o, %lse = megactx.attention %q, {', '.join(f'%s{i}' for i in sources)} offset(%pi) {{scale = {spec.scale!r} : f32, "
                 f"query_step = {spec.query_step} : i64{cap}}} : ({q}, {', '.join([source] * len(patterns))}, {offset}) -> ({o}, {lse})")
    body = "\n  ".join(lines)
    return f"func.func @main({', '.join(arguments)}) -> ({o}, {lse}) {{\n  {body}\n  return %o, %lse : {o}, {lse}\n}}\n"


def with_text(launches):
    """A module whose device code is LLVM IR as text that ends in a zero byte, as the tests' driver takes it."""
    def text_of(match):
        code = re.sub(rb"\\([0-9A-Fa-f]{2}|.)", lambda m: bytes([int(m[1], 16)]) if len(m[1]) == 2 else m[1], match[1])
        text = emulated.call(emulated.LLVM / "llvm-dis", text=code) + b"\0"
        return b'offload = "' + "".join(f"\\{c:02X}" for c in text).encode() + b'"'

    return re.sub(rb'offload = "((?:[^"\\]|\\.)*)"', text_of, launches)


def compile_artifact(tools, target, source, artifact, *options, schedule="", format="fatbin"):
    """From a file of ONNX or MLIR, by megactx-compile; with a schedule, or in a format for tests, its phase of kernels is run with those.
    `format`: fatbin, or llvm for the tests' driver."""
    compiler = [tools / "megactx-compile", f"--target={target}"]
    if not schedule and format == "fatbin":
        emulated.call(*compiler, source, *options, "-o", artifact, text=b"")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder) / "launches.mlir"
        buffers = emulated.call(*compiler, source, *options, "--compile-to=memref", "-o", "-", text=b"")
        launches = emulated.call(tools / "megactx-opt", f'--megactx-gpu-launches-pipeline=arch={target} format={format} schedule="{schedule}"', text=buffers)
        made.write_bytes(with_text(launches) if format == "llvm" else launches)
        emulated.call(*compiler, made, *["-O0"] * (format == "llvm"), "-o", artifact, text=b"")


ZONE = 1 << 16  # bytes: more than a kernel's tile


class Artifacts:
    """A folder of artifacts by what they are made of. `tools` compile what is not there; without them it is skipped."""

    def __init__(self, folder, target, tools=None, format="fatbin"):
        self.folder, self.target, self.tools, self.format = pathlib.Path(folder), target, tools, format
        self.folder.mkdir(parents=True, exist_ok=True)

    def of(self, text, ending=".mlir", options=(), schedule=""):
        """Of the bytes of a file."""
        name = hashlib.sha256(text + " ".join([*options, schedule]).encode()).hexdigest()[:16]
        artifact = self.folder / f"{name}.mctx"
        if not artifact.exists():
            if not self.tools:
                pytest.skip("no artifact: compile with --device compile first")
            with tempfile.TemporaryDirectory() as folder:
                source = pathlib.Path(folder) / f"in{ending}"
                source.write_bytes(text)
                try:
                    compile_artifact(self.tools, self.target, source, artifact, *options, schedule=schedule, format=self.format)
                except RuntimeError as error:
                    reason = re.search(r"no lowering to a GPU for .*", str(error))
                    if not reason:
                        raise
                    pytest.skip(reason[0])
        return artifact


def given(array, dtype):
    """An array as it is stored, in the host's memory, from which the runtime copies it; bits of bf16 there already."""
    return megactx.to_device(array, bits=True) if dtype == "bf16" else array


def load(artifact):
    """With zones of bytes around memory that `check_guards` looks at."""
    megactx.guard_memory(ZONE)
    return megactx.load(artifact)


class Kernel:
    """One specification, compiled; `run` as that of emulated.Kernel. Inputs, outputs and all between are in memory of bytes that are no
    numbers, between zones of such; what is written to these is an error."""

    def __init__(self, artifacts, spec, mutate=None, more=(), schedule="", compile_only=False):
        if mutate:
            pytest.skip("mutations are for the emulator")
        self.spec, self.patterns = spec, (spec.pattern, *more)
        artifact = artifacts.of(module(spec, self.patterns).encode(), schedule=schedule)
        self.model = None if compile_only else load(artifact)
        self.launches = list(self.patterns) * 4  # rounding of what accumulates, as an upper bound

    def given(self, array):
        bits = emulated.to_bits(array, self.spec.dtype)
        return given(bits.view(np.float16) if self.spec.dtype == "f16" else bits, self.spec.dtype)

    @staticmethod
    def taken(tensor):
        """float32, once the run is over."""
        array = tensor.numpy(bits=True)
        return emulated.from_bits(array, "bf16") if array.dtype == np.uint16 else array.astype(np.float32)

    def run(self, q, k, v, lengths=None, offset=0, key_offset=0, bias=None, segments=None):
        if not self.model:
            pytest.skip("compiled")
        keys, values = (k, v) if isinstance(k, list) else ([k], [v])
        inputs = [self.given(array) for array in (q, *keys, *values)]
        inputs += [array for array in (bias, lengths, segments) if array is not None]
        inputs += [np.array(offset, np.int64), np.array(key_offset, np.int64)]
        results = self.model.run(dict(zip(self.model.inputs, inputs)))
        taken = tuple(map(self.taken, results.values()))
        megactx.check_guards()
        return taken


class Model:
    """A file that is compiled as it is, as emulated_model.Model; memory is that of `Kernel`."""

    def __init__(self, artifact):
        self.model = load(artifact)

    def run(self, inputs):
        entries = self.model.manifest["inputs"]
        arrays = {entry["name"]: given(array, "bf16" if entry["dtype"] == "bfloat16" else "") for entry, array in zip(entries, inputs, strict=True)}
        taken = [tensor.numpy(bits=True) for tensor in self.model.run(arrays).values()]
        megactx.check_guards()
        return taken


class Device:
    """What makes kernels and models that a GPU runs, or a driver for tests; or only compiles them for another machine.

    kind: as --device has it; runtime: a folder with lib/libmegactx_runtime.so, where that is not the build."""

    Error = (megactx.Error, emulated.EmulatorError)

    def __init__(self, kind, target, build, folder, runtime=None):
        megactx.use_build(runtime or build)
        self.compiles = kind == "compile"
        self.artifacts = Artifacts(folder, target, tools=None if kind == "cuda" else build / "bin", format="llvm" if kind == "fake" else "fatbin")
        self.emulator = emulated_model.Emulator(build) if self.compiles else None

    def kernel(self, spec, mutate=None, **more):
        return Kernel(self.artifacts, spec, mutate, compile_only=self.compiles, **more)

    def model(self, path, *options):
        """Where it is only compiled, the emulator runs it, for what a test compiles after it."""
        artifact = self.artifacts.of(path.read_bytes(), path.suffix, options)
        return self.emulator.model(path, *options) if self.compiles else Model(artifact)
