"""GEO's `GSE…_RAW.tar` of Visium samples, as it is downloaded: unpacked in the cache."""

from __future__ import annotations

import re
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat

_NAME = re.compile(r"GSE\d+_RAW\b.*\.tar", re.IGNORECASE)
_LISTED_MOST = 6


def _recognise(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None and path.is_file()


def _open(path: Path, sample: str | None = None) -> SectionFiles:
    """Open the one sample of it, or the one that is named.

    Raises
    ------
    InputError
        If it is damaged, holds none, or several of which none is named.
    """
    from napari_stenhance.section.formats.visium.archive import names_of, unpacked
    from napari_stenhance.section.formats.visium.names import is_of_sample, root_of
    from napari_stenhance.section.formats.visium.spots import open_visium

    folder = unpacked(path, is_of_sample)
    if root_of(folder) is None:
        names = names_of(path)
        listed = ", ".join(names[:_LISTED_MOST]) + (" …" if len(names) > _LISTED_MOST else "")
        msg = (
            f"{path}: no counts of Visium with their positions lie in this archive, which holds "
            f"{listed or 'nothing'}; unpack it (tar -xf {path.name}), and give what is one section."
        )
        raise InputError(msg)
    return open_visium(folder, sample)


FORMAT = SectionFormat(
    "an archive of GEO's (GSE…_RAW.tar) with Visium samples",
    _recognise,
    _open,
    _open,
    suffixes=("_RAW.tar",),
    order=28,
)
