"""Tables in zarr, 2 and 3, looked through before anything of them is decoded.

What their small files claim is doubted first: sizes that chunks cannot hold, codecs that run what
they read, headers of Blosc that lead behind the end of a chunk.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FREE = 2**26
"""Bytes that an array may claim with nothing behind them: columns of one value hold none."""
_RATIO = 1032
_CHUNK_MOST = 2**28
_TEXT_MOST = 2**24
_FILES_MOST = 1_000_000
_ITEM_BYTES = 8
_BLOSC = "blosc"
_BLOSC_HEADER = 16
_CODECS = {
    _BLOSC, "bytes", "bz2", "crc32c", "gzip", "lz4", "lzma", "shuffle", "sharding_indexed",
    "transpose", "vlen-bytes", "vlen-utf8", "zlib", "zstd", "delta", "fixedscaleoffset",
}  # fmt: skip


def is_anndata_store(folder: Path) -> bool:
    """Tell, from one small file, whether a folder is a zarr group that holds an AnnData."""
    return _encoding(folder) == "anndata"


def _encoding(folder: Path) -> str:
    for name in ("zarr.json", ".zattrs"):
        try:
            content = json.loads(_small(folder / name))
            said = content.get("attributes", {}) if name == "zarr.json" else content
            return str(said.get("encoding-type", ""))
        except (OSError, ValueError, AttributeError):
            continue
    return ""


def _small(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_TEXT_MOST + 1)
    if len(content) > _TEXT_MOST:
        msg = f"{path.name} is larger than {_TEXT_MOST} bytes"
        raise ValueError(msg)
    return content.decode("utf-8")


def check_store(folder: Path) -> None:
    """Check what the arrays below a folder claim, before any is decoded.

    Raises
    ------
    ValueError
        If one claims more than it can hold, or is coded in a way that is not read.
    """
    for array in _arrays(folder):
        _check_array(folder, array)


def _arrays(folder: Path) -> Iterator[Path]:
    """List the folders of arrays; links that lead elsewhere are refused."""
    seen = 0
    for where, folders, files in os.walk(folder):
        seen += len(files) + len(folders)
        here = Path(where)
        if seen > _FILES_MOST:
            msg = f"it holds more than {_FILES_MOST} files"
            raise ValueError(msg)
        if any((here / name).is_symlink() for name in (*folders, *files)):
            msg = f"{here.relative_to(folder)} holds a link, which is not followed"
            raise ValueError(msg)
        if ".zarray" in files:
            yield here
        elif "zarr.json" in files:
            content = json.loads(_small(here / "zarr.json"))
            if isinstance(content, dict) and content.get("node_type") == "array":
                yield here


def _check_array(folder: Path, array: Path) -> None:
    name = str(array.relative_to(folder))
    old = (array / ".zarray").is_file()
    said = json.loads(_small(array / (".zarray" if old else "zarr.json")))
    shape = [int(n) for n in said["shape"]]
    chunk = said["chunks"] if old else said["chunk_grid"]["configuration"]["chunk_shape"]
    chunk = [int(n) for n in chunk]
    item = _item_bytes(said["dtype"] if old else said["data_type"])
    if min([*shape, *chunk], default=0) < 0 or math.prod(chunk) * item > _CHUNK_MOST:
        msg = f"{name} claims chunks of {chunk}, which is more than tables have"
        raise ValueError(msg)
    parts = [said.get("compressor"), *(said.get("filters") or ())] if old else said["codecs"]
    codecs = {_codec(part) for part in parts if part is not None}
    if unknown := codecs - _CODECS:
        msg = f"{name} is coded as {', '.join(sorted(unknown))}, which is not read"
        raise ValueError(msg)
    chunks = [f for f in array.rglob("*") if f.is_file() and not f.name.startswith((".z", "zarr."))]
    held = sum(file.stat().st_size for file in chunks)
    if math.prod(shape) * item > _FREE + held * _RATIO:
        msg = f"{name} claims {shape} values, which {held} bytes cannot hold"
        raise ValueError(msg)
    if _BLOSC in codecs:
        for file in chunks:
            _check_blosc(name, file, math.prod(chunk) * item)


def _codec(part: Any) -> str:
    name = str(part.get("name", part.get("id", ""))).removeprefix("numcodecs.")
    inner = part.get("configuration", {})
    if name == "sharding_indexed" and isinstance(inner, dict):
        found = {_codec(one) for one in (*inner.get("codecs", ()), *inner.get("index_codecs", ()))}
        if _BLOSC in found:
            # Chunks of a shard lie in one file: their headers are not looked at.
            return "Blosc in shards"
        return next(iter(found - _CODECS), name)
    return name


def _check_blosc(name: str, file: Path, most: int) -> None:
    """Check the header of a chunk: Blosc reads and writes as many bytes as it says."""
    with file.open("rb") as stream:
        header = stream.read(_BLOSC_HEADER)
    if len(header) < _BLOSC_HEADER:
        msg = f"{name}/{file.name} is cut short"
        raise ValueError(msg)
    decoded, _, length = struct.unpack("<3I", header[4:])
    # Texts are of any length.
    if length != file.stat().st_size or decoded > max(most, _CHUNK_MOST):
        msg = f"{name}/{file.name} is damaged: it claims {length} bytes for {decoded}"
        raise ValueError(msg)


def _item_bytes(kind: Any) -> int:
    """Return the bytes of a value, as far as its type says."""
    if isinstance(kind, dict):
        size = kind.get("configuration", {}).get("length_bytes", _ITEM_BYTES)
        return int(size)
    if isinstance(kind, list) or str(kind) in {"|O", "string", "bool"}:
        return _ITEM_BYTES
    import numpy as np

    return int(np.dtype(str(kind)).itemsize)
