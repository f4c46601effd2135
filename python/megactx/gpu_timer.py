"""Times work on an NVIDIA GPU by the driver's events; needs its driver, libcuda.so.1, and nothing else."""

import ctypes
import statistics

from .tools import Error

FLUSH = 1 << 31  # bytes written before each call: many times the L2 cache, and half a millisecond, in which the host launches the call
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


class Timer:
    """Of the first device, which work of its primary context, such as the runtime's, goes to from now on.

    `name`, and `arch`: the architecture with all features that code for this device alone may use, such as sm_90a.
    Raises Error where there is no GPU, or no driver.
    """

    def __init__(self):
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise Error(f"this needs an NVIDIA GPU, and there is no CUDA driver: {error}") from None
        count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0), doing="this needs an NVIDIA GPU")
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not count.value:
            raise Error("this needs an NVIDIA GPU, and the CUDA driver has none")
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), device)
        self.name = text.value.decode(errors="replace")
        capability = []
        for attribute in (MAJOR, MINOR):
            number = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
            capability.append(number.value)
        self.arch = f"sm_{capability[0]}{capability[1]}" + "a" * (capability == [9, 0])
        self._flush = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(self._flush), ctypes.c_size_t(FLUSH))
        self._events = []

    def _call(self, name, *arguments, doing="timing"):
        result = getattr(self._driver, name)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(result, ctypes.byref(text))
            raise Error(f"{doing}: {name} failed: {(text.value or b'unknown error').decode()}")

    def is_lost(self):
        """Whether a kernel broke the context: nothing runs in this process any more."""
        return self._driver.cuCtxSynchronize() != 0

    def _event(self, number):
        while len(self._events) <= number:
            event = ctypes.c_void_p()
            self._call("cuEventCreate", ctypes.byref(event), 0)
            self._events.append(event)
        return self._events[number]

    def _seconds(self, function, rounds):
        for i in range(rounds):
            # No launch is waited for between the events.
            self._call("cuMemsetD8Async", self._flush, ctypes.c_ubyte(0), ctypes.c_size_t(FLUSH), None)
            self._call("cuEventRecord", self._event(2 * i), None)
            function()
            self._call("cuEventRecord", self._event(2 * i + 1), None)
        self._call("cuCtxSynchronize", doing="a kernel")
        times, elapsed = [], ctypes.c_float()
        for i in range(rounds):
            self._call("cuEventElapsedTime", ctypes.byref(elapsed), self._event(2 * i), self._event(2 * i + 1))
            times.append(1e-3 * elapsed.value)
        return times

    def __call__(self, function):
        """Median seconds of what a call launches on the default stream, with the L2 cache flushed before it."""
        once = statistics.median(self._seconds(function, 3))
        return statistics.median(self._seconds(function, int(min(30, max(5, 0.2 / max(once, 1e-6))))))
