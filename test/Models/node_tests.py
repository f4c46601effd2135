"""ONNX's own node tests as files; the onnx wheel has them as Python."""

import fcntl
import functools
import shutil
import warnings

import numpy as np
import onnx
from onnx import numpy_helper


def as_message(value, info):
    """Nothing for sequences and what may be absent."""
    if isinstance(value, onnx.TensorProto):
        return value
    return numpy_helper.from_array(np.asarray(value), info.name) if info.type.HasField("tensor_type") else None


def write(case, folder):
    folder.mkdir()
    onnx.save(case.model, folder / "model.onnx")
    for i, data_set in enumerate(case.data_sets):
        data = folder / f"test_data_set_{i}"
        data.mkdir()
        for kind, infos, values in zip(("input", "output"), (case.model.graph.input, case.model.graph.output), data_set):
            for j, (info, value) in enumerate(zip(infos, values)):
                if message := as_message(value, info):
                    (data / f"{kind}_{j}.pb").write_bytes(message.SerializeToString())


@functools.cache
def folders(build):
    """A folder for each, made once per version of ONNX."""
    root = build / "test" / "Models" / f"onnx-{onnx.__version__}"
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "complete").exists():
            from onnx.backend.test.case.node import collect_testcases

            shutil.rmtree(root / "node", ignore_errors=True)
            (root / "node").mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for case in collect_testcases(None):
                    write(case, root / "node" / case.name)
            (root / "complete").touch()
    return sorted((root / "node").iterdir())
