"""A GPU's runs from Python: tensors of others without copies, streams, threads, guards; with a driver for tests."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from conftest import ROOT, generated

MODULE = """\
!t = tensor<?x4xf32>
func.func @main(%x: !t {onnx.name = "x"}, %y: !t {onnx.name = "y"}) -> (!t {onnx.name = "sum"}) {
  %0 = arith.addf %x, %y : !t
  return %0 : !t
}
"""

BEGIN = """
import re, numpy as np
model = megactx.load(sys.argv[1])
x = np.arange(20, dtype=np.float32).reshape(5, 4)
def copies(log=sys.argv[2]):
    with open(log) as file:
        return [line.split() for line in file if line.startswith("cuMemcpyAsync")]
"""


@pytest.fixture(scope="module")
def artifact(fake_gpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sum")
    (folder / "sum.mlir").write_text(MODULE)
    fake_gpu.compile(folder / "sum.mlir", folder / "sum.mctx")
    return folder / "sum.mctx"


def good(fake_gpu, tmp_path, artifact, script, settings="", begin=BEGIN):
    log = tmp_path / "log"
    done = fake_gpu.python(begin + script, artifact, log, settings=settings, log=log)
    assert done.status == 0, str(done)
    return log.read_text()


def test_host_arrays_are_copied_there_and_results_back(fake_gpu, tmp_path, artifact):
    log = good(fake_gpu, tmp_path, artifact, """
out = model.run({"x": x, "y": x})["sum"]
assert out.shape == (5, 4) and out.dtype == "float" and out.__dlpack_device__() == (2, 0)
np.testing.assert_array_equal(np.asarray(out), 2 * x)
""")
    assert log.count("host to device 80") == 2 and log.count("device to host 80") == 1, log


def test_tensors_on_the_device_go_in_and_out_without_a_copy(fake_gpu, tmp_path, artifact):
    log = good(fake_gpu, tmp_path, artifact, """
there = megactx.to_device(x)
out = model.run({"x": there, "y": there})["sum"]
out = model.run({"x": out, "y": there})["sum"]
assert len(copies()) == 1
np.testing.assert_array_equal(out.numpy(), 3 * x)
""")
    assert log.count("host to device 80") == 1 and log.count("device to host 80") == 1, log


def test_tensors_that_start_within_16_bytes_are_copied(fake_gpu, tmp_path, artifact):
    log = good(fake_gpu, tmp_path, artifact, """
import ctypes
from megactx import dlpack
there = megactx.to_device(np.arange(40, dtype=np.float32).reshape(10, 4))
class Part:
    def __init__(self, skipped):
        self.skipped = skipped
    def __dlpack_device__(self):
        return there.__dlpack_device__()
    def __dlpack__(self, **options):
        capsule = there.__dlpack__(**options)
        tensor = ctypes.cast(dlpack._pointer(capsule, b"dltensor"), ctypes.POINTER(dlpack._DLTensor)).contents
        tensor.byte_offset, tensor.shape[0] = 4 * self.skipped, 5
        return capsule
for skipped, copied in ((0, 0), (1, 2), (4, 0)):
    before = len(copies())
    out = model.run({"x": Part(skipped), "y": Part(skipped)})["sum"]
    assert len(copies()) == before + copied, skipped
    np.testing.assert_array_equal(out.numpy(), 2 * np.arange(skipped, skipped + 20).reshape(5, 4))
""")
    assert log.count("device to device 80") == 2, log


def test_results_outlive_their_model(fake_gpu, tmp_path, artifact):
    good(fake_gpu, tmp_path, artifact, """
import ctypes, gc
out = model.run({"x": x, "y": x})["sum"]
del model
gc.collect()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
for i in range(20000):  # what the model had is overwritten
    ctypes.memset(library.malloc(16 + i % 8 * 16), 65, 16 + i % 8 * 16)
np.testing.assert_array_equal(out.numpy(), 2 * x)
held = out.__dlpack__(stream=None)
del out
gc.collect()
""")


@pytest.fixture(scope="module")
def gather(fake_gpu, tmp_path_factory):
    """Rows of a table of 10, by numbers that are checked on the device."""
    folder = tmp_path_factory.mktemp("gather")
    made = onnx.helper
    graph = made.make_graph([made.make_node("Gather", ["table", "ids"], ["rows"])], "g",
                            [made.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n"])],
                            [made.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", 4])],
                            [onnx.numpy_helper.from_array(np.arange(40, dtype=np.float32).reshape(10, 4), "table")])
    onnx.save(made.make_model(graph, opset_imports=[made.make_opsetid("", 17)], ir_version=8), folder / "gather.onnx")
    fake_gpu.compile(folder / "gather.onnx", folder / "gather.mctx")
    return folder / "gather.mctx"


CHECKED = """
import numpy as np
model = megactx.load(sys.argv[1])
good, bad = (megactx.to_device(np.array(ids)) for ids in ([1, 2], [3, 10]))
def fails(act, text="node 'Gather': an index of Gather is out of range"):
    try:
        act()
    except megactx.Error as error:
        assert str(error) == text, error
        return
    raise AssertionError("no error")
"""


def checked(fake_gpu, tmp_path, gather, script, settings=""):
    return good(fake_gpu, tmp_path, gather, script, settings, CHECKED)


def test_checks_of_data_wait_for_nothing(fake_gpu, tmp_path, gather):
    """4096 bytes of pinned memory and as many events serve any number of runs."""
    log = checked(fake_gpu, tmp_path, gather, """
for _ in range(1500):
    rows = model.run({"ids": good})["rows"]
""")
    assert log.count("device to pinned 4") == 1500 and log.count("cuMemAllocHost 4096") == 1
    assert log.count("cuEventCreate") < 10 and "device to host" not in log
    # The weights' copy alone.
    assert log.count("cuStreamSynchronize") <= 1, log[-2000:]


def test_who_waits_for_an_output_is_told_of_failed_checks(fake_gpu, tmp_path, gather):
    checked(fake_gpu, tmp_path, gather, """
rows = model.run({"ids": bad})["rows"]
fails(rows.wait)
fails(rows.numpy)
fails(lambda: np.asarray(rows))
np.testing.assert_array_equal(np.asarray(model.run({"ids": good})["rows"]), [[4, 5, 6, 7], [8, 9, 10, 11]])
""")


def test_else_the_next_run_is_told(fake_gpu, tmp_path, gather):
    checked(fake_gpu, tmp_path, gather, """
model.run({"ids": bad})
fails(lambda: model.run({"ids": good}), "an earlier run failed: node 'Gather': an index of Gather is out of range")
model.run({"ids": good})["rows"].wait()
""")


def test_failed_checks_of_inputs_go_on_to_outputs(fake_gpu, tmp_path, gather, artifact):
    checked(fake_gpu, tmp_path, gather, f"""
other = megactx.load({str(artifact)!r})
rows = model.run({{"ids": bad}})["rows"]
twice = other.run({{"x": rows, "y": rows}})["sum"]
again = other.run({{"x": twice, "y": twice}})["sum"]
fails(again.wait)
fails(twice.numpy)
rows = model.run({{"ids": good}})["rows"]
other.run({{"x": rows, "y": rows}})["sum"].wait()
""")


def test_checks_of_runs_that_go_on_are_kept_once(fake_gpu, tmp_path, gather, artifact):
    """However often an output is an input of later runs."""
    log = checked(fake_gpu, tmp_path, gather, f"""
other = megactx.load({str(artifact)!r})
rows = model.run({{"ids": bad}})["rows"]
for _ in range(60):
    rows = other.run({{"x": rows, "y": rows}})["sum"]
fails(rows.wait)
for _ in range(60):
    rows = model.run({{"ids": good}})["rows"]
rows.wait()
""", settings="late=1")
    # Of runs that may not be over, one for the place that is free next, one for each input and one for each earlier run.
    assert log.count("cuEventQuery") < 60 * 62 + 3 * 60


def test_every_failed_run_is_told(fake_gpu, tmp_path, gather):
    checked(fake_gpu, tmp_path, gather, """
for _ in range(3):
    model.run({"ids": bad})
good.wait()
for _ in range(3):
    fails(lambda: model.run({"ids": good}), "an earlier run failed: node 'Gather': an index of Gather is out of range")
model.run({"ids": good})
""", settings="late=1")


def test_runs_go_to_the_stream_that_is_given(fake_gpu, tmp_path, artifact):
    log = good(fake_gpu, tmp_path, artifact, """
there = megactx.to_device(x)
out = model.run({"x": there, "y": there}, stream=7)["sum"]
np.testing.assert_array_equal(out.numpy(), 2 * x)
""")
    launches = [line for line in log.splitlines() if line.startswith("cuLaunchKernel")]
    assert launches and all(line.endswith("stream 7") for line in launches), log
    assert "cuStreamWaitEvent stream 7 for 0" in log, "the run does not wait for its input's stream"


def test_tensors_of_the_current_stream_are_taken_without_a_look_for_streams(fake_gpu, tmp_path, artifact):
    """By a module that stands for PyTorch, and says how it is asked."""
    log = good(fake_gpu, tmp_path, artifact, """
import types
asked = []
class Tensor:
    requires_grad, is_neg = False, lambda self: False
    device, dtype, shape = types.SimpleNamespace(type="cuda", index=0), "torch.float32", x.shape
    def __init__(self, there):
        self.there = there
    def data_ptr(self):
        asked.append("data_ptr")
        return self.there._tensor.data
    def __dlpack_device__(self):
        return self.there.__dlpack_device__()
    def __dlpack__(self, stream):
        asked.append(stream)
        return self.there.__dlpack__(stream=stream)
cuda = types.SimpleNamespace(is_available=lambda: True, current_stream=lambda device: types.SimpleNamespace(cuda_stream=5))
sys.modules["torch"] = types.SimpleNamespace(Tensor=Tensor, cuda=cuda)
there, needs = Tensor(megactx.to_device(x)), Tensor(megactx.to_device(x))
needs.requires_grad = True
out = model.run({"x": there, "y": needs})["sum"]
assert asked == ["data_ptr", 5], asked
np.testing.assert_array_equal(out.numpy(), 2 * x)
asked.clear()
model.run({"x": there, "y": there}, stream=7)["sum"].wait()
assert asked == [7, 7], asked
""")
    assert re.search("cuLaunchKernel.* stream 5", log) and re.search("cuLaunchKernel.* stream 7", log), log


def test_the_second_device(fake_gpu, tmp_path, artifact):
    good(fake_gpu, tmp_path, artifact, """
there = megactx.to_device(x, device=1)
out = model.run({"x": there, "y": x})["sum"]
assert out.__dlpack_device__() == (2, 1)
np.testing.assert_array_equal(out.numpy(), 2 * x)
try:
    model.run({"x": there, "y": megactx.to_device(x, device=0)})
    sys.exit("expected an error")
except megactx.Error as error:
    assert str(error) == "input 'y': expected CUDA device 1 as of input 'x', but got 0", error
""", settings="devices=2")


def test_guards(fake_gpu, tmp_path, artifact):
    """Between poisoned zones the numbers are the same, and nothing is written there; what a caller writes there is found."""
    good(fake_gpu, tmp_path, artifact, """
import ctypes
megactx.guard_memory(512)
out = model.run({"x": x, "y": x})["sum"]
np.testing.assert_array_equal(np.asarray(out), 2 * x)
megactx.check_guards()
ctypes.memset(out._tensor.data + 80, 0, 3)
try:
    megactx.check_guards()
    sys.exit("expected an error")
except megactx.Error as error:
    assert "3 bytes were written behind a block of 80 bytes, the first at 80" in str(error), error
""")


def test_bfloat16_as_bits(fake_gpu, tmp_path, artifact):
    """Without ml_dtypes too; with it, numpy has the type."""
    good(fake_gpu, tmp_path, artifact, """
import ml_dtypes
bits = np.array([0x3f80, 0xc000], np.uint16)
tensor = megactx.to_device(bits, bits=True)
assert tensor.dtype == "bfloat16" and tensor.numpy(bits=True).tolist() == bits.tolist()
assert tensor.numpy().dtype == ml_dtypes.bfloat16 and tensor.numpy().astype(np.float32).tolist() == [1, -2]
for call, words in ((lambda: megactx.to_device(x, bits=True), "expected bits of bfloat16 as uint16, but got float32"),
                    (lambda: (sys.modules.update(ml_dtypes=None), tensor.numpy()), "ml_dtypes, which is not here")):
    try:
        call()
        sys.exit("expected an error")
    except megactx.Error as error:
        assert words in str(error), error
""")


def test_what_a_device_tensor_is_not(fake_gpu, tmp_path, artifact):
    good(fake_gpu, tmp_path, artifact, """
try:
    megactx.to_device(x, device=3)
    sys.exit("expected an error")
except megactx.Error as error:
    assert str(error) == "there is no CUDA device 3: the driver has 1", error
""")


def examples(page):
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


def test_examples_of_the_documentation(request, fake_gpu, tmp_path):
    """Those without PyTorch run; those with it do on a GPU."""
    source = generated(request.config.getoption("--build")) / "gpt_sdpa_ts17" / "model.onnx"
    fake_gpu.compile(source, tmp_path / "gpt.mctx")
    numpy, torch = examples(ROOT / "docs" / "gpu.md")
    done = fake_gpu.python(f"import os; os.chdir({str(tmp_path)!r})\n{numpy}")
    assert done.status == 0 and done.out.startswith("(1, 40, 96) "), done
    compile(torch, "gpu.md", "exec")
    if shutil.which("nvidia-smi") and importlib.util.find_spec("torch"):
        megactx = f"import megactx; megactx.use_build({str(fake_gpu.build)!r}); megactx.compile({str(source)!r}, 'gpt.mctx', target='sm_80')"
        done = subprocess.run([sys.executable, "-c", f"{megactx}\n{torch}\nassert logits.shape == (1, 40, 96)"], cwd=tmp_path,
                              env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
