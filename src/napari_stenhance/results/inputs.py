"""Where the section of a result lay, and how to open it again, if it is still what it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_stenhance.errors import InputError
from napari_stenhance.results.domains import CONFIDENCE, EMBEDDING, LABEL, domain_runs
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import Run
from napari_stenhance.results.runs import every_run
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.source import SectionSource
from napari_stenhance.storage.tiles import FILES

_NOT_SHOWN = "Its slide cannot be shown: "


@dataclass(frozen=True)
class FoundSection:
    """The section of a result, as far as it was found.

    Attributes
    ----------
    section : Section or None
        With the slide, the measured spots, or both.
    said : tuple of str
        What is not there, and why; where spots come from that are not those of their files.
    """

    section: Section | None
    said: tuple[str, ...] = ()


def log_section(result: ResultFolder, section: Section, **more: Any) -> None:
    """Write into the log where a result's slide and spots lie, and what the spots are."""
    if result.has_slide:
        result.log("slide", path=section.need_slide().path.resolve(), **more)
    if section.source is not None:
        spots = None if section.spots is None else section.counts_sha256
        result.log("section", spots_sha256=spots, source=section.source.to_json(), **more)


def slide_path(result: ResultFolder) -> Path | None:
    """Return where the slide lay when a result was last written; None if it never was."""
    for event in logged_events(result, "slide"):
        with suppress(TypeError, KeyError):
            return Path(event["path"])
    return None


def logged_events(result: ResultFolder, name: str) -> Iterator[dict[str, Any]]:
    """Read the lines of the log of one kind, the newest first; what is damaged is left out."""
    file = result.path / FILES / "log.jsonl"
    if not file.exists():
        return
    for line in reversed(file.read_text("utf-8", errors="replace").splitlines()):
        # Only a hint of where to look: a line that is damaged gives none.
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == name:
                yield event


def find_section(result: ResultFolder, job: Job | None = None) -> FoundSection:
    """Open the section of a result again: its slide, and the spots that were measured on it.

    Spots are those of the section's files where these are what they were, or else those that a
    domain run of the result keeps.
    """
    section, said = _from_files(result, job)
    if section is None:
        section, why = _slide_alone(result, job)
        if why and not any(why.removeprefix(_NOT_SHOWN) in one for one in said):
            said = (*said, why)
    if section is None or section.spots is None:
        kept = _kept_spots(result, section)
        if kept is not None:
            where = "Its measured spots are those that this result keeps with its domains."
            return FoundSection(kept, (*said, where))
        if not said:
            said = ("Nothing says where its measured spots lie: open the section to see them.",)
    return FoundSection(section, (*said, *_made_otherwise(result, section)))


def made_of(run: Run) -> tuple[Mapping[str, Any], ...]:
    """Return what a run says of each section whose spots it was made of."""
    identity = run.identity
    given = [*identity.get("learned_from", ()), *identity.get("found_in", ())]
    spots = identity.get("spots")
    return (*given, spots) if isinstance(spots, Mapping) else tuple(given)


def spots_made_of(run: Run) -> set[Any]:
    """Return the SHA-256 of the spots that a run was made of; None of a section that has none."""
    return {one.get("spots_sha256") for one in made_of(run)}


def _made_otherwise(result: ResultFolder, section: Section | None) -> tuple[str, ...]:
    """Say which runs learned from spots of this slide that are not those that are found."""
    if section is None or section.spots is None or not result.has_slide:
        return ()
    slide, now, names = result.attributes["slide"]["sha256"], section.counts_sha256, []
    for run in every_run(result):
        ones = [one for one in made_of(run) if one.get("slide_sha256") == slide]
        # What was imputed is kept in the result itself.
        known = {one.get("spots_sha256") for one in ones if not one.get("imputed", False)}
        if known and not known & {None, now}:
            names.append(run.name)
    if not names:
        return ()
    listed = ", ".join(names)
    return (f"Made of other spots of this slide, or of these where they lay otherwise: {listed}.",)


def _from_files(result: ResultFolder, job: Job | None) -> tuple[Section | None, tuple[str, ...]]:
    """Open what the log names; say what is no longer what it was."""
    for event in logged_events(result, "section"):
        with suppress(TypeError, KeyError, ValueError):
            source, spots = SectionSource.from_json(event["source"]), event["spots_sha256"]
            break
    else:
        return None, ()
    try:
        section = open_section(**source.arguments(), job=job)
        if not is_of(section, result.attributes, job):
            said = f"{source.path}: this is no longer the section that the result was made of."
            return None, (f"{said} Its spots are not shown.",)
        if section.spots is None or spots in {None, section.counts_sha256}:
            return section, () if section.spots is not None else ("It has no measured spots.",)
    # Paths that the log names are as they come: one may be too long to be asked for.
    except (InputError, OSError) as error:
        return None, (f"The section cannot be opened where it was, so its spots are not: {error}",)
    said = f"{source.path}: the spots are others than when the result was made; they are not shown."
    return Section(section.slide, name=section.name, mpp=section.mpp, source=source), (said,)


def is_of(
    section: Section, root: Mapping[str, Any], job: Job | None = None, *, read: bool = True
) -> bool:
    """Tell whether a section is what a result is of: the same slide, or spots, at its scale.

    Parameters
    ----------
    section : Section
    root : mapping
        What the result says of its slide, or of spots without one.
    job : Job, optional
        Receives progress while the slide is read.
    read : bool
        False takes a slide whose hash is not known yet for another, and reads nothing.
    """
    if "slide" in root:
        said, slide = root["slide"], section.slide
        return (
            slide is not None
            and (slide.mpp, slide.series) == (said["mpp"], said.get("series"))
            and list(slide.conversions) == said.get("conversions", [])
            and (slide.state.sha256(job) if read else slide.state.known_sha256) == said["sha256"]
        )
    if "spots" in root and section.spots is not None:
        said = root["spots"]
        return section.mpp == said["mpp"] and section.counts_sha256 == said["sha256"]
    return False


def _slide_alone(result: ResultFolder, job: Job | None) -> tuple[Section | None, str]:
    """Open the slide of a result where it lay, and say why it is not there; empty if it is."""
    gone = "Its slide is not where it was, or another lies there now: open the section too, to see "
    gone += "it underneath."
    path = slide_path(result)
    if not result.has_slide:
        return None, ""
    if path is None or not os.path.exists(path):  # noqa: PTH110 - false also of what is no path
        return None, gone
    said = result.attributes["slide"]
    try:
        slide = Slide.open(
            path,
            name=said["name"],
            mpp=said["mpp"],
            series=said.get("series"),
            icc=said.get("icc", True),
            job=job,
        )
        section = Section(slide=slide)
        return (section, "") if is_of(section, result.attributes, job) else (None, gone)
    except InputError as error:
        # Other files may lie there, or what was made of this one cannot be kept.
        return None, f"{_NOT_SHOWN}{error}"


def _kept_spots(result: ResultFolder, found: Section | None) -> Section | None:
    """Return the section with the measured spots that a domain run keeps; None if none does."""
    for run in reversed(domain_runs(result)):
        measured = {one.get("spots_sha256") for one in run.identity.get("found_in", ())}
        spots = run.spots() if measured - {None} else None
        if spots is None:
            continue
        before = spots.obs.get(f"{LABEL}_input")
        spots.obs = spots.obs.drop(columns=[LABEL, CONFIDENCE, f"{LABEL}_input"], errors="ignore")
        if before is not None:
            spots.obs[LABEL] = before
        spots.obsm.pop(EMBEDDING, None)
        said = result.attributes["slide" if result.has_slide else "spots"]
        slide = None if found is None else found.slide
        with suppress(InputError):
            section = Section(slide, spots, name=result.name, mpp=said["mpp"])
            if section.counts_sha256 in measured:
                return section
    return None
