"""NVIDIA's driver, libcuda.so.1, by ctypes: what the Python side asks it beside the runtime."""

import ctypes
import functools

from .tools import Error

_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, ..._MINOR


@functools.cache
def _library():
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise Error(f"this needs an NVIDIA GPU, and there is no CUDA driver: {error}") from None


def call(name, *arguments, doing):
    """Calls a function of the driver; `doing` is what an error says first."""
    result = getattr(_library(), name)(*arguments)
    if result:
        text = ctypes.c_char_p()
        _library().cuGetErrorName(result, ctypes.byref(text))
        raise Error(f"{doing}: {name} failed: {(text.value or b'unknown error').decode()}")


def is_lost():
    """Whether a kernel broke the context in use: nothing runs in this process any more."""
    return _library().cuCtxSynchronize() != 0


def device(number=0):
    """The driver's handle of a device."""
    count, found = ctypes.c_int(), ctypes.c_int()
    call("cuInit", ctypes.c_uint(0), doing="this needs an NVIDIA GPU")
    call("cuDeviceGetCount", ctypes.byref(count), doing="this needs an NVIDIA GPU")
    if not 0 <= number < count.value:
        raise Error(f"this needs an NVIDIA GPU, number {number}, and the CUDA driver has {count.value}")
    call("cuDeviceGet", ctypes.byref(found), number, doing="this needs an NVIDIA GPU")
    return found


@functools.cache
def architecture(number=0):
    """The target of a device, with all features that code for it alone may use, such as sm_90a."""
    capability = []
    for attribute in _CAPABILITY:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device(number), doing="this needs an NVIDIA GPU")
        capability.append(value.value)
    return f"sm_{capability[0]}{capability[1]}" + "a" * (capability == [9, 0])
