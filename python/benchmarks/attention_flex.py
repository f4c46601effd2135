"""FlexAttention on the cases of attention_gpu.py, each in a process of its own with a limit of time.

Such a process compiles and checks its case, says that it is ready and waits; it is timed alone, when none of the others of its batch
compiles any more. Its steps are printed as they end, so that of one that hangs it is seen where.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

MOST_EAGER = 16384  # queries up to which masks are built without torch.compile: every pair has some bytes meanwhile


def measure_all(cases, options, left):
    """Yields a line per case. `left()`: seconds until all has to end."""
    for i in range(0, len(cases), options.flex_jobs):
        batch = cases[i : i + options.flex_jobs]
        if left() <= 0:
            for case in cases[i:]:
                print(f"{case} FlexAttention: no time left", flush=True)
            return
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(Child(case, options.pairs[str(case)])) for case in batch]
            limit = time.monotonic() + min(options.flex_seconds, left())
            while any(child.is_busy() for child in running) and time.monotonic() < limit:
                time.sleep(0.05)
            for child in running:
                if child.ready and left() > 0:
                    child.go()
                    limit = time.monotonic() + min(options.flex_seconds, left())
                    while child.is_busy() and time.monotonic() < limit:
                        time.sleep(0.05)
                yield child.end()


class Child:
    """The process of one case."""

    def __init__(self, case, pairs):
        self.case, self.pairs, self.seen, self.ready, self.line, self.begin = case, pairs, 0, False, None, time.monotonic()

    def __enter__(self):
        self.output = tempfile.NamedTemporaryFile("w+", suffix=".txt")
        # The pool of compiling processes would import PyTorch once per core.
        settings = dict(os.environ, TORCHINDUCTOR_COMPILE_THREADS="1", PYTHONUNBUFFERED="1")
        command = [sys.executable, __file__, *self.case.words, str(self.pairs)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.output, stderr=subprocess.STDOUT, env=settings,
                                        text=True, start_new_session=True)
        return self

    def is_busy(self):
        """Whether it has to do; prints what it said meanwhile."""
        ended = self.process.poll() is not None
        text = pathlib.Path(self.output.name).read_text(errors="replace")
        lines = text.split("\n")[:-1]
        for line in lines[self.seen :]:
            if line.startswith("result "):
                self.line = json.loads(line.removeprefix("result "))
            elif line == "ready":
                self.ready = True
            elif line.startswith("step "):
                print(f"  {self.case} FlexAttention: {line.removeprefix('step ')}", flush=True)
        self.seen = len(lines)
        return not (ended or self.ready or self.line)

    def go(self):
        self.ready = False
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self):
        """Its line; ends the process, and what it started, where it goes on."""
        from attention_gpu import Measurement

        self.is_busy()
        hangs = self.process.poll() is None and not self.line
        if hangs:
            self.kill()
        said = [line for line in pathlib.Path(self.output.name).read_text(errors="replace").splitlines() if line.strip()]
        last = said[-1][:200] if said else "nothing said"
        why = f"ended after {time.monotonic() - self.begin:.0f} s; last: {last}" if hangs else last
        return self.line or Measurement(self.case, "FlexAttention").failed(why)

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10 if self.line else 0)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self.output.close()


class Steps:
    """Says what took how long."""

    def __init__(self):
        self.begin = self.last = time.perf_counter()

    def __call__(self, what):
        """Seconds that it took."""
        now = time.perf_counter()
        took, self.last = now - self.last, now
        print(f"step {now - self.begin:5.1f} s  {what} in {took:.1f} s", flush=True)
        return took


def mask_of(case, step):
    """The block mask, how it is built, and the seconds that takes once what builds it is there."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    how = "eager" if case.keys <= MOST_EAGER else "compiled"
    build = create_block_mask if how == "eager" else torch.compile(create_block_mask)
    made = lambda: (build(case.mask, None, None, case.queries, case.keys, device="cuda"), torch.cuda.synchronize())[0]
    made()
    step(f"mask's first build, {how}")
    mask = made()
    return mask, how, step("mask")


def main():
    step = Steps()
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    from attention_gpu import Measurement, Timer
    from torch_cases import case_of

    *words, pairs = sys.argv[1:]
    case = case_of(*words)
    torch.set_grad_enabled(False)
    torch._functorch.config.donated_buffer = False  # gradients are computed again of what was kept
    tensors = case.tensors()
    torch.cuda.synchronize()
    step("imports and inputs")
    measurement = Measurement(case, "FlexAttention")
    try:
        mask, how, building = mask_of(case, step)
        compiled = torch.compile(flex_attention, dynamic=False)
        function = case.timed(lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=case.heads != case.key_heads))
        measurement.check(function, tensors)
        step("compilation, first call and check")
        print("ready", flush=True)
        if not sys.stdin.readline():
            return
        line = measurement.time(function, tensors, Timer(), int(pairs))
        line |= dict(mask_seconds=building, mask=how)
    except Exception as error:
        line = measurement.failed(f"{type(error).__name__}: {error}")
    print("result " + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
