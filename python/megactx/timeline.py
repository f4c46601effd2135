"""A timeline of token embeddings in a file.

The file is mapped into memory: pages are read when they are used, and can be dropped after, so that a
timeline may be longer than memory.
"""

import math
import mmap
import os

import numpy as np

from .tools import Error

READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Timeline:
    """Token embeddings [N, E] of float32: a .npy file ([N, E] or [1, N, E], C order), or an array of that shape."""

    def __init__(self, source):
        self._map = None
        if isinstance(source, (str, os.PathLike)):
            self.rows = self._mapped(os.fspath(source))
        else:
            self.rows = self._checked(np.asarray(source), "timeline")

    def __len__(self):
        return len(self.rows)

    @property
    def width(self):
        """E."""
        return self.rows.shape[1]

    def drop_pages(self):
        """Gives the memory of pages read so far back to the system; they are read again when they are used."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    @staticmethod
    def _checked(array, name):
        if array.dtype != np.dtype("<f4"):
            raise Error(f"'{name}': expected float32, but got {array.dtype}")
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2:
            raise Error(f"'{name}': expected embeddings [tokens, width], but got shape {list(array.shape)}")
        if not array.size:
            raise Error(f"'{name}': no tokens")
        return np.ascontiguousarray(array)

    def _mapped(self, path):
        try:
            with open(path, "rb") as file:
                shape, fortran, dtype = self._header(file, path)
                offset = file.tell()
                want, got = offset + math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size
                if want != got:
                    raise Error(f"'{path}': expected {want} bytes for shape {list(shape)} of {dtype}, but the file has {got}")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Error(f"cannot read '{path}': {error.strerror}") from None
        if fortran and len(shape) > 1:
            raise Error(f"'{path}': expected C order, but the array is in Fortran order")
        return self._checked(np.frombuffer(self._map, dtype, math.prod(shape), offset).reshape(shape), path)

    @staticmethod
    def _header(file, path):
        try:
            version = np.lib.format.read_magic(file)
            if version not in READERS:
                raise ValueError(f"version {version}")
            shape, fortran, dtype = READERS[version](file)
            if dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError(f"{dtype} of shape {shape}")
            return shape, fortran, dtype
        except (ValueError, EOFError) as error:
            raise Error(f"'{path}' is not a .npy file of numbers: {error}") from None
