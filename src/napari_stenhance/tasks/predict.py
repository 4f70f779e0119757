"""Predict on other slides with a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import (
    SECTION,
    ClearDeadLocks,
    Device,
    Help,
    Outs,
    RegionFile,
    SlideOptions,
    TissueMask,
)
from napari_stenhance.tasks.training import Written

if TYPE_CHECKING:
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import FieldRun
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class PredictOptions(SlideOptions):
    """Options of `predict`; sections may also be `Section` objects, the region a `Region`."""

    result: Annotated[
        Path,
        Help(
            "A model that train made, or a result that holds one.",
            positional=True,
            takes=("Model", "Result"),
        ),
    ]
    on: Annotated[
        tuple[Path, ...], Help("Slides to predict on; only their image is used.", takes=SECTION)
    ]
    out: Outs = None
    encoder: Annotated[
        str,
        Help("The model's encoder and where its weights lie, as uni?weights=FILE, if it has any."),
    ] = ""
    run: Annotated[
        str, Help("Of a result: which run's model; by default the newest of the whole slide.")
    ] = ""
    write: Written = ()
    region: RegionFile = None
    tissue: TissueMask = None
    device: Device = "auto"
    clear_dead_locks: ClearDeadLocks = False


def predict(
    options: PredictOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[ResultFolder, ...]:
    """Predict every gene of a saved model on other slides.

    `napari_stenhance.predict` says what comes of it, and what it raises.
    """
    return tuple(run.result for run in predict_runs(options, job, cache))


def predict_runs(
    options: PredictOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[FieldRun, ...]:
    """Do what `predict` does, and say which run of each result it made or found complete."""
    from napari_stenhance.features.opening import open_features
    from napari_stenhance.features.registry import find_encoder
    from napari_stenhance.features.source import CropLayout, FeatureSettings
    from napari_stenhance.methods.genes import named_genes
    from napari_stenhance.running.device import resolve_device
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.given_tissue import need_one_slide
    from napari_stenhance.tasks.inference import (
        Plan,
        name_outputs,
        note_doubts,
        open_for,
        predict_all,
        region_of,
    )
    from napari_stenhance.tasks.recorded import recorded
    from napari_stenhance.tasks.trained import Trained
    from napari_stenhance.tasks.training import run_name

    job, cache = job or Job(), cache or Cache.default()
    need_one_slide(options.tissue, options.on)
    if options.registration is not None:
        msg = "Only the image of these slides is used, and no spots that could be placed; leave out"
        msg += " the registration."
        raise InputError(msg, option="registration")
    device = resolve_device(options.device)
    trained = Trained.open(options.result, options.run)
    fitted = trained.load(device)
    note_doubts(fitted, job)
    write: tuple[str, ...] = ()
    if options.write:
        write = named_genes(
            options.write, fitted.decoder.genes, trained.genes_of, "write", fitted.decoder.aliases
        )
    slides = [
        open_for(s, options, spots=False, slide=True, cache=cache, job=job) for s in options.on
    ]
    region = region_of(options.region, slides, job)
    # Before anything is computed.
    name_outputs(options.out, slides)
    encoder = find_encoder(options.encoder or fitted.encoder)
    crops = None if fitted.crops_um is None else CropLayout(fitted.crops_um, fitted.pitch_um)
    quality = "quality" in trained.identity
    features = FeatureSettings(
        encoder, device, cache, trained.tissue, crops, quality, or_cpu=options.device == "auto"
    )
    for section in slides:
        grid = open_features(section.need_slide(), features, job).grid
        here = encoder.identity(), grid.pitch_um
        if here != (fitted.encoder_identity, fitted.pitch_um):
            maker, advice = "this version", "train it again with enhance"
            if options.encoder:
                maker, advice = "this encoder", "give the encoder, and the weights, of the model"
            msg = (
                f"{options.result}: the model learned from {fitted.encoder_identity} features at "
                f"{fitted.pitch_um:g} µm, and {maker} makes {here[0]} at {here[1]:g} µm; {advice}."
            )
            raise InputError(msg, option="encoder" if options.encoder else "")
    identity = {
        **trained.identity,
        "model_sha256": trained.sha256(cache, job),
        "region": region.to_json() if region else None,
    }
    plan = Plan(
        name=run_name(identity["method"], encoder.name, identity["preset"]),
        features=features,
        identity=identity,
        doubts=trained.doubts,
        seed=trained.seed,
        region=region,
        write=write,
        clear_dead_locks=options.clear_dead_locks,
        command=recorded("predict", options, region),
    )
    return predict_all(slides, options.out, plan, lambda _result, _run: fitted, job)
