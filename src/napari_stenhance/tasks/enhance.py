"""Learn gene expression from sections, and predict it on a grid over their slides or others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import (
    SECTION,
    ClearDeadLocks,
    Device,
    Epochs,
    Help,
    Image,
    Learned,
    Outs,
    RegionFile,
    Seed,
    SlideOptions,
)
from napari_stenhance.tasks.training import (
    DENSITY,
    Crops,
    EncoderName,
    Genes,
    MethodName,
    Pitch,
    Preset,
    Quality,
    Tissue,
    Written,
)

if TYPE_CHECKING:
    from napari_stenhance.methods.protocol import Fitted
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import FieldRun
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.lesson import Lesson
    from napari_stenhance.tasks.recorded import Command


@dataclass(frozen=True)
class EnhanceOptions(SlideOptions):
    """Options of `enhance`; sections may also be `Section` objects, the region a `Region`."""

    sections: Learned
    out: Outs = None
    method: MethodName = "pixel2gene"
    predict: Annotated[
        tuple[Path, ...],
        Help(
            "Predict on these slides instead of those learned from; only their image is used.",
            takes=SECTION,
        ),
    ] = ()
    genes: Genes = ()
    write: Written = ()
    region: RegionFile = None
    encoder: EncoderName = "stain"
    crops: Crops = ""
    pitch: Pitch = None
    lattice: Annotated[
        Literal[2, 3, 4] | None,
        Help(
            "Predict, with a method that sees crops, also between the spots of their array: 2, 3 "
            "or 4 points in each step.",
            label="Between spots",
        ),
    ] = None
    tissue: Tissue = DENSITY
    quality: Quality = True
    preset: Preset = "robust"
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"
    seed: Seed = 0
    clear_dead_locks: ClearDeadLocks = False


def enhance(
    options: EnhanceOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[ResultFolder, ...]:
    """Learn from sections and predict every gene on a grid.

    `napari_stenhance.enhance` says what comes of it, and what it raises.
    """
    return tuple(run.result for run in enhance_runs(options, job, cache))


def enhance_runs(
    options: EnhanceOptions,
    job: Job | None = None,
    cache: Cache | None = None,
    command: Command | None = None,
) -> tuple[FieldRun, ...]:
    """Do what `enhance` does, and say which run of each result it made or found complete.

    What another task asks for is recorded as the `command` that it was given itself.
    """
    from napari_stenhance.methods.genes import named_genes
    from napari_stenhance.section.region import Region
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.inference import (
        Plan,
        note_doubts,
        open_for,
        predict_all,
        saved_model,
    )
    from napari_stenhance.tasks.kept_model import KeptModel
    from napari_stenhance.tasks.lesson import open_lesson
    from napari_stenhance.tasks.recorded import recorded
    from napari_stenhance.tasks.training import run_name

    job, cache = job or Job(), cache or Cache.default()
    region = Region.given(options.region)
    lesson = open_lesson(options, job, cache)
    _check_lattice(options, lesson)
    slides = [
        open_for(s, options, spots=False, slide=True, cache=cache, job=job) for s in options.predict
    ] or lesson.sections
    write: tuple[str, ...] = ()
    if options.write:
        where = lesson.measured_where
        write = named_genes(options.write, lesson.measured, where, "write", lesson.aliases)
    learned, device = lesson.identity, lesson.features.device
    kept = KeptModel.from_training(learned, cache)
    plan = Plan(
        name=run_name(options.method, options.encoder, options.preset),
        features=lesson.features,
        identity={**learned, "region": region.to_json() if region else None},
        doubts=lesson.doubts,
        learned_from=lesson.sections,
        seed=options.seed,
        region=region,
        write=write,
        lattice=options.lattice,
        clear_dead_locks=options.clear_dead_locks,
        keeping=kept,
        command=command or recorded("enhance", options, region),
    )
    fitted: list[Fitted] = []

    def model(result: ResultFolder, run: str) -> Fitted:
        """Learn once for all slides, and only if no result here has learned the same."""
        if not fitted:
            saved = saved_model(result, run, learned, device) or kept.load(device, job)
            if saved is None:
                saved = lesson.fit(job, write, options.lattice)
                result.log("trained", run=run)
            note_doubts(saved, job)
            fitted.append(saved)
        return fitted[0]

    return predict_all(slides, options.out, plan, model, job)


def _check_lattice(options: EnhanceOptions, lesson: Lesson) -> None:
    """Refuse a lattice before anything is computed, where there can be none.

    Raises
    ------
    InputError
        If the spots have none, or other slides are predicted.
    """
    from napari_stenhance.section.lattice import SpotLattice

    s = options.lattice
    if s is None:
        return
    if options.predict:
        msg = f"Lattice {s}: only the image of other slides is used, which has no spots; leave out "
        msg += "the lattice, or the other slides."
        raise InputError(msg, option="lattice")
    if s not in (2, 3, 4):
        msg = f"Lattice {s}: a step between spots can be divided into 2, 3 or 4."
        raise InputError(msg, option="lattice")
    for section in lesson.sections:
        SpotLattice.from_spots(section.need_spots(), section.where)
