"""Space Ranger folders of Visium spots: a 10x matrix, positions, scale factors and pictures."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.visium.names import roots_of


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    from napari_stenhance.section.formats.visium.spots import open_visium

    return open_visium(path, sample)


FORMAT = SectionFormat(
    "a Space Ranger folder (filtered_feature_bc_matrix.h5, spatial/)",
    lambda path: any(roots_of(path)),
    _open,
    _open,
    order=30,
)
