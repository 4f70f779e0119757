"""Write a section in the files that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class ConvertOptions(SlideOptions):
    """Options of `convert`; the section may also be a `Section` object."""

    section: Annotated[Path, Help("The section to write.", positional=True, takes=SECTION)]
    out: Annotated[Path, Help("The folder to make; nothing is overwritten.")]
    to: Annotated[
        Literal["prefix"],
        Help("Format: prefix files, which the published Pixel2Gene and iStar read."),
    ] = "prefix"


def convert(options: ConvertOptions, job: Job | None = None, cache: Cache | None = None) -> Path:
    """Write a section as a folder of prefix files, which other programs read.

    `napari_stenhance.convert` says what comes of it, and what it raises.
    """
    from napari_stenhance.section.prefix_write import write_prefix
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.inference import open_for

    job, cache = job or Job(), cache or Cache.default()
    section = open_for(options.section, options, spots=True, slide=True, cache=cache, job=job)
    write_prefix(section, options.out, job)
    return options.out
