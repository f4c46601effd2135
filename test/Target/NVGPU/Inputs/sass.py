"""Checks the order of waits in the machine code of a module's kernels, which ptxas and nvdisasm make of its PTX.

  megactx-opt ... | python sass.py sm_90a
  nvdisasm -c kernel.cubin | python sass.py

Of each innermost loop with products by tensor cores it prints what a turn does, in order, and of a warp that only loads, its loop. Ends with status 1
where a wait, a barrier or a copy is not where it belongs: docs/testing.md says where that is.
"""

import dataclasses
import functools
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

import assembly

EVENTS = [(re.compile(pattern), name) for pattern, name in (
    (r"(?:LDGSTS|UTMALDG)\b", "copy"),
    (r"LDGDEPBAR\b", "commit"),
    (r"DEPBAR\.LE SB0, 0x(\w+)", "wait copies"),
    (r"SYNCS\.PHASECHK\S*TRYWAIT", "wait phase"),
    (r"SYNCS\.ARRIVE\S*RED", "expect"),
    (r"SYNCS\.ARRIVE", "arrive"),
    (r"FENCE\.VIEW\.ASYNC", "proxy fence"),
    (r"BAR\.SYNC\S* R\d", "take turn"),
    (r"BAR\.SYNC", "barrier"),
    (r"BAR\.ARV", "pass turn"),
    (r"LDSM\b", "load"),
    (r"HG?MMA\b", "product"),
    (r"MUFU\.EX2\b", "exp2"),
    (r"WARPGROUP\.ARRIVE", "fence"),
    (r"WARPGROUP\.DEPBAR\.LE gsb0, 0x(\w+)", "wait products"),
)]


@dataclasses.dataclass
class Instruction:
    text: str  # opcode and operands, without the guard
    guarded: bool
    label: str | None = None  # where it may go on

    @functools.cached_property
    def event(self):
        for pattern, name in EVENTS:
            if found := pattern.match(self.text):
                return f"{name} {int(found[1], 16)}" if found.lastindex else name
        return None

    def is_last(self):
        """Whether the next instruction does not follow it."""
        return not self.guarded and re.match(r"(BRA `|EXIT\b|RET\b)", self.text) is not None


def kernels(code):
    """Of what nvdisasm prints, the name, the instructions and the places of labels of each kernel."""
    for part in re.split(r"^\.text\.(?=\w+:)", code, flags=re.MULTILINE)[1:]:
        instructions, labels = [], {}
        for line in part.splitlines():
            if found := re.match(r"(\.L\w+):", line):
                labels[found[1]] = len(instructions)
            elif found := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(@\S+ )?\s*([A-Z].*?)\s*;", line):
                label = re.search(r"^(?:BRA|CALL).*`\((\.L\w+)\)", found[2])
                instructions.append(Instruction(found[2], found[1] is not None, label and label[1]))
        yield part.split(":")[0], instructions, labels


def loops(code, labels):
    """The instructions of each loop, by the place of its first."""
    before = [[] for _ in code]
    for i, instruction in enumerate(code):
        if not instruction.is_last() and i + 1 < len(code):
            before[i + 1].append(i)
        if labels.get(instruction.label, len(code)) < len(code):
            before[labels[instruction.label]].append(i)
    found = {}
    for head, tails in enumerate(before):
        for tail in (i for i in tails if i >= head):
            body, left = {head}, [tail]
            while left:
                i = left.pop()
                if i not in body:
                    body.add(i)
                    left += before[i]
            # A wait that tries again stands behind the kernel's end, and goes back into the middle of a loop: it is not the loop's end.
            if 0 not in body:
                found[head] = found.get(head, set()) | body
    return found


def innermost(found, has):
    """The loops in which `has` holds of an instruction, and in no loop inside, each without the loops inside."""
    of = {head: body for head, body in sorted(found.items()) if any(map(has, body))}
    for body in of.values():
        if not any(other < body for other in of.values()):
            yield sorted(body - set().union(*(other for other in found.values() if other < body)))


def said(events):
    """Equal events that follow each other are one line, and products by mma.sync with what is among them."""
    def kind(event):
        return "" if "load" in events and event in ("load", "product", "exp2") else event
    for key, run in itertools.groupby(events, kind):
        run = list(run)
        if key:
            yield key + f" x{len(run)}" * (len(run) > 1)
        else:
            yield ", ".join(f"{name} x{run.count(name)}" for name in ("load", "product", "exp2") if name in run)


def places(events, *names):
    return [i for i, event in enumerate(events) if event.startswith(names)]


def wrong_copies(events):
    """Of a loop with products, in which copies are waited for, and perhaps begun."""
    waits, copies, products = places(events, "wait copies", "wait phase"), places(events, "copy"), places(events, "product")
    reads = places(events, "load", "product")[0]
    if not waits or waits[0] > reads:
        yield "reads a tile before the wait for its copies"
        return
    if len(waits) > 1:
        yield f"waits for copies {len(waits)} times in a turn"
    if not copies:
        return
    barriers = [i for i in places(events, "barrier") if waits[0] < i < reads]
    if not barriers:
        yield "reads a tile without a barrier behind the wait for its copies"
    elif copies[0] < barriers[-1]:
        yield "begins copies before the barrier behind which their stage is free"
    if events[waits[0]] != "wait phase":
        if not any(i < waits[0] or i > copies[-1] for i in places(events, "commit")):
            yield "closes no group of copies between them and the wait"
        if "fence" in events and "proxy fence" not in events[waits[0]:reads]:
            yield "has no proxy fence between the wait for copies by cp.async and products by wgmma"
    behind = places(events, "wait products") or products[-1:]
    if copies[-1] > behind[0]:
        yield "begins copies behind the products that should run beside them"


def wrong_products(events):
    """Of a loop with products by wgmma: those with the values of the tile before run beside the softmax."""
    waits = [int(events[i].split()[-1]) for i in places(events, "wait products")]
    if waits != [1, 0]:
        yield f"waits until {waits} groups of products are under way, expected [1, 0]"
        return
    first, last = places(events, "wait products")
    if last < max(places(events, "product")):
        yield "begins products behind the last wait for them"
    powers = places(events, "exp2")
    beside = [i for i in powers if first < i < last]
    if not beside or beside != powers:
        yield f"has {len(beside)} of {len(powers)} exp2 between the waits for scores and for the product with values"


def wrong_loads(events):
    """Of the loop of a warp that only loads."""
    waits, expects, copies, arrivals = (places(events, name) for name in ("wait phase", "expect", "copy", "arrive"))
    if not waits or waits[0] > copies[0]:
        yield "begins copies before the wait for an empty stage"
    if not expects or expects[0] > copies[0]:
        yield "begins copies before their bytes are expected"
    if not arrivals or arrivals[-1] < copies[-1]:
        yield "arrives before the last copies are begun"


def registers(text):
    return [int(number) for number in re.findall(r"\bR(\d+)\b", text)]


def wrong_accumulators(code):
    """Products by wgmma each begin behind a fence; until a wait nobody touches what they write, or writes what they read."""
    under_way, fenced, begun = [], False, (set(), set())
    for instruction in code:
        text, event = instruction.text, instruction.event
        if event == "fence":
            fenced = True
        elif found := re.match(r"HGMMA\.64x(\d+)x", text):
            if not fenced:
                yield f"begins a product without a fence: {text}"
            sums, *rows = registers(text.split("gdesc")[0])
            begun[0].update(range(sums, sums + int(found[1]) // 2))
            begun[1].update(*(range(row, row + 4) for row in rows))
            if "gsb0" in text:
                under_way, fenced, begun = [*under_way, begun], False, (set(), set())
        elif event and event.startswith("wait products"):
            under_way = under_way[max(0, len(under_way) - int(event.split()[-1])):]
        else:
            written = registers(re.match(r"\S+ (R\d+,|)", text + " ")[1])
            for sums, rows in [*under_way, begun]:
                if sums.intersection(registers(text)) or (rows.intersection(written) and event is None):
                    yield f"touches registers of a product before the wait for it: {text}"


def check(name, code, labels):
    """Prints the loops of a kernel with products, and returns what is wrong."""
    print(f"kernel {name}")
    counts = [re.search(r"0x(\w+)$", instruction.text) for instruction in code if instruction.text.startswith("USETMAXREG")]
    for count in counts:
        print(f"  registers {int(count[1], 16)}")
    found, wrong = loops(code, labels), list(wrong_accumulators(code))
    def turns(kind):
        for own in innermost(found, lambda i: code[i].event == kind):
            yield [event for i in own if (event := code[i].event)]
    of_products = list(turns("product"))
    for events in of_products:
        print("  turn of products", *said(events), sep="\n    ")
        wrong += wrong_copies(events)
        wrong += wrong_products(events) if "fence" in events else []
    for events in turns("copy") if counts else ():
        print("  turn of copies", *said(events), sep="\n    ")
        wrong += wrong_loads(events)
    if not of_products:
        wrong.append("has no loop with products")
    return [f"error: {name} {message}" for message in wrong]


def disassembled(module, arch):
    """Kernels that merge parts have no products."""
    for ptx in assembly.texts(module):
        if not re.search(r"\b(mma\.sync|wgmma\.mma_async)", ptx):
            continue
        with tempfile.TemporaryDirectory() as folder:
            source, cubin = pathlib.Path(folder, "kernel.ptx"), pathlib.Path(folder, "kernel.cubin")
            source.write_text(ptx)
            subprocess.run(["ptxas", f"-arch={arch}", source, "-o", cubin], check=True)
            yield subprocess.run(["nvdisasm", "-c", cubin], capture_output=True, text=True, check=True).stdout


def main():
    text = sys.stdin.read()
    wrong = []
    for code in disassembled(text, sys.argv[1]) if sys.argv[1:] else [text]:
        for name, instructions, labels in kernels(code):
            if any(instruction.event == "product" for instruction in instructions):
                wrong += check(name, instructions, labels)
    sys.exit("\n".join(wrong) if wrong else 0)


main()
