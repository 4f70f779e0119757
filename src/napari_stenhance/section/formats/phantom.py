"""The folder of a phantom: its spots or its bins, with the slide that both share."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat

MANIFEST = "phantom.json"
SLIDE = "he.tif"
SPOTS = "spots.h5ad"
BINS = "bins.h5ad"


def _recognise(path: Path) -> bool:
    """Take a phantom's folder, which means its spots, or its table of spots or bins."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    return path.name in (SPOTS, BINS) and path.is_file() and (path.parent / MANIFEST).is_file()


def _open(path: Path) -> SectionFiles:
    from napari_stenhance.section.formats.h5ad.spots import place_h5ad

    table = path / SPOTS if path.is_dir() else path
    name = table.parent.name if table.name == SPOTS else f"{table.parent.name}-bins"
    return place_h5ad(table, name, (table.parent / SLIDE,))


FORMAT = SectionFormat("a phantom's folder", _recognise, _open, order=20)
