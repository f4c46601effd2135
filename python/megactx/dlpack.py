"""DLPack for the runtime: reading tensors of other libraries where they are, and giving outputs on a GPU to them.

Structs: https://dmlc.github.io/dlpack/latest/c_api.html, of the version without a version number, which every library takes.
"""

import ctypes
import functools
import sys

import numpy as np

CPU, CUDA = 1, 2
LEGACY_DEFAULT_STREAM = 1  # by DLPack's count of CUDA's streams; 0 is not allowed there
_NAME = b"dltensor"
_TORCH_DEVICES = {"cpu": CPU, "cuda": CUDA}


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32), ("rank", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


class _DLManagedTensor(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_DLManagedTensor))
_DLManagedTensor._fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

# With the interpreter's lock held, as these are its own functions.
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_raw_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))

_DTYPES = {(2, 16): "float16", (2, 32): "float", (2, 64): "double", (4, 16): "bfloat16", (6, 8): "bool",
           **{(0, bits): f"int{bits}" for bits in (8, 16, 32, 64)}, **{(1, bits): f"uint{bits}" for bits in (8, 16, 32, 64)}}


def _is_dense(tensor):
    step = 1
    if 0 in tensor.shape[: tensor.rank]:
        return True
    for d in reversed(range(tensor.rank)):
        if tensor.shape[d] != 1 and tensor.strides and tensor.strides[d] != step:
            return False
        step *= tensor.shape[d]
    return True


def _torch_place(value):
    """The place of a tensor of PyTorch that says of its memory what DLPack would, much sooner; None for other arrays."""
    torch = sys.modules.get("torch")
    if torch is None or type(value) is not torch.Tensor or value.requires_grad or value.is_neg():
        return None
    device = value.device
    kind = _TORCH_DEVICES.get(device.type)
    return kind and (kind, device.index or 0)


def place(value):
    """The kind of the device that an array is on, and its number."""
    if type(value) is np.ndarray:
        return CPU, 0
    return _torch_place(value) or tuple(map(int, value.__dlpack_device__()))


@functools.cache
def _torch_dtype(dtype):
    """ONNX's name, or None."""
    name = str(dtype).removeprefix("torch.")
    name = {"float32": "float", "float64": "double"}.get(name, name)
    return name if name in _DTYPES.values() else None


def _exported(value, stream):
    if value.__dlpack_device__()[0] != CUDA:
        return value.__dlpack__()
    return value.__dlpack__(stream=stream or LEGACY_DEFAULT_STREAM)


def read(value, stream, current=None):
    """A tensor as the runtime takes it: (address, dtype, shape, kind of device, its number), and what holds it.

    `stream`: of a tensor in CUDA memory, the handle of the stream that it will be read on, which then waits for it;
    `current`: the number of the device whose current stream this is, as `current_stream` has it, which need not wait.
    Raises ValueError for what cannot be passed on.
    """
    if hasattr(value, "contiguous"):
        value = value.contiguous()
    there = _torch_place(value)
    if there and (there[0] == CPU or there[1] == current) and _torch_dtype(value.dtype):  # elsewhere DLPack makes streams wait
        return (value.data_ptr(), _torch_dtype(value.dtype), value.shape, *there), value
    capsule = _exported(value, stream)
    tensor = ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_DLManagedTensor)).contents.tensor
    dtype = _DTYPES.get((tensor.code, tensor.bits))
    if dtype is None or tensor.lanes != 1:
        raise ValueError(f"no dtype of ONNX has DLPack's code {tensor.code}, {tensor.bits} bits and {tensor.lanes} lanes")
    if not _is_dense(tensor):
        raise ValueError("expected dense, row-major memory")
    address = (tensor.data or 0) + tensor.byte_offset
    return (address, dtype, tensor.shape[: tensor.rank], tensor.device_type, tensor.device), (value, capsule)


@_Destructor
def _unclaimed(capsule):
    """A capsule that nobody took: its tensor goes with it. What was taken has another name."""
    if _is_valid(capsule, _NAME):
        managed = ctypes.cast(_raw_pointer(capsule, _NAME), ctypes.POINTER(_DLManagedTensor))
        managed.contents.deleter(managed)


def capsule(managed):
    """A Python capsule that owns a DLManagedTensor, given by its address."""
    return _new(managed, _NAME, _unclaimed)


def current_stream(device):
    """The handle of PyTorch's current stream on a CUDA device, where PyTorch is in use, else CUDA's default stream, 0."""
    torch = sys.modules.get("torch")
    return torch.cuda.current_stream(device).cuda_stream if torch and torch.cuda.is_available() else 0
