"""An AnnData of spots, `.h5ad` or `.zarr`, with the one image beside it that shares its stem."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.tables.zarr_table import is_anndata


def _recognise(path: Path) -> bool:
    if path.is_dir():
        return is_anndata(path) or any(path.glob("*.h5ad"))
    return path.suffix.lower() == ".h5ad" and path.is_file()


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    from napari_stenhance.section.formats.h5ad.spots import open_h5ad

    return open_h5ad(path, sample)


FORMAT = SectionFormat(
    "an .h5ad or an AnnData .zarr with its image beside it",
    _recognise,
    _open,
    _open,
    suffixes=(".h5ad",),
    order=90,
)
