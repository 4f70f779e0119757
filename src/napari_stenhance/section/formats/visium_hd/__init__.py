"""Visium HD: square bins of 2, 8, 16 µm or another size, and the cells of Space Ranger 4."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.visium_hd.names import is_hd


def _open(path: Path, part: str | None = None) -> SectionFiles:
    from napari_stenhance.section.formats.visium_hd.spots import open_hd

    return open_hd(path, part)


FORMAT = SectionFormat(
    "a Visium HD folder (binned_outputs/, one of its square_…um, or segmented_outputs)",
    is_hd,
    _open,
    _open,
    order=25,
)
