"""GPU kernels without a GPU: a specification becomes launches and LLVM IR for NVPTX, which the emulator runs on the host.

    kernel = emulated.Kernel(tools, attention.Spec(pattern="causal", dtype="bf16", head_dim=64, value_dim=64))
    out, lse = kernel.run(q, k, v)           # float32 [batch, heads, rows, dim]; an emulator.Error where the kernel is wrong

Run as a program, it prints one kernel's errors on random inputs.
"""

import argparse
import ctypes
import functools
import pathlib
import re
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "Models"))

import attention
import ptxas

LLVM = pathlib.Path("/usr/lib/llvm-22/bin")
IN, OUT, INOUT = range(3)


class EmulatorError(Exception):
    pass


def call(*command, text):
    """The command's output for an input, both as bytes."""
    done = subprocess.run([str(c) for c in command], input=text, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr.decode()}")
    return done.stdout


# Tests of one kernel, such as its mutations, follow each other.
call_once = functools.lru_cache(maxsize=16)(call)


class Library:
    """The emulator's functions; what fails raises EmulatorError."""

    def __init__(self, build):
        self.c = ctypes.CDLL(str(build / "lib" / "libmegactx_gpu_emulator.so"), ctypes.RTLD_GLOBAL)
        for name in ("load", "function", "unload", "add", "remove", "error"):
            getattr(self.c, f"emulator_{name}").restype = ctypes.c_void_p
        self.c.emulator_error.restype = ctypes.c_char_p

    def checked(self, value=None):
        error = self.c.emulator_error()
        if error:
            raise EmulatorError(error.decode())
        return value

    def load(self, ir):
        return self.checked(ctypes.c_void_p(self.c.emulator_load(ir, ctypes.c_size_t(len(ir)))))

    def function(self, program, name):
        return self.checked(ctypes.CFUNCTYPE(None)(self.c.emulator_function(program, name.encode())))


class Buffer:
    """An array in memory as the kernel sees it: rows apart, bytes around and between them poisoned."""

    GUARD = 1 << 16  # bytes before and after: what reads a tile beyond the array finds no other one

    def __init__(self, shape, dtype, use, values=None, rows_outside=False):
        """`rows_outside`: [batch, row, head, ...] in memory, and rows 8 elements longer than they are."""
        self.shape, self.dtype, self.use = shape, np.dtype(dtype), use
        pad = 8 if rows_outside and len(shape) == 4 else 0
        order = list(range(len(shape)))
        if rows_outside:
            order[1], order[2] = order[2], order[1]
        self.strides, step = [0] * len(shape), 1
        for axis in reversed(order):
            self.strides[axis] = step
            step *= shape[axis] + (pad if axis == len(shape) - 1 else 0)
        size = self.dtype.itemsize
        last = sum((n - 1) * s for n, s in zip(shape, self.strides)) + 1 if all(shape) else 0
        self.bytes = last * size
        self.memory = np.full(self.bytes + 2 * self.GUARD + 16, 0xFF, dtype=np.uint8)
        self.begin = self.GUARD + -self.memory.ctypes.data % 16
        self.array = np.ndarray(shape, self.dtype, self.memory, self.begin, [s * size for s in self.strides])
        if values is not None:
            self.array[...] = values
        self.address = self.memory.ctypes.data + self.begin
        self.descriptor = np.array([self.address, self.address, 0, *shape, *self.strides], dtype=np.int64)

    def untouched_around(self):
        """Nothing outside of the array was written."""
        inside = np.zeros(self.memory.size, dtype=bool)
        size = self.dtype.itemsize
        np.ndarray((*self.shape, size), bool, inside, self.begin, [*(s * size for s in self.strides), 1])[...] = True
        return (self.memory[~inside] == 0xFF).all()


STORED = {"f16": np.uint16, "bf16": np.uint16, "f32": np.float32}


def to_bits(array, dtype):
    """Values as they are stored."""
    if dtype == "f32":
        return array.astype(np.float32)
    if dtype == "f16":
        return array.astype(np.float16).view(np.uint16)
    return (attention.rounded(array, dtype).view(np.uint32) >> 16).astype(np.uint16)


def from_bits(bits, dtype):
    if dtype == "f32":
        return bits
    if dtype == "f16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def objects_of(text):
    """The place and the bytes of the device code of each gpu.binary in a module."""
    unescape = lambda m: bytes([int(m[1], 16)]) if len(m[1]) == 2 else m[1]
    return [(found.span(1), re.sub(rb"\\([0-9A-Fa-f]{2}|.)", unescape, found[1]))
            for found in re.finditer(rb'offload = "((?:[^"\\]|\\.)*)"', text)]


def check_ptx(code, arch):
    """The target's last steps on device code, and that ptxas compiles their result as it says."""
    ptx = call(LLVM / "llc", "-O3", f"-mcpu={arch}", "-mattr=+ptx80", text=code).decode()
    wrong = ptxas.wrong_subtractions(ptx)
    assert not wrong, "ptxas subtracts wrongly from a quotient by multiplication:\n" + "\n".join(wrong)


def bounds_of(segments, lengths):
    """First row of each row's segment among the rows that exist, and one past its last; rows past those are as the last of them: [batch, rows + 1, 2]."""
    bounds = np.zeros((len(segments), segments.shape[1] + 1, 2), np.int64)
    for ids, of in zip(segments if lengths is None else (ids[:length] for ids, length in zip(segments, lengths)), bounds):
        if len(ids):
            rows = ids[np.minimum(np.arange(len(of)), len(ids) - 1)]
            of[:] = np.stack([np.searchsorted(ids, rows, side) for side in ("left", "right")], -1)
    return bounds


class Kernel:
    """Launches of one specification. `mutate` gets the device's IR as text, and what it returns runs; `more` are the patterns of
    further sources, of the same head dims, heads and dtype; without a `schedule`, there is one by rule."""

    def __init__(self, library, tools, spec, mutate=None, more=(), schedule="", arch="sm_80"):
        self.library, self.spec, self.patterns = library, spec, (spec.pattern, *more)
        opt = tools / "megactx-opt"
        fused = call_once(opt, "--megactx-decompose-patterns", "--megactx-fuse-attention-pieces", text=self.tensors().encode()).decode()
        # The key names the source: arguments after the query.
        self.launches = [(int(key) - 1, pieces, attributes) for key, pieces, attributes in re.findall(
            r"megactx\.fused_attention %\w+, %arg(\d+), .*? outs\([^)]*\) (\[.*\]) \{(.*?)\} :", fused)]
        assert self.launches, f"no kernel takes {spec}"
        text = call_once(opt, f'--megactx-attention-to-gpu-pipeline=format=llvm arch={arch} schedule="{schedule}"', "--megactx-gpu-to-llvm-pipeline",
                         text=self.memrefs().encode())
        objects = objects_of(text)
        if mutate:
            mutated = False
            for (begin, end), code in reversed(objects):
                plain = call(LLVM / "llvm-dis", text=code).decode()
                code = mutate(plain)
                mutated = mutated or code != plain
                text = text[:begin] + "".join(f"\\{c:02X}" for c in code.encode()).encode() + text[end:]
            assert mutated, "no kernel is mutated"
        else:
            for _, code in objects:
                check_ptx(code, arch)
        self.program = library.load(call(LLVM / "mlir-translate", "--mlir-to-llvmir", text=text))
        self.main = library.function(self.program, "_mlir_ciface_main")

    def tensors(self):
        """Arguments: q, then the keys of all sources, then their values, bias, lengths, segments, offset."""
        s, sources = self.spec, range(len(self.patterns))
        q, k, v, o = (f"tensor<?x{heads}x?x{dim}x{s.dtype}>" for heads, dim in
                      [(s.heads, s.head_dim), (s.key_heads, s.head_dim), (s.key_heads, s.value_dim), (s.heads, s.value_dim)])
        lse, source, bias = f"tensor<?x{s.heads}x?xf32>", f"!megactx.source<{k}, {v}>", "tensor<?x?x?x?xf32>"
        more = " bias(%b)" * s.bias + " lengths(%l)" * s.lengths + " segments(%s)" * s.segments
        more_types = f", {bias}" * s.bias + ", tensor<?xindex>" * s.lengths + ", tensor<?x?xindex>" * s.segments
        cap = f", softcap = {s.softcap!r} : f32" if s.softcap else ""
        offset = "tensor<?xindex>" if s.offset_per_batch else "index"
        arguments = ", ".join([f"%q: {q}", *(f"%k{i}: {k}" for i in sources), *(f"%v{i}: {v}" for i in sources),
                               f"%b: {bias}, %l: tensor<?xindex>, %s: tensor<?x?xindex>, %p: {offset}"])
        made = "\n".join(f"  %s{i} = megactx.source %k{i}, %v{i}{more} pattern(#megactx.pattern<{pattern}>) {{key_step = {s.key_step} : i64}}"
                         f" : ({k}, {v}{more_types}) -> {source}" for i, pattern in enumerate(self.patterns))
        return f"""func.func @main({arguments}) -> ({o}, {lse}) {{
{made}
  %o, %lse = megactx.attention %q, {", ".join(f"%s{i}" for i in sources)} offset(%p) {{scale = {s.scale!r} : f32, query_step = {s.query_step} : i64{cap}}} : ({q}, {", ".join([source] * len(sources))}, {offset}) -> ({o}, {lse})
  return %o, %lse : {o}, {lse}
}}"""

    def memrefs(self):
        s, sources = self.spec, range(len(self.patterns))
        q, k, v, o = (f"memref<?x{heads}x?x{dim}x{s.dtype}, strided<[?, ?, ?, 1]>>" for heads, dim in
                      [(s.heads, s.head_dim), (s.key_heads, s.head_dim), (s.key_heads, s.value_dim), (s.heads, s.value_dim)])
        lse, bias = f"memref<?x{s.heads}x?xf32, strided<[?, ?, 1]>>", "memref<?x?x?x?xf32, strided<[?, ?, ?, ?]>>"
        if s.bias and s.bias_per_key:
            bias = bias.replace("<?x?x?x?", "<?x?x1x?")
        more = " bias(%b)" * s.bias + " lengths(%l)" * s.lengths + " segments(%s)" * s.segments
        more_types = f", {bias}" * s.bias + ", memref<?xindex>" * s.lengths + ", memref<?x?x2xindex>" * s.segments
        offset = "memref<?xindex>" if s.offset_per_batch else "index"
        ops = [f"  megactx.fused_attention %q, %k{i}, %v{i}{more} query_offset(%p) key_offset(%kp) outs(%o, %lse) {pieces} {{{attributes}}}"
               f" : ({q}, {k}, {v}{more_types}, {offset}, index, {o}, {lse}) -> ()" for i, pieces, attributes in self.launches]
        arguments = ", ".join([f"%q: {q}", *(f"%k{i}: {k}" for i in sources), *(f"%v{i}: {v}" for i in sources),
                               f"%b: {bias}, %l: memref<?xindex>, %s: memref<?x?x2xindex>, %p: {offset}, %kp: index, %o: {o}, %lse: {lse}"])
        return "\n".join([f"func.func @main({arguments}) attributes {{llvm.emit_c_interface}} {{", *ops, "  return", "}"])

    def run(self, q, k, v, lengths=None, offset=0, key_offset=0, bias=None, segments=None):
        """float32 in and out: out [batch, heads, rows, value dim], lse [batch, heads, rows]. With several sources k and v are lists."""
        bounds = np.zeros((1, 1, 2), np.int64) if segments is None else bounds_of(segments, lengths)
        dtype = self.spec.dtype
        keys, values = (k, v) if isinstance(k, list) else ([k], [v])
        first = "accumulate" in self.launches[0][2]  # adds to what the caller made empty
        given = lambda array, **more: Buffer(array.shape, STORED[dtype], IN, to_bits(array, dtype), **more)
        buffers = {"query": given(q, rows_outside=True), **{f"key{i}": given(k) for i, k in enumerate(keys)},
                   **{f"value{i}": given(v, rows_outside=True) for i, v in enumerate(values)},
                   "bias": Buffer((1, 1, 1, 1), np.float32, IN, 0) if bias is None else Buffer(bias.shape, np.float32, IN, bias, rows_outside=True),
                   "lengths": Buffer((len(q),), np.int64, IN, 0 if lengths is None else lengths), "segments": Buffer(bounds.shape, np.int64, IN, bounds)}
        if self.spec.offset_per_batch:
            buffers["offset"] = Buffer((len(q),), np.int64, IN, np.array(offset))
        results = {"out": Buffer((*q.shape[:3], values[0].shape[3]), STORED[dtype], INOUT if first else OUT, 0 if first else None, rows_outside=True),
                   "lse": Buffer(q.shape[:3], np.float32, INOUT if first else OUT, -np.inf if first else None)}
        pass_on = lambda some: [ctypes.c_void_p(buffer.descriptor.ctypes.data) for buffer in some.values()]
        arguments = [*pass_on(buffers), *([] if self.spec.offset_per_batch else [ctypes.c_int64(offset)]), ctypes.c_int64(key_offset), *pass_on(results)]
        buffers |= results
        for name, buffer in buffers.items():
            self.library.c.emulator_add(name.encode(), ctypes.c_void_p(buffer.address), ctypes.c_size_t(buffer.bytes), buffer.use)
        try:
            self.main(*arguments)
        finally:
            for buffer in buffers.values():
                self.library.c.emulator_remove(ctypes.c_void_p(buffer.address))
        self.library.checked()
        for name, buffer in buffers.items():
            assert buffer.untouched_around(), f"written beside {name}"
        return from_bits(np.ascontiguousarray(buffers["out"].array), dtype), buffers["lse"].array.copy()


def main():
    parser = argparse.ArgumentParser(description="Runs the GPU kernels of one pattern under the emulator and prints their errors.")
    parser.add_argument("pattern")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/dev"))
    parser.add_argument("--dtype", choices=["f16", "bf16", "f32"], default="f16")
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--schedule", default="", help="#nvx.schedule, empty: by rule")
    for name, default in [("head-dim", 64), ("heads", 2), ("key-heads", 1), ("queries", 100), ("keys", 100), ("offset", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    spec = attention.Spec(pattern=a.pattern, dtype=a.dtype, head_dim=a.head_dim, value_dim=a.head_dim, heads=a.heads, key_heads=a.key_heads)
    build = a.build.resolve()
    random = np.random.default_rng()
    draw = lambda heads, rows: attention.rounded(random.standard_normal((1, heads, rows, a.head_dim)), a.dtype)
    q, k, v = draw(a.heads, a.queries), draw(a.key_heads, a.keys), draw(a.key_heads, a.keys)
    try:
        out, lse = Kernel(Library(build), build / "bin", spec, schedule=a.schedule, arch=a.arch).run(q, k, v, offset=a.offset)
    except (EmulatorError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    want, want_lse = attention.reference(spec, q, k, v, a.offset)
    some = np.isfinite(want_lse)
    print(f"out: error {np.linalg.norm(out - want) / np.linalg.norm(want):.1e} of the norm, at most {np.abs(out - want).max():.1e}; "
          f"lse: at most {np.abs(lse[some] - want_lse[some]).max(initial=0):.1e}")


if __name__ == "__main__":
    main()
