"""Whole models of every kind on an NVIDIA GPU: dense ones against onnxruntime's outputs, sparse ones against those of the code for the CPU.

The models are those that python/models/make_models.py writes, dense and sparse in f32 and sparse in bf16 or f16, and those of further folders of the
same layout, dense in f32. Artifacts, inputs and expected outputs are made where the compiler is (model_gpu.py).
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import megactx  # noqa: E402

SPARSE = {True: "causal and (window<left = 5, right = 0> or strided<stride = 4>)", False: "window<left = 5, right = 3> or strided<stride = 4>"}  # causal?
TOLERANCES = {"f32": 3e-5, "f16": 5e-3, "bf16": 4e-2}  # of the difference's norm, relative


# --- where the compiler is ---


def narrow_type(model):
    """What the model can be converted to; nothing where its weights are narrow. ONNX has no Einsum of bf16."""
    import onnx

    if any(t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for t in model.graph.initializer):
        return None
    return "f16" if any(node.op_type == "Einsum" for node in model.graph.node) else "bf16"


def compile_one(arch, folder, out, pattern):
    """NAME.DTYPE.{dense,sparse}.mctx; their inputs and expected outputs are input_K_NAME and output_K_NAME of data set K in NAME.{dense,sparse}.npz.
    Only dense ones without a pattern."""
    import onnx
    import precision
    from reference import load_tensors

    path, name = folder / "model.onnx", f"{folder.parent.name}.{folder.name}"
    sets = [tuple(dict(load_tensors(data, kind)) for kind in ("input", "output")) for data in sorted(folder.glob("test_data_set_*"))]

    def keep(kind):
        arrays = {f"input_{k}_{key}": array for k, (feeds, _) in enumerate(sets) for key, array in feeds.items()}
        arrays |= {f"output_{k}_{key}": array for k, (_, outputs) in enumerate(sets) for key, array in outputs.items()}
        np.savez_compressed(out / f"{name}.{kind}.npz", **arrays)

    megactx.compile(path, out / f"{name}.f32.dense.mctx", target=arch)
    keep("dense")
    if pattern:
        megactx.compile(path, out / f"{name}.cpu", pattern=pattern)
        cpu = megactx.load(out / f"{name}.cpu")
        sets = [(feeds, cpu.run(feeds)) for feeds, _ in sets]
        keep("sparse")
        shutil.rmtree(out / f"{name}.cpu")
        megactx.compile(path, out / f"{name}.f32.sparse.mctx", target=arch, pattern=pattern)
        model = onnx.load(path)
        if dtype := narrow_type(model):
            typed = out / f"{name}.onnx"
            onnx.save(precision.convert(model, dtype), typed)
            megactx.compile(typed, out / f"{name}.{dtype}.sparse.mctx", target=arch, pattern=pattern)
            typed.unlink()
    return name


def compile_all(arch, out, further):
    """Writes what `check_all` reads; `further`: folders of models."""
    made = out / "bundled"
    subprocess.run([sys.executable, HERE.parent / "models" / "make_models.py", made], check=True)
    facts = json.loads((made / "models.json").read_text())
    work = [(made / name, SPARSE[facts[name]["causal"]]) for name in facts]
    work += [(path.parent, None) for folder in further for path in sorted(folder.glob("*/model.onnx"))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in pool.map(lambda job: compile_one(arch, job[0], out, job[1]), work):
            print(name, flush=True)
    shutil.rmtree(made)


# --- where the GPU is ---


def check(folder, name):
    """The greatest relative error, by norms, of each data set's outputs."""
    import torch

    model_name, dtype, kind = name.rsplit(".", 2)
    arrays, model = dict(np.load(folder / f"{model_name}.{kind}.npz")), megactx.load(folder / f"{name}.mctx")
    types = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    typed = lambda x: torch.as_tensor(x, device="cuda", dtype=types[dtype]) if x.dtype == np.float32 else x
    errors = []
    while (k := len(errors)) == 0 or any(key.startswith(f"input_{k}_") for key in arrays):
        outputs = model.run({key: typed(arrays[f"input_{k}_{key}"]) for key in model.inputs})
        errors.append(0.0)
        for key in model.outputs:
            got, want = torch.from_dlpack(outputs[key]).double().cpu().numpy(), arrays[f"output_{k}_{key}"]
            if got.shape != want.shape or not np.isfinite(got).all():
                raise megactx.Error(f"'{key}': expected numbers of shape {want.shape}, but got shape {got.shape} or what is none")
            errors[-1] = max(errors[-1], float(np.linalg.norm(got - want) / (np.linalg.norm(want) or 1.0)))
    return errors


def check_all(folder):
    """A line for each model, of one that fails why."""
    for path in sorted(folder.glob("*.mctx")):
        name = path.stem
        if name.count(".") < 3:  # of something else
            continue
        try:
            errors = check(folder, name)
            yield dict(model=name, errors=errors, ok=max(errors) < TOLERANCES[name.split(".")[-2]])
        except Exception as error:  # one that fails must not end the others
            yield dict(model=name, ok=False, failed=f"{type(error).__name__}: {error}"[:400])
