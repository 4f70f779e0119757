"""Say in words what lies at a path, and every doubt about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.tasks.options import OPENING, SECTION, Help, Image, SlideOptions

if TYPE_CHECKING:
    from napari_stenhance.features.quality import Quality
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.cache import Cache


_UNSAID = "nothing says what was written"


@dataclass(frozen=True)
class InfoOptions(SlideOptions):
    """Options of `info`."""

    path: Annotated[
        Path, Help("A section, a slide or a result.", positional=True, takes=(*SECTION, "Result"))
    ]
    image: Image = None
    quality: Annotated[
        bool,
        Help(
            "Look for pen marks, folds, air bubbles and blur: reads the whole slide. What was "
            "found before is said anyway."
        ),
    ] = False
    verify: Annotated[
        bool, Help("Read every file of a result, and check that it is what was written.")
    ] = False


def info(
    options: InfoOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[str, ...]:
    """Describe a section, a slide or a result, one fact or doubt in each line.

    `napari_stenhance.info` says what comes of it, and what it raises.
    """
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.section import Section, open_section

    path: Any = options.path
    if isinstance(path, Path) and ResultFolder.is_result(path):
        if options.quality:
            msg = f"{path}: a result has no pixels; look at the quality of its slide."
            raise InputError(msg, option="quality")
        for name in (*OPENING, "image"):
            if getattr(options, name) != getattr(InfoOptions, name):
                msg = f"{path}: a result says itself how its slide was opened; leave this out."
                raise InputError(msg, option=name)
        result = ResultFolder.open(path)
        lines = describe_result(result)
        return (*lines, *verify_result(result, job or Job())) if options.verify else lines
    if options.verify:
        msg = f"{path}: only results have a list of what was written; this is none."
        raise InputError(msg, option="verify")
    section = (
        path
        if isinstance(path, Section)
        else open_section(path, **options.opening(), image=options.image, cache=cache, job=job)
    )
    return describe_section(section, _quality(section, options, cache, job))


def _quality(
    section: Section, options: InfoOptions, cache: Cache | None, job: Job | None
) -> Quality | None:
    """Return the faults of a section's slide, if they were found before or are asked for."""
    from napari_stenhance.features.quality import find_quality, known_quality
    from napari_stenhance.storage.cache import Cache

    cache = cache or Cache.default()
    if options.quality:
        return find_quality(section.need_slide(), "density", cache, job or Job())
    return None if section.slide is None else known_quality(section.slide, "density", cache)


def _doubts(doubts: tuple[str, ...] | list[str]) -> list[str]:
    return [f"Doubt: {doubt}" for doubt in doubts] or ["No doubts."]


def describe_section(section: Section, quality: Quality | None = None) -> tuple[str, ...]:
    """Describe a section, and the faults of its slide if they are known, one fact in each line."""
    from napari_stenhance.section.observed import several

    lines = [f"Section {section.name}"]
    lines += ["Slide: none"] if section.slide is None else _describe_slide(section.slide)
    if section.spots is None:
        lines.append("Spots: none")
    else:
        geometry = section.geometry()
        unit = "µm" if geometry.unit == "micrometer" else "px"
        spots, apart = section.spots, f"{geometry.pitch_um:.4g} {unit}"
        what = several(section.observed).capitalize()
        far = f" at a pitch of {apart}"
        if section.observed in ("cell", "cell or bead"):
            far = f", the nearest {apart} away in the median"
        if section.observed == "cell or bead":
            what = "Cells, or beads, as they lie on no lattice"
        lines.append(
            f"{what}: {spots.n_obs} × {counted(spots.n_vars, 'gene')}; "
            f"{geometry.spot_shape}s of {geometry.spot_diameter_um:.4g} {unit}{far}"
        )
    doubts = list(section.doubts)
    if quality is not None:
        from napari_stenhance.tasks.faults import quality_doubt

        lines.append(quality.describe())
        doubts += filter(None, [quality_doubt(section, quality)])
    return tuple(lines + _doubts(doubts))


def _describe_slide(slide: Slide) -> list[str]:
    """Describe a slide, and name what else its file holds."""
    height, width = slide.shape
    of = "" if slide.series is None else f"{slide.series!r} of "
    number = len(slide.pixels)
    levels = f"{number} level{'s' * (number > 1)}"
    said = f"Slide: {of}{slide.path.name}, {width} × {height} px, {levels}"
    if slide.mpp is None:
        lines = [f"{said}, scale unknown"]
    else:
        sides = " × ".join(f"{n * slide.mpp / 1000:.2f}" for n in (width, height))
        lines = [f"{said}, {slide.mpp:.4g} µm per pixel ({slide.mpp_source}): {sides} mm"]
    if slide.others:
        which = "the slide" if slide.series is None else "chosen"
        named = [f"{slide.called} ({width} × {height} px, {which})", *map(str, slide.others)]
        lines.append(f"Images of the file: {', '.join(named)}")
    if slide.tissue is not None:
        lines.append(f"Tissue: as given ({slide.tissue.values.mean():.1%} of the slide)")
    if slide.conversions:
        lines.append(f"Converted: {', '.join(slide.conversions)}")
    return lines


def verify_result(result: ResultFolder, job: Job) -> tuple[str, ...]:
    """Read every file of the complete runs of a result, and say of each run how many are right.

    Raises
    ------
    InputError
        If one is missing or not what was written.
    Cancelled
        If the job was cancelled.
    """
    from napari_stenhance.results.proof import verify_run
    from napari_stenhance.results.runs import every_run

    lines = []
    for run in every_run(result):
        if run.complete:
            number = verify_run(result.path, run.kind, run.name, job, proven=result.proven)
            right = f"{counted(number, 'file')} {agree(number, 'is', 'are')} what was written"
            lines.append(f"Verified {run.name}: {right if number else _UNSAID}.")
    return tuple(lines) or ("Nothing to verify: no run is complete.",)


def describe_result(result: ResultFolder) -> tuple[str, ...]:
    """Describe a result, one fact or doubt in each line.

    Raises
    ------
    InputError
        If it is damaged.
    """
    from napari_stenhance.results.attributes import ADVICE
    from napari_stenhance.results.proof import UNPROVEN
    from napari_stenhance.results.runs import every_run
    from napari_stenhance.storage.reading import reading

    lines = [f"Result for {'slide' if result.has_slide else 'spots'} {result.name}"]
    doubts = [] if result.proven else [UNPROVEN]
    with reading(result.path, "what it says of itself", ADVICE):
        if result.has_slide:
            slide = result.attributes["slide"]
            height, width = slide["shape"]
            scale = f"{slide['mpp']:.4g} µm per pixel ({slide['mpp_source']})"
            lines.append(f"Slide: {width} × {height} px, {scale}")
        else:
            lines.append("Slide: none")
        for run in every_run(result):
            lines += run.describe()
            doubts += run.doubts
    return tuple(lines + _doubts(list(dict.fromkeys(doubts))))
