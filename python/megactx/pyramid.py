"""Gists of a growing timeline, level by level.

GistNet is a compiled model from tokens [B, N, E] to its levels, [B, N / r, E], [B, N / r^2, E], ..., as
many as it has outputs. It is run on blocks of r^top tokens (top: the highest level), each behind the same
number of tokens of history: what a gist is depends on its block and that history, not on how many tokens
came at a time. The gists of a block that is not complete are those of whole spans; the block is filled
up with zeros, which is why a gist must not depend on later tokens.
"""

import time

import numpy as np

from .runtime import Model, load
from .tools import Error

BATCH_NUMBERS = 1 << 20  # tokens times width of one run, so that activations take a few times 4 MB


def same_model(model):
    """A Model, or the artifact at a path."""
    return model if isinstance(model, Model) else load(model)


def not_finite(rows):
    """Which rows [n, E] hold NaN or infinity."""
    return np.flatnonzero(~np.isfinite(rows).all(1))


class Gists:
    """Rows [n, E] of one level; grows at the end."""

    def __init__(self, width):
        self._rows, self.count = np.empty((1024, width), np.float32), 0

    def put(self, first, rows):
        """Rows from `first` on; what was there is replaced."""
        self.count = first + len(rows)
        if self.count > len(self._rows):
            grown = np.empty((max(self.count, 2 * len(self._rows)), self._rows.shape[1]), np.float32)
            grown[:first] = self._rows[:first]
            self._rows = grown
        self._rows[first:self.count] = rows

    @property
    def rows(self):
        """To read: a view of what grows."""
        rows = self._rows[:self.count]
        rows.setflags(write=False)
        return rows


class Pyramid:
    """The levels above a timeline's tokens.

    gistnet: a Model or the path of an artifact; ratio: tokens of a level-1 gist; history: tokens before a block that GistNet sees
    with it (fewer at the timeline's start), a multiple of r^top.
    """

    def __init__(self, gistnet, ratio=32, history=0):
        self.model, self.ratio = same_model(gistnet), ratio
        if ratio < 2:
            raise Error(f"expected a ratio of at least 2, but got {ratio}")
        self.top = len(self.model.outputs)
        self.block = ratio**self.top
        self.history = history
        if history < 0 or history % self.block:
            raise Error(f"history: expected a multiple of {self.block} tokens (ratio {ratio}, {self.top} levels), but got {history}")
        self.width = self._check_interface()
        self._check_levels()
        self._step = max(self.block, BATCH_NUMBERS // self.width)
        self._gists = [Gists(self.width) for _ in range(self.top)]
        self._pending = np.empty((0, self.width), np.float32)  # history, then tokens of no complete block
        self.tokens = self._complete = self._gisted = 0

    # --- the model's contract ---

    def _check_interface(self):
        inputs = self.model.manifest["inputs"]
        if len(inputs) != 1 or inputs[0]["dtype"] != "float" or len(inputs[0]["shape"]) != 3:
            raise Error("gistnet: expected one input, tokens [batch, length, width] of float, but it has "
                        + ", ".join(f"{i['name']} {i['shape']} of {i['dtype']}" for i in inputs))
        batch, length, width = inputs[0]["shape"]
        if not isinstance(width, int):
            raise Error("gistnet: expected a width that is known, but the last dimension of its input is dynamic")
        if isinstance(length, int) and (length != self.block or self.history):
            raise Error(f"gistnet: its input has {length} tokens, but ratio {self.ratio} and {self.top} levels make blocks of {self.block}"
                        + (f", with history up to {self.history + self.block}" if self.history else ""))
        self.batch = batch if isinstance(batch, int) else None
        if self.batch not in (None, 1):
            raise Error(f"gistnet: expected a batch of 1 or a dynamic one, but got {self.batch}")
        return width

    def _check_levels(self):
        """Two runs on a random block, the second with half of its tokens 0: the levels' sizes, and whether gists know later tokens."""
        block = np.random.default_rng(0).standard_normal((1, self.history + self.block, self.width)).astype(np.float32)
        whole = self._run(block)
        for level, gists in enumerate(whole, 1):
            want = [1, block.shape[1] // self.ratio**level, self.width]
            if list(gists.shape) != want:
                raise Error(f"gistnet: level {level} does not match the ratio: for {block.shape[1]} tokens and ratio {self.ratio} "
                            f"expected shape {want}, but got {list(gists.shape)}")
        half = self.ratio // 2 * self.ratio ** (self.top - 1)
        block[:, self.history + half:] = 0
        for level, (first, second) in enumerate(zip(whole, self._run(block)), 1):
            known = (self.history + half) // self.ratio**level
            if not np.allclose(first[:, :known], second[:, :known], rtol=1e-3, atol=1e-4):
                raise Error(f"gistnet: a gist of level {level} depends on tokens that come after its own")

    def _run(self, tokens):
        try:
            return list(self.model.run({self.model.inputs[0]: tokens}).values())
        except Error as error:
            raise Error(f"gistnet: it does not run on blocks of {tokens.shape[1]} tokens (ratio {self.ratio}, {self.top} levels): {error}") from None

    # --- appending ---

    def append(self, tokens):
        """The next tokens, [n, E] of float32: all of them, or none where an Error is raised."""
        tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.shape[1] != self.width:
            raise Error(f"timeline: expected embeddings [tokens, {self.width}], as GistNet takes, but got shape {list(tokens.shape)}")
        if tokens.dtype != np.float32:
            raise Error(f"timeline: expected embeddings of float32, but got {tokens.dtype}")
        parts = [tokens[first:first + self._step] for first in range(0, len(tokens), self._step)]
        for number, part in enumerate(parts):
            if len(bad := not_finite(part)):
                raise Error(f"timeline: token {self.tokens + number * self._step + bad[0]} is not finite")
        before = self._pending, self.tokens, self._complete, [gists.count for gists in self._gists]
        try:
            for part in parts:
                self._pending = np.concatenate([self._pending, part])
                self.tokens += len(part)
                self._complete_blocks()
        except BaseException:
            self._pending, self.tokens, self._complete, counts = before
            for gists, count in zip(self._gists, counts):
                gists.count = count
            self._gisted = -1  # gists of a block that is not complete may be overwritten
            raise

    def _complete_blocks(self):
        while (start := self._start()) + self.block <= len(self._pending):
            history, count = min(self.history, start), 1
            if history == self.history and self.batch is None:
                blocks = (len(self._pending) - start) // self.block
                count = max(1, min(blocks, self._step // (history + self.block)))
            rows = np.lib.stride_tricks.sliding_window_view(self._pending, history + self.block, axis=0)
            rows = rows[start - history::self.block][:count].transpose(0, 2, 1)
            self._put(self._run(np.ascontiguousarray(rows)), history, count * self.block)
            self._complete += count * self.block
            start = self._start()
            self._pending = self._pending[start - min(self.history, start):]

    def _start(self):
        """Where in the pending tokens the first block that is not done begins."""
        return len(self._pending) - (self.tokens - self._complete)

    def _put(self, levels, history, count):
        """Gists of `count` tokens behind the complete ones, out of batches of blocks behind `history` tokens."""
        for level, (gists, new) in enumerate(zip(self._gists, levels), 1):
            span = self.ratio**level
            rows = new[:, history // span:].reshape(-1, self.width)[:count // span]
            if len(bad := not_finite(rows)):
                first = self._complete + bad[0] * span
                raise Error(f"gistnet: the level-{level} gist of tokens {first} to {first + span - 1} is not finite")
            gists.put(self._complete // span, rows)

    def extend(self, timeline, progress=lambda line: None):
        """Appends a whole Timeline, whose pages are dropped on the way. progress: takes a line of text about once a second."""
        if timeline.width != self.width:
            raise Error(f"timeline: expected embeddings of width {self.width}, as GistNet takes, but got {timeline.width}")
        begin = last = time.monotonic()
        step = self._step
        for first in range(0, len(timeline), step):
            self.append(timeline.rows[first:first + step])
            timeline.drop_pages()
            now = time.monotonic()
            if now - last >= 1 and first + step < len(timeline):
                progress(f"gists of {first + step:,} of {len(timeline):,} tokens, {(first + step) / (now - begin):,.0f} tokens/s")
                last = now
        counts = ", ".join(f"{len(rows):,} of level {level}" for level, rows in enumerate(self.levels, 1))
        progress(f"gists of {len(timeline):,} tokens in {time.monotonic() - begin:.1f} s: {counts}")

    @property
    def levels(self):
        """[level-1 gists [N // r, E], level-2 gists [N // r^2, E], ...] of the tokens so far."""
        rest = self.tokens - self._complete
        if rest >= self.ratio and self._gisted != self.tokens:
            start = self._start()
            history = min(self.history, start)
            block = np.zeros((1, history + self.block, self.width), np.float32)
            block[0, :history + rest] = self._pending[start - history:]
            self._put(self._run(block), history, rest)
            self._gisted = self.tokens
        return [gists.rows for gists in self._gists]

