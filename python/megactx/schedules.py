"""Searches, by measurement, the schedules that attention kernels of a GPU are compiled with.

    plan = pack(cases, "sm_90a", folder)     # where the compiler is: candidates, compiled
    found = measure(folder, Timer())         # where the GPU is: their times
    write("schedules.json", found)           # for megactx-compile --schedules

Kernels of one class (docs/gpu.md) share a schedule. Candidates of a class are schedules near the one that the compiler's rule chooses which
the compiler takes for all of its kernels. Each is timed in every case that has a kernel of the class, with the rule's schedules for kernels of
other classes; what counts is the geometric mean of its times over the rule's.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import math
import pathlib
import re

import numpy as np

from . import files, runtime
from .tools import Error, compile, run

ROWS_OF_A_WARP = 16
PLAN, TIMES = "plan.json", "times.json"
TOLERANCE = {"bf16": 2e-2, "f16": 3e-3, "f32": 1e-4}  # of the norm of the rule's kernels' output
DTYPES = {"f32": np.float32, "f16": np.float16}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """An #nvx.schedule; rows are those of its warps."""

    warps: int
    columns: int
    stages: int
    product: str
    held: bool
    blocks: int
    grouped: bool = False
    split: int = 0
    loads: str = "cp_async"
    producer: bool = False
    persistent: bool = False

    def __str__(self):
        more = ", grouped = true" * self.grouped + f", split = {self.split}" * bool(self.split)
        more += f", loads = {self.loads}" * (self.loads != "cp_async")
        more += ", producer = true" * self.producer + ", persistent = true" * self.persistent
        return (f"#nvx.schedule<rows = {ROWS_OF_A_WARP * self.warps}, columns = {self.columns}, warps = {self.warps}, stages = {self.stages}, "
                f"product = {self.product}, held = {str(self.held).lower()}, blocks = {self.blocks}{more}>")

    @staticmethod
    def parse(text):
        words = dict(re.findall(r"(\w+) = (\w+)", text))
        return Schedule(*(int(words[name]) for name in ("warps", "columns", "stages")), words["product"], words["held"] == "true", int(words["blocks"]),
                        words.get("grouped") == "true", int(words.get("split", 0)), words.get("loads", "cp_async"),
                        words.get("producer") == "true", words.get("persistent") == "true")


VALUES = {"columns": [16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 192], "stages": [2, 3, 4], "held": [False, True], "blocks": [1, 2, 3, 4]}
WARPS = {"fma": [1, 2, 4, 8], "mma_sync": [1, 2, 4, 8], "wgmma": [4, 8, 12]}
ALL_COPY = [("cp_async", False, False)]  # loads, producer, persistent
WAYS = {"fma": ALL_COPY, "mma_sync": ALL_COPY,
        "wgmma": [*ALL_COPY, ("tma", False, False), ("tma", True, False), ("tma", True, True)]}
# As FlashAttention-3 has it: another way to use the machine, with other numbers.
PRODUCER = dict(warps=8, columns=128, stages=2, product="wgmma", held=False, blocks=1, grouped=False, loads="tma", producer=True, persistent=True)
NO_PRODUCER = dict(warps=4, columns=64, stages=2, held=False, blocks=3, producer=False, persistent=False)


def near(rule, arch):
    """Schedules, nearest first to the rule's, or those where the rule's has a producer and they have none, or the other way round, to one with
    other numbers: by how many of theirs are others, then by how far these are."""
    products = [rule.product] if rule.product == "fma" else ["mma_sync"] + ["wgmma"] * (arch == "sm_90a")
    numbers = NO_PRODUCER if rule.producer else PRODUCER
    # As many multiprocessors, with other blocks.
    other = dataclasses.replace(rule, **numbers, split=rule.split // rule.blocks * numbers["blocks"])

    def distance(schedule):
        origin = rule if schedule.producer == rule.producer else other
        changed = far = 0
        for field in dataclasses.fields(Schedule):
            old, new = getattr(origin, field.name), getattr(schedule, field.name)
            changed += old != new
            if old != new and isinstance(old, int) and not isinstance(old, bool):
                far += abs(math.log2(max(1, new) / max(1, old)))
        return changed, far, str(schedule)

    # How many blocks keys are split for, where the rule splits them.
    splits = sorted({0, *(factor * split // 2 for split in (rule.split, other.split) for factor in (1, 2, 4))})
    made = (Schedule(warps, columns, stages, product, held, blocks, rule.grouped and not way[1], split, *way) for product in products
            for warps, columns, stages, held, blocks, split, way in itertools.product(WARPS[product], *VALUES.values(), splits, WAYS[product]))
    return sorted((schedule for schedule in made if schedule != rule), key=distance)


@dataclasses.dataclass(frozen=True)
class Source:
    pattern: str
    key_heads: int
    dim: int
    value_dim: int
    key_step: int = 1
    bias: bool = False
    bias_per_key: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """One attention at one size."""

    dtype: str
    heads: int
    sources: tuple
    queries: int
    keys: int
    batch: int = 1
    query_step: int = 1
    softcap: float = 0.0

    def __str__(self):
        first = self.sources[0]
        dims = f"{first.dim}" if first.dim == first.value_dim else f"{first.dim}x{first.value_dim}"
        return (f"{' + '.join(s.pattern for s in self.sources)}; {self.dtype}, {self.batch} x {self.heads} heads of {dims}, "
                f"{self.queries} queries, {self.keys} keys")

    def shapes(self):
        """{input: (dtype, shape)} in the order of the module's arguments."""
        made = {"q": (self.dtype, (self.batch, self.heads, self.queries, self.sources[0].dim))}
        for i, source in enumerate(self.sources):
            made[f"k{i}"] = (self.dtype, (self.batch, source.key_heads, self.keys, source.dim))
            made[f"v{i}"] = (self.dtype, (self.batch, source.key_heads, self.keys, source.value_dim))
            if source.bias:
                made[f"b{i}"] = ("f32", (1, 1, 1 if source.bias_per_key else self.queries, self.keys))
        return made

    def module(self):
        """MLIR with the one attention. Batches and keys are known at run time. Queries are static, so that there is the one kernel that an
        attention with as many launches; its class is what that of a model with any number has, but for 33 to 64 rows and, in one view, from 17 on."""
        def type_of(name, dtype, shape):
            sizes = list(shape)
            if name[0] != "b":
                sizes[0] = "?"
            elif sizes[2] != 1:
                sizes[2] = "?"
            if name != "q":
                sizes[-1 if name[0] == "b" else 2] = "?"
            return f"tensor<{'x'.join(map(str, sizes))}x{dtype}>"

        types = {name: type_of(name, *entry) for name, entry in self.shapes().items()}
        out = f"{types['q'].rsplit('x', 2)[0]}x{self.sources[0].value_dim}x{self.dtype}>"
        lines, kinds = [], []
        for i, source in enumerate(self.sources):
            k, v, b = types[f"k{i}"], types[f"v{i}"], types.get(f"b{i}")
            kinds.append(f"!megactx.source<{k}, {v}>")
            lines.append(f"  %s{i} = megactx.source %k{i}, %v{i}{f' bias(%b{i})' if b else ''} pattern(#megactx.pattern<{source.pattern}>) "
                         f"{{key_step = {source.key_step} : i64}} : ({k}, {v}{f', {b}' if b else ''}) -> {kinds[-1]}")
        cap = f", softcap = {self.softcap!r} : f32" if self.softcap else ""
        sources = ", ".join(f"%s{i}" for i in range(len(self.sources)))
        lines.append(f"  %o = megactx.attention %q, {sources} {{scale = {self.sources[0].dim**-0.5!r} : f32, query_step = {self.query_step} : i64{cap}}}"
                     f" : ({', '.join([types['q'], *kinds])}) -> {out}")
        arguments = ", ".join(f'%{name}: {text} {{onnx.name = "{name}"}}' for name, text in types.items())
        return "\n".join([f"func.func @main({arguments}) -> ({out} {{onnx.name = \"out\"}}) {{", *lines, f"  return %o : {out}", "}", ""])


def cases_of_model(model, queries, keys, batch=1, heads=None, options=()):
    """The attentions of an ONNX or MLIR file that differ, at each of the lengths `queries`; `keys` None: as many.
    `heads`: where the model does not say how many; `options`: --pattern or --policy of megactx-explain."""
    described = json.loads(run("megactx-explain", model, "--json", "--queries", 1, "--keys", 1, *options))["attentions"]
    cases = []
    for attention in described:
        sources = tuple(Source(**{field.name: source[field.name] for field in dataclasses.fields(Source)}) for source in attention["sources"])
        if attention["type"] not in TOLERANCE or any(min(s.dim, s.value_dim, s.key_heads) < 1 for s in sources):
            continue  # no kernel, or none whose shape is known
        count = attention["heads"] if attention["heads"] > 0 else heads or sources[0].key_heads
        for length in queries:
            cases.append(Case(attention["type"], count, sources, length, keys or length, batch if attention["batch"] < 0 else attention["batch"],
                              attention["query_step"], attention.get("softcap", 0.0)))
    if not cases:
        raise Error(f"'{model}' has no attention whose heads and dims are known and of f32, f16 or bf16")
    return list(dict.fromkeys(cases))


# --- where the compiler is ---


class Packer:
    """Compiles candidates into a folder. `known`: entries of a file that need not be searched again, {class: ...}."""

    def __init__(self, arch, folder, candidates=24, jobs=1, known=(), log=lambda line: None):
        self.arch, self.folder, self.candidates, self.known, self.log = arch, pathlib.Path(folder), candidates, known, log
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pool = concurrent.futures.ThreadPoolExecutor(jobs)

    def kernels(self, buffers, schedules=None):
        """{class: schedule} of a case's launches; None where the compiler takes a schedule for none of them."""
        options = f"arch={self.arch}" + (f" schedules={schedules}" if schedules else "")
        try:
            text = run("megactx-opt", buffers, f"--megactx-convert-attention-to-nvgpu-kernels={options}")
        except Error as error:
            if schedules and re.search(r"expected (a schedule|at most \d+ bytes of shared memory)", str(error)):
                return None
            raise
        found = {}
        for line in text.splitlines():
            if kind := re.search(r'megactx\.schedule_class = "([^"]*)"', line):
                found[kind[1]] = Schedule.parse(re.search(r"nvx\.schedule = (#nvx\.schedule<[^>]*>)", line)[1])
        return found

    def chosen(self, name, kind, schedule):
        """A file with one schedule of one class."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"schedules": {self.arch: {kind: {"schedule": str(schedule)}}}}))
        return path

    def accepted(self, at, kind, rule, buffers):
        """The nearest candidates that the compiler takes in all cases of the class."""
        def takes(schedule):
            path = self.chosen(re.sub(r"\W+", "_", f"try{at}{schedule}"), kind, schedule)
            try:
                return all(self.kernels(file, path) for file in buffers)
            finally:
                path.unlink()

        found, all_near = [], near(rule, self.arch)
        for begin in range(0, len(all_near), 8):
            some = all_near[begin:begin + 8]
            found += [schedule for schedule, ok in zip(some, self.pool.map(takes, some)) if ok]
            if len(found) >= self.candidates:
                break
        return found[: self.candidates]

    def assembles(self, job):
        """Compiles a source into an artifact; False where ptxas refuses the kernels of a candidate, whose products need more registers than it leaves."""
        source, artifact, schedules = job
        try:
            compile(source, self.folder / artifact, target=self.arch, schedules=schedules)
        except Error as error:
            if schedules and "cannot assemble kernels" in str(error):
                return False
            raise
        return True

    def pack(self, cases):
        """Writes plan.json and artifacts beside it; gives the plan."""
        sources, buffers, classes = [], [], collections.defaultdict(list)
        for number, case in enumerate(cases):
            source = self.folder / f"case{number}.mlir"
            source.write_text(case.module())
            sources.append(source)
            buffers.append(self.folder / f"case{number}.memref.mlir")
            run("megactx-compile", source, f"--target={self.arch}", "--compile-to=memref", "-o", buffers[-1])
            for kind, rule in self.kernels(buffers[-1]).items():
                classes[kind].append((number, rule))
        plan = dict(arch=self.arch, cases=[dict(title=str(case), dtype=case.dtype, inputs=case.shapes(), artifact=f"case{i}.mctx")
                                           for i, case in enumerate(cases)], classes={})
        work = []
        for at, (kind, users) in enumerate(sorted(classes.items())):
            if kind in self.known:
                self.log(f"{kind}: known")
                continue
            rule = users[0][1]
            numbers = sorted({number for number, _ in users})
            entries = []
            for i, schedule in enumerate(self.accepted(at, kind, rule, [buffers[n] for n in numbers])):
                entries.append(dict(schedule=str(schedule), artifacts={n: f"class{at}_{i}_case{n}.mctx" for n in numbers}))
                path = self.chosen(f"class{at}_{i}", kind, schedule)
                work += [(sources[n], entries[-1]["artifacts"][n], path) for n in numbers]
            plan["classes"][kind] = dict(rule=str(rule), cases=numbers, candidates=entries)
            self.log(f"{kind}: {len(entries)} candidates")
        needed = {n for entry in plan["classes"].values() for n in entry["cases"]}
        work += [(sources[n], f"case{n}.mctx", None) for n in sorted(needed)]
        refused = {job[1] for job, ok in zip(work, self.pool.map(self.assembles, work)) if not ok}
        for kind, entry in plan["classes"].items():
            for candidate in [c for c in entry["candidates"] if refused & {*c["artifacts"].values()}]:
                entry["candidates"].remove(candidate)
                self.log(f"{kind}: ptxas takes no {candidate['schedule']}")
        for path in {*sources, *buffers, *(job[2] for job in work if job[2])}:
            path.unlink()
        (self.folder / TIMES).unlink(missing_ok=True)
        (self.folder / PLAN).write_text(json.dumps(plan, indent=1) + "\n")
        return plan


# --- where the GPU is ---


def _on_device(array, dtype):
    """float32 as a tensor of another type on the device."""
    if dtype != "bf16":
        return runtime.to_device(array.astype(DTYPES[dtype]))
    word = np.ascontiguousarray(array).view(np.uint32)
    return runtime.to_device((word + 0x7FFF + (word >> 16 & 1) >> 16).astype(np.uint16), bits=True)


def _float32(tensor):
    array = tensor.numpy(bits=True)
    return (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array.astype(np.float32)


class Lost(Error):
    """A candidate broke the GPU's context. Another process goes on after it."""


def _load(path):
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise Error(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise Error(f"'{path}' is damaged: {error}") from None


class Measurer:
    """Times what a Packer packed. `timer`: gpu_timer.Timer, or what stands in for it. Times are kept beside the plan."""

    def __init__(self, folder, timer, log=lambda line: None):
        self.folder, self.timer, self.log = pathlib.Path(folder), timer, log
        self.plan = _load(self.folder / PLAN)
        self.times = _load(self.folder / TIMES) if (self.folder / TIMES).exists() else {}

    def inputs(self, number):
        random = np.random.default_rng(number)
        draw = lambda name, shape: np.zeros(shape, np.float32) if name[0] == "b" else random.standard_normal(shape, np.float32)
        return {name: _on_device(draw(name, shape), dtype) for name, (dtype, shape) in self.plan["cases"][number]["inputs"].items()}

    def run(self, artifact, inputs):
        """Median seconds, and the output."""
        model = runtime.load(self.folder / artifact)
        output = lambda: model.run(inputs)["out"]
        got = _float32(output())
        return self.timer(output), got

    def keep(self, key, ratio):
        self.times[key] = ratio
        (self.folder / TIMES).write_text(json.dumps(self.times))

    def candidate(self, key, artifact, inputs, rule, want, tolerance):
        """Keeps the time over the rule's, or None where it fails; gives what to say of it. Raises Lost."""
        self.keep(key, None)  # what ends the process is not tried again
        try:
            seconds, got = self.run(artifact, inputs)
        except Error as error:
            if self.timer.is_lost():
                raise Lost(f"the GPU's context is lost, and this goes on without it: {key}: {error}") from None
            return f"{error}"
        error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30)
        if not error <= tolerance:
            return f"wrong numbers: error {error:.1e}"
        self.keep(key, seconds / rule)
        return f"{1e3 * seconds:9.3f} ms"

    def case(self, number):
        """Times all candidates of a case; gives the rule's seconds."""
        entry = self.plan["cases"][number]
        self.log(entry["title"])
        inputs = self.inputs(number)
        rule, want = self.run(entry["artifact"], inputs)
        self.log(f"  {1e3 * rule:9.3f} ms  by rule")
        for kind, chosen in self.plan["classes"].items():
            for candidate in chosen["candidates"]:
                artifact = candidate["artifacts"].get(str(number))
                key = self.key(number, kind, candidate["schedule"])
                if artifact is not None and key not in self.times:
                    said = self.candidate(key, artifact, inputs, rule, want, TOLERANCE[entry["dtype"]])
                    self.log(f"  {said}  {candidate['schedule']}  of {kind}")
        return rule

    @staticmethod
    def key(number, kind, schedule):
        return f"case {number}, {kind}, {schedule}"

    def measure(self, device=""):
        """{arch: {class: {schedule, speedup over the rule's, rule, device, cases}}}"""
        rules = {n: self.case(n) for n in sorted({n for entry in self.plan["classes"].values() for n in entry["cases"]})}
        found = {}
        for kind, entry in self.plan["classes"].items():
            best, least = entry["rule"], 1.0
            for candidate in entry["candidates"]:
                ratios = [self.times[self.key(n, kind, candidate["schedule"])] for n in entry["cases"]]
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if all(ratios) else math.inf
                if mean < least:
                    best, least = candidate["schedule"], mean
            found[kind] = dict(schedule=best, speedup=round(1 / least, 4), rule=entry["rule"], device=device,
                               cases=[dict(case=self.plan["cases"][n]["title"], rule_milliseconds=round(1e3 * rules[n], 6)) for n in entry["cases"]])
        return {self.plan["arch"]: found}


# --- the file ---


def read(path):
    """{arch: {class: entry}} of a file; nothing where there is none."""
    try:
        text = pathlib.Path(path).read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Error(f"cannot read '{path}': {error.strerror}") from None
    try:
        found = json.loads(text)["schedules"]
        return {arch: dict(classes) for arch, classes in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Error(f"'{path}' is no file of schedules; another one would not be overwritten") from None


def write(path, found):
    """Adds entries to a file, or makes it; those of the same architecture and class are replaced."""
    all_known = read(path)
    for arch, classes in found.items():
        all_known.setdefault(arch, {}).update(classes)
    text = json.dumps({"schedules": all_known}, indent=1, sort_keys=True) + "\n"
    files.write_all({path: lambda file: file.write(text.encode())})
