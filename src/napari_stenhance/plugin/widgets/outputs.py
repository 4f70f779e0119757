"""Where docks suggest to write: where the task will not refuse to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.results.result import SUFFIX, ResultFolder
from napari_stenhance.storage.cache import default_root

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section

_MOST = 100


def suggest_out(sections: Sequence[Section], job: Job | None = None) -> Path:
    """Name where the results of sections can go: a result, or for several a folder of them.

    That is beside the first section, or at home where nothing can be written there, or kept. Where
    the result of another section has the name, it is the next that is free.

    Parameters
    ----------
    sections : sequence of Section
    job : Job, optional
        Of a thread that may read slides to know them for sure; without it, one of the same shape
        and scale as that of a result counts as the same.
    """
    folder, first = _beside(sections[0]), sections[0]
    if len(sections) == 1:
        for name in _numbered(first.name):
            if _takes(folder / f"{name}{SUFFIX}", first, job):
                return folder / f"{name}{SUFFIX}"
        return folder / f"{first.name}{SUFFIX}"
    # Two of one name go nowhere together: the task says so.
    for place in (folder, *(folder / name for name in _numbered("results"))):
        if not ResultFolder.is_result(place) and all(
            _takes(place / f"{section.name}{SUFFIX}", section, job) for section in sections
        ):
            return place
    return folder


def _numbered(name: str) -> tuple[str, ...]:
    return (name, *(f"{name}-{n}" for n in range(2, _MOST)))


def _beside(section: Section) -> Path:
    """Return the folder in which a section lies, or home where that cannot be written."""
    if section.source is not None:
        lies = section.source.path
    else:
        lies = Path(section.origin) if section.slide is None else section.slide.path
    folder = lies.absolute().parent
    # What lies in the cache, as a sample does, may be deleted with it.
    kept = default_root().absolute() not in folder.parents
    return folder if kept and folder.is_dir() and os.access(folder, os.W_OK) else Path.home()


def _takes(place: Path, section: Section, job: Job | None) -> bool:
    """Tell whether the result of a section can be written at a place."""
    try:
        if job is not None and section.slide is not None:
            section.slide.state.sha256(job)
        elif ResultFolder.is_result(place):
            return _looks_like(ResultFolder.open(place), section)
        ResultFolder.need_place(place, section)
    except (InputError, OSError):
        return False
    return True


def _looks_like(result: ResultFolder, section: Section) -> bool:
    """Tell, without reading its slide or spots, whether a result may be of a section."""
    slide = section.slide
    if slide is None or section.mpp is None or not result.has_slide:
        alike = not result.has_slide and (slide is None or section.mpp is None)
        return alike and result.name == section.name
    said = result.attributes["slide"]
    return (
        (list(slide.shape), slide.mpp) == (list(said["shape"]), said["mpp"])
        and (slide.series, slide.icc) == (said.get("series"), said.get("icc", True))
        and slide.state.known_sha256 in {None, said["sha256"]}
    )
