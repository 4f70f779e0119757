"""Stereo-seq: GEF of SAW 6 to 8 and GEM text, in bins of any size or in cells."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.stereo_seq.names import bin_size_of, is_stereo


def _open(path: Path) -> SectionFiles:
    from napari_stenhance.section.formats.stereo_seq.spots import open_stereo

    return open_stereo(path)


def _open_bins(path: Path, name: str) -> SectionFiles:
    from napari_stenhance.section.formats.stereo_seq.spots import open_stereo

    return open_stereo(path, bin_size_of(path, name))


FORMAT = SectionFormat(
    "a Stereo-seq .gef or .gem",
    is_stereo,
    _open,
    _open_bins,
    suffixes=(".gef", ".gem", ".gem.gz"),
    order=24,
)
