"""Other programs that run ONNX models on CPUs, to compare with: each is made for a model, threads and the inputs of a run, and gives a function without arguments
that runs it and returns the first output. What it takes to make one is not timed.

OpenVINO and IREE are optional: pip install openvino, or iree-base-compiler[onnx] and iree-base-runtime.
"""

import pathlib
import subprocess
import sys
import tempfile

import onnx


def onnxruntime(path, threads, feeds):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)[0]


def openvino(path, threads, feeds):
    """In f32, which it would leave where a machine has instructions for other types."""
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
    request = core.compile_model(str(path), "CPU").create_infer_request()
    return lambda: request.infer(feeds)[0]


def iree(path, threads, feeds):
    """For the very sizes of the inputs, of which it makes faster code than for any, and for this machine's processor."""
    import iree.compiler.tools
    import iree.runtime

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        onnx.save(of_sizes(onnx.load(path), feeds), folder / "model.onnx")
        imported = folder / "model.mlir"
        subprocess.run([sys.executable, "-m", "iree.compiler.tools.import_onnx", folder / "model.onnx", "-o", imported, "--opset-version", "17"], check=True)
        code = iree.compiler.tools.compile_file(str(imported), extra_args=["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
                                                                            "--iree-llvmcpu-target-cpu=host"])
    iree.runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-task"))
    module = iree.runtime.VmModule.copy_buffer(context.instance, code)
    context.add_vm_module(module)
    function = next(name for name in module.function_names if "$" not in name and not name.startswith("__"))
    call = getattr(context.modules, module.name)[function]
    order = [value.name for value in onnx.load(path, load_external_data=False).graph.input]

    def run():
        results = call(*(feeds[name] for name in order))
        return (results[0] if isinstance(results, (list, tuple)) else results).to_host()

    return run


def of_sizes(model, feeds):
    """The model with the sizes of its inputs fixed to those of the arrays."""
    sizes = {}
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, feeds[value.name].shape, strict=True):
            sizes[dim.dim_param] = size
            dim.dim_value = size
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


ENGINES = {engine.__name__: engine for engine in (onnxruntime, openvino, iree)}
