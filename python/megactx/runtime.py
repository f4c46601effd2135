"""Loads and runs artifacts through the runtime's C API, in this process.

Tensors go in and come out by DLPack, without a copy: anything with `__dlpack__` (numpy arrays, PyTorch
tensors) is an input, and outputs are numpy arrays over memory that the runtime gave away.
"""

import ctypes
import json

import numpy as np

from .tools import Error, build

_library = None


class DLDevice(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class DLDataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", DLDevice), ("ndim", ctypes.c_int32), ("dtype", DLDataType),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}


def as_array(value):
    """A numpy view of anything that holds a tensor on the CPU."""
    return value if isinstance(value, np.ndarray) else np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)


def as_dl_tensor(array):
    """A DLTensor over a numpy array's memory; valid while both live."""
    sizes = (ctypes.c_int64 * array.ndim)(*array.shape)
    steps = (ctypes.c_int64 * array.ndim)(*(s // array.itemsize for s in array.strides))
    kind = DLDataType(_CODES[array.dtype.kind], 8 * array.itemsize, 1)
    tensor = DLTensor(array.ctypes.data, DLDevice(1, 0), array.ndim, kind, sizes, steps, 0)
    tensor.keep = (array, sizes, steps)
    return tensor


class DLManagedTensor(ctypes.Structure):
    pass


DLManagedTensor._fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.CFUNCTYPE(None, ctypes.POINTER(DLManagedTensor)))]


class _Owner:
    """Shows a managed tensor to numpy by DLPack's protocol; numpy frees it."""

    def __init__(self, managed):
        self.managed = managed

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **_):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.cast(self.managed, ctypes.c_void_p), b"dltensor", None)


def library():
    """The runtime of the build in use; loaded once."""
    global _library
    if _library is None:
        _library = ctypes.CDLL(str(build() / "lib" / "libmegactx_runtime.so"), mode=ctypes.RTLD_GLOBAL)
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("mctx_load", pointer, [ctypes.c_char_p]),
            ("mctx_free", None, [pointer]),
            ("mctx_last_error", ctypes.c_char_p, []),
            ("mctx_describe", ctypes.c_char_p, [pointer]),
            ("mctx_set_threads", None, [ctypes.c_int]),
            ("mctx_run", ctypes.c_int, [pointer, ctypes.POINTER(ctypes.POINTER(DLTensor)), ctypes.c_size_t,
                                        ctypes.POINTER(ctypes.POINTER(DLManagedTensor)), ctypes.c_size_t]),
        ):
            function = getattr(_library, name)
            function.restype, function.argtypes = result, arguments
    return _library


def set_threads(count):
    """How many cores the runtime's pool uses."""
    library().mctx_set_threads(count)


class Model:
    """A loaded artifact."""

    def __init__(self, path):
        self._handle = library().mctx_load(str(path).encode())
        if not self._handle:
            raise Error(library().mctx_last_error().decode())
        manifest = json.loads(library().mctx_describe(self._handle))
        self.inputs = [entry["name"] for entry in manifest["inputs"]]
        self.outputs = [entry["name"] for entry in manifest["outputs"]]

    def __del__(self):
        if getattr(self, "_handle", None):
            library().mctx_free(self._handle)
            self._handle = None

    def run(self, inputs):
        """{name: tensor} to {name: numpy array}."""
        if set(inputs) != set(self.inputs):
            raise Error(f"expected the inputs {', '.join(self.inputs)}, but got {', '.join(inputs)}")
        tensors = [as_dl_tensor(as_array(inputs[name])) for name in self.inputs]
        given = (ctypes.POINTER(DLTensor) * len(tensors))(*map(ctypes.pointer, tensors))
        made = (ctypes.POINTER(DLManagedTensor) * len(self.outputs))()
        if library().mctx_run(self._handle, given, len(tensors), made, len(self.outputs)):
            raise Error(library().mctx_last_error().decode())
        return {name: np.from_dlpack(_Owner(managed)) for name, managed in zip(self.outputs, made)}


def load(path):
    """Loads an artifact that megactx-compile wrote."""
    return Model(path)
