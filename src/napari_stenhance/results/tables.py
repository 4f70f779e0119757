"""Tables: AnnData in zarr v3, written and read through one door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    import zarr

    from napari_stenhance.results.result import ResultFolder


_PARTS = ("layers", "obsm", "varm", "obsp", "varp", "uns")


def write_table(group: zarr.Group, key: str, table: ad.AnnData) -> None:
    """Write a table into a zarr v3 group; it follows the format of the group.

    Unsharded: so that every part is written with little memory, and anndata does not warn.
    """
    import anndata

    with anndata.settings.override(auto_shard_zarr_v3=False):
        anndata.io.write_elem(group, key, table)


def read_table(group: zarr.Group, key: str) -> Any:
    """Read what `write_table` wrote, or a part of it; always in the same order."""
    import anndata

    read = anndata.io.read_elem(group[key])
    if isinstance(read, anndata.AnnData):
        # A folder lists what is in it in any order, and an export would be written in that.
        for part in _PARTS:
            setattr(read, part, _sorted(dict(getattr(read, part))))
    return read


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _sorted(value) if isinstance(value, dict) else value
        for key, value in sorted(content.items())
    }


def open_table(result: ResultFolder, name: str) -> ad.AnnData:
    """Read a table of a result.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    tables: Any = result.group.get("tables", {})
    if name not in tables:
        there = ", ".join(sorted(tables)) or "none"
        msg = f"{result.path}: there is no table {name!r}; there are: {there}."
        raise InputError(msg)
    return read_table(tables, name)
