"""What the small files of a zarr folder say, read before zarr believes them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import zarr

_LONGEST = 2**24
_LARGEST = 2**29
"""Bytes of a chunk."""
_CODECS = {"blosc", "bytes", "crc32c", "gzip", "lz4", "sharding_indexed", "shuffle", "transpose",
           "zlib", "zstd"}  # fmt: skip
"""Those that hold pixels without loss; one that is named `pickle` would run what the file says."""
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".DS_Store")
_DTYPES = {"uint8": "u1", "uint16": "u2", "float32": "f4", "float64": "f8"}
_LABELS = {"bool": "?", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
           "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8"}  # fmt: skip


def group_attributes(folder: Path) -> dict[str, Any]:
    """Read the attributes of a zarr group, of OME those of 0.4 and of 0.5; empty if it is none."""
    try:
        new = _read(folder / "zarr.json")
        if new is not None:
            said = new.get("attributes", {}) if new.get("node_type") == "group" else {}
            ome = said.get("ome", {})
            return {**said, **ome, "zarr_format": 3}
        old = _read(folder / ".zattrs")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
    return {} if old is None else {**old, "zarr_format": 2}


def _read(path: Path) -> dict[str, Any] | None:
    """Read a small file of JSON; None if it is not there.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no object, or so large that it describes no image.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > _LONGEST:
        msg = f"its {path.name} is too large"
        raise ValueError(msg)
    value = json.loads(content)
    if not isinstance(value, dict):
        msg = f"its {path.name} is no object"
        raise ValueError(msg)
    return value


@dataclass(frozen=True)
class ArrayNode:
    """An array of a zarr folder, known by its metadata.

    Attributes
    ----------
    folder : Path
    zarr_format : int
    shape : tuple of int
    chunks : tuple of int
        What can be decoded alone, within a shard too.
    in_file : tuple of int
        What a file holds: a chunk, or a shard.
    dtype : dtype
        Unsigned of 8 or 16 bits, or floats; of labels, whole numbers.
    names : tuple of str or None
        Of the axes, where the array says them.
    """

    folder: Path
    zarr_format: int
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    in_file: tuple[int, ...]
    dtype: np.dtype[Any]
    names: tuple[str, ...] | None

    @classmethod
    def read(cls, folder: Path, zarr_format: int, *, labels: bool = False) -> ArrayNode:
        """Read what describes an array; no chunk of it is looked at.

        Raises
        ------
        ValueError
            If it is no array of pixels, or its chunks cannot be.
        OSError
            If it cannot be read.
        """
        import numpy as np

        said = _read(folder / ("zarr.json" if zarr_format == 3 else ".zarray"))
        if said is None:
            msg = f"its level {folder.name!r} is not there"
            raise ValueError(msg)
        if said.get("zarr_format") != zarr_format or said.get("node_type", "array") != "array":
            msg = f"its level {folder.name!r} is no array of zarr {zarr_format}"
            raise ValueError(msg)
        shape = _lengths(said.get("shape"), "shape")
        if zarr_format == 3:
            chunks, in_file, codecs = _of_version_3(said)
            kinds = _LABELS if labels else _DTYPES
            dtype = np.dtype(kinds.get(str(said.get("data_type")), "V1"))
        else:
            chunks, in_file, codecs = _of_version_2(said)
            dtype = np.dtype(str(said.get("dtype")))
        pixels = dtype.newbyteorder("=") in (np.uint8, np.uint16, np.float32, np.float64)
        if not (dtype.kind in "bui" if labels else pixels):
            kind = said.get("data_type", said.get("dtype"))
            wanted = "whole numbers" if labels else "8 or 16 bits without sign, or floats"
            msg = f"its pixels are {kind}, not {wanted}"
            raise ValueError(msg)
        if foreign := sorted(set(codecs) - _CODECS):
            msg = f"its chunks are stored with {', '.join(foreign)}, which is not supported"
            raise ValueError(msg)
        inside = math.prod(-(-n // c) for n, c in zip(in_file, chunks, strict=True))
        if (
            not len(chunks) == len(in_file) == len(shape)
            or math.prod(chunks) * dtype.itemsize > _LARGEST
            or inside > _LARGEST // 16
        ):
            msg = f"its chunks of {chunks} cannot be for a shape of {shape}, or are too large"
            raise ValueError(msg)
        names = said.get("dimension_names")
        names = None if names is None else tuple(str(name) for name in names)
        return cls(folder, zarr_format, shape, chunks, in_file, dtype, names)

    @cached_property
    def array(self) -> zarr.Array[Any]:
        """The array; chunks that are not there have its fill value."""
        import zarr
        from zarr.storage import LocalStore

        store = LocalStore(self.folder, read_only=True)
        found = zarr.open_array(store, mode="r", zarr_format=3 if self.zarr_format == 3 else 2)
        if found.shape != self.shape or found.dtype != self.dtype:
            msg = "what describes it has changed"
            raise ValueError(msg)
        return found

    @property
    def files_needed(self) -> int:
        """How many files hold all of it."""
        return math.prod(-(-n // c) for n, c in zip(self.shape, self.in_file, strict=True))

    def files_there(self, most: int) -> int:
        """Count the files of its chunks, up to so many: those left out have the fill value."""
        there = 0
        for _, _, files in os.walk(self.folder):
            there += sum(name not in _METADATA and not name.startswith("._") for name in files)
            if there >= most:
                break
        return there


def _lengths(value: Any, what: str) -> tuple[int, ...]:
    lengths = tuple(value) if isinstance(value, list) else ()
    whole = all(type(n) is int and 0 < n < 2**31 for n in lengths)
    if not lengths or not whole:
        msg = f"its {what} of {value} cannot be"
        raise ValueError(msg)
    return lengths


_Stored = tuple[tuple[int, ...], tuple[int, ...], list[str]]


def _of_version_2(said: dict[str, Any]) -> _Stored:
    codecs = [said.get("compressor"), *(said.get("filters") or [])]
    chunks = _lengths(said.get("chunks"), "chunks")
    return chunks, chunks, [str(codec["id"]) for codec in codecs if codec is not None]


def _of_version_3(said: dict[str, Any]) -> _Stored:
    grid, codecs = said["chunk_grid"], list(said["codecs"])
    if grid["name"] != "regular":
        msg = f"its chunks lie on a grid that is {grid['name']}"
        raise ValueError(msg)
    chunks = in_file = _lengths(grid["configuration"]["chunk_shape"], "chunks")
    names = []
    while codecs:
        codec = codecs.pop()
        names.append(str(codec["name"]))
        if names[-1] == "sharding_indexed":
            config = codec["configuration"]
            chunks = _lengths(config["chunk_shape"], "chunks")
            codecs += [*config["codecs"], *config.get("index_codecs", [])]
    return chunks, in_file, names
