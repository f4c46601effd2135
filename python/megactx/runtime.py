"""Loads and runs artifacts through the runtime's C API (megactx/Runtime/Runtime.h), in this process.

Inputs are anything with `__dlpack__` (numpy arrays, PyTorch tensors) or what numpy.asarray takes; dense
row-major memory is passed as it is. Outputs are numpy arrays over memory that the runtime gave away.
"""

import ctypes
import json
import math
import weakref

import numpy as np

from .tools import Error, build

_library = None
_DTYPES = {"float": "float32", "double": "float64"}
_NAMES = {numpy: onnx for onnx, numpy in _DTYPES.items()}


class _Tensor(ctypes.Structure):
    """mctx_tensor"""

    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_char_p), ("rank", ctypes.c_int64), ("shape", ctypes.c_int64 * 8)]


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
            ("mctx_run", ctypes.c_int, [pointer, tensors, size, tensors, size]),
            ("mctx_free", None, [pointer]),
        ):
            function = getattr(_library, name)
            function.restype, function.argtypes = result, arguments
    return _library


def set_threads(count):
    """How many threads models use, 0 for one per core; to be called before the first run. Gives the number in use."""
    return library().mctx_set_threads(count)


def _dtype(name):
    if name == "bfloat16":
        import ml_dtypes  # comes with onnx

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_DTYPES.get(name, name))


def _array(value):
    if not isinstance(value, np.ndarray):
        value = np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
    return np.asarray(value, order="C")


def _given(name, array):
    if array.ndim > 8:
        raise Error(f"input '{name}': expected at most 8 dims, but got {array.ndim}")
    dtype = _NAMES.get(array.dtype.name, array.dtype.name).encode()
    return _Tensor(array.ctypes.data, dtype, array.ndim, (ctypes.c_int64 * 8)(*array.shape))


def _taken(tensor):
    """A numpy array over an output's memory, which is freed with it."""
    shape, dtype = tuple(tensor.shape[: tensor.rank]), _dtype(tensor.dtype.decode())
    count = math.prod(shape)
    memory = (ctypes.c_uint8 * max(1, count * dtype.itemsize)).from_address(tensor.data)
    weakref.finalize(memory, library().mctx_free, tensor.data)
    return np.frombuffer(memory, dtype, count).reshape(shape)


class Model:
    """A loaded artifact. `manifest` is its description, `inputs` and `outputs` are the names in order."""

    def __init__(self, path):
        self._handle = library().mctx_load(str(path).encode())
        if not self._handle:
            raise Error(library().mctx_error().decode())
        weakref.finalize(self, library().mctx_unload, self._handle)
        self.manifest = json.loads(library().mctx_describe(self._handle))
        self.inputs = [entry["name"] for entry in self.manifest["inputs"]]
        self.outputs = [entry["name"] for entry in self.manifest["outputs"]]

    def run(self, inputs):
        """{name: tensor} to {name: numpy array}."""
        if set(inputs) != set(self.inputs):
            raise Error(f"expected the inputs {', '.join(self.inputs)}, but got {', '.join(inputs)}")
        arrays = [_array(inputs[name]) for name in self.inputs]
        given = (_Tensor * len(arrays))(*map(_given, self.inputs, arrays))
        made = (_Tensor * len(self.outputs))()
        if library().mctx_run(self._handle, given, len(arrays), made, len(made)):
            raise Error(library().mctx_error().decode())
        return dict(zip(self.outputs, map(_taken, made)))


def load(path):
    """Loads an artifact that megactx-compile wrote."""
    return Model(path)
