"""Finds and runs the command-line tools of a build."""

import json
import pathlib
import re
import subprocess
import tempfile
import warnings

PACKAGE = pathlib.Path(__file__).resolve().parent
ROOT = PACKAGE.parents[1]
_build = None


class Error(RuntimeError):
    """What a tool or the runtime reported."""


def use_build(folder):
    """Takes tools and runtime from this build folder from now on."""
    global _build
    _build = pathlib.Path(folder).resolve()


def build():
    """The build folder in use: the one given, what was installed with the package, or the checkout's newest of release and dev."""
    if _build is not None:
        return _build
    if (PACKAGE / "native").is_dir():
        return PACKAGE / "native"
    candidates = [p for p in (ROOT / "build" / "release", ROOT / "build" / "dev") if (p / "bin").is_dir()]
    if not candidates:
        raise Error(f"no build under {ROOT / 'build'}; run tools/dev/build there, or name one with megactx.use_build(folder)")
    return max(candidates, key=lambda p: (p / "bin").stat().st_mtime)


def run(name, *arguments, messages=False):
    """Runs a tool; gives its standard output, then, if asked for, its messages; raises Error with these where it fails."""
    command = [str(build() / "bin" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Error(done.stderr.strip("\n") or f"{name} ended with status {done.returncode}")
    return done.stdout + done.stderr * messages


def compile(model, output, pattern=None, policy=None, target=None, schedule=None, schedules=None, generic=False, fuse_lod=True, optimize=2, *,
            step=None, caches_in_place=False, float_scores=False):
    """Compiles an ONNX or MLIR file to the artifact `output`; gives the compiler's closing line. What it warns of are RuntimeWarnings.

    pattern: for every self-attention, a Pattern or its text; policy: rules per layer and head, a JSON file or what such a file holds,
    {"rules": [...]}; step: the training step of its schedules.
    target: cpu (this machine's), another CPU by LLVM's name such as x86-64-v3, or a GPU's architecture such as sm_90; schedule: the #nvx.schedule of its attention kernels, instead of the rule's;
    schedules: a file of such by architecture and class, which megactx-tune-schedule writes.
    generic: attention without kernels, the same numbers: quick to compile, slow to run. fuse_lod: whether pooling and rotary embedding
    are fused with the attention that they belong to. optimize: how far LLVM optimizes code for the CPU, 0 (compiles in half of the time, to code that is
    several times slower) to 3 (compiles longer, to code that was no faster where it was measured).
    caches_in_place: a run writes new rows into the caches that come in. float_scores: scores of quantized attention stay unrounded, so
    that it can be sparse.
    """
    if type(optimize) is not int or not 0 <= optimize <= 3:
        raise Error(f"optimize: expected 0, 1, 2 or 3, but got {optimize!r}")
    flags = {"--generic": generic, "--fuse-lod=false": not fuse_lod, "--caches-in-place": caches_in_place, "--float-scores": float_scores}
    options = [flag for flag, given in flags.items() if given] + [f"-O{optimize}", "--progress=false"]
    with tempfile.TemporaryDirectory(prefix="megactx") as folder:
        if isinstance(policy, dict):
            rules, policy = policy, pathlib.Path(folder, "policy.json")
            try:
                policy.write_text(json.dumps(rules))
            except TypeError as error:
                raise Error(f"policy: {error}") from None
        for name, value in dict(pattern=pattern, policy=policy, step=step, target=target, schedule=schedule, schedules=schedules).items():
            options += [] if value is None else [f"--{name}={value}"]
        said = run("megactx-compile", model, *options, "-o", output, messages=True)
    for text in re.findall(r"^.*?: warning: .*$", said, re.M):
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return said.splitlines()[-1]
