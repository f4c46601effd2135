"""Whole models for a GPU without a GPU: the emulator runs what megactx-compile --target would have a device run.

    model = emulated_model.Model(library, tools, "model.onnx")
    outputs = model.run([ids])               # arrays in, arrays out; EmulatorError where a kernel or a check of the model fails

Run as a program, it compares models with the outputs stored beside them: emulated_model.py [--build DIR] FOLDER...
"""

import argparse
import ctypes
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import emulated

DTYPES = {"float": np.float32, "double": np.float64, "float16": np.float16, "bfloat16": np.uint16, "bool": np.bool_,
          **{name: np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}}


class Model:
    """One model, compiled for `arch`; `options` are megactx-compile's."""

    def __init__(self, library, tools, path, *options, arch="sm_80"):
        self.library = library
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            common = [tools / "megactx-compile", path, f"--target={arch}", *options]
            emulated.call(*common, "-O0", "-o", folder / "m.mctx", text=b"")
            self.manifest = json.loads((folder / "m.mctx" / "manifest.json").read_text())
            self.weights = np.fromfile(folder / "m.mctx" / "weights.bin", np.uint8)
            emulated.call(*common, "--compile-to=memref", "-o", folder / "m.mlir", text=b"")
            text = (folder / "m.mlir").read_bytes()
        text = emulated.call(tools / "megactx-opt", f"--megactx-gpu-launches-pipeline=format=llvm arch={arch}",
                             "--llvm-request-c-wrappers", "--megactx-gpu-to-llvm-pipeline", text=text)
        self.program = library.load(emulated.call(emulated.LLVM / "mlir-translate", "--mlir-to-llvmir", text=text))
        self.main = library.function(self.program, "_mlir_ciface_main")

    def run(self, inputs):
        c = self.library.c
        aligned = [emulated.Buffer((self.weights.size,), np.uint8, emulated.IN, self.weights)]
        for spec, array in zip(self.manifest["inputs"], inputs, strict=True):
            aligned.append(emulated.Buffer(array.shape, DTYPES[spec["dtype"]], emulated.IN, array))
        weights, *given = aligned
        descriptors = [buffer.descriptor for buffer in given]
        for weight in self.manifest["weights"]:
            shape, at = weight["shape"], weights.address + weight["offset"]
            strides = [int(np.prod(shape[i + 1:])) for i in range(len(shape))]
            descriptors.append(np.array([at, at, 0, *shape, *strides], np.int64))
        results = np.zeros(sum(3 + 2 * len(o["shape"]) for o in self.manifest["outputs"]), np.int64)
        for i, buffer in enumerate(aligned):
            name = b"weights" if i == 0 else self.manifest["inputs"][i - 1]["name"].encode()
            c.emulator_add(name, ctypes.c_void_p(buffer.address), ctypes.c_size_t(buffer.bytes), buffer.use)
        try:
            self.main(*(ctypes.c_void_p(d.ctypes.data) for d in [results, *descriptors]))
            self.library.checked()
            return self.take(results)
        finally:
            for buffer in aligned:
                c.emulator_remove(ctypes.c_void_p(buffer.address))

    def take(self, words):
        outputs, at, blocks = [], 0, set()
        for spec in self.manifest["outputs"]:
            rank, dtype = len(spec["shape"]), np.dtype(DTYPES[spec["dtype"]])
            block, data, offset, *dims = (int(w) for w in words[at:at + 3 + 2 * rank])
            at += 3 + 2 * rank
            shape, count = dims[:rank], int(np.prod(dims[:rank]))
            raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(data + offset * dtype.itemsize)
            outputs.append(np.frombuffer(bytes(raw), dtype).reshape(shape))
            blocks.add(block)
        for block in blocks:
            self.library.c.mgpuMemFree(ctypes.c_void_p(block), None)
        return outputs


class Emulator:
    """What makes kernels and models that the emulator runs."""

    Error = emulated.EmulatorError

    def __init__(self, build):
        self.library, self.tools = emulated.Library(build), build / "bin"

    def kernel(self, spec, mutate=None, **more):
        return emulated.Kernel(self.library, self.tools, spec, mutate, **more)

    def model(self, path, *options, **more):
        return Model(self.library, self.tools, path, *options, **more)


def stored(data_set, kind):
    """The arrays of a data set in ONNX's layout."""
    arrays = []
    while (file := data_set / f"{kind}_{len(arrays)}.pb").exists():
        proto = onnx.TensorProto()
        proto.ParseFromString(file.read_bytes())
        arrays.append(numpy_helper.to_array(proto))
    return arrays


def errors(model, data_set):
    """The greatest absolute difference from each stored output."""
    outputs = model.run(stored(data_set, "input"))
    wanted = stored(data_set, "output")
    assert [o.shape for o in outputs] == [w.shape for w in wanted]
    return [float(np.abs(o.astype(np.float64) - w.astype(np.float64)).max(initial=0)) for o, w in zip(outputs, wanted)]


def main():
    parser = argparse.ArgumentParser(description="Runs models under the emulator and prints the errors of their outputs.")
    parser.add_argument("folders", type=pathlib.Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/dev"))
    parser.add_argument("--arch", default="sm_80")
    a = parser.parse_args()
    build, failed = a.build.resolve(), 0
    library = emulated.Library(build)
    for folder in a.folders:
        try:
            model = Model(library, build / "bin", folder / "model.onnx", arch=a.arch)
            for data_set in sorted(folder.glob("test_data_set_*")):
                print(folder.name, data_set.name, *(f"{e:.1e}" for e in errors(model, data_set)), flush=True)
        except (emulated.EmulatorError, RuntimeError, AssertionError) as error:
            failed += 1
            print(folder.name, "error:", error, flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
