"""Sparse attention compiler: compile ONNX models with patterns, run them, look at patterns.

    import megactx
    sparse = megactx.Pattern("window<left = 127, right = 0>") | megactx.Pattern("strided<stride = 128>")
    megactx.compile("model.onnx", "model.mctx", pattern=sparse)
    outputs = megactx.load("model.mctx").run({"ids": ids})
    model = megactx.sparsify(model, sparse)      # of Hugging Face's transformers

compile and Pattern call the command-line tools; load and run call the runtime's C API. `focus` gives a
long timeline's working context; `Pyramid` makes gists of tokens as they come.
"""

import importlib

from .attention_function import attention, attention_backward
from .pattern import Pattern
from .pyramid import Pyramid
from .runtime import DeviceTensor, Model, check_guards, guard_memory, load, set_threads, to_device
from .tools import Error, build, compile, use_build
from .version import VERSION as __version__
from .working_context import Focus, focus

__all__ = ["DeviceTensor", "Error", "Focus", "Model", "Pattern", "Pyramid", "attention", "attention_backward", "build", "check_guards", "compile", "focus", "guard_memory", "load",
           "set_threads", "to_device", "use_build"]


_OF_PYTORCH = {"flex_attention": "flex", "sparsify": "hugging_face"}  # the last one of transformers, too


def __getattr__(name):
    """What needs PyTorch is there where it is asked for."""
    if name not in _OF_PYTORCH:
        raise AttributeError(f"module 'megactx' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_OF_PYTORCH[name]}", __name__), name)


def __dir__():
    return sorted([*globals(), *_OF_PYTORCH])
