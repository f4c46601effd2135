"""Feeds mutated models to the importer or the whole compiler: fuzz_models.py [--compile] [--build DIR] [--count N] [--seed S] MODEL...

Mutation number i is the same for every run with the same models: bytes are changed, cut, doubled or moved, and fields of
the messages are set to other values. A mutant must be imported, or compiled (status 0), or refused (status 1, a message, no
output) within --seconds; by the importer without more memory than that of the unchanged model plus four times the file. The
compiler gets mutated fields only, since files that are no models say nothing of it, and goes on to memrefs, for a CPU and a
GPU in turn; its memory is limited by --memory. A failing mutant is kept in --keep. The last line counts.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import time

import onnx
from google.protobuf.descriptor import FieldDescriptor

INTEGERS = [-1, 0, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
SLACK_KB = 32 << 10  # of the allocator and of the sanitizers' shadow
CRASH = ("Stack dump", "AddressSanitizer", "runtime error:", "Assertion")


def mutate_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 2, 4, 16, 256])
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + size] = rng.randbytes(len(data[at : at + size]))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at:at] = rng.randbytes(size)
        else:
            del data[at:]
    return bytes(data)


def messages(message):
    """The message and all below it."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for below in value if field.is_repeated else [value]:
                yield from messages(below)


def other_value(field, rng, names):
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = rng.choice(names + ["", "x" * 300, "\n'\"", "../x"])
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice([0.0, float("nan"), float("inf"), -1e30])
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(list(field.enum_type.values_by_number))
    value = rng.choice(INTEGERS)
    if kind == FieldDescriptor.CPPTYPE_INT32:
        value = (value + 2**31) % 2**32 - 2**31
    return value % 2**64 if kind == FieldDescriptor.CPPTYPE_UINT64 else value


def mutate_field(message, rng, names):
    """Sets, clears, repeats or moves one field."""
    field = rng.choice(list(message.DESCRIPTOR.fields))
    if not field.is_repeated:
        if rng.random() < 0.3 or field.type == FieldDescriptor.TYPE_MESSAGE:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, other_value(field, rng, names))
        return
    values = getattr(message, field.name)
    kind = rng.randrange(3)
    if kind == 0 and len(values):
        del values[rng.randrange(len(values))]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        values.add().CopyFrom(values[rng.randrange(len(values))]) if len(values) > 1 else values.add()
    elif kind == 1 and len(values):
        values[rng.randrange(len(values))] = other_value(field, rng, names)
    else:
        values.append(other_value(field, rng, names))


def mutate_fields(data, rng):
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        names = [name for node in model.graph.node for name in [*node.input, *node.output]] or ["x"]
        mutate_field(rng.choice(list(messages(model))), rng, names)
    return model.SerializeToString()


def run(command, seconds):
    """(status or None after too long, standard error, peak memory in KB)."""
    error = pathlib.Path(f"{command[-1]}.err")
    with error.open("wb") as stream:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
    deadline, status = time.monotonic() + seconds, None
    while True:
        done, code, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            process.returncode = status = os.waitstatus_to_exitcode(code)
            break
        if time.monotonic() > deadline:
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = -9
            break
        time.sleep(0.002)
    return status, error.read_text(errors="replace"), usage.ru_maxrss


def fault(command, mutant, out, limit, seconds):
    """What is wrong with what the command makes of the mutant, which may take so many KB and seconds; or None."""
    out.unlink(missing_ok=True)
    status, error, peak = run([*command, mutant, "-o", out], seconds)
    if status is None:
        return f"still running after {seconds} s"
    if status not in (0, 1) or any(word in error for word in CRASH):
        return f"status {status}: {error.strip()[:300]}"
    if status == 1 and ("error" not in error or out.exists()):
        return f"refused with output, or without a message: {error.strip()[:300]}"
    return f"{peak} KB of memory, more than {limit} KB" if peak > limit else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--compile", action="store_true", help="the whole compiler instead of the importer")
    parser.add_argument("--memory", type=int, default=2 << 20, help="that the compiler may take, in KB")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/dev"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first mutation; the others count up")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("fuzz"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    binaries = options.build.resolve() / "bin"
    commands = [[binaries / "megactx-translate", "--import-onnx"]]
    if options.compile:
        commands = [[binaries / "megactx-compile", "--compile-to=memref", f"--target={target}"] for target in ("cpu", "sm_80")]
    originals = [path.read_bytes() for path in options.models]
    mutant, out = options.keep / f"mutant-{options.seed}.onnx", options.keep / f"out-{options.seed}.mlir"
    bases = [0 if options.compile else run([*commands[0], path, "-o", out], options.seconds)[2] for path in options.models]
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        rng = random.Random(seed)
        which = rng.randrange(len(originals))
        takes_bytes = rng.random() < 0.4 and not options.compile
        data = (mutate_bytes if takes_bytes else mutate_fields)(originals[which], rng)
        mutant.write_bytes(data)
        limit = options.memory if options.compile else bases[which] + 4 * len(data) // 1024 + SLACK_KB
        reason = fault(commands[seed % len(commands)], mutant, out, limit, options.seconds)
        if reason:
            failed += 1
            (options.keep / f"{seed}.onnx").write_bytes(data)
            print(f"mutation {seed} of {options.models[which]}: {reason}", flush=True)
    print(f"{options.count - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
