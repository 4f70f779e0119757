"""What `enhance` doubts of where spots lie, before it learns from them: found once, and kept."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import zarr

from napari_stenhance.errors import InputError
from napari_stenhance.features.masks import mask_version
from napari_stenhance.scoring.placement import LEAST_SPOTS, Placement, judge_placement
from napari_stenhance.tasks.doctor import evidence_of

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_KIND, _VERSION = "placements", 1
"""Another version, wherever `judge_placement` finds otherwise."""


def with_placement_doubt(section: Section, cache: Cache, job: Job) -> Section:
    """Return the section, with a doubt that comes first if its spots fit clearly better otherwise.

    Only turns, flips and scales are tried: shifts take longer than small runs do.

    Parameters
    ----------
    section : Section
        With spots, slide and scale.
    cache : Cache
        Where what was found of these spots on this slide is kept.
    job : Job
    """
    doubt = _doubt(section, cache, job)
    if not doubt or doubt in section.doubts:
        return section
    doubted = copy(section)
    object.__setattr__(doubted, "doubts", (doubt, *section.doubts))
    return doubted


def _doubt(section: Section, cache: Cache, job: Job) -> str:
    slide = section.need_slide()
    if section.need_spots().n_obs < LEAST_SPOTS:
        return ""
    of_slide = f"{slide.key}-{mask_version(slide, 'density')}-{slide.scale():.17g}"
    how = "stated" if section.registration is None else "placed"
    key = f"{of_slide}-{section.counts_sha256[:32]}-{how}-{_VERSION}"
    entry = cache.entry(_KIND, key)
    with cache.lock(entry, job):
        if not cache.has(_KIND, key):
            try:
                placement = judge_placement(section, cache, job, moves=False)
            except InputError:
                # Without tissue, say: the run itself refuses that, and says why.
                return ""
            with cache.building(_KIND, key) as folder:
                zarr.open_group(folder, mode="w").attrs["doubt"] = doubt_of(placement)
        return str(zarr.open_group(entry, mode="r").attrs["doubt"])


def doubt_of(placement: Placement) -> str:
    """Say in which way spots fit clearly better than as they lie; empty if in none."""
    stated, best = placement.stated, placement.best
    if best is stated:
        return ""
    return (
        f"The spots fit their slide clearly better {best.way.name} ({evidence_of(best)}) than "
        f"{stated.way.name} ({evidence_of(stated)}): if so, what is learned from them is wrong; "
        "the doctor says how to put it right."
    )
