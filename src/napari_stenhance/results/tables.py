"""Tables: AnnData in zarr v3, written and read through one door."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from napari_stenhance.errors import InputError
from napari_stenhance.results.attributes import ADVICE
from napari_stenhance.section.tables.layers import named_layers
from napari_stenhance.section.tables.zarr_table import look_through_zarr
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.reading import reading, reason_of

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.running.job import Job

_PARTS = ("layers", "obsm", "varm", "obsp", "varp", "uns")


def check_size(
    rows: int, genes: int, job: Job, of: str = "points of the lattice", bytes_each: int = 4
) -> None:
    """Refuse a table that would not fit into the job's memory budget.

    Raises
    ------
    InputError
        If it is too large.
    """
    needed = rows * genes * bytes_each
    if needed > job.memory_bytes:
        left = f"{job.memory_bytes / 1e9:.1f} GB are left for it; choose fewer genes"
        msg = f"A table of {rows} {of} × {genes} genes takes {needed / 1e9:.1f} GB, and {left}."
        raise InputError(msg, option="genes")


def write_table(group: zarr.Group, key: str, table: ad.AnnData) -> None:
    """Write a table into a zarr v3 group; it follows the format of the group.

    Unsharded: so that every part is written with little memory, and anndata does not warn. A
    checksum follows each chunk.
    """
    table.obs, table.var = storable(table.obs), storable(table.var)
    write_part(group, key, table)


def write_part(group: zarr.Group, key: str, part: Any) -> None:
    """Write a table, or a part of one that can be stored as it is; what is there is replaced."""
    import anndata

    compressors = (ZstdCodec(), Crc32cCodec())
    with anndata.settings.override(auto_shard_zarr_v3=False):
        anndata.io.write_elem(group, key, part, dataset_kwargs={"compressors": compressors})


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns of mixed things are text; what is missing stays missing."""
    import pandas as pd

    mixed = [
        name
        for name, column in frame.items()
        if column.dtype == object and pd.api.types.infer_dtype(column, skipna=False) != "string"
    ]
    text = {
        str(name): frame[name].map(str, na_action="ignore").astype("category") for name in mixed
    }
    return frame.assign(**text) if text else frame


def check_storable(table: ad.AnnData, where: str) -> None:
    """Check, before anything is computed, that all that observations bring along can be written.

    Raises
    ------
    InputError
        If `uns`, `obsm` or another part holds what is neither numbers nor text.
    """
    import anndata

    # One row tells the types.
    first = table[:1, :1].copy()
    try:
        group = zarr.group(zarr.storage.MemoryStore(), zarr_format=3)
        with anndata.settings.override(auto_shard_zarr_v3=False):
            first.obs, first.var = storable(first.obs), storable(first.var)
            anndata.io.write_elem(group, "table", first)
    except Exception as error:
        part = re.search(r"key '(.*?)' .* to /table/?(\S*)", " ".join(_notes(error)))
        named = "/".join(filter(None, (part[2], part[1]))) if part else "a part beside the counts"
        msg = (
            f"{where}: {named} cannot be stored ({reason_of(error)}); leave it out, or turn it "
            "into numbers or text."
        )
        raise InputError(msg) from error


def _notes(error: BaseException) -> list[str]:
    return [str(error), *getattr(error, "__notes__", ())]


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
        look_through_zarr(folder)
        element = anndata.io.read_elem(group[key])
        if isinstance(element, anndata.AnnData):
            for matrix in (element.X, *named_layers(element).values()):
                if sp.issparse(matrix):
                    matrix.check_format(full_check=True)
            # A folder lists what is in it in any order, and an export would be written in that.
            for part in _PARTS:
                setattr(element, part, _sorted(dict(getattr(element, part))))
    return element


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    # X may be among the layers, called None, and stays there.
    return {
        key: _sorted(content[key]) if isinstance(content[key], dict) else content[key]
        for key in sorted(content, key=lambda key: (key is not None, key or ""))
    }


def open_table(result: ResultFolder, name: str) -> ad.AnnData:
    """Read a table of a result.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    tables = result.path / "tables"
    names = sorted(child.name for child in tables.glob("*") if child.is_dir())
    if name not in names:
        msg = f"{result.path}: there is no table {name!r}; there are: {', '.join(names) or 'none'}."
        raise InputError(msg)
    return read_table(result.group, f"tables/{name}")
