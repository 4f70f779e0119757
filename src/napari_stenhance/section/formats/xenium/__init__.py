"""Xenium output bundles: cells, or their transcripts in bins of 8 µm."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.xenium.bundle import is_xenium


def _open(path: Path) -> SectionFiles:
    from napari_stenhance.section.formats.xenium.spots import open_xenium

    return open_xenium(path)


FORMAT = SectionFormat(
    "a Xenium bundle (experiment.xenium; its cells, or transcripts.parquet for bins of 8 µm)",
    is_xenium,
    _open,
    order=22,
)
