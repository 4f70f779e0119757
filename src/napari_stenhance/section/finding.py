"""What lies at a path: the files of a section, or a slide alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import (
    SectionFiles,
    SlideFile,
    format_of,
    section_formats,
)
from napari_stenhance.section.formats.h5ad.spots import place_in_memory
from napari_stenhance.section.scale import check_mpp
from napari_stenhance.section.unread import known_by_name

if TYPE_CHECKING:
    import anndata as ad


def find_files(
    path: str | Path | ad.AnnData,
    mpp: float | None,
    image: str | Path | None,
    sample: str | None,
) -> SectionFiles | SlideFile:
    """Ask the formats what lies at a path; spots in memory are taken as they are.

    Raises
    ------
    InputError
        If nothing is there, or it is not recognised; `SeveralSamples` as `open_section`.
    """
    if not isinstance(path, str | Path):
        import anndata as ad

        if not isinstance(path, ad.AnnData):
            msg = f"A section is a path, a Section or an AnnData, and no {type(path).__name__}."
            raise InputError(msg)
        return place_in_memory(path, "spots" if image is None else Path(image).stem, sample)
    path = Path(path)
    if mpp is not None:
        check_mpp(mpp, str(path))
    if (found := format_of(path)) is not None:
        if sample is None:
            return found.open(path)
        if found.open_sample is None:
            msg = f"{path}: this is one section alone; name no sample of it."
            raise InputError(msg, option="sample")
        return found.open_sample(path, sample)
    if not path.exists():
        msg = f"{path}: there is no such file or folder."
        raise InputError(msg)
    if known := known_by_name(path):
        raise InputError(known)
    *names, last = (one.name.partition(" (")[0] for one in section_formats())
    msg = (
        f"{path}: this is no section that can be read. Give {', '.join(names)}, or {last}: "
        "docs/formats.md lists their files."
    )
    raise InputError(msg)
