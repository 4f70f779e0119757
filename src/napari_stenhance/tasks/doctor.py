"""Tell whether spots lie where they belong on their slide, or fit better in another way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import SECTION, Help, Image, SlideOptions

if TYPE_CHECKING:
    from napari_stenhance.scoring.placement import Placement, PlacementFit
    from napari_stenhance.section.registration import Registration
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class DoctorOptions(SlideOptions):
    """Options of `doctor`; the section may also be a `Section` object."""

    section: Annotated[
        Path, Help("The section whose spots are looked at.", positional=True, takes=SECTION)
    ]
    image: Image = None
    save: Annotated[
        Path | None,
        Help("Write where the spots fit, if that is clearly better, as a registration (JSON)."),
    ] = None
    picture: Annotated[
        Path | None,
        Help(
            "Draw the spots on their slide, as stated and as they fit, as a PNG.", label="Picture"
        ),
    ] = None
    json: Annotated[bool, Help("Print all ways that were tried, as JSON.")] = False


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Whether spots lie where they belong.

    Attributes
    ----------
    section : str
        Its name.
    placed_by : Registration or None
        What places its spots already.
    mpp : float
        Micrometres per full-resolution pixel.
    placement : Placement
        All ways that were tried, and how well each fits.
    as_json : bool
        Whether it is to be printed so.
    """

    section: str
    placed_by: Registration | None
    mpp: float
    placement: Placement
    as_json: bool = False

    @property
    def is_well(self) -> bool:
        """Whether no other way fits clearly better than what is stated."""
        return not self.placement.is_clear

    @property
    def how(self) -> str:
        """How the spots lie now: as stated, or as placed."""
        return self.placement.stated.way.name

    @property
    def said(self) -> str:
        """What was found, in a sentence or two."""
        stated, best = self.placement.stated, self.placement.best
        if self.is_well:
            where = "what is stated" if self.placed_by is None else "where they are placed"
            said = (
                f"{self.section}: no other way to place the spots fits clearly better than {where} "
                f"({evidence_of(stated)})."
            )
            if not self.placement.is_well:
                said += " Yet that fits little, too: whether they lie well cannot be told by this."
            return said
        return (
            f"{self.section}: the spots fit clearly better {best.way.name} ({evidence_of(best)}) "
            f"than {self.how} ({evidence_of(stated)}). Look at both, and place them so, by "
            f"registration: in pixels, {self.formula}."
        )

    @property
    def formula(self) -> str:
        """How positions are to be written as they fit, in full-resolution pixels."""
        said = []
        matrix = self.matrix_px(self.placement.best)
        for name, (by_x, by_y, more) in zip("xy", matrix, strict=True):
            terms = [f"{_factor(by)}{old}" for by, old in ((by_x, "x"), (by_y, "y")) if by]
            if more:
                terms.append(f"{more:.6g}")
            said.append(f"new {name} = {' + '.join(terms)}".replace("+ -", "− "))
        return ", ".join(said)

    def matrix_px(self, fit: PlacementFit) -> list[list[float]]:
        """Return new (x, y) of where spots lie now, (x, y, 1), in full-resolution pixels."""
        return fit.way.in_pixels(self.mpp, self.mpp)

    @property
    def registration(self) -> Registration | None:
        """What places the spots as they fit; None if they lie well as they are."""
        from napari_stenhance.section.registration import Registration

        if self.is_well:
            return None
        best = self.placement.best
        made = f"what the doctor found: {best.way.name}, {evidence_of(best)}"
        found = Registration.from_array(self.matrix_px(best), made)
        return found if self.placed_by is None else self.placed_by.then(found, made)

    def to_json(self) -> str:
        """Return all ways that were tried, as JSON."""
        best = self.placement.best
        ways = [
            {
                "name": fit.way.name,
                "matrix_px": self.matrix_px(fit),
                "on_tissue": fit.on_tissue,
                "r": fit.r,
            }
            for fit in self.placement.fits
        ]
        said: dict[str, Any] = {
            "section": self.section,
            # Matrices go on from where it places spots, if it is there.
            "registration": None if self.placed_by is None else self.placed_by.to_json(),
            "fits_as_stated": self.is_well,
            "best": best.way.name,
            "ways": ways,
        }
        return json.dumps(said, indent=1)


def _factor(by: float) -> str:
    return {1.0: "", -1.0: "−"}.get(by, f"{by:.6g} ")


def evidence_of(fit: PlacementFit) -> str:
    """Say how well one way fits."""
    return f"{fit.on_tissue:.0%} of them on tissue, r {fit.r:.2f}"


def doctor(options: DoctorOptions, job: Job | None = None, cache: Cache | None = None) -> Diagnosis:
    """Tell whether spots lie where they belong on their slide, or fit better in another way.

    `napari_stenhance.doctor` says what comes of it, and what it raises.
    """
    from napari_stenhance.scoring.placement import judge_placement
    from napari_stenhance.section.section import Section, open_section
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.placement_picture import check_picture, write_picture

    job, cache = job or Job(), cache or Cache.default()
    if options.picture is not None:
        check_picture(options.picture)
    section: Any = options.section
    if not isinstance(section, Section):
        how = options.opening()
        section = open_section(
            section, **how, image=options.image, outside=True, cache=cache, job=job
        )
    for doubt in section.doubts:
        job.note(f"{section.name}: {doubt}")
    if section.slide is None and section.picture is None:
        msg = (
            f"{section.where}: it has no slide or picture on which its spots could lie; name the "
            "image that belongs to it."
        )
        raise InputError(msg, option="image")
    placement = judge_placement(section, cache, job)
    found = Diagnosis(
        section.name, section.registration, section.mpp or 1.0, placement, options.json
    )
    if options.save is not None and found.registration is None:
        job.note(f"{options.save}: not written, as no other way fits clearly better.")
    elif options.save is not None and found.registration is not None:
        found.registration.write(options.save)
        job.note(f"{options.save}: written; open the section with it as its registration.")
    if options.picture is not None:
        write_picture(section.name, placement, options.picture)
    return found
