"""Small models beside each other in one, which a process takes at once."""

import numpy as np
import onnx
from onnx import compose, helper

import megactx
import reference


def version(model):
    """What models must have in common to be one."""
    return model.ir_version, tuple(sorted((o.domain, o.version) for o in model.opset_import))


def merged(models):
    """Of {name: model}, all of one version; inputs, outputs and nodes are called NAME.THEIRS."""
    graph = onnx.GraphProto(name="merged")
    for name, model in models.items():
        part = compose.add_prefix_graph(model.graph, f"{name}.")
        for value in [*part.input, *part.output, *part.value_info]:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = f"{name}.{dim.dim_param}"
        for field in ("node", "initializer", "sparse_initializer", "input", "output", "value_info"):
            getattr(graph, field).extend(getattr(part, field))
    one = next(iter(models.values()))
    return helper.make_model(graph, ir_version=one.ir_version, opset_imports=one.opset_import)


def check_as_one(models, inputs, tool, folder, atol=1e-5):
    """{name: model}, {name: its inputs}, each with an output y: compiled as one, each against onnxruntime."""
    onnx.save(merged(models), folder / "m.onnx")
    done = tool("megactx-compile", "-O0", folder / "m.onnx", "-o", folder / "m.mctx")
    assert done.status == 0, done
    got = megactx.load(folder / "m.mctx").run({f"{name}.{key}": array for name, given in inputs.items() for key, array in given.items()})
    for name, model in models.items():
        want, = reference.session(model).run(None, inputs[name])
        assert got[f"{name}.y"].shape == want.shape and got[f"{name}.y"].dtype == want.dtype, name
        np.testing.assert_allclose(got[f"{name}.y"].astype(float), want.astype(float), rtol=1e-5, atol=atol, err_msg=name)
