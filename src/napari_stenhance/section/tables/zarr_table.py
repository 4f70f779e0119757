"""An AnnData in a zarr folder, of zarr 2 or 3, looked through before zarr believes it."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_stenhance.storage.reading import reason_of

if TYPE_CHECKING:
    import anndata as ad

_CODECS = {
    *("blosc", "bytes", "crc32c", "gzip", "lz4", "sharding_indexed", "shuffle", "transpose"),
    *("vlen-bytes", "vlen-utf8", "zlib", "zstd", "numcodecs.shuffle", "numcodecs.zlib"),
}
"""Those that only hold values; one that is named `pickle` would run what the file says."""
_ITEM_BYTES = 16
_RATIO = 32_768
"""Zstandard makes at most a block of 128 KiB of 4 bytes."""
_FREE_BYTES = 64 * 1024**2
"""A column of zeros may not be written at all, so a little may be claimed of nothing."""
_CHUNK_MOST = 2**30
_METADATA_MOST = 2**24
_FILES_MOST = 1_000_000
_BLOSC, _BLOSC_HEADER, _BLOSC_MOST = "blosc", 16, 2**31
_TEXTS = {"vlen-bytes", "vlen-utf8"}


def zarr_attributes(folder: Path) -> dict[str, Any]:
    """Read the attributes of a zarr group, 2 or 3; empty if it is none."""
    try:
        new = folder / "zarr.json"
        if new.is_file():
            said = _json(new)
            found = said.get("attributes", {}) if said.get("node_type") == "group" else {}
        else:
            found = _json(folder / ".zattrs")
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_anndata(folder: Path) -> bool:
    """Tell, from one small file, whether a folder is a zarr group that holds an AnnData."""
    return zarr_attributes(folder).get("encoding-type") == "anndata"


def _json(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(_METADATA_MOST)
    value = json.loads(content)
    if not isinstance(value, dict):
        msg = f"{path.name} is no object"
        raise ValueError(msg)
    return value


def read_zarr_table(folder: Path) -> ad.AnnData:
    """Read an AnnData.

    Raises
    ------
    ValueError, OSError and others
        If it is none, or damaged.
    """
    import anndata as ad
    import scipy.sparse as sp
    import zarr
    from zarr.storage import LocalStore

    from napari_stenhance.section.tables.counts import check_sparse
    from napari_stenhance.section.tables.layers import named_layers

    look_through_zarr(folder)
    store = LocalStore(folder, read_only=True)
    table = ad.io.read_elem(zarr.open_group(store, mode="r", use_consolidated=False))
    if not isinstance(table, ad.AnnData):
        msg = "it is no AnnData"
        raise ValueError(msg)
    parts = (table.obsm, table.obsp, table.varm, table.varp, named_layers(table))
    for matrix in (table.X, *(one for part in parts for one in part.values())):
        if sp.issparse(matrix):
            check_sparse(matrix)
    return table


def look_through_zarr(folder: Path) -> None:
    """Check that the arrays of a folder claim no more than their chunks can hold, nor run anything.

    Raises
    ------
    ValueError
        If one does.
    """
    _refuse_links(folder)
    for file in (*folder.rglob("zarr.json"), *folder.rglob(".zarray")):
        said = _json(file)
        if said.get("node_type", "array") != "array" or "shape" not in said:
            continue
        where = file.parent.relative_to(folder)
        codecs = set(_codecs(said))
        if foreign := sorted(codecs - _CODECS):
            msg = f"{where} is stored with {', '.join(foreign)}, which is not supported"
            raise ValueError(msg)
        grid = said.get("chunk_grid", {}).get("configuration", {})
        lengths = [said["shape"], grid.get("chunk_shape", said.get("chunks", []))]
        if not all(isinstance(n, int) and 0 <= n < 2**48 for one in lengths for n in one):
            msg = f"{where} has a shape of {lengths[0]} in chunks of {lengths[1]}"
            raise ValueError(msg)
        held = sum(f.stat().st_size for f in file.parent.rglob("*") if f.is_file())
        most = held * _RATIO + _FREE_BYTES
        if math.prod(lengths[0]) * _ITEM_BYTES > most or math.prod(lengths[1]) > _CHUNK_MOST:
            msg = f"{where} claims {lengths[0]} values, which {held} bytes cannot hold"
            raise ValueError(msg)
        if _BLOSC in codecs:
            _check_blosc(file.parent, where, sharded="sharding_indexed" in codecs)
        if codecs & _TEXTS:
            _check_texts(file, where)


def _refuse_links(folder: Path) -> None:
    """Refuse links: they may lead to whatever the user can read."""
    seen = 0
    for here, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > _FILES_MOST:
            msg = f"it holds more than {_FILES_MOST} files"
            raise ValueError(msg)
        if linked := next((n for n in (*folders, *files) if Path(here, n).is_symlink()), None):
            msg = f"{Path(here, linked).relative_to(folder)} is a link, which is not followed"
            raise ValueError(msg)


def _check_blosc(array: Path, where: Path, *, sharded: bool) -> None:
    """Check the headers of chunks: Blosc reads and writes as many bytes as they say."""
    if sharded:
        msg = f"{where} is stored with Blosc in shards, which is not supported"
        raise ValueError(msg)
    for file in array.rglob("*"):
        if file.is_dir() or file.name.startswith(".z") or file.name == "zarr.json":
            continue
        with file.open("rb") as stream:
            header = stream.read(_BLOSC_HEADER)
        decoded, _, length = struct.unpack("<3I", header[4:].ljust(12, b"\0"))
        if length != file.stat().st_size or decoded > _BLOSC_MOST:
            msg = f"{where}/{file.name} is damaged: it claims {length} bytes for {decoded}"
            raise ValueError(msg)


def _check_texts(file: Path, where: Path) -> None:
    """Check how many texts chunks say that they hold: as many are made room for."""
    import zarr
    from zarr.storage import LocalStore

    from napari_stenhance.storage.checked_texts import check_texts

    version: Literal[2, 3] = 3 if file.name == "zarr.json" else 2
    store = LocalStore(file.parent, read_only=True)
    try:
        check_texts(zarr.open_array(store, mode="r", zarr_format=version))
    except Exception as error:
        msg = f"{where} is damaged: {reason_of(error)}"
        raise ValueError(msg) from error


def _codecs(said: dict[str, Any]) -> Iterator[str]:
    """List what an array's chunks are stored with, in shards, too."""
    for codec in (said.get("compressor"), *(said.get("filters") or ())):
        if codec is not None:
            yield str(codec["id"])
    waiting = list(said.get("codecs") or ())
    while waiting:
        codec = waiting.pop()
        yield str(codec["name"])
        inner = codec.get("configuration") or {}
        waiting += [*(inner.get("codecs") or ()), *(inner.get("index_codecs") or ())]
