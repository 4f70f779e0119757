"""GEO's `GSE…_RAW.tar` of Visium samples, as it is downloaded: unpacked in the cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles, SectionFormat

if TYPE_CHECKING:
    import anndata as ad

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

    with _naming(path, folder):
        found = open_visium(folder, sample)

    def read() -> tuple[ad.AnnData, tuple[str, ...]]:
        with _naming(path, folder):
            return found.read()

    # What errors name.
    return replace(found, origin=path, read=read)


@contextmanager
def _naming(path: Path, folder: Path) -> Iterator[None]:
    """Let sentences name the archive, not the folder of the cache that it is unpacked into."""
    try:
        yield
    except InputError as error:
        error.args = (str(error).replace(str(folder), str(path)),)
        raise


FORMAT = SectionFormat(
    "an archive of GEO's (GSE…_RAW.tar) with Visium samples",
    _recognise,
    _open,
    _open,
    suffixes=("_RAW.tar",),
    order=28,
)
