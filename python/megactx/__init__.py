"""Sparse attention compiler: compile ONNX models with patterns, run them, look at patterns.

    import megactx
    sparse = megactx.Pattern("window<left = 127, right = 0>") | megactx.Pattern("strided<stride = 128>")
    megactx.compile("model.onnx", "model.mctx", pattern=sparse)
    outputs = megactx.load("model.mctx").run({"ids": ids})

compile and Pattern call the command-line tools; load and run call the runtime's C API.
"""

from .pattern import Pattern
from .runtime import Model, load, set_threads
from .tools import Error, build, compile, use_build

__all__ = ["Error", "Model", "Pattern", "build", "compile", "load", "set_threads", "use_build"]
