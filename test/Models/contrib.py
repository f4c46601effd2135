"""Models of one node, onnxruntime's own operators mostly, and all of them as one model against onnxruntime.

A case is (operator, inputs or None, places of outputs, attributes), and, where the file has some of its inputs, their places. The operator is of com.microsoft, or of the
domain before its dot.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import reference
from merged import merged
from test_corners import results

BATCH = 2


def type_of_output(operator, name):
    if operator == "QuantizeLinear" or operator.startswith("QLinear"):
        return TensorProto.INT8 if operator == "QLinearMul" else TensorProto.UINT8
    return TensorProto.INT32 if operator.startswith("Embed") and name == "y1" else TensorProto.FLOAT


def write(folder, case, rows=None):
    """model.onnx and its inputs; sizes of batches are known at run time only, and those of axis `rows`."""
    operator, inputs, places, attributes, *rest = case
    domain, _, operator = operator.rpartition(".") if "." in operator else ("com.microsoft", "", operator)
    given = {f"x{i}": value for i, value in enumerate(inputs) if value is not None}
    outputs = [f"y{i}" if i in places else "" for i in range(max(places) + 1)]
    node = helper.make_node(operator, [f"x{i}" if f"x{i}" in given else "" for i in range(len(inputs))], outputs, domain=domain, **attributes)
    free = lambda value, a: (a == 0 and value.shape[0] == BATCH) or (a == rows and value.ndim == 3)
    sizes = lambda value: [f"size{a}_{d}" if free(value, a) else d for a, d in enumerate(value.shape)]
    type_of = lambda n, v: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), sizes(v))
    ends = [helper.make_tensor_value_info(o, type_of_output(operator, o), None) for o in outputs if o]
    constants = [f"x{i}" for i in (rest[0] if rest else []) if f"x{i}" in given]
    graph = helper.make_graph([node], operator, [type_of(n, v) for n, v in given.items() if n not in constants], ends,
                              [numpy_helper.from_array(given.pop(n), n) for n in constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    for i, (key, value) in enumerate(given.items()):
        (folder / f"input_{i}.pb").write_bytes(numpy_helper.from_array(value, key).SerializeToString())
    return model, given


def by_onnxruntime(_, model, given):
    run = reference.session(model)
    return dict(zip([o.name for o in run.get_outputs()], run.run(None, given)))


def check(cases, tool, folder, expected=by_onnxruntime, valid=lambda name, key, value: value, differs={}, rows=lambda operator: None):
    """All cases as one model. `expected` says what the case of a name, its model and its inputs give, `valid` what of an output is meant, `differs` by how much else an output may be off."""
    models = {}
    for name, case in cases.items():
        (folder / name).mkdir()
        models[name] = write(folder / name, case, rows(case[0]))
    inputs = {f"{name}.{key}": value for name, (_, given) in models.items() for key, value in given.items()}
    all_got = results(tool, folder, merged({name: model for name, (model, _) in models.items()}), inputs)
    for name, (model, given) in models.items():
        want = expected(name, model, given)
        got = {key.removeprefix(f"{name}."): value for key, value in all_got.items() if key.startswith(f"{name}.")}
        assert got.keys() == want.keys(), name
        for key, value in want.items():
            assert got[key].shape == value.shape, f"{name} {key}"
            np.testing.assert_allclose(valid(name, key, got[key]), valid(name, key, value), rtol=1e-4, atol=differs.get(name, 1e-4), err_msg=f"{name} {key}")
