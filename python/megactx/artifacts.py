"""Compiled artifacts, kept by what they were made of.

The key of an artifact is a hash of the model file, the options, a file of schedules, the compiler and the processor, and of the files with the
model's external data by their sizes and times, so that nothing is compiled twice and nothing stale is found. An artifact is compiled under a temporary name and renamed.
"""

import contextlib
import errno
import functools
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import weakref

from .runtime import load
from .tools import Error, build, compile

DAMAGE = re.compile("is damaged|cannot read")  # what the runtime says of artifacts that are not whole


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROOM = 1 << 22  # bytes: more than the files of most artifacts


class Unwritable(Error):
    """A folder cannot be written to; `full`: for want of room."""

    def __init__(self, folder, error):
        super().__init__(f"cannot write to the folder '{folder}': {error.strerror or error}")
        self.full = error.errno in _FULL


@contextlib.contextmanager
def _writing(folder):
    try:
        yield
    except OSError as error:
        raise Unwritable(folder, error) from None


def _remove(folder, process):
    """Of a process that was forked the folder is its parent's."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _scratch(folder):
    with _writing(folder):
        made = tempfile.mkdtemp(dir=folder)
    try:
        yield pathlib.Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check_room(scratch):
    """Raises Unwritable where what a tool wrote there had no room."""
    try:
        with open(scratch / "room", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
    except OSError as error:
        if error.errno in _FULL:
            raise Unwritable(scratch.parent, error) from None


def _stamps(files):
    """Sizes and times of files: what tells one state of large ones from another."""
    return [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.exists()]


def _read(file):
    try:
        return pathlib.Path(file).read_bytes()
    except OSError as error:
        raise Error(f"cannot read '{file}': {error.strerror}") from None


@functools.cache
def _processor():
    """What code for this machine's processor depends on: artifacts may be kept where other machines find them."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [next((line for line in lines if line.startswith(name)), "") for name in ("model name", "flags")]


def _compiler():
    return _stamps([build() / "bin" / "megactx-compile", *sorted((build() / "lib").glob("lib*.so"))])


def _tensors(graph):
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _external_data(model):
    """The files beside an ONNX model that hold its tensors; none for what is no ONNX model, which the compiler may report."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(model, format="protobuf", load_external_data=False).graph
    except DecodeError:
        return []
    names = {entry.value for tensor in _tensors(graph) for entry in tensor.external_data if entry.key == "location"}
    return [pathlib.Path(model).parent / name for name in sorted(names)]


class Artifacts:
    """Artifacts in a folder; without one, in a temporary folder that ends with this object or with `close`."""

    def __init__(self, folder=None):
        if folder is None:
            with _writing("TMPDIR"):
                self.folder = pathlib.Path(tempfile.mkdtemp(prefix="megactx-"))
        else:
            self.folder = pathlib.Path(folder)
            with _writing(folder):
                self.folder.mkdir(parents=True, exist_ok=True)
        self._end = weakref.finalize(self, _remove, self.folder, os.getpid()) if folder is None else lambda: None
        self.compiled = 0  # how many were not there

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._end()

    def of_file(self, model, policy=None, **options):
        """The artifact of an ONNX or MLIR file; policy: text of a policy in JSON; options: of tools.compile."""
        return self._artifact(model, _read(model), _stamps(_external_data(model)), policy, options)

    def of_module(self, text, **options):
        """The artifact of a module in MLIR with a function main; options: of tools.compile."""
        return self._artifact(None, text.encode(), [], None, options)

    def load_module(self, text, **options):
        """The same, loaded. One that was there and is damaged is compiled anew."""
        made = self.of_module(text, **options)
        try:
            return load(made)
        except Error as error:
            if not DAMAGE.search(str(error)):
                raise
        with _writing(self.folder), contextlib.suppress(FileNotFoundError):  # another process may be at it
            made.unlink() if made.is_file() else shutil.rmtree(made)
        return load(self.of_module(text, **options))

    def _artifact(self, model, content, external, policy, options):
        known = dict(options)
        if known.get("schedules"):
            known["schedules"] = _read(known["schedules"])
        key = hashlib.sha256(repr([_compiler(), _processor(), external, policy, sorted(known.items())]).encode() + content).hexdigest()[:32]
        made = self.folder / f"{key}.mctx"
        if made.exists():
            return made
        with _scratch(self.folder) as scratch:
            rules = None if policy is None else scratch / "policy.json"
            with _writing(self.folder):
                if model is None:
                    model = scratch / "in.mlir"
                    model.write_bytes(content)
                if rules:
                    rules.write_text(policy)
            try:
                compile(model, scratch / "a.mctx", policy=rules, **options)
            except Error:
                _check_room(scratch)
                raise
            try:
                os.rename(scratch / "a.mctx", made)
                self.compiled += 1
            except OSError as error:
                if not made.exists():  # otherwise another process was faster
                    raise Unwritable(self.folder, error) from None
        return made
