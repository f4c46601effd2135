"""megactx-tune-policy on a model that was trained to copy (python/models/train_copy.py), and the parts of the search."""

import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import onnx
import pytest

import reference
from conftest import ROOT

import megactx
from megactx import quality, tuning
from megactx.artifacts import Artifacts

MODEL, SCRIPT = ROOT / "test" / "Models" / "Inputs" / "copy.onnx", ROOT / "python" / "models" / "train_copy.py"
CANDIDATES = ["window<left = 3, right = 0>", "window<left = 3, right = 0> or strided<stride = 32>"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    subprocess.run([sys.executable, str(SCRIPT), "--data", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def tuned(data, cache, tool, tmp_path_factory):
    """The command's run, and the folder it wrote to."""
    out = tmp_path_factory.mktemp("tuned")
    candidates = [option for pattern in CANDIDATES for option in ("--candidate", pattern)]
    return tool("megactx-tune-policy", MODEL, "--data", data, "--budget", "35%", "--horizon", 60, *candidates, "--cache", cache,
                "--trials", 1, "-o", out / "policy.json"), out


def test_the_model_is_small_and_was_trained(data):
    assert MODEL.stat().st_size < 2**20
    ids = np.load(data / "set_0" / "input_0.npy")
    logits = dict(reference.expected_outputs(MODEL, {"ids": ids}, "dense"))["logits"]
    judge = quality.Judge([ids], [logits], horizon=60)
    assert judge.errors([logits])["nll"] < 0.01  # an untrained one: log 12 = 2.5


def test_better_than_a_window_of_equal_cost(tuned):
    done, out = tuned
    assert done.status == 0, done
    found = json.loads((out / "policy.curve.json").read_text())
    best, window = found["best"], found["window_of_equal_cost"]
    assert found["objective"] == "delta_nll"
    assert best["flops"] <= found["budget"] == pytest.approx(0.35 * found["dense_flops"]) and window["flops"] >= best["flops"]
    assert best["delta_nll"] < 0.5 and window["delta_nll"] > 1


def test_the_policy_compiles_and_errors_are_the_references(tuned, data, tool, tmp_path):
    done, out = tuned
    assert done.status == 0, done
    policy = json.loads((out / "policy.json").read_text())
    best = json.loads((out / "policy.curve.json").read_text())["best"]
    assert best["rules"] == policy["rules"]
    assert tool("megactx-compile", MODEL, "--policy", out / "policy.json", "-o", tmp_path / "m.mctx").status == 0
    errors = []
    for folder in sorted(data.glob("set_*")):
        ids = np.load(folder / "input_0.npy")
        dense, sparse = (dict(reference.expected_outputs(MODEL, {"ids": ids}, p))["logits"].astype(np.float64) for p in ("dense", policy))
        log_p, log_q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (dense, sparse))
        nll = [-np.take_along_axis(x[:, 35:95], ids[:, 36:, None], 2).mean() for x in (log_p, log_q)]
        errors.append([nll[1] - nll[0], (np.exp(log_p) * (log_p - log_q))[:, 35:95].sum(-1).mean()])
    np.testing.assert_allclose([best["delta_nll"], best["kl"]], np.mean(errors, 0), atol=1e-3)


def test_flops_are_those_of_explain(tuned, tool):
    done, out = tuned
    assert done.status == 0, done
    found = json.loads((out / "policy.curve.json").read_text())
    said = tool("megactx-explain", MODEL, "--policy", out / "policy.json", "--queries", 96, "--json")
    assert sum(s["flops"] for a in json.loads(said.out)["attentions"] for s in a["sources"]) == pytest.approx(found["best"]["flops"])


def test_the_curve_and_its_picture(tuned):
    done, out = tuned
    assert done.status == 0, done
    found = json.loads((out / "policy.curve.json").read_text())
    costs = [point["flops"] for point in found["curve"]]
    assert costs == sorted(costs) and len(found["windows"]) >= 2 and len(found["single_changes"]) == 8
    picture = xml.parse(out / "policy.curve.svg").getroot()
    tag = "{http://www.w3.org/2000/svg}"
    assert len(list(picture.iter(f"{tag}polyline"))) == 2
    words = " ".join(t.text for t in picture.iter(f"{tag}text"))
    assert "attention FLOPs" in words and "delta NLL" in words and "budget" in words


def test_a_second_search_compiles_nothing(tuned, data, cache, tool, tmp_path):
    assert tuned[0].status == 0, tuned[0]
    assert not re.search("compiled 0 artifacts", tuned[0].out)
    candidates = [option for pattern in CANDIDATES for option in ("--candidate", pattern)]
    done = tool("megactx-tune-policy", MODEL, "--data", data, "--budget", "35%", "--horizon", 60, *candidates, "--cache", cache,
                "--trials", 1, "-o", tmp_path / "policy.json")
    assert "compiled 0 artifacts" in done.out, done
    assert (tmp_path / "policy.json").read_text() == (tuned[1] / "policy.json").read_text()


# --- a policy that is given ---


SCHEDULE = {"rules": [{"schedule": [{"until_step": 100, "pattern": "dense"}, {"until_step": 200, "pattern": CANDIDATES[1]}, {"pattern": CANDIDATES[0]}]}]}


@pytest.fixture
def schedule(tmp_path):
    (tmp_path / "schedule.json").write_text(json.dumps(SCHEDULE))
    return tmp_path / "schedule.json"


def test_a_schedule_is_measured_stage_by_stage(data, cache, tool, tmp_path, schedule):
    done = tool("megactx-tune-policy", MODEL, "--data", data, "--measure", schedule, "--horizon", 60, "--cache", cache, "-o", tmp_path / "stages.json")
    assert done.status == 0 and re.findall(r"^step (\d+): ", done.out, re.M) == ["0", "100", "200"], done
    found = json.loads((tmp_path / "stages.json").read_text())
    dense, strided, window = found["stages"]
    assert dense["share_of_dense"] == 1 and dense["delta_nll"] == pytest.approx(0, abs=1e-4)
    assert 0.5 < strided["delta_nll"] < window["delta_nll"]
    assert window["flops"] < strided["flops"] <= strided["window_of_equal_cost"]["flops"] < dense["flops"]
    for stage in found["stages"]:
        said = tool("megactx-explain", MODEL, "--policy", schedule, "--step", stage["step"], "--queries", found["length"], "--json")
        assert sum(s["flops"] for a in json.loads(said.out)["attentions"] for s in a["sources"]) == pytest.approx(stage["flops"])


def test_the_policy_at_a_step(data, cache, tool, tmp_path, schedule):
    done = tool("megactx-tune-policy", MODEL, "--data", data, "--measure", schedule, "--step", 150, "--step", 7, "--horizon", 60, "--cache", cache)
    assert done.status == 0 and re.findall(r"^step (\d+): ", done.out, re.M) == ["150", "7"], done


def test_what_a_policy_says_at_a_step():
    policy = {"rules": [{"layers": "0", "pattern": "causal"}, *SCHEDULE["rules"]]}
    assert tuning.steps_of(policy) == [0, 100, 200]
    for step, pattern in ((0, "dense"), (99, "dense"), (100, CANDIDATES[1]), (199, CANDIDATES[1]), (200, CANDIDATES[0]), (10**9, CANDIDATES[0])):
        assert tuning.at_step(policy, step) == {"rules": [{"layers": "0", "pattern": "causal"}, {"pattern": pattern}]}
    # The last entry holds from its predecessor's end on, whatever its own says.
    assert tuning.at_step({"rules": [{"schedule": [{"until_step": 5, "pattern": "causal"}]}]}, 9) == {"rules": [{"pattern": "causal"}]}


@pytest.mark.parametrize("options, word", [
    (("--budget", "20%"), "expected neither --budget"), (("--candidate", "causal"), "nor --candidate"), (("--step", -1), "--step: expected at least 0")])
def test_bad_options_of_a_measurement(options, word, tool, data, schedule):
    done = tool("megactx-tune-policy", MODEL, "--data", data, "--measure", schedule, *options)
    assert done.status == 1 and done.err.count("error: ") == 1 and word in done.err, done


def test_bad_policies_to_measure(tool, data, tmp_path):
    for text, word in (('{"rules": [{"pattern": "strode<stride = 3>"}]}', "strode"), ("{", "policy.json"), ('{"rules": [{"layers": "7", "pattern": "causal"}]}', "layer 7")):
        (tmp_path / "policy.json").write_text(text)
        done = tool("megactx-tune-policy", MODEL, "--data", data, "--measure", tmp_path / "policy.json", "-o", tmp_path / "stages.json")
        assert done.status == 1 and done.err.count("error: ") == 1 and word in done.err and not (tmp_path / "stages.json").exists(), done


def test_what_a_search_needs(tool, data, tmp_path):
    for options, word in (((), "--budget"), (("--budget", "20%"), "--output"), (("--budget", "20%", "-o", tmp_path / "p.json", "--step", 5), "--step: a search has no training step")):
        done = tool("megactx-tune-policy", MODEL, "--data", data, *options)
        assert done.status == 1 and done.err.count("error: ") == 1 and word in done.err, done


# --- parts ---


def test_artifacts_follow_external_data(tmp_path):
    model = onnx.load(str(MODEL))
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="weights", size_threshold=0)
    with Artifacts(tmp_path / "cache") as artifacts:
        first = artifacts.of_file(tmp_path / "m.onnx", generic=True)
        assert artifacts.of_file(tmp_path / "m.onnx", generic=True) == first and artifacts.compiled == 1
        (tmp_path / "weights").write_bytes((tmp_path / "weights").read_bytes()[::-1])
        assert artifacts.of_file(tmp_path / "m.onnx", generic=True) != first


def test_knapsack_against_all_choices():
    random = np.random.default_rng()
    for _ in range(200):
        groups, budget = int(random.integers(1, 5)), 400.0
        costs = [random.integers(1, 250, random.integers(1, 5)).astype(float) for _ in range(groups)]
        losses = [random.random(len(c)) for c in costs]
        fits = [(sum(losses[g][i] for g, i in enumerate(pick)), pick) for pick in itertools.product(*(range(len(c)) for c in costs))
                if sum(costs[g][i] for g, i in enumerate(pick)) <= budget]
        picks = tuning.knapsack(costs, losses, budget)
        assert (picks is None) == (not fits)
        if fits:
            assert sum(costs[g][i] for g, i in enumerate(picks)) <= budget
            assert sum(losses[g][i] for g, i in enumerate(picks)) == pytest.approx(min(fits)[0])


def test_policies_join_heads_and_leave_dense_ones_out():
    choice = {tuning.Group(0, h, h): p for h, p in enumerate(["a", "a", "dense", "a"])} | {tuning.Group(1, 0, 3): "b"}
    assert json.loads(tuning.policy_text(choice))["rules"] == [
        {"layers": "0", "heads": "0-1", "pattern": "a"}, {"layers": "0", "heads": "3", "pattern": "a"}, {"layers": "1", "heads": "0-3", "pattern": "b"}]


def test_default_candidates_are_patterns():
    for length, causal in ((2, True), (96, True), (96, False), (4096, True)):
        candidates = tuning.default_candidates(length, causal)
        assert len(set(candidates)) == len(candidates) <= 21
        for pattern in candidates:
            megactx.Pattern(pattern).statistics(length)


def test_errors_by_hand():
    ids, dense = np.array([[0, 1]]), np.log(np.array([[[0.5, 0.5], [0.5, 0.5]]]))
    judge = quality.Judge([ids], [dense])
    errors = judge.errors([np.log(np.array([[[0.75, 0.25], [0.5, 0.5]]]))])
    assert errors["nll"] == pytest.approx(np.log(4)) and errors["delta_nll"] == pytest.approx(np.log(2))
    assert errors["kl"] == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    labelled = quality.Judge([ids], [dense], labels=np.array([[0, 0]]))
    assert labelled.errors([np.log(np.array([[[0.75, 0.25], [0.5, 0.5]]]))])["nll"] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    plain = quality.Judge([np.zeros((1, 2, 3), np.float32)], [np.array([[3.0, 4.0]])])
    assert plain.errors([np.array([[3.0, 9.0]])]) == {"relative_error": pytest.approx(1.0)}


# --- what it refuses ---


def refuses(tool, tmp_path, folder, word, model=MODEL, **changes):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    options = {"data": folder, "budget": "20%", "candidate": "strided<stride = 32>", "output": out / "policy.json", **changes}
    done = tool("megactx-tune-policy", model, *(f"--{key}={value}" for key, value in options.items()))
    assert done.status == 1 and done.err.count("error: ") == 1 and "Traceback" not in done.err, done
    assert word in done.err and not list(out.iterdir()), done


@pytest.mark.parametrize("option, value, word", [
    ("budget", "0", "positive number of FLOPs"), ("budget", "-5%", "positive"), ("budget", "nan", "positive"), ("budget", "lots", "lots"),
    ("budget", "10", "cheapest candidates"), ("candidate", "strode<stride = 3>", "did you mean 'strided'?\n  strode<stride = 3>\n  ^"), ("horizon", 0, "--horizon"), ("jobs", 0, "--jobs"),
    ("trials", -1, "--trials"), ("data", "/nowhere", "no input_0"), ("output", "/nowhere/p.json", "/nowhere"), ("granularity", "token", "granularity")])
def test_bad_options(option, value, word, tool, tmp_path, data):
    refuses(tool, tmp_path, data, word, **{option: value})


def test_an_artifact_instead_of_its_model(tool, tmp_path, data):
    (tmp_path / "model.mctx").mkdir()
    (tmp_path / "model.mctx" / "manifest.json").write_text("{}")
    refuses(tool, tmp_path, data, "is an artifact, whose patterns are chosen; give the model instead", model=tmp_path / "model.mctx")


def test_bad_data(tool, tmp_path, data):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "input_0.npy").write_bytes(b"nothing")
    refuses(tool, tmp_path, folder, "input_0.npy")
    np.save(folder / "input_0.npy", np.zeros((2, 30), np.float32))
    refuses(tool, tmp_path, folder, "ids")
    np.save(folder / "input_0.npy", np.zeros((2, 30), np.int64))
    np.save(folder / "input_0.npy", np.zeros((0, 30), np.int64))
    refuses(tool, tmp_path, folder, "input_0.npy': no numbers")
    np.save(folder / "input_0.npy", np.zeros((2, 30), np.int64))
    np.save(folder / "labels.npy", np.zeros((2, 31), np.int64))
    refuses(tool, tmp_path, folder, "expected labels [2, 30]")


def test_data_that_makes_nan(tool, tmp_path):
    subprocess.run([sys.executable, ROOT / "python" / "models" / "lod.py", tmp_path, "--width", "8", "--tokens", "40"], check=True)
    folder = tmp_path / "data"
    folder.mkdir()
    context = np.load(tmp_path / "tokens.npy")[None]
    context[0, 5, 2] = np.nan
    for i, array in enumerate((context, np.zeros((1, 40), np.int64), np.arange(40)[None])):
        np.save(folder / f"input_{i}.npy", array)
    refuses(tool, tmp_path, folder, "on data set 0 the dense model's outputs are not finite", model=tmp_path / "lensnet.onnx")


def test_a_model_without_attention(tool, tmp_path, data):
    value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), tmp_path / "relu.onnx")
    refuses(tool, tmp_path, data, "no self-attention", model=tmp_path / "relu.onnx")
    refuses(tool, tmp_path, data, "absent.onnx", model=tmp_path / "absent.onnx")
