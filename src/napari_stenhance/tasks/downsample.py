"""Thin the counts of a section, as a shallower experiment would have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class DownsampleOptions(SlideOptions):
    """Options of `downsample`; the section may also be a `Section` object."""

    section: Annotated[
        Path, Help("The section whose counts to thin.", positional=True, takes=SECTION)
    ]
    out: Annotated[Path, Help("The .h5ad to write; nothing is overwritten.")]
    mean: Annotated[float, Help("Mean share of a spot's counts that is kept, at most 1.")] = 0.3
    sd: Annotated[float, Help("Standard deviation of that share, from spot to spot.")] = 0.05
    seed: Annotated[int, Help("Fixes which counts are kept.")] = 0


def downsample(
    options: DownsampleOptions, job: Job | None = None, cache: Cache | None = None
) -> Path:
    """Thin the counts of a section: `enhance` it, then `compare` with the full counts.

    `napari_stenhance.downsample` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.export_format import export_table
    from napari_stenhance.section.spots import UNS_KEY, check_raw
    from napari_stenhance.section.thinning import thin
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.inference import open_for

    job, cache = job or Job(), cache or Cache.default()
    section = open_for(options.section, options, spots=True, slide=False, cache=cache, job=job)
    spots = section.need_spots()
    check_raw(spots, section.where)
    thinned = thin(spots, options.mean, options.sd, options.seed)
    thinned.uns[UNS_KEY] = spots.uns[UNS_KEY]
    if section.mpp is not None:
        thinned.uns["microns_per_pixel"] = section.mpp
    export_table(thinned, options.out)
    before, after = float(spots.X.sum()), float(thinned.X.sum())
    empty = int((thinned.X.sum(axis=1) == 0).sum())
    left = (
        f"; {counted(empty, 'spot', thinned.n_obs)} {agree(empty, 'has', 'have')} none"
        if empty
        else ""
    )
    job.note(f"{after:.0f} of {before:.0f} counts were kept ({after / before:.1%}){left}.")
    if section.slide is not None:
        job.note(f"Its slide is still {section.slide.path}: give it to enhance as the image.")
    return options.out
