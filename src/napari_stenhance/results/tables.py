"""Tables: AnnData in zarr v3, written and read through one door."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from napari_stenhance.errors import InputError
from napari_stenhance.results.about import ADVICE
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.results.result import ResultFolder

# Zstandard makes at most a block of 128 KiB of 4 bytes.
_RATIO = 32_768
# A column of zeros is not written at all, so a little may be claimed of nothing.
_FREE_BYTES = 64 * 1024**2
_ITEM_BYTES = 16

_PARTS = ("layers", "obsm", "varm", "obsp", "varp", "uns")


def write_table(group: zarr.Group, key: str, table: ad.AnnData) -> None:
    """Write a table into a zarr v3 group; it follows the format of the group.

    Unsharded: so that every part is written with little memory, and anndata does not warn. A
    checksum follows each chunk.
    """
    import anndata

    compressors = (ZstdCodec(), Crc32cCodec())
    with anndata.settings.override(auto_shard_zarr_v3=False):
        anndata.io.write_elem(group, key, table, dataset_kwargs={"compressors": compressors})


def read_table(group: zarr.Group, key: str) -> Any:
    """Read what `write_table` wrote, or a part of it; always in the same order.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    import anndata

    folder = folder_of(group) / key
    with reading(folder, advice=ADVICE):
        _check_claims(folder)
        element = anndata.io.read_elem(group[key])
        if isinstance(element, anndata.AnnData):
            for matrix in (element.X, *element.layers.values()):
                if sp.issparse(matrix):
                    matrix.check_format(full_check=True)
            # A folder lists what is in it in any order, and an export would be written in that.
            for part in _PARTS:
                setattr(element, part, _sorted(dict(getattr(element, part))))
    return element


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _sorted(value) if isinstance(value, dict) else value
        for key, value in sorted(content.items())
    }


def _check_claims(folder: Path) -> None:
    """Check that the arrays of a table claim no more than their chunks can hold.

    Raises
    ------
    ValueError
        If one does.
    """
    for file in folder.rglob("zarr.json"):
        shape = json.loads(file.read_text("utf-8")).get("shape", [])
        held = sum(f.stat().st_size for f in (file.parent / "c").rglob("*") if f.is_file())
        if math.prod(shape) * _ITEM_BYTES > held * _RATIO + _FREE_BYTES:
            msg = (
                f"{file.relative_to(folder)} claims {shape} values, which {held} bytes cannot hold"
            )
            raise ValueError(msg)


def open_table(result: ResultFolder, name: str) -> ad.AnnData:
    """Read a table of a result.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    tables = result.path / "tables"
    there = sorted(child.name for child in tables.glob("*") if child.is_dir())
    if name not in there:
        msg = f"{result.path}: there is no table {name!r}; there are: {', '.join(there) or 'none'}."
        raise InputError(msg)
    return read_table(result.group, f"tables/{name}")
