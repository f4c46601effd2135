"""The command megactx-tune-schedule."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from . import files, schedules, tools
from .cli import Parser, run_command
from .gpu_timer import Timer
from .tools import Error

DESCRIPTION = """Times schedules of the attention kernels of a model, or of one pattern, on this machine's NVIDIA GPU, and writes the fastest to a file
for megactx-compile --schedules.

The file has an entry for each architecture and class of kernels; what it has already is not measured again. Numbers of each candidate are
compared with those of the schedule by rule.
"""

EXAMPLES = """examples:
  megactx-tune-schedule model.onnx --pattern 'causal and window<left = 511, right = 0>' --queries 4096 16384 -o schedules.json
  megactx-tune-schedule --attention causal --dtype bf16 --heads 16 --dim 128 --queries 16384 -o schedules.json
  megactx-compile model.onnx --target=sm_90a --schedules schedules.json -o model.mctx

where the GPU's machine has no compiler:
  megactx-tune-schedule model.onnx --target sm_90a --queries 16384 --pack build/gpu/schedules         # here
  PYTHONPATH=python python -m megactx.schedule_tool --packed build/gpu/schedules --runtime build/gpu -o schedules.json     # there
"""


def parser():
    made = Parser("megactx-tune-schedule", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("model", nargs="?", metavar="MODEL.onnx", help="or .mlir: its attentions, at the given lengths")
    add("--pattern", metavar="PATTERN", help="of the model, as of megactx-compile")
    add("--policy", metavar="POLICY.json", help="the same")
    add("--attention", action="append", default=[], metavar="PATTERN", help="instead of a model: an attention with this pattern; repeatable")
    add("--dtype", choices=list(schedules.TOLERANCE), default="bf16", help="of --attention (bf16)")
    add("--dim", type=int, default=64, metavar="D", help="of --attention: head dim (64)")
    add("--value-dim", type=int, metavar="D", help="of --attention (as --dim)")
    add("--heads", type=int, default=16, metavar="N", help="of --attention, and of models that do not say (16)")
    add("--key-heads", type=int, metavar="N", help="of --attention (as --heads)")
    add("--queries", type=int, nargs="+", default=[4096, 16384], metavar="N", help="rows to measure at (4096 16384)")
    add("--keys", type=int, metavar="N", help="keys (as many as queries)")
    add("--batch", type=int, default=1, metavar="N", help="where the model does not say (1)")
    add("--target", metavar="ARCH", help="architecture (this machine's GPU's)")
    add("--candidates", type=int, default=24, metavar="N", help="schedules to try for each class of kernels, at most (24)")
    add("--again", action="store_true", help="also measure classes that the file has")
    add("--jobs", type=int, default=os.cpu_count(), metavar="N", help="compilations at a time (one per core)")
    add("--pack", type=pathlib.Path, metavar="DIR", help="only compile, into this folder")
    add("--packed", type=pathlib.Path, metavar="DIR", help="only measure what --pack put into this folder")
    add("--runtime", type=pathlib.Path, metavar="DIR", help="folder with lib/libmegactx_runtime.so (the newest build)")
    add("-o", "--output", type=pathlib.Path, metavar="SCHEDULES.json")
    return made


def check(options):
    sizes = ("dim", "value_dim", "heads", "key_heads", "keys", "batch", "candidates", "jobs")
    for name in sizes:
        if (value := getattr(options, name)) is not None and value < 1:
            raise Error(f"--{name.replace('_', '-')}: expected at least 1, but got {value}")
    if min(options.queries) < 1:
        raise Error(f"--queries: expected at least 1, but got {min(options.queries)}")
    if sum(map(bool, (options.model, options.attention, options.packed))) != 1:
        raise Error("expected one of a model, --attention and --packed; see --help")
    if options.attention and (options.pattern or options.policy):
        raise Error("--attention has its pattern; --pattern and --policy are for models")
    if options.heads % (options.key_heads or options.heads):
        raise Error(f"--heads: expected a multiple of --key-heads, but got {options.heads} and {options.key_heads}")
    if bool(options.pack) == bool(options.output):
        raise Error("expected -o SCHEDULES.json" if options.pack is None else "--pack measures nothing: -o has no use")
    if options.pack and not options.target:
        raise Error("--pack needs --target, the architecture that it is for")


def cases_of(options):
    if options.model:
        more = [f"--{name}={value}" for name, value in (("pattern", options.pattern), ("policy", options.policy)) if value]
        return schedules.cases_of_model(options.model, options.queries, options.keys, options.batch, options.heads, more)
    source = lambda pattern: schedules.Source(pattern, options.key_heads or options.heads, options.dim, options.value_dim or options.dim)
    return [schedules.Case(options.dtype, options.heads, (source(pattern),), queries, options.keys or queries, options.batch)
            for pattern in options.attention for queries in options.queries]


def log(line):
    print(line, file=sys.stderr, flush=True)


def pack(options, arch, folder):
    known = () if options.again or not options.output else schedules.read(options.output).get(arch, ())
    return schedules.Packer(arch, folder, options.candidates, options.jobs, known, log).pack(cases_of(options))


def measure(options):
    """Times what is packed, writes the file, and says what was found. A process whose context is lost becomes another that goes on."""
    timer = Timer()
    try:
        found = schedules.Measurer(options.packed, timer, log).measure(timer.name)
    except schedules.Lost as error:
        log(f"  {error}")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    schedules.write(options.output, found)
    for arch, classes in found.items():
        for kind, entry in classes.items():
            print(f"{arch} {kind}: {entry['schedule']}, {entry['speedup']:.2f} x the rule's speed")
    print(f"measured on {timer.name}: {sum(map(len, found.values()))} classes of kernels, wrote {options.output}")


def pack_and_measure(options):
    """Measures in a process of its own, which may lose its context."""
    arch = options.target or Timer().arch
    with tempfile.TemporaryDirectory(prefix="megactx-") as folder:
        pack(options, arch, folder)
        package = pathlib.Path(__file__).resolve().parents[1]
        command = [sys.executable, "-m", f"{__package__}.{pathlib.Path(__file__).stem}", "--packed", folder, "--runtime", tools.build(), "-o", options.output]
        done = subprocess.run(list(map(str, command)), env={**os.environ, "PYTHONPATH": str(package)}, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode if done.returncode > 0 else 1)


def run(options):
    check(options)
    if options.runtime:
        tools.use_build(options.runtime)
    if options.pack:
        plan = pack(options, options.target, options.pack)
        print(f"packed {sum(len(entry['candidates']) for entry in plan['classes'].values())} candidates of {len(plan['classes'])} classes")
        return
    files.check_writable(options.output)
    schedules.read(options.output)
    if options.packed:
        measure(options)
    else:
        pack_and_measure(options)


def main():
    return run_command(parser(), run)


if __name__ == "__main__":
    sys.exit(main())
