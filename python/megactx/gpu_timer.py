"""Times work on an NVIDIA GPU by the driver's events; needs its driver, libcuda.so.1, and nothing else."""

import ctypes
import statistics

from . import driver

FLUSH = 1 << 31  # bytes written before each call: many times the L2 cache, and half a millisecond, in which the host launches the call


class Timer:
    """Of the first device, which work of its primary context, such as the runtime's, goes to from now on.

    `name`, and `arch`: the architecture with all features that code for this device alone may use, such as sm_90a.
    Raises Error where there is no GPU, or no driver.
    """

    def __init__(self):
        device, context = driver.device(), ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), device)
        self.name = text.value.decode(errors="replace")
        self.arch = driver.architecture()
        self._flush = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(self._flush), ctypes.c_size_t(FLUSH))
        self._events = []

    def _call(self, name, *arguments, doing="timing"):
        driver.call(name, *arguments, doing=doing)

    def is_lost(self):
        return driver.is_lost()

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
