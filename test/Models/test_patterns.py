"""megactx-pattern against the second evaluator, on random expressions, sizes, steps and offsets."""

import random
import re

import numpy as np

import conftest
import patterns

EXPRESSIONS = 5000


def number(r, depth=2):
    """An integer of p, k and h as text, in parentheses."""
    kind = r.randrange(10 if depth else 4)
    if kind < 4:
        return ["p", "k", str(r.randint(-2, 6)), "h"][kind]
    left = number(r, depth - 1)
    if kind < 7:
        return f"({left} {['*', 'floordiv', 'mod'][kind - 4]} {r.randint(1, 6)})"
    right = number(r, depth - 1)
    return f"max({left}, {right})" if kind == 7 else f"({left} {r.choice('+-')} {right})"


def condition(r, depth=2):
    if depth and r.random() < 0.4:
        return f"({condition(r, depth - 1)} {r.choice(['and', 'or'])} {condition(r, depth - 1)})"
    if r.random() < 0.1:
        return f"in([0, 2, 5], {number(r)})"
    compared = f"({number(r)} {r.choice(['lt', 'le', 'gt', 'ge', '==', 'ne'])} {number(r)})"
    return f"not({compared})" if r.random() < 0.2 else compared


def named(r):
    number = lambda low, high: r.randint(low, high)
    indices = lambda: sorted(r.sample(range(20), r.randint(1, 4)))
    side = lambda: r.choice([-1, 0, 1, 2, 5, 9])
    block = number(1, 9)
    first = number(0, block - 1)
    count = number(1, block)
    return r.choice([
        "dense", "causal", f"window<left = {side()}, right = {side()}>", f"strided<stride = {number(1, 7)}>",
        f"dilated<left = {side()}, right = {side()}, dilation = {number(1, 4)}>", f"block_local<block = {block}>",
        f"block_local<block = {block}, left = {side()}, right = {side()}>",
        f"columns<block = {block}, first = {first}, count = {number(1, block - first)}>",
        f"fixed<block = {block}, count = {count}, slot = {r.choice(['head', number(0, block // count - 1)])}>",
        f"neighborhood<grid = [{number(1, 6)}], radii = [{number(0, 2)}, {number(0, 4)}]>",
        f"neighborhood<grid = [{number(1, 3)}, {number(1, 4)}], radii = [{number(0, 1)}, {number(0, 2)}, {number(0, 2)}], first = {number(0, 3)}>",
        f"global_keys<first = {number(0, 9)}>", f"global_keys<indices = {indices()}>",
        f"recent_keys<count = {number(0, 9)}>",
        f"global_queries<first = {number(0, 9)}>", f"global_queries<indices = {indices()}>",
        f"random<block = {number(1, 5)}, count = {number(1, 4)}, seed = {number(0, 99)}>",
        f"where<condition = {condition(r)}>", f"where<condition = {condition(r)}>",
        f"blocks<block = {number(1, 6)}, row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 2, 1]>",
        f"pyramid<ratio = {number(2, 4)}, windows = [{number(1, 3)}, {number(1, 3)}]>",
    ])


def expression(r, depth=3):
    kind = r.random()
    if depth == 0 or kind < 0.3:
        return named(r)
    if kind < 0.9:
        word = r.choice(["and", "or", "minus"])
        text = f"{expression(r, depth - 1)} {word} {expression(r, depth - 1)}"
        return f"({text})" if r.random() < 0.5 else text
    parts = [expression(r, depth - 1) for _ in range(2)]
    return f"per_head<[{parts[0]}, {parts[1]}]>" if r.random() < 0.5 else f"per_head<0: {parts[0]}, 1-: {parts[1]}>"


def row_text(keys):
    """Key rows as the tool prints them: runs `a-b`, single rows `c`."""
    runs, rows = [], np.flatnonzero(keys)
    for row in rows:
        if runs and runs[-1][1] == row - 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in runs)


def key_steps(text):
    """Those that a source of this pattern may have: where there are pyramids, a level of each."""
    ratios = [int(ratio) for ratio in re.findall(r"pyramid<ratio = (\d+)", text)]
    return sorted(set.intersection(*({1, ratio, ratio**2} for ratio in ratios))) if ratios else [2, 3, 4]


def case(seed):
    r = random.Random(seed)
    text, queries, keys, heads = expression(r), r.randint(1, 33), r.randint(1, 33), r.randint(1, 4)
    steps = r.choice([1, 1, 1, r.randint(2, 4)]), r.choice([1, 1, 1, r.choice(key_steps(text))])
    offsets = r.choice([0, 0, r.randint(0, 20)]), r.choice([0, 0, r.randint(0, 20)])
    return text, queries, keys, heads, steps, offsets


def line(case):
    text, queries, keys, heads, steps, offsets = case
    return (f"queries={queries} keys={keys} heads={heads} query-step={steps[0]} key-step={steps[1]} "
            f"query-offset={offsets[0]} key-offset={offsets[1]}: {text}\n")


def difference(case, answer):
    text, queries, keys, heads, steps, offsets = case
    rows = [np.arange(count) * step + offset for count, step, offset in zip((queries, keys), steps, offsets)]
    want = patterns.relation(text, *rows, heads, key_step=steps[1])
    for head in range(heads):
        for row in range(queries):
            got, expected = answer[head * queries + row], f"{head} {row}: {row_text(want[head, row])}".rstrip()
            if got != expected:
                return f"{line(case)}expected {expected}, found {got}"
    return None


def test_every_name_is_evaluated_and_documented(tool):
    """A pattern without a second evaluator, random cases or a section with a picture is not tested at all."""
    done = tool("megactx-pattern", "--names")
    assert done.status == 0, done
    names = re.findall(r"^(\w+)[<:]", done.out, re.M)
    assert names == sorted(names) and len(names) == len(done.out.splitlines())
    assert set(names) == set(patterns.NAMED), "docs/extending.md says what a pattern has beside its file"
    made = {re.match(r"\w+", named(random.Random(seed)))[0] for seed in range(500)}
    assert set(names) - made == {"segments"}  # which needs ids
    page = (conftest.ROOT / "docs" / "patterns.md").read_text()
    assert set(re.findall(r"^### `(\w+)`", page, re.M)) == set(names)


def test_random_expressions(tool, tmp_path):
    cases = [case(seed) for seed in range(EXPRESSIONS)]
    path = tmp_path / "expressions.txt"
    path.write_text("".join(map(line, cases)))
    done = tool("megactx-pattern", "--batch", path, "--print=relation")
    assert done.status == 0, str(done)
    answers = done.out.removesuffix("\n\n").split("\n\n")
    assert len(answers) == len(cases)
    faults = [f for f in (difference(c, a.split("\n")) for c, a in zip(cases, answers)) if f]
    assert not faults, f"{len(faults)} of {EXPRESSIONS}\n" + "\n".join(faults[:5])
