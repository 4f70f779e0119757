"""Tables as `.h5ad`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.results.export_format import ExportFormat

if TYPE_CHECKING:
    import anndata as ad


def _save(table: ad.AnnData, path: Path) -> None:
    from napari_stenhance.results.tables import storable
    from napari_stenhance.storage.hdf5 import save_h5ad

    table.obs, table.var = storable(table.obs), storable(table.var)
    save_h5ad(table, path, compression="gzip")


EXPORT = ExportFormat("h5ad", "AnnData", _save, suffixes=(".h5ad",))
