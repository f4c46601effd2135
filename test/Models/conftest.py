"""Whole-model tests over folders of models: pytest test/Models [--build DIR] [--models DIR]..."""

import fnmatch
import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(ROOT / "python")]

import days  # noqa: E402
import reference  # noqa: E402

# Model families that must compile and run; of the others a clear "no lowering for" is accepted.
SUPPORTED = ["gpt_*", "gpt2_*", "llama_*", "bert_*", "distilbert_*", "vit_*", "mistral_*", "qwen2_*", "gptneox_*", "gistnet_*", "lensnet_*", "merged_*"]


def pytest_addoption(parser):
    parser.addoption("--build", type=pathlib.Path, default=ROOT / "build" / "dev", help="build folder with the tools")
    parser.addoption("--models", type=pathlib.Path, action="append", default=[], help="another folder of models; repeatable")
    parser.addoption("--cpu", default="cpu", help="the CPU that models are compiled for, by LLVM's name (this machine's)")
    parser.addoption("--only", default="*", help="models, and cases that are one model, whose name fits this pattern")
    parser.addoption("--all", action="store_true", help="all models also where tests take one of each family")


class Model:
    def __init__(self, folder, facts):
        self.folder, self.facts, self.name = folder, facts, folder.name
        self.path = folder / "model.onnx"
        self.must_run = any(fnmatch.fnmatch(self.name, f) for f in SUPPORTED)

    @property
    def data_sets(self):
        return sorted(self.folder.glob("test_data_set_*"))

    @property
    def family(self):
        """What its spellings have in common: the architecture, and whether there is a cache."""
        words = self.name.split("_")
        return (words[0], *(word for word in ("past", "decode", "synthesizer") if word in words))


# What takes long comes first, so that workers end together.
LONG = ["test_tune_policy", "test_docs", "test_onnx_nodes", "test_models"]

# What a test's marker says that a model stands for; of the models alike, it takes the one of the last folder.
LIKENESSES = {"one_of_a_name": lambda model: model.name, "one_of_a_family": lambda model: model.family}


def one_of_each(models, likeness):
    return list({LIKENESSES[likeness](model): model for model in models}.values())


@functools.cache
def models_of(folder):
    """The models of a folder: one object for each, so that tests of one share what fixtures make of it."""
    return [Model(folder.resolve() / name, facts) for name, facts in reference.facts(folder).items()]


@functools.cache
def generated(build):
    """The models that python/models writes, made once per version of the script."""
    out = build / "test" / "Models" / "generated"
    subprocess.run([sys.executable, str(ROOT / "python" / "models" / "make_models.py"), "--if-changed", str(out)], check=True)
    return out


def halves(cases, only):
    """Names of a module's CASES: each half is one model."""
    names = [name for name in cases if fnmatch.fnmatch(name, only)]
    return [half for half in (names[::2], names[1::2]) if half]


def pytest_generate_tests(metafunc):
    option = metafunc.config.getoption
    if "half" in metafunc.fixturenames:
        metafunc.parametrize("half", halves(metafunc.module.CASES, option("--only")), ids=lambda half: half[0] if len(half) == 1 else None)
    if "model" not in metafunc.fixturenames:
        return
    families = getattr(metafunc.module, "FAMILIES", ["*"])
    models = [
        model for folder in [generated(option("--build"))] + option("--models") for model in models_of(folder)
        if fnmatch.fnmatch(model.name, option("--only")) and any(fnmatch.fnmatch(model.name, f) for f in families)
    ]
    if not option("--all"):
        marked = metafunc.definition.get_closest_marker
        others = one_of_each(models, "one_of_a_family") if marked("besides_one_of_a_family") else []
        for likeness in filter(marked, LIKENESSES):
            models = one_of_each(models, likeness)
        models = [model for model in models if model not in others]
    metafunc.parametrize("model", models, ids=[f"{m.folder.parent.name}/{m.name}" for m in models], scope="module")


class Result(str):
    """A command and what came of it, all of which pytest shows where it is an assertion's message: of what is no text, only a part."""

    def __new__(cls, command, done):
        text = shlex.join(map(str, command))
        self = super().__new__(cls, f"$ {text}\nstatus {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        self.command, self.status, self.out, self.err = text, done.returncode, done.stdout, done.stderr
        return self


@pytest.fixture(scope="session")
def tool(request):
    """tool("megactx-run", arguments...) runs it and gives a Result. LLVM's optimizations take half of the time: a test that does not say how far they
    go has them every third day."""
    option = request.config.getoption
    binaries, cpu = option("--build").resolve() / "bin", option("--cpu")

    def run(name, *arguments, timeout=600, environment=None):
        command = [binaries / name, *arguments]
        says = lambda what: any(str(argument).startswith(what) for argument in arguments)
        if name == "megactx-compile":
            # Of a fixture's artifact, the same whichever test asks for it first: by the file and the parameters.
            test = re.sub(r"::\w+| \(\w+\)$", "", os.environ.get("PYTEST_CURRENT_TEST", ""))
            command += [f"--target={cpu}"] * (cpu != "cpu" and not says("--target"))
            command += ["-O0"] * (not option("--all") and not says("-O") and not days.is_due(test, 3))
        return Result(command, subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=timeout,
                                              env=environment))

    return run


@pytest.fixture(scope="session")
def fake_gpu(request, tool):
    import gpu

    return gpu.FakeGPU(request.config.getoption("--build").resolve(), tool)


def pytest_collection_modifyitems(items):
    """Long ones first; tests that known_failures.txt names are expected to fail."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    lines = (pathlib.Path(__file__).parent / "known_failures.txt").read_text().splitlines()
    known = [line for line in lines if line and not line.startswith("#")]
    for item in items:
        if any(fnmatch.fnmatch(item.name.replace("[", "/").replace("]", ""), pattern) for pattern in known):
            item.add_marker(pytest.mark.xfail(reason="known_failures.txt", strict=True))
