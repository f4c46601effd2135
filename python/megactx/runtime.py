"""Loads and runs artifacts through the runtime's C API (megactx/Runtime/Runtime.h), in this process.

Inputs are anything with `__dlpack__` (numpy arrays, PyTorch tensors) or what numpy.asarray takes; dense
row-major memory is passed as it is. Outputs are numpy arrays over memory that the runtime gave away, or, of a
model for a GPU, DeviceTensor, which other libraries take without a copy:

    out = megactx.load("attention.mctx").run({"q": q, "k": k, "v": v})["out"]    # q, k, v: PyTorch, on a GPU
    out = torch.from_dlpack(out)
"""

import collections.abc
import contextlib
import ctypes
import functools
import importlib.util
import json
import os
import pathlib
import weakref

import numpy as np

from . import dlpack
from .tools import Error, build

_library = None
_DTYPES = {"float": "float32", "double": "float64"}
_NAMES = {numpy: onnx for onnx, numpy in _DTYPES.items()}


_Sizes = ctypes.c_int64 * 8


class _Tensor(ctypes.Structure):
    """mctx_tensor"""

    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_char_p), ("rank", ctypes.c_int64), ("shape", _Sizes),
                ("device_type", ctypes.c_int32), ("device", ctypes.c_int32)]


def library():
    """The runtime of the build in use; loaded once."""
    global _library
    if _library is None:
        path = build() / "lib" / "libmegactx_runtime.so"
        try:
            _library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise Error(f"cannot load the runtime: {error}") from None
        pointer, tensors, size = ctypes.c_void_p, ctypes.POINTER(_Tensor), ctypes.c_size_t
        for name, result, arguments in (
            ("mctx_error", ctypes.c_char_p, []),
            ("mctx_set_threads", ctypes.c_int, [ctypes.c_int]),
            ("mctx_load", pointer, [ctypes.c_char_p]),
            ("mctx_unload", None, [pointer]),
            ("mctx_describe", ctypes.c_char_p, [pointer]),
            ("mctx_run_on_stream", ctypes.c_int, [pointer, pointer, tensors, size, tensors, size]),
            ("mctx_wait", ctypes.c_int, [tensors]),
            ("mctx_to_host", ctypes.c_int, [tensors]),
            ("mctx_to_device", ctypes.c_int, [tensors, ctypes.c_int, pointer]),
            ("mctx_guard_memory", ctypes.c_int, [size]),
            ("mctx_check_guards", ctypes.c_int, []),
            ("mctx_to_dlpack", pointer, [tensors, pointer]),
            ("mctx_retain", None, [pointer]),
            ("mctx_free", None, [pointer]),
        ):
            function = getattr(_library, name)
            function.restype, function.argtypes = result, arguments
    return _library


@functools.cache
def _load_cublas():
    """Loads cuBLASLt from Python's packages (nvidia-cublas), where they have it, for the runtime, which takes what the process has
    before it looks elsewhere. What is loaded already, as by PyTorch, stays."""
    nvidia = importlib.util.find_spec("nvidia")
    for name in ("libcublasLt.so.13", "libcublasLt.so.12"):
        try:
            ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            continue
        except OSError:
            pass
        for folder in (nvidia.submodule_search_locations or ()) if nvidia else ():
            for path in sorted(pathlib.Path(folder).glob(f"*/lib/{name}")):
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(path))


def set_threads(count):
    """How many threads models use, at most 1024, 0 for one per core; to be called before the first run. Gives the number in use."""
    return library().mctx_set_threads(max(0, min(count, 1024)))


def guard_memory(size):
    """To find kernels that write where they should not: GPUs' memory that is allocated from now on is filled with bytes 0xff and stands
    between zones of at least `size` bytes, 0xff too; 0 ends that. Runs become slow."""
    if library().mctx_guard_memory(size):
        raise Error(library().mctx_error().decode())


def check_guards():
    """Waits for GPUs; raises Error where a zone of guard_memory was written to since the last call."""
    if library().mctx_check_guards():
        raise Error(library().mctx_error().decode())


def _dtype(name):
    if name == "bfloat16":
        try:
            import ml_dtypes  # comes with onnx
        except ImportError:
            raise Error("numpy has bfloat16 from the package ml_dtypes, which is not here") from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_DTYPES.get(name, name))


@functools.cache
def _numpy_dtype(name):
    """Of the runtime's name."""
    return _dtype(name.decode())


@functools.cache
def _onnx_name(dtype):
    return _NAMES.get(dtype.name, dtype.name).encode()


def _array(value):
    value = np.asarray(value)
    if value.dtype.isnative and value.flags.c_contiguous:
        return value
    return np.asarray(value, value.dtype.newbyteorder("="), order="C")


def _sizes(name, shape):
    if len(shape) > 8:
        raise Error(f"input '{name}': expected at most 8 dims, but got {len(shape)}")
    return _Sizes(*shape)


def _is_foreign(value):
    return hasattr(value, "__dlpack_device__") and not isinstance(value, np.ndarray)


def _given(name, value, stream, current=None):
    """The runtime's tensor, and what has to live as long as it is in use."""
    if _is_foreign(value):
        try:
            (address, dtype, shape, kind, device), held = dlpack.read(value, stream, current)
        except ValueError as error:
            raise Error(f"input '{name}': {error}") from None
        return _Tensor(address, dtype.encode(), len(shape), _sizes(name, shape), kind, device), held
    array = _array(value)
    return _Tensor(array.__array_interface__["data"][0], _onnx_name(array.dtype), array.ndim, _sizes(name, array.shape), dlpack.CPU, 0), array


def _check_writable(name, value):
    """What a run writes into is the array itself, not a copy."""
    if _is_foreign(value):
        return
    if not isinstance(value, np.ndarray) or not value.flags.writeable or not value.flags.c_contiguous or not value.dtype.isnative:
        raise Error(f"input '{name}': expected a numpy array in C order that can be written to, as the run writes into it")


def _taken(tensor, dtype=None):
    """A numpy array over an output's memory, which is freed with it, of another type of the same width where one is given; on a GPU a
    DeviceTensor."""
    if tensor.device_type == dlpack.CUDA:
        return DeviceTensor(tensor)
    dtype = dtype or _numpy_dtype(tensor.dtype)
    return np.asarray(_Memory(tensor, dtype.itemsize)).view(dtype)


class _Memory:
    """An output's memory, which is freed with the last array over it; for numpy, elements of so many bytes."""

    def __init__(self, tensor, itemsize):
        self.free, self.address = library().mctx_free, tensor.data
        self.__array_interface__ = dict(version=3, shape=tuple(tensor.shape[: tensor.rank]), typestr=f"|V{itemsize}", data=(self.address, False))

    def __del__(self):
        self.free(self.address)


class DeviceTensor:
    """An output in a GPU's memory, of a run that may still go on. `torch.from_dlpack` and others take it without a copy, ordered
    after the run; numpy gets a copy, and waits. The memory is freed with the last of its holders."""

    def __init__(self, tensor):
        self._tensor = _Tensor.from_buffer_copy(tensor)
        self._tensor.dtype = tensor.dtype  # a text of its own: the model's goes with the model
        self.shape, self.dtype = tuple(tensor.shape[: tensor.rank]), tensor.dtype.decode()
        weakref.finalize(self, library().mctx_free, tensor.data)

    def __dlpack_device__(self):
        return dlpack.CUDA, self._tensor.device

    def __dlpack__(self, *, stream=None, **_):
        """`stream` as DLPack counts: None and 1 are CUDA's default stream, -1 is none that waits."""
        if stream in (None, -1, dlpack.LEGACY_DEFAULT_STREAM):
            stream = 0
        managed = library().mctx_to_dlpack(ctypes.byref(self._tensor), stream)
        if not managed:
            raise Error(library().mctx_error().decode())
        return dlpack.capsule(managed)

    def wait(self):
        """Waits for the run; what failed in it, such as a check of its inputs' values, is raised here."""
        if library().mctx_wait(ctypes.byref(self._tensor)):
            raise Error(library().mctx_error().decode())

    def numpy(self, bits=False):
        """A copy in host memory, once the run is over; what failed in it is raised here. `bits`: of bfloat16, which numpy has not by
        itself, as uint16."""
        dtype = np.dtype(np.uint16) if bits and self.dtype == "bfloat16" else _dtype(self.dtype)
        copy = _Tensor.from_buffer_copy(self._tensor)
        library().mctx_retain(copy.data)
        if library().mctx_to_host(ctypes.byref(copy)):
            library().mctx_free(copy.data)
            raise Error(library().mctx_error().decode())
        return _taken(copy, dtype)

    def __array__(self, dtype=None, copy=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)


def to_device(array, device=None, stream=None, bits=False):
    """A DeviceTensor with the values of an array, which runs take as an input without a copy.

    bits: the array is of uint16 and holds bfloat16, which numpy has not by itself. device: the number of the CUDA device; without one the current one, or the first. stream: the handle of the stream whose work comes
    after the copy; without one CUDA's default stream.
    """
    tensor, array = _given("array", _array(array), stream)
    if bits:
        if array.dtype != np.uint16:
            raise Error(f"expected bits of bfloat16 as uint16, but got {array.dtype}")
        tensor.dtype = b"bfloat16"
    if library().mctx_to_device(ctypes.byref(tensor), -1 if device is None else device, stream):
        raise Error(library().mctx_error().decode())
    return DeviceTensor(tensor)


class Model:
    """A loaded artifact. `manifest` is its description, `inputs` and `outputs` are the names in order."""

    def __init__(self, path):
        self._handle = library().mctx_load(str(path).encode())
        if not self._handle:
            raise Error(library().mctx_error().decode())
        weakref.finalize(self, library().mctx_unload, self._handle)
        self.manifest = json.loads(library().mctx_describe(self._handle))
        self._on_gpu = self.manifest["target"]["kind"] == "cuda"
        if self._on_gpu:
            _load_cublas()
        self.inputs = [entry["name"] for entry in self.manifest["inputs"]]
        self.outputs = [entry["name"] for entry in self.manifest["outputs"]]
        self._names = set(self.inputs)
        self._updates = {entry["name"]: self.inputs[entry["updates"]] for entry in self.manifest["outputs"] if "updates" in entry}

    def __repr__(self):
        said = {kind: ", ".join(f"{entry['name']} {entry['dtype']} [{', '.join(str(size) or '?' for size in entry['shape'])}]" for entry in self.manifest[kind])
                for kind in ("inputs", "outputs")}
        return f"<megactx.Model for {self.manifest['target']['kind']}: {said['inputs']} -> {said['outputs']}>"

    def run(self, inputs, stream=None):
        """{name: tensor} to {name: numpy array, or DeviceTensor}. Outputs that are caches written in place are the inputs themselves.

        stream: of a model for a GPU, the handle of the CUDA stream that it runs on; without one PyTorch's current stream where
        PyTorch is in use, else CUDA's default stream. The run may still go on when this returns.
        """
        if not isinstance(inputs, collections.abc.Mapping):
            raise Error(f"expected the inputs by name, {{'{self.inputs[0] if self.inputs else ''}': ...}}, but got a {type(inputs).__name__}")
        if inputs.keys() != self._names:
            raise Error(f"expected the inputs {', '.join(self.inputs)}, but got {', '.join(inputs)}")
        current = None
        if stream is None and self._on_gpu:
            devices = [dlpack.place(value) for value in inputs.values() if hasattr(value, "__dlpack_device__")]
            current = next((device for kind, device in devices if kind == dlpack.CUDA), None)
            stream = dlpack.current_stream(current)
        for name in self._updates.values():
            _check_writable(name, inputs[name])
        tensors, held = zip(*(_given(name, inputs[name], stream, current) for name in self.inputs)) if self.inputs else ((), ())
        given = (_Tensor * len(tensors))(*tensors)
        made = (_Tensor * len(self.outputs))()
        if library().mctx_run_on_stream(self._handle, stream, given, len(tensors), made, len(made)):
            raise Error(library().mctx_error().decode())
        return {name: inputs[self._updates[name]] if name in self._updates else _taken(tensor) for name, tensor in zip(self.outputs, made)}


def load(path):
    """Loads an artifact that megactx-compile wrote."""
    return Model(path)
