"""Lay serial sections over one another, by outline and stain, and say how far to trust it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, SlideOptions

if TYPE_CHECKING:
    from napari_stenhance.scoring.alignment import SectionAlignment
    from napari_stenhance.scoring.likeness import SpotLikeness
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class AlignOptions(SlideOptions):
    """Options of `align`; sections may also be `Section` objects."""

    reference: Annotated[
        Path, Help("The section over which others are laid.", positional=True, takes=SECTION)
    ]
    sections: Annotated[
        tuple[Path, ...],
        Help("Neighbouring sections of the same block.", positional=True, takes=SECTION),
    ]
    json: Annotated[bool, Help("Print it as JSON, with the matrix of each.")] = False


@dataclass(frozen=True, eq=False)
class Aligned:
    """How a section lies over the reference.

    Attributes
    ----------
    section, reference : str
        Their names.
    mpp, reference_mpp : float
        Micrometres per full-resolution pixel of each.
    alignment : SectionAlignment
        The best way and what else was found, with the evidence.
    aligned, as_they_lie : SpotLikeness or None
        How alike the spots are that then lie nearest to each other, and that do if each lies where
        its own slide has it; None without spots. Nothing was fitted to it.
    """

    section: str
    reference: str
    mpp: float
    reference_mpp: float
    alignment: SectionAlignment
    aligned: SpotLikeness | None = None
    as_they_lie: SpotLikeness | None = None

    @property
    def is_clear(self) -> bool:
        """Whether it is to be believed."""
        return not self.alignment.why_not

    @property
    def said(self) -> str:
        """How it lies, in a sentence, and why that is not to be believed if it is not."""
        best = self.alignment.best
        said = f"{self.section} over {self.reference}: {best.way.name}"
        if self.alignment.is_fitted:
            said += f"; {self.mpp:.4g} µm per pixel, as it fits, for its file says no scale"
        if self.is_clear:
            return f"{said}."
        return f"{said}; do not trust this: {self.alignment.why_not}. Look at both."

    @property
    def matrix_um(self) -> list[list[float]]:
        """New (x, y) of old (x, y, 1), from micrometres of the section to those of the other."""
        scaled, matrix = self.alignment.best.scaled, self.alignment.best.way.matrix
        return [[float(x) / scaled, float(y) / scaled, float(more)] for x, y, more in matrix]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, to be written as JSON."""
        best = self.alignment.best
        likeness = {
            name: None if one is None else {"r": one.r if one.spots else None, "spots": one.spots}
            for name, one in (("aligned", self.aligned), ("as_they_lie", self.as_they_lie))
        }
        return {
            "section": self.section,
            "reference": self.reference,
            "clear": self.is_clear,
            "why_not": self.alignment.why_not,
            "way": best.way.name,
            "turned_deg": best.turned_deg,
            "mirrored": best.mirrored,
            "moved_um": list(best.moved_um),
            "matrix_um": self.matrix_um,
            "matrix_px": best.way.in_pixels(self.mpp / best.scaled, self.reference_mpp),
            "mpp": self.mpp,
            "mpp_is_fitted": self.alignment.is_fitted,
            "overlap": best.overlap,
            "stain_r": best.r,
            "ahead": self.alignment.ahead,
            "expression": likeness,
        }


@dataclass(frozen=True, eq=False)
class Alignments:
    """How sections lie over one.

    Attributes
    ----------
    sections : tuple of Aligned
    as_json : bool
        Whether it is to be printed so.
    """

    sections: tuple[Aligned, ...]
    as_json: bool = False

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps([one.to_dict() for one in self.sections], indent=1)


def align(options: AlignOptions, job: Job | None = None, cache: Cache | None = None) -> Alignments:
    """Lay sections over one another, by the outline of their tissue and by its stain.

    `napari_stenhance.align` says what comes of it, and what it raises.
    """
    from napari_stenhance.section.section import Section, open_section
    from napari_stenhance.storage.cache import Cache

    job, cache = job or Job(), cache or Cache.default()
    if not options.sections:
        msg = "Name at least one section to lay over the first."
        raise InputError(msg)
    options.check_alone((options.reference, *options.sections))
    opened: list[Section] = []
    for given in (options.reference, *options.sections):
        section: Any = given
        if not isinstance(section, Section):
            section = open_section(given, **options.opening(), cache=cache, job=job)
        for doubt in section.doubts:
            job.note(f"{section.name}: {doubt}")
        opened.append(section)
    reference, *others = opened
    return Alignments(tuple(align_pair(reference, one, cache, job) for one in others), options.json)


def align_pair(reference: Section, section: Section, cache: Cache, job: Job) -> Aligned:
    """Lay one open section over another, and compare what their spots measured."""
    from napari_stenhance.scoring.alignment import align_sections
    from napari_stenhance.scoring.likeness import SpotPair

    alignment = align_sections(reference, section, cache, job)
    aligned = as_they_lie = None
    if reference.spots is not None and section.spots is not None and section.mpp is not None:
        try:
            pair = SpotPair(reference, section)
        except InputError as error:
            job.note(str(error))
        else:
            aligned, as_they_lie = pair.likeness(alignment.best.way), pair.likeness()
    scales = alignment.mpp, reference.mpp or 1.0
    return Aligned(section.name, reference.name, *scales, alignment, aligned, as_they_lie)
