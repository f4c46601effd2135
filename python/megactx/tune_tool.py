"""The command megactx-tune-policy."""

import argparse
import os
import pathlib
import sys

from . import curve_picture, files, tuning
from .artifacts import Artifacts
from .cli import Parser, run_command
from .tools import Error

DESCRIPTION = """Searches a sparse pattern for each layer and head within a budget, and writes them as a policy for megactx-compile.

Candidates (windows, strides, both, fixed blocks, global keys with a window) are compiled and run on the given inputs; what counts is how
far the outputs are from the dense model's: the NLL of the next tokens where there are some, the KL divergence of the logits, or the
relative error of the outputs. Beside the policy it writes the measured trade-off curve.
"""

EXAMPLES = """examples:
  megactx-tune-policy model.onnx --data samples --budget 25% -o policy.json
  megactx-tune-policy model.onnx --data samples --budget 2e9 --horizon 256 --granularity layer -o policy.json
  megactx-compile model.onnx --policy policy.json -o model.mctx

data:
  DIR/input_0.npy (or .pb), input_1..., or folders in DIR with these; labels.npy [B, N]: the next token of each position, where
  it is not the next of the input itself

output:
  policy.json, and beside it policy.curve.json and policy.curve.svg
"""


def parser():
    made = Parser("megactx-tune-policy", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("model", metavar="MODEL.onnx")
    add("--data", required=True, metavar="DIR", help="inputs to measure on")
    add("--budget", required=True, metavar="FLOPS", help="forward FLOPs of all attention for one sequence of the longest length; or N%% of dense")
    add("-o", "--output", required=True, metavar="POLICY.json")
    add("--candidate", action="append", metavar="PATTERN", help="search among these instead; repeatable")
    add("--granularity", choices=["head", "layer"], default="head", help="what gets a pattern of its own (head)")
    add("--horizon", type=int, metavar="TOKENS", help="count only the last so many predictions of each sequence")
    add("--trials", type=int, default=24, metavar="N", help="measurements to improve the choice with (24)")
    add("--cache", metavar="DIR", help="keep artifacts in this folder: another search compiles only what is new")
    add("--jobs", type=int, default=os.cpu_count(), metavar="N", help="compilations at a time (one per core)")
    return made


def flops_of(text, dense):
    """A number, or a percentage of dense."""
    try:
        value = float(text.removesuffix("%")) * (dense / 100 if text.endswith("%") else 1)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise Error(f"--budget: expected a positive number of FLOPs or a percentage, but got '{text}'")
    return value


def run(options):
    for name, least in (("horizon", 1), ("trials", 0), ("jobs", 1)):
        if (value := getattr(options, name)) is not None and value < least:
            raise Error(f"--{name}: expected at least {least}, but got {value}")
    flops_of(options.budget, 1)
    policy = pathlib.Path(options.output)
    curve, picture = policy.with_suffix(".curve.json"), policy.with_suffix(".curve.svg")
    files.check_writable(policy, curve, picture)
    with Artifacts(options.cache) as artifacts:
        tuner = tuning.Tuner(options.model, options.data, artifacts, options.granularity, options.horizon, options.jobs,
                             lambda line: print(f"  {line}", file=sys.stderr, flush=True))
        budget = flops_of(options.budget, tuner.flops(tuner.dense_choice))
        tuned = tuning.tune(tuner, budget, options.candidate, trials=options.trials)
        compiled = artifacts.compiled
    texts = {policy: tuned.policy(), curve: tuned.report(), picture: curve_picture.svg(tuned)}
    files.write_all({path: lambda file, text=text: file.write(text.encode()) for path, text in texts.items()})
    best, window, name = tuned.best, tuned.window, tuned.objective.replace("_", " ")
    print(f"{best.flops:,.0f} FLOPs, {100 * best.flops / tuned.dense_flops:.1f} % of dense: {name} {best.errors[tuned.objective]:.4f}; "
          f"window everywhere, {window.flops:,.0f} FLOPs: {window.errors[tuned.objective]:.4f}")
    print(f"compiled {compiled} artifacts, wrote {policy}")


def main():
    return run_command(parser(), run)
