"""What is to be doubted of slides: their faults, and what their encoder says of them."""

from __future__ import annotations

from collections.abc import Sequence

from napari_stenhance.features.quality import Quality, find_quality
from napari_stenhance.features.source import FeatureSettings, FeatureSource
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import Section


def quality_doubt(section: Section, quality: Quality) -> str:
    """Say how much of a slide is faulty, and how many of its spots are not learned from."""
    if section.spots is None:
        return quality.doubt(0, 0)
    on_fault = quality.on_fault(section.spots_um(), section.geometry())
    return quality.doubt(int(on_fault.sum()), len(on_fault))


def feature_doubts(
    sections: Sequence[Section], sources: Sequence[FeatureSource], job: Job
) -> tuple[str, ...]:
    """Say what makes the features of slides less trustworthy, and whose slide each is."""
    said = tuple(
        f"{section.name}: {doubt}"
        for section, source in zip(sections, sources, strict=True)
        for doubt in source.doubts
    )
    for doubt in said:
        job.note(doubt)
    return said


def quality_doubts(
    sections: Sequence[Section], settings: FeatureSettings, job: Job
) -> tuple[str, ...]:
    """Say which sections have slides with faults, and how many spots are not learned from.

    Raises
    ------
    InputError
        If no tissue is found.
    Cancelled
        If the job was cancelled.
    """
    if not settings.quality:
        return ()
    said = []
    for section in sections:
        quality = find_quality(section.need_slide(), settings.tissue, settings.cache, job)
        if doubt := quality_doubt(section, quality):
            said.append(f"{section.name}: {doubt}")
            job.note(said[-1])
    return tuple(said)
