"""Finds and runs the command-line tools of a build."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
_build = None


class Error(RuntimeError):
    """What a tool or the runtime reported."""


def use_build(folder):
    """Takes tools and runtime from this build folder from now on."""
    global _build
    _build = pathlib.Path(folder).resolve()


def build():
    """The build folder in use: the one given, or the checkout's newest of release and dev."""
    if _build is not None:
        return _build
    candidates = [p for p in (ROOT / "build" / "release", ROOT / "build" / "dev") if (p / "bin").is_dir()]
    if not candidates:
        raise Error(f"no build under {ROOT / 'build'}; run tools/dev/build, or name one with megactx.use_build(folder)")
    return max(candidates, key=lambda p: (p / "bin").stat().st_mtime)


def run(name, *arguments):
    """Runs a tool; gives its standard output, raises Error with its messages where it fails."""
    command = [str(build() / "bin" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Error(done.stderr.strip() or f"{name} ended with status {done.returncode}")
    return done.stdout


def compile(model, output, pattern=None, policy=None, target=None, generic=False):
    """Compiles an ONNX or MLIR file to the artifact `output`; gives the compiler's closing line.

    pattern: for every self-attention, a Pattern or its text; policy: a JSON file of rules per layer and head.
    generic: attention without kernels, the same numbers: quick to compile, slow to run.
    """
    options = []
    if pattern is not None:
        options += ["--pattern", str(pattern)]
    if policy is not None:
        options += ["--policy", policy]
    if target is not None:
        options += [f"--target={target}"]
    if generic:
        options += ["--generic"]
    command = [str(build() / "bin" / "megactx-compile"), str(model), *map(str, options), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Error(done.stderr.strip() or f"megactx-compile ended with status {done.returncode}")
    return (done.stdout + done.stderr).strip().splitlines()[-1]
