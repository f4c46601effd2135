"""The command megactx-tune-policy."""

import argparse
import os
import pathlib
import sys

from . import curve_picture, files, tuning
from .artifacts import Artifacts
from .cli import Parser, run_command
from .pattern import Pattern
from .tools import Error

DESCRIPTION = """Searches a sparse pattern for each layer and head within a budget, and writes them as a policy for megactx-compile.

Candidates (windows, strides, both, fixed blocks, global keys with a window) are compiled and run on the given inputs; what counts is how
far the outputs are from the dense model's: the NLL of the next tokens where there are some, the KL divergence of the logits, or the
relative error of the outputs. Beside the policy it writes the measured trade-off curve.

With --measure it searches nothing: it says what a given policy costs, and how far outputs are, at each stage of its schedule.
"""

EXAMPLES = """examples:
  megactx-tune-policy model.onnx --data samples --budget 25% -o policy.json
  megactx-tune-policy model.onnx --data samples --budget 2e9 --horizon 256 --granularity layer -o policy.json
  megactx-compile model.onnx --policy policy.json -o model.mctx
  megactx-tune-policy model.onnx --data samples --measure schedule.json

data:
  DIR/input_0.npy (or .pb), input_1..., or folders in DIR with these; labels.npy [B, N]: the next token of each position, where
  it is not the next of the input itself

output:
  policy.json, and beside it policy.curve.json and policy.curve.svg; with --measure, the numbers in JSON
"""


def parser():
    made = Parser("megactx-tune-policy", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("model", metavar="MODEL.onnx")
    add("--data", required=True, metavar="DIR", help="inputs to measure on")
    add("--budget", metavar="FLOPS", help="forward FLOPs of all attention for one sequence of the longest length; or N%% of dense")
    add("-o", "--output", metavar="POLICY.json")
    add("--measure", metavar="POLICY.json", help="measure this policy instead of searching one")
    add("--step", action="append", type=int, metavar="N",
        help="with --measure: the policy at this training step; repeatable (each step from which on its schedules say something new)")
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


def check(options):
    """Which options go together, and that numbers are in range."""
    if options.measure is None:
        for name, value in (("--budget", options.budget), ("-o/--output", options.output)):
            if value is None:
                raise Error(f"the following arguments are required: {name}; see --help")
        if options.step is not None:
            raise Error("--step: a search has no training step, its model is trained; expected --measure")
        flops_of(options.budget, 1)
    elif options.budget is not None or options.candidate is not None:
        raise Error("--measure: searches nothing; expected neither --budget nor --candidate")
    if pathlib.Path(options.model, "manifest.json").exists():
        raise Error(f"'{options.model}' is an artifact, whose patterns are chosen; give the model instead")
    for candidate in options.candidate or []:
        Pattern(candidate).check()
    for step in options.step or []:
        if step < 0:
            raise Error(f"--step: expected at least 0, but got {step}")
    for name, least in (("horizon", 1), ("trials", 0), ("jobs", 1)):
        if (value := getattr(options, name)) is not None and value < least:
            raise Error(f"--{name}: expected at least {least}, but got {value}")


def measured(m, tuner, objective):
    return f"{m.flops:,.0f} FLOPs, {100 * m.flops / tuner.flops(tuner.dense_choice):.1f} % of dense: {objective} {m.errors[tuner.objective]:.4f}"


def tuner_of(options, artifacts):
    return tuning.Tuner(options.model, options.data, artifacts, options.granularity, options.horizon, options.jobs,
                        lambda line: print(f"  {line}", file=sys.stderr, flush=True))


def measure(options):
    """Measures a given policy at training steps."""
    if options.output:
        files.check_writable(options.output)
    policy = tuning.read_policy(options.measure, options.model)
    with Artifacts(options.cache) as artifacts:
        tuner = tuner_of(options, artifacts)
        stages = tuning.measure_stages(tuner, policy, options.step or tuning.steps_of(policy))
        report = tuning.stages_report(tuner, stages)
    if options.output:
        files.write_all({pathlib.Path(options.output): lambda file: file.write(report.encode())})
    name = tuner.objective.replace("_", " ")
    for stage in stages:
        print(f"step {stage.step:,}: {measured(stage.policy, tuner, name)}; window everywhere, {stage.window.flops:,.0f} FLOPs: "
              f"{stage.window.errors[tuner.objective]:.4f}")


def run(options):
    check(options)
    if options.measure is not None:
        return measure(options)
    policy = pathlib.Path(options.output)
    curve, picture = policy.with_suffix(".curve.json"), policy.with_suffix(".curve.svg")
    files.check_writable(policy, curve, picture)
    with Artifacts(options.cache) as artifacts:
        tuner = tuner_of(options, artifacts)
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
