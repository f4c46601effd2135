"""Writes files whole or not at all."""

import contextlib
import os
import pathlib

from .tools import Error


def check_writable(*paths):
    """Raises Error where a file cannot become `path`, or two paths are the same: to be called before long work."""
    places = set()
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            raise Error(f"cannot write '{path}': it is a folder")
        if path.exists() and not path.is_file():  # a file that replaces it would be the end of a device
            raise Error(f"cannot write '{path}': it is no regular file")
        if (place := path.parent.resolve() / path.name) in places:
            raise Error(f"cannot write '{path}': it is named for two outputs")
        places.add(place)
        if not os.access(path.parent, os.W_OK | os.X_OK) or not path.parent.is_dir():
            raise Error(f"cannot write '{path}': no folder '{path.parent}' to write to")


def write_all(writers):
    """{path: function that writes to a binary file}. All are written under temporary names beside their paths, then renamed, so
    that no reader sees half a file, and where one fails none of them appears."""
    with contextlib.ExitStack() as undo:
        staged = []
        for path, write in writers.items():
            path = pathlib.Path(path)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            undo.callback(temporary.unlink, missing_ok=True)
            try:
                with open(temporary, "wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise Error(f"cannot write '{path}': {error.strerror}") from None
            staged.append((temporary, path))
        for temporary, path in staged:
            try:
                os.replace(temporary, path)
            except OSError as error:
                raise Error(f"cannot write '{path}': {error.strerror}") from None
