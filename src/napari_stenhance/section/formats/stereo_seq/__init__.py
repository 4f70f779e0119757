"""Stereo-seq: GEF of SAW 6 to 8 and GEM text, in bins of any size or in cells."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.stereo_seq.names import is_stereo


def _open(path: Path) -> SectionFiles:
    from napari_stenhance.section.formats.stereo_seq.spots import open_stereo

    return open_stereo(path)


FORMAT = SectionFormat(
    "a Stereo-seq .gef or .gem",
    is_stereo,
    _open,
    suffixes=(".gef", ".gem", ".gem.gz"),
    order=24,
)
