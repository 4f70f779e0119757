"""Prefix files, the input of the published Pixel2Gene and iStar programs."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats.format import SectionFiles, SectionFormat
from napari_stenhance.section.formats.prefix.names import named_by, prefixes


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    from napari_stenhance.section.formats.prefix.spots import open_prefix

    return open_prefix(path, sample)


FORMAT = SectionFormat(
    "a folder of prefix files (cnts.tsv, locs-raw.tsv, he-raw.jpg)",
    lambda path: bool(named_by(path, prefixes)[2]),
    _open,
    _open,
    order=40,
)
