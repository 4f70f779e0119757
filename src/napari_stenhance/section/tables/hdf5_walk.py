"""Look through an HDF5 file: a program that `hdf5.py` runs, which prints what it finds.

Its lines are "begun" once everything is imported, and at last "well", or what is wrong. It imports
nothing of the package, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import sys
from typing import Any

import h5py

_SECONDS, _BYTES_A_SECOND = 5.0, 2e7
_PATIENCE = 10
_MEMORY = 3 * 2**30
_READ_WHOLE = 2**23
_ROWS_AT_ONCE = 2**16
_OBJECTS_MOST, _DEPTH_MOST = 100_000, 32


class Wrong(Exception):
    """What is wrong, in words that follow the file's name."""


class Walk:
    """A walk over what can be reached in a file."""

    def __init__(self, size: int, ratio: int, small: int) -> None:
        self.size, self.ratio, self.small = size, ratio, small
        self.seen = 0

    def item(self, parent: Any, name: str, depth: int) -> None:
        """Follow one link, unless it leads out of the file or nowhere."""
        where = f"{parent.name.rstrip('/')}/{name}"[1:]
        self.seen += 1
        if self.seen > _OBJECTS_MOST or depth > _DEPTH_MOST:
            msg = f"{where[:60]} … leads in circles"
            raise Wrong(msg)
        try:
            link = parent.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                msg = f"{where} is a link to another file, {link.filename}, which is not followed"
                raise Wrong(msg)
            item = parent[name]
            self.attributes(item)
            if isinstance(item, h5py.Dataset):
                self.dataset(item, where)
            names = list(item) if isinstance(item, h5py.Group) else []
        except Wrong:
            raise
        except Exception as error:
            lines = str(error).splitlines() or [type(error).__name__]
            msg = f"{where} cannot be read ({lines[0]})"
            raise Wrong(msg) from error
        for inner in names:
            self.item(item, inner, depth + 1)

    def attributes(self, item: Any) -> None:
        for key in item.attrs:
            value = item.attrs.get_id(key)
            if value.get_space().get_simple_extent_npoints() * value.dtype.itemsize > self.size:
                msg = f"the attribute {key} is larger than the file"
                raise Wrong(msg)
            item.attrs[key]

    def dataset(self, item: Any, where: str) -> None:
        if item.shape is None:
            return
        if item.external or item.is_virtual:
            msg = f"{where} lies in another file, which is not followed"
            raise Wrong(msg)
        if item.chunks:
            item.id.get_num_chunks()
        stored = min(item.id.get_storage_size(), self.size)
        if item.size * item.dtype.itemsize > self.small + self.ratio * stored:
            shape = " × ".join(map(str, item.shape))
            msg = f"{where} claims to hold {shape} values, which {stored} bytes cannot"
            raise Wrong(msg)
        if not item.size:
            return
        # Texts of any length lie elsewhere in the file, where addresses may be damaged.
        if item.dtype.kind in "OV" or item.nbytes <= _READ_WHOLE:
            if not item.shape or item.nbytes <= _READ_WHOLE:
                item[()]
                return
            for first in range(0, item.shape[0], _ROWS_AT_ONCE):
                item[first : first + _ROWS_AT_ONCE]


def walk(path: str, ratio: str, small: str, *parts: str) -> str:
    """Look through a file, and say "well" or what is wrong."""
    size = os.path.getsize(path)  # noqa: PTH202
    seconds = math.ceil(_SECONDS + size / _BYTES_A_SECOND)
    try:
        import resource
    except ImportError:
        # Windows counts no processor time here. A thread of C's ends the process, whatever holds
        # Python.
        faulthandler.dump_traceback_later(_PATIENCE * seconds, exit=True)
    else:
        # Processor time: a slow disk or a busy machine is no damage, a loop without end is.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY + 2 * size, _MEMORY + 2 * size))
    walk = Walk(size, int(ratio), int(small))
    try:
        with h5py.File(path, "r") as file:
            walk.attributes(file)
            for name in parts or list(file):
                if name in file:
                    walk.item(file, name, 0)
    except Wrong as error:
        return str(error)
    except Exception as error:  # noqa: BLE001
        lines = str(error).splitlines() or [type(error).__name__]
        return f"this is no HDF5 file that can be read ({lines[0]})"
    return "well"


if __name__ == "__main__":
    print("begun", flush=True)  # noqa: T201
    said = walk(*sys.argv[1:])
    sys.stdout.buffer.write(said.replace("\n", " ").encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()
    # Closing a damaged file may crash, too; what was to be said is said.
    os._exit(0)
