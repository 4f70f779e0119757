"""An AnnData in a zarr folder, of zarr 2 or 3, looked through before zarr believes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.section.tables.counts import check_sparse
from napari_stenhance.section.tables.zarr_store import check_store

if TYPE_CHECKING:
    import anndata as ad

_METADATA_MOST = 2**24


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

    check_store(folder)
    store = LocalStore(folder, read_only=True)
    table = ad.io.read_elem(zarr.open_group(store, mode="r", use_consolidated=False))
    if not isinstance(table, ad.AnnData):
        msg = "it is no AnnData"
        raise ValueError(msg)
    parts = (table.obsm, table.obsp, table.varm, table.varp, table.layers)
    for matrix in (table.X, *(one for part in parts for one in part.values())):
        if sp.issparse(matrix):
            check_sparse(matrix)
    return table
