"""Small models beside each other in one, which a process takes at once."""

import onnx
from onnx import compose, helper


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
