"""megactx-tune-schedule: the search, its file, and the compiler's use of it, on a driver for tests whose clock counts bytes of shared memory."""

import dataclasses
import json
import re

import numpy as np
import pytest

import megactx
from conftest import generated
from megactx import schedules
from test_bad_input import refuses

RULE = schedules.Schedule(4, 64, 2, "mma_sync", True, 2)
ATTENTION = ["--attention", "causal", "--dtype", "f16", "--dim", "32", "--heads", "2", "--queries", "200", "--candidates", "3", "--jobs", "2"]


# --- candidates ---


def test_a_schedule_reads_what_it_writes():
    assert schedules.Schedule.parse(str(RULE)) == RULE
    assert str(RULE) == "#nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 2>"
    boxes = dataclasses.replace(RULE, product="wgmma", held=False, loads="tma")
    assert schedules.Schedule.parse(str(boxes)) == boxes and str(boxes).endswith("blocks = 2, loads = tma>")


def test_tensor_maps_are_tried_first_where_there_are_any():
    """Of what wgmma can have they are the nearest; what has no wgmma has none."""
    rule = dataclasses.replace(RULE, product="wgmma", held=False)
    assert dataclasses.replace(rule, loads="tma") in [s for s in schedules.near(rule, "sm_90a") if not s.producer][:2]
    assert {s.loads for s in schedules.near(RULE, "sm_80")} == {"cp_async"}
    assert {s.product for s in schedules.near(RULE, "sm_90a") if s.loads == "tma"} == {"wgmma"}


def test_a_producer_is_tried_where_there_are_any():
    """Half of the first candidates, whose numbers are not near the rule's."""
    rule = dataclasses.replace(RULE, product="wgmma", held=False, split=528)
    first = schedules.near(rule, "sm_90a")[:24]
    made = [s for s in first if s.producer]
    assert 8 <= len(made) <= 16 and {s.persistent for s in made} == {False, True} and {s.loads for s in made} == {"tma"}, first
    assert str(made[0]).endswith("columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 264, loads = tma, "
                                 "producer = true, persistent = true>")
    assert schedules.Schedule.parse(str(made[0])) == made[0]
    for arch in ("sm_80", "sm_90"):
        assert not any(s.producer for s in schedules.near(RULE, arch))
    # Not grouped, which the compiler refuses.
    assert not any(s.producer and s.grouped for s in schedules.near(dataclasses.replace(rule, grouped=True), "sm_90a"))


def test_blocks_without_a_producer_are_tried_beside_one():
    rule = schedules.Schedule(8, 128, 2, "wgmma", False, 1, split=132, loads="tma", producer=True, persistent=True)
    found = schedules.near(rule, "sm_90a")[:24]
    others = [s for s in found if not s.producer]
    assert others[0] == dataclasses.replace(rule, warps=4, columns=64, blocks=3, split=396, producer=False, persistent=False)
    assert 8 <= len(others) <= 16 and dataclasses.replace(rule, columns=112) in found, found


@pytest.mark.parametrize("rule, arch, products", [(RULE, "sm_80", {"mma_sync"}), (RULE, "sm_90a", {"mma_sync", "wgmma"}),
                                                  (dataclasses.replace(RULE, product="fma"), "sm_90a", {"fma"})])
def test_candidates_begin_near_the_rule(rule, arch, products):
    found = schedules.near(rule, arch)
    assert {schedule.product for schedule in found} == products and rule not in found and len(set(found)) == len(found)
    from_rule = lambda schedule: sum(getattr(rule, f.name) != getattr(schedule, f.name) for f in dataclasses.fields(rule))
    changes = [from_rule(schedule) for schedule in found if not schedule.producer]
    assert changes == sorted(changes) and changes[0] == 1


# --- the search, with times that are given ---


class Given(schedules.Measurer):
    """`results`: {artifact: seconds, or (seconds, output), or an error}."""

    def __init__(self, folder, plan, results):
        (folder / "plan.json").write_text(json.dumps(plan))
        super().__init__(folder, timer=self)
        self.results = results

    def is_lost(self):
        return False

    def inputs(self, number):
        return {}

    def run(self, artifact, inputs):
        result = self.results[artifact]
        if isinstance(result, Exception):
            raise result
        return result if isinstance(result, tuple) else (result, np.ones(4))


def plan(classes):
    """{class: (cases, schedules)} with artifacts named SCHEDULE@CASE."""
    numbers = sorted({n for cases, _ in classes.values() for n in cases})
    return dict(arch="sm_80", cases=[dict(title=f"case {n}", dtype="f16", inputs={}, artifact=f"rule@{n}") for n in numbers], classes={
        kind: dict(rule="rule", cases=cases, candidates=[dict(schedule=name, artifacts={n: f"{name}@{n}" for n in cases}) for name in names])
        for kind, (cases, names) in classes.items()})


def test_the_fastest_wins(tmp_path):
    found = Given(tmp_path, plan({"a": ([0], ["x", "y", "z"])}), {"rule@0": 4.0, "x@0": 5.0, "y@0": 2.0, "z@0": 3.0}).measure("GPU")
    entry = found["sm_80"]["a"]
    assert (entry["schedule"], entry["speedup"], entry["rule"], entry["device"]) == ("y", 2.0, "rule", "GPU")
    assert entry["cases"] == [dict(case="case 0", rule_milliseconds=4000.0)]


def test_the_rule_stays_where_nothing_is_faster(tmp_path):
    entry = Given(tmp_path, plan({"a": ([0], ["x"])}), {"rule@0": 1.0, "x@0": 1.0}).measure()["sm_80"]["a"]
    assert (entry["schedule"], entry["speedup"]) == ("rule", 1.0)


def test_cases_of_a_class_count_alike(tmp_path):
    """x: 0.4 and 1.5 of the rule's time, 0.77 by the geometric mean; y: 0.8 of both. By seconds, or their mean, y would win."""
    results = {"rule@0": 1e-3, "rule@1": 1.0, "x@0": 0.4e-3, "x@1": 1.5, "y@0": 0.8e-3, "y@1": 0.8}
    assert Given(tmp_path, plan({"a": ([0, 1], ["x", "y"])}), results).measure()["sm_80"]["a"]["schedule"] == "x"


@pytest.mark.parametrize("broken", [(0.1, np.full(4, 1.1)), (0.1, np.full(4, np.nan)), megactx.Error("it ends")], ids=["far", "nan", "error"])
def test_a_candidate_that_is_wrong_or_fails_is_none(tmp_path, broken):
    """In one case of two is enough."""
    results = {"rule@0": 1.0, "rule@1": 1.0, "x@0": broken, "x@1": 0.1, "y@0": 0.9, "y@1": 0.9}
    measurer, lines = Given(tmp_path, plan({"a": ([0, 1], ["x", "y"])}), results), []
    measurer.log = lines.append
    assert measurer.measure()["sm_80"]["a"]["schedule"] == "y"
    assert any(re.search("wrong numbers|it ends", line) for line in lines), lines


def test_classes_are_searched_apart(tmp_path):
    results = {"rule@0": 1.0, "x@0": 0.5, "y@0": 0.7}
    found = Given(tmp_path, plan({"a": ([0], ["x"]), "b": ([0], ["y"])}), results).measure()["sm_80"]
    assert {kind: entry["schedule"] for kind, entry in found.items()} == {"a": "x", "b": "y"}


# --- the file ---


def test_entries_are_added(tmp_path):
    path = tmp_path / "s.json"
    schedules.write(path, {"sm_80": {"a": {"schedule": "x"}}})
    schedules.write(path, {"sm_80": {"b": {"schedule": "y"}}, "sm_90": {"a": {"schedule": "z"}}})
    schedules.write(path, {"sm_80": {"a": {"schedule": "new"}}})
    assert schedules.read(path) == {"sm_80": {"a": {"schedule": "new"}, "b": {"schedule": "y"}}, "sm_90": {"a": {"schedule": "z"}}}


@pytest.mark.parametrize("text", ["{", "[]", '{"rules": []}', '{"schedules": 3}', '{"schedules": {"sm_80": 3}}'])
def test_another_file_is_not_overwritten(tool, tmp_path, text):
    path = tmp_path / "s.json"
    path.write_text(text)
    refuses(tool("megactx-tune-schedule", *ATTENTION, "-o", path), "s.json", "no file of schedules")
    assert path.read_text() == text


# --- modules of cases ---


def test_the_attentions_of_a_model(request, fake_gpu):
    """BERT's padding mask is a bias per key; its two layers are one case."""
    megactx.use_build(request.config.getoption("--build"))
    folder = generated(request.config.getoption("--build"))
    case, = schedules.cases_of_model(folder / "bert_sdpa_ts17" / "model.onnx", [48], None)
    assert (case.dtype, case.queries, case.keys) == ("f32", 48, 48)
    assert case.sources[0].bias and case.sources[0].bias_per_key
    window, = schedules.cases_of_model(folder / "gpt_sdpa_ts17" / "model.onnx", [48], None, options=["--pattern=window<left = 3, right = 0>"])
    assert window.sources[0].pattern == "window<left = 3, right = 0> and causal"


def packer(request, folder, **more):
    megactx.use_build(request.config.getoption("--build"))
    return schedules.Packer("sm_80", folder, **more)


SOURCE = schedules.Source("causal", 1, 64, 32)
CASES = {
    "f16 64x32 long": schedules.Case("f16", 2, (SOURCE,), 100, 120),
    "f16 64x32 long bias softcap": schedules.Case("f16", 2, (dataclasses.replace(SOURCE, bias=True),), 100, 120, softcap=3.0),
    "f16 64x32 long bias-per-key": schedules.Case("f16", 2, (dataclasses.replace(SOURCE, bias=True, bias_per_key=True),), 100, 120),
    "bf16 64x32 band": schedules.Case("bf16", 2, (dataclasses.replace(SOURCE, pattern="causal and window<left = 7, right = 0>"),), 100, 120),
    "f32 64x32 long rows<=16": schedules.Case("f32", 2, (SOURCE,), 1, 50),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_case_has_its_class(request, tmp_path, kind):
    made, case = packer(request, tmp_path), CASES[kind]
    (tmp_path / "case.mlir").write_text(case.module())
    megactx.tools.run("megactx-compile", tmp_path / "case.mlir", "--target=sm_80", "--compile-to=memref", "-o", tmp_path / "buffers.mlir")
    assert list(made.kernels(tmp_path / "buffers.mlir")) == [kind]


def test_candidates_are_what_the_compiler_takes(request, tmp_path):
    """For f32 of head dim 256, most schedules do not fit in shared memory."""
    made = packer(request, tmp_path, candidates=6, jobs=2)
    (tmp_path / "case.mlir").write_text(schedules.Case("f32", 1, (schedules.Source("causal", 1, 256, 256),), 40, 40).module())
    buffers = tmp_path / "buffers.mlir"
    megactx.tools.run("megactx-compile", tmp_path / "case.mlir", "--target=sm_80", "--compile-to=memref", "-o", buffers)
    (kind, rule), = made.kernels(buffers).items()
    found = made.accepted(0, kind, rule, [buffers])
    assert 0 < len(found) <= 6
    taken = [made.kernels(buffers, made.chosen("again", kind, schedule)) for schedule in found]
    assert taken == [{kind: schedule} for schedule in found]
    refused = [schedule for schedule in schedules.near(rule, "sm_80")[:len(found)] if schedule not in found]
    assert refused and all(made.kernels(buffers, made.chosen("again", kind, schedule)) is None for schedule in refused)


@pytest.mark.parametrize("refused", ["class0_0_case0.mctx", "case0.mctx"])
def test_a_candidate_that_ptxas_refuses_is_left_out(request, tmp_path, monkeypatch, refused):
    """The rule's schedule is none to leave out."""
    def assemble(source, artifact, **options):
        if artifact.name == refused:
            raise megactx.Error("cannot assemble kernels for sm_80: ptxas fatal: (C7602) Insufficient registers (80)")

    monkeypatch.setattr(schedules, "compile", assemble)
    said = []
    made = packer(request, tmp_path, candidates=2, log=said.append)
    if refused == "case0.mctx":
        with pytest.raises(megactx.Error, match="Insufficient registers"):
            made.pack([CASES["bf16 64x32 band"]])
        return
    entry, = made.pack([CASES["bf16 64x32 band"]])["classes"].values()
    assert [candidate["artifacts"] for candidate in entry["candidates"]] == [{0: "class0_1_case0.mctx"}]
    assert any("ptxas takes no #nvx.schedule<" in line for line in said), said


# --- the command ---


@pytest.fixture(scope="module")
def tuned(fake_gpu, tmp_path_factory):
    path = tmp_path_factory.mktemp("tuned") / "schedules.json"
    done = fake_gpu.tool("megactx-tune-schedule", *ATTENTION, "-o", path, environment=fake_gpu.environment("kernels=none capability=80"))
    return done, path


def test_the_command(tuned):
    """Blocks of 64 queries and two stages of 64 keys and values, or of 48: 20 to 16 rows."""
    done, path = tuned
    assert done.status == 0, done
    entry = json.loads(path.read_text())["schedules"]["sm_80"]["f16 32 long"]
    best, rule = map(schedules.Schedule.parse, (entry["schedule"], entry["rule"]))
    assert best == dataclasses.replace(rule, columns=48) and entry["speedup"] == 1.25 and entry["device"] == "Fake GPU", entry
    assert "f16 32 long: #nvx.schedule<rows = 64, columns = 48" in done.out and "1.25 x the rule's speed" in done.out
    assert done.err.count(" of f16 32 long") == 3, done


def test_the_compiler_takes_the_file(tuned, tool, tmp_path):
    _, path = tuned
    want = json.loads(path.read_text())["schedules"]["sm_80"]["f16 32 long"]["schedule"]
    (tmp_path / "a.mlir").write_text(schedules.Case("f16", 2, (schedules.Source("causal", 2, 32, 32),), 99, 99).module())
    for arch, uses in (("sm_80", True), ("sm_86", False)):
        done = tool("megactx-compile", tmp_path / "a.mlir", f"--target={arch}", "--schedules", path, "--compile-to=loops", "-o", "-")
        assert done.status == 0 and (want in done.out) == uses, done
    assert tool("megactx-compile", tmp_path / "a.mlir", "--target=sm_80", "--schedules", path, "-o", tmp_path / "a.mctx").status == 0


def test_what_is_known_is_not_measured_again(tuned, fake_gpu, tmp_path):
    path = tmp_path / "schedules.json"
    before = tuned[1].read_text()
    path.write_text(before)
    again = lambda *more: fake_gpu.tool("megactx-tune-schedule", *ATTENTION, *more, "-o", path, environment=fake_gpu.environment("kernels=none"))
    done = again()
    assert done.status == 0 and "f16 32 long: known" in done.err and ": 0 classes of kernels" in done.out and path.read_text() == before, done
    done = again("--again", "--candidates", "1")
    assert done.status == 0 and ": 1 classes of kernels" in done.out and path.read_text() != before, done


def test_a_candidate_that_breaks_the_context(fake_gpu, tmp_path):
    """A process times the rule's kernels and a candidate's, 34 launches each, and dies in the second's; the next goes on with the third."""
    path = tmp_path / "schedules.json"
    done = fake_gpu.tool("megactx-tune-schedule", *ATTENTION, "-o", path, environment=fake_gpu.environment("kernels=none lost=80"))
    assert done.status == 0, done
    assert done.err.count("by rule") == 2 and done.err.count("the GPU's context is lost") == 1 and "CUDA_ERROR_ILLEGAL_ADDRESS" in done.err, done
    assert len(re.findall(r"ms  #nvx.*of f16 32 long", done.err)) == 2 and ": 1 classes of kernels" in done.out, done


def test_a_rule_that_breaks_the_context(fake_gpu, tmp_path):
    path = tmp_path / "schedules.json"
    done = fake_gpu.tool("megactx-tune-schedule", *ATTENTION, "-o", path, environment=fake_gpu.environment("kernels=none lost=20"))
    refuses(done, "CUDA_ERROR_ILLEGAL_ADDRESS", output=path)


def test_packed_here_and_measured_there(fake_gpu, tmp_path):
    done = fake_gpu.tool("megactx-tune-schedule", *ATTENTION, "--candidates", 1, "--target", "sm_80", "--pack", tmp_path / "packed")
    assert done.status == 0 and "packed 1 candidates of 1 classes" in done.out, done
    assert {p.suffix for p in (tmp_path / "packed").iterdir()} == {".mctx", ".json"}
    done = fake_gpu.tool("megactx-tune-schedule", "--packed", tmp_path / "packed", "--runtime", fake_gpu.build, "-o", tmp_path / "s.json",
                         environment=fake_gpu.environment("kernels=none"))
    assert done.status == 0 and list(schedules.read(tmp_path / "s.json")["sm_80"]) == ["f16 32 long"], done


def test_a_model_of_bfloat16_without_ml_dtypes(fake_gpu, tmp_path):
    """As on a GPU's machine, where nothing but numpy is; the emulator's numbers are the rule's."""
    case = schedules.Case("bf16", 1, (schedules.Source("causal", 1, 16, 16),), 20, 20)
    (tmp_path / "folder").mkdir()
    plan = dict(arch="sm_80", cases=[dict(title="case", dtype="bf16", inputs=case.shapes(), artifact="rule.mctx")],
                classes={"a": dict(rule="rule", cases=[0], candidates=[dict(schedule="other", artifacts={"0": "other.mctx"})])})
    (tmp_path / "folder" / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "case.mlir").write_text(case.module())
    for name, schedule in (("rule", RULE), ("other", dataclasses.replace(RULE, columns=16))):
        fake_gpu.compile(tmp_path / "case.mlir", tmp_path / "folder" / f"{name}.mctx", schedule=schedule)
    done = fake_gpu.python("""
sys.modules["ml_dtypes"] = None
from megactx import gpu_timer, schedules
gpu_timer.FLUSH = 1 << 16
print(schedules.Measurer(sys.argv[1], gpu_timer.Timer(), log=print).measure()["sm_80"]["a"]["schedule"])
""", tmp_path / "folder")
    assert done.status == 0 and done.out.splitlines()[-1] == "other" and "wrong" not in done.out, done


def test_without_a_gpu(fake_gpu, tmp_path):
    """One line, before anything is compiled; nothing written."""
    (tmp_path / "libcuda.so.1").write_text("")
    path = tmp_path / "s.json"
    for more in (dict(libraries=tmp_path), dict(settings="devices=0")):
        done = fake_gpu.tool("megactx-tune-schedule", *ATTENTION, "-o", path, environment=fake_gpu.environment(**more))
        refuses(done, "this needs an NVIDIA GPU", output=path)
        assert done.err.count("\n") == 1, done


@pytest.mark.parametrize("arguments, word", [
    ([], "a model"), (["model.onnx", *ATTENTION], "a model"), ([*ATTENTION, "--dim", "0"], "--dim"), ([*ATTENTION, "--queries", "0"], "--queries"),
    ([*ATTENTION, "--heads", "3", "--key-heads", "2"], "--key-heads"), ([*ATTENTION, "--pattern", "causal"], "--pattern"),
    ([*ATTENTION, "--dim", "x"], "--dim"), ([*ATTENTION, "--pack", "x"], "-o"), (["--packed", "absent"], "absent"), (["absent.onnx"], "absent.onnx"),
    (["--attention", "windw"], "windw")], ids=lambda x: " ".join(x[-2:]) if isinstance(x, list) else "")
def test_bad_arguments(fake_gpu, tmp_path, arguments, word):
    path = tmp_path / "s.json"
    done = fake_gpu.tool("megactx-tune-schedule", *arguments, "-o", path, environment=fake_gpu.environment("kernels=none"))
    refuses(done, word, output=path)


def test_pack_needs_an_architecture(tool, tmp_path):
    refuses(tool("megactx-tune-schedule", *ATTENTION, "--pack", tmp_path / "packed"), "--target", output=tmp_path / "packed")
