"""Searches a pattern for each layer and head of a model within a budget of attention FLOPs.

    1. Every candidate pattern in every group of heads alone, all others dense: how much does the output change?
    2. The choice of one candidate per group with the least sum of these changes within a budget, by dynamic programming; for
       the budget and for fractions of it.
    3. Each choice is measured as it is: changes do not simply add up. The one for the budget is improved by
       changing one group at a time, as long as that helps.

Everything measured is a compiled artifact that runs on the given inputs; artifacts are kept by what they are made of.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import pathlib
import tempfile

import numpy as np

from . import quality
from .runtime import load
from .tools import Error, run

DENSE = "dense"
STEPS = 400  # of the budget, in dynamic programming
QUICK_LENGTH = 512  # tokens up to which code that LLVM does not optimize, which compiles in half of the time, runs quickly enough


@dataclasses.dataclass(frozen=True)
class Group:
    """Heads first .. last of a layer, which get one pattern."""

    layer: int
    first: int
    last: int

    def __str__(self):
        return f"layer {self.layer} head " + (f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}")


@dataclasses.dataclass
class Measured:
    """A pattern for each group, its FLOPs, and its errors as quality.Judge gives them, means over the data."""

    name: str
    choice: dict
    flops: float
    errors: dict


def default_candidates(length, causal):
    """Windows, strides, both, fixed blocks, and global keys with a window, each at four sizes below `length`."""
    factor, top = (2 if length < 256 else 4), 1
    while top * 2 * factor <= length:
        top *= 2
    sizes = sorted({max(2, top // factor**i) for i in range(4)})
    window = lambda size: f"window<left = {size - 1}, right = {0 if causal else size - 1}>"
    patterns = [window(size) for size in (1, *sizes)]
    patterns += [f"strided<stride = {size}>" for size in sizes]
    patterns += [f"{window(sizes[0])} or strided<stride = {size}>" for size in sizes]
    patterns += [f"fixed<block = {size}, count = {max(1, size // 8)}>" for size in sizes]
    patterns += [f"global_keys<first = {max(1, size // 4)}> or {window(size)}" for size in sizes]
    return list(dict.fromkeys(patterns))


def policy_text(choice):
    """A choice as a policy in JSON, one rule per run of equal heads."""
    rules = []
    for group in sorted(choice, key=lambda g: (g.layer, g.first)):
        last = rules[-1] if rules else None
        if last and last["layer"] == group.layer and last["pattern"] == choice[group] and last["last"] == group.first - 1:
            last["last"] = group.last
        else:
            rules.append(dict(layer=group.layer, first=group.first, last=group.last, pattern=choice[group]))
    heads = lambda r: str(r["first"]) if r["first"] == r["last"] else f"{r['first']}-{r['last']}"
    lines = [json.dumps({"layers": str(r["layer"]), "heads": heads(r), "pattern": r["pattern"]}) for r in rules if r["pattern"] != DENSE]
    return '{"rules": [\n  ' + ",\n  ".join(lines) + "\n]}\n"


class Tuner:
    """Measures choices of patterns for one model on its data.

    model: an ONNX file; data: see quality.load_sets; granularity: `head` or `layer`; horizon: see quality.Judge; artifacts:
    an Artifacts; jobs: compilations at a time; progress: takes lines of text.
    """

    def __init__(self, model, data, artifacts, granularity="head", horizon=None, jobs=2, progress=lambda line: None):
        self.model, self.artifacts, self.jobs, self.progress = model, artifacts, jobs, progress
        self.groups, self.originals, self._costs, self._measured = [], {}, {}, {}
        explained = json.loads(run("megactx-explain", model, "--json", "--queries", 1))
        for attention in explained["attentions"]:
            self._add_layer(attention, granularity)
        if not self.groups:
            raise Error(f"'{model}': no self-attention of a known number of heads was found to make sparse")
        dense = load(artifacts.of_file(model, optimize=0))
        self.sets = quality.load_sets(data, len(dense.inputs))
        self.length = self._length()
        self.optimize = 0 if self.length <= QUICK_LENGTH else 2
        if self.optimize:
            dense = load(artifacts.of_file(model, optimize=self.optimize))
        self.judges = []
        for inputs, labels in self.sets:
            outputs = dense.run(dict(zip(dense.inputs, inputs))).values()
            self.judges.append(quality.Judge(inputs, outputs, labels, horizon))
        self.dense_choice = {group: DENSE for group in self.groups}
        known = [judge.errors(judge.outputs) for judge in self.judges]
        for number, errors in enumerate(known):
            if not np.isfinite(list(errors.values())).all():
                raise Error(f"'{data}': on data set {number} the dense model's outputs are not finite, so nothing can be compared with them")
        self.objective = next(key for key in ("delta_nll", "kl", "relative_error") if key in known[0])
        self.sensitivity = "kl" if "kl" in known[0] else "relative_error"

    def _add_layer(self, attention, granularity):
        heads, sources = attention["heads"], attention["sources"]
        if attention["kind"] != "self" or heads < 1 or len(sources) != 1:
            return
        layer, source = attention["layer"], sources[0]
        if layer in self.originals:  # another branch's
            return
        dims = source["dim"] + source["value_dim"]
        self.originals[layer] = (heads, dims, source["pattern"])
        spans = [(0, heads - 1)] if granularity == "layer" else [(h, h) for h in range(heads)]
        self.groups += [Group(layer, *span) for span in spans]

    def _length(self):
        """Tokens of the longest sequence: axis 1 of the first input."""
        lengths = [inputs[0].shape[1] if inputs[0].ndim > 1 else 0 for inputs, _ in self.sets]
        if max(lengths) < 2:
            raise Error("expected inputs whose first is [batch, length, ...] with a length of at least 2")
        return max(lengths)

    def flops(self, choice):
        """Forward FLOPs of all attention over one sequence of the longest length."""
        return sum(self._flops_of(group, pattern) for group, pattern in choice.items())

    def _flops_of(self, group, pattern):
        heads, dims, original = self.originals[group.layer]
        key = (pattern, original, heads)
        if key not in self._costs:
            text = run("megactx-pattern", f"({pattern}) and ({original})", "--queries", self.length, "--heads", heads, "--print=stats")
            self._costs[key] = json.loads(text)["pairs_per_head"]
        return 2.0 * dims * sum(self._costs[key][group.first:group.last + 1])

    def measure(self, choices, name=lambda choice: ""):
        """[Measured] of choices, compiled `jobs` at a time; one that was measured before is not again."""
        texts = [policy_text(choice) for choice in choices]
        new = {text: choice for text, choice in zip(texts, choices) if text not in self._measured}
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            pending = {text: pool.submit(self.artifacts.of_file, self.model, text, optimize=self.optimize) for text in new}
            for number, (text, choice) in enumerate(new.items(), 1):
                try:
                    errors = self._errors(load(pending[text].result()))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                self._measured[text] = Measured(name(choice), choice, self.flops(choice), errors)
                self.progress(f"{number}/{len(new)} {name(choice)}: {self.objective} {errors[self.objective]:.4f}, "
                              f"{100 * self._measured[text].flops / self.flops(self.dense_choice):.1f} % of dense")
        return [self._measured[text] for text in texts]

    def measure_policy(self, text, name=""):
        """Measured of a policy given as JSON, without schedules; its FLOPs are those of the layers that are tuned."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            explained = json.loads(run("megactx-explain", self.model, "--policy", file.name, "--json", "--queries", self.length))
        flops = sum(source["flops"] for a in explained["attentions"] if a["layer"] in self.originals for source in a["sources"])
        return Measured(name, {}, flops, self._errors(load(self.artifacts.of_file(self.model, text, optimize=self.optimize))))

    def _errors(self, model):
        found = [judge.errors(model.run(dict(zip(model.inputs, inputs))).values()) for judge, (inputs, _) in zip(self.judges, self.sets)]
        return {key: float(np.mean([errors[key] for errors in found])) for key in found[0]}


def knapsack(costs, losses, budget):
    """For each group one option with the least sum of losses whose sum of costs is within the budget; None where there is none.

    costs, losses: [group][option]. Costs are rounded up to budget / STEPS, so that the budget is kept.
    """
    best, chosen = np.zeros(STEPS + 1), []
    for cost, loss in zip(costs, losses):
        units = [int(np.ceil(c / budget * STEPS - 1e-9)) for c in cost]
        options = np.full((len(units), STEPS + 1), np.inf)
        for i, (unit, lost) in enumerate(zip(units, loss)):
            if unit <= STEPS:
                options[i, unit:] = best[:STEPS + 1 - unit] + lost
        chosen.append((options.argmin(0), units))
        best = options.min(0)
    if not np.isfinite(best[STEPS]):
        return None
    left, picks = STEPS, []
    for option, units in reversed(chosen):
        picks.append(int(option[left]))
        left -= units[picks[-1]]
    return picks[::-1]


@dataclasses.dataclass
class Tuned:
    """The best choice, what led to it, and windows of equal cost to compare with."""

    best: Measured
    window: Measured
    curve: list
    windows: list
    single: list
    dense_flops: float
    budget: float
    objective: str
    length: int

    def policy(self):
        return policy_text(self.best.choice)

    def report(self):
        """The measured trade-off curve as JSON."""
        def entry(m):
            return dict(name=m.name, flops=m.flops, share_of_dense=m.flops / self.dense_flops, **m.errors, rules=json.loads(policy_text(m.choice))["rules"])

        return json.dumps(dict(objective=self.objective, length=self.length, dense_flops=self.dense_flops, budget=self.budget, best=entry(self.best),
                               window_of_equal_cost=entry(self.window), curve=list(map(entry, self.curve)), windows=list(map(entry, self.windows)),
                               single_changes=list(map(entry, self.single))), indent=1) + "\n"


@dataclasses.dataclass
class Stage:
    """A policy at a training step, and one window everywhere of equal cost."""

    step: int
    policy: Measured
    window: Measured


def read_policy(path, model):
    """The policy in a file, which the compiler takes for the model."""
    run("megactx-explain", model, "--policy", path, "--json", "--queries", 1)
    return json.loads(pathlib.Path(path).read_text())


def steps_of(policy):
    """The training steps from which on a policy's schedules say something new; 0 is the first."""
    return sorted({0} | {entry["until_step"] for rule in policy["rules"] for entry in rule.get("schedule", [])[:-1]})


def at_step(policy, step):
    """What a policy says at a training step, as a policy without schedules."""
    def plain(rule):
        stages = rule.get("schedule")
        if stages is None:
            return rule
        stage = next((s for s in stages[:-1] if step < s["until_step"]), stages[-1])
        return {key: value for key, value in rule.items() if key != "schedule"} | {"pattern": stage["pattern"]}

    return {"rules": [plain(rule) for rule in policy["rules"]]}


def measure_stages(tuner, policy, steps):
    """[Stage] of a policy at each of the steps."""
    causal = all("causal" in original for _, _, original in tuner.originals.values())
    found = []
    for step in steps:
        measured = tuner.measure_policy(json.dumps(at_step(policy, step)), f"step {step}")
        window, = tuner.measure([window_for(tuner, measured.flops, causal)], lambda choice: f"everywhere {next(iter(choice.values()))}")
        found.append(Stage(step, measured, window))
    return found


def stages_report(tuner, stages):
    """What was measured, as JSON."""
    dense = tuner.flops(tuner.dense_choice)
    entry = lambda m: dict(flops=m.flops, share_of_dense=m.flops / dense, **m.errors)
    rows = [dict(step=s.step, **entry(s.policy), window_of_equal_cost=dict(pattern=next(iter(s.window.choice.values())), **entry(s.window))) for s in stages]
    return json.dumps(dict(objective=tuner.objective, length=tuner.length, dense_flops=dense, stages=rows), indent=1) + "\n"


def window_for(tuner, flops, causal):
    """The choice of one window everywhere with the fewest keys whose cost is at least this."""
    def choice(left):
        return {group: f"window<left = {left}, right = {0 if causal else left}>" for group in tuner.groups}

    low, high = 0, tuner.length - 1
    while low < high:
        middle = (low + high) // 2
        if tuner.flops(choice(middle)) >= flops:
            high = middle
        else:
            low = middle + 1
    return choice(low)


def tune(tuner, budget, candidates=None, fractions=(0.25, 0.5, 0.75, 1.0), trials=24):
    """Searches within `budget` FLOPs. candidates: texts of patterns; trials: measurements that step 3 may take. Gives a Tuned."""
    causal = all("causal" in original for _, _, original in tuner.originals.values())
    candidates = list(candidates or default_candidates(tuner.length, causal))
    dense_flops = tuner.flops(tuner.dense_choice)
    options = {group: [p for p in (*candidates, DENSE) if p == DENSE or tuner._flops_of(group, p) < tuner._flops_of(group, DENSE)] for group in tuner.groups}
    least = sum(min(tuner._flops_of(group, p) for p in options[group]) for group in tuner.groups)
    if not least <= budget:
        raise Error(f"a budget of {budget:,.0f} FLOPs is less than the {least:,.0f} of the cheapest candidates (dense: {dense_flops:,.0f})")
    # 1. Each candidate alone.
    changes = [(group, p) for group in tuner.groups for p in options[group] if p != DENSE and tuner._flops_of(group, p) <= budget]
    alone = tuner.measure([{**tuner.dense_choice, group: p} for group, p in changes],
                          lambda choice: "; ".join(f"{g}: {p}" for g, p in choice.items() if p != DENSE))
    loss = {change: max(0.0, m.errors[tuner.sensitivity]) for change, m in zip(changes, alone)} | {(g, DENSE): 0.0 for g in tuner.groups}
    options = {group: [p for p in options[group] if (group, p) in loss] for group in tuner.groups}
    # 2. Together, for each fraction of the budget.
    curve = tuner.measure(list(_choices(tuner, options, loss, [budget * f for f in fractions])), lambda choice: f"{tuner.flops(choice):,.0f} FLOPs")
    # 3. One group at a time.
    best = _improved(tuner, min((m for m in curve if m.flops <= budget), key=lambda m: m.errors[tuner.objective]), options, loss, budget, trials)
    window, *windows = tuner.measure([window_for(tuner, f, causal) for f in (best.flops, *(m.flops for m in curve))],
                                     lambda choice: f"everywhere {next(iter(choice.values()))}")
    if best not in curve:
        curve.append(best)
    by_cost = lambda list_: sorted({id(m): m for m in list_}.values(), key=lambda m: m.flops)
    return Tuned(best, window, by_cost(curve), by_cost([window, *windows]), alone, dense_flops, budget, tuner.objective, tuner.length)


def _choices(tuner, options, loss, budgets):
    for budget in budgets:
        picks = knapsack([[tuner._flops_of(g, p) for p in options[g]] for g in tuner.groups], [[loss[g, p] for p in options[g]] for g in tuner.groups], budget)
        if picks is not None:
            yield {group: options[group][pick] for group, pick in zip(tuner.groups, picks)}


def _improved(tuner, best, options, loss, budget, trials):
    """Changes of one group, or of a group and one that pays for it, the least loss alone first; each that helps is kept."""
    key = lambda m: m.errors[tuner.objective]
    tried = set()
    while trials > 0:
        moves = [{**best.choice, group: p} for group, p in itertools.chain.from_iterable(((g, p) for p in options[g]) for g in tuner.groups)]
        moves = [m for m in moves if tuner.flops(m) <= budget and policy_text(m) not in tried and m != best.choice]
        moves.sort(key=lambda m: sum(loss[change] for change in m.items()))
        if not moves:
            break
        batch = moves[:min(trials, 2 * tuner.jobs)]
        tried |= {policy_text(m) for m in batch}
        trials -= len(batch)
        better = min(tuner.measure(batch, lambda choice: f"trial, {tuner.flops(choice):,.0f} FLOPs"), key=key)
        if key(better) < key(best):
            best = better
    return best
