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


def run(name, *arguments, messages=False):
    """Runs a tool; gives its standard output, then, if asked for, its messages; raises Error with these where it fails."""
    command = [str(build() / "bin" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Error(done.stderr.strip() or f"{name} ended with status {done.returncode}")
    return done.stdout + done.stderr * messages


def compile(model, output, pattern=None, policy=None, target=None, schedule=None, schedules=None, generic=False, fuse_lod=True, optimize=3):
    """Compiles an ONNX or MLIR file to the artifact `output`; gives the compiler's closing line.

    pattern: for every self-attention, a Pattern or its text; policy: a JSON file of rules per layer and head.
    target: cpu, or a GPU's architecture such as sm_90; schedule: the #nvx.schedule of its attention kernels, instead of the rule's;
    schedules: a file of such by architecture and class, which megactx-tune-schedule writes.
    generic: attention without kernels, the same numbers: quick to compile, slow to run. fuse_lod: whether pooling and rotary embedding
    are fused with the attention that they belong to. optimize: how far LLVM optimizes code for the CPU, 0 (compiles in half of the time, to code that is
    several times slower) to 3.
    """
    if type(optimize) is not int or not 0 <= optimize <= 3:
        raise Error(f"optimize: expected 0, 1, 2 or 3, but got {optimize!r}")
    options = ["--generic"] * generic + ["--fuse-lod=false"] * (not fuse_lod) + [f"-O{optimize}"]
    for name, value in dict(pattern=pattern, policy=policy, target=target, schedule=schedule, schedules=schedules).items():
        options += [] if value is None else [f"--{name}={value}"]
    return run("megactx-compile", model, *options, "-o", output, messages=True).strip().splitlines()[-1]
