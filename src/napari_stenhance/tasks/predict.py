"""Predict on other slides with a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.device import DeviceName
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, as_paths

if TYPE_CHECKING:
    from napari_stenhance.results.result import Result
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict`; sections may also be `Section` objects."""

    result: Annotated[Path, Help("A result that holds the model.", positional=True)]
    on: Annotated[tuple[Path, ...], Help("Slides to predict on; only their image is used.")]
    out: Annotated[
        Path,
        Help("The result folder (C4.stenhance.zarr); for several slides, a folder of results."),
    ]
    run: Annotated[str, Help("Which run's model; by default the newest.")] = ""
    write: Annotated[
        str, Help("Genes to write as images: A,B,C or a file; any other can be shown later.")
    ] = ""
    region: Annotated[
        Path | None, Help("Predict only inside these polygons (GeoJSON).", unit="µm")
    ] = None
    mpp: Annotated[
        float | None, Help("Scale of the slides, where files do not say.", unit="µm per pixel")
    ] = None
    device: Annotated[DeviceName, Help("What computes.")] = "auto"

    def __post_init__(self) -> None:
        """Accept strings and single values where paths are expected."""
        object.__setattr__(self, "on", as_paths(self.on))
        for name in ("result", "out"):
            object.__setattr__(self, name, Path(getattr(self, name)))


def predict(
    options: PredictOptions, job: Job | None = None, cache: Cache | None = None
) -> tuple[Result, ...]:
    """Predict every gene of a saved model on other slides.

    Parameters
    ----------
    options : PredictOptions
    job : Job, optional
        Receives progress, notes and finished tiles; cancels.
    cache : Cache, optional
        Where pyramids and features lie; by default the user's.

    Returns
    -------
    tuple of Result
        One for each slide.

    Raises
    ------
    InputError
        If an input or an option cannot be used, or the model was trained on features of another
        encoder or pitch.
    InferenceError
        If the device fails.
    Cancelled
        If the job was cancelled; finished tiles are kept.
    """
    from napari_stenhance.features.registry import encoder_identity, make_encoder
    from napari_stenhance.methods.genes import named_genes
    from napari_stenhance.methods.registry import load_fitted
    from napari_stenhance.results.result import Result
    from napari_stenhance.running.device import describe_device, resolve_device
    from napari_stenhance.storage.cache import Cache, file_hash
    from napari_stenhance.tasks.predicting import (
        Target,
        check_outputs,
        name_outputs,
        open_for,
        predict_target,
        read_region,
        versions,
    )

    job, cache = job or Job(), cache or Cache.default()
    device = resolve_device(options.device)
    region = read_region(options.region)
    write = named_genes(options.write) if options.write else ()
    source = Result.open(options.result)
    run = options.run or source.latest_run()
    learned = source.run_attributes(run)["identity"]
    folder = source.model_folder(run)
    fitted = load_fitted(folder, device)
    check_outputs(options.out)
    slides = [
        open_for(s, options.mpp, spots=False, slide=True, cache=cache, job=job) for s in options.on
    ]
    outputs = name_outputs(options.out, [s.name for s in slides])
    identity = {
        **{key: value for key, value in learned.items() if key != "region"},
        "model_sha256": file_hash(folder / "weights.safetensors"),
        "region": region.to_json() if region else None,
    }
    done: list[Result] = []
    for section, path in zip(slides, outputs, strict=True):
        encoder = make_encoder(fitted.encoder, section.need_slide(), device)
        here = encoder_identity(encoder.name), encoder.pitch_um
        if here != (fitted.encoder_identity, fitted.pitch_um):
            msg = (
                f"{options.result}: the model learned from {fitted.encoder_identity} features at "
                f"{fitted.pitch_um:g} µm, and this version makes {here[0]} at {here[1]:g} µm; "
                "train it again with enhance."
            )
            raise InputError(msg)
        with Result.writing(path, section.need_slide(), cache) as result:
            target = Target(result, section, fitted.encoder, device, cache)
            provenance = {
                "seed": learned["seed"],
                "device": describe_device(device),
                "versions": versions(),
                "doubts": [f"{section.name}: {d}" for d in section.doubts],
            }
            stem = f"{learned['method']}-{fitted.encoder}-{learned['preset']}"
            new = target.start_run(stem, identity, provenance)
            if target.is_complete(new, write):
                job.note(f"{path}: the run {new} is already complete.")
            else:
                target.keep_model(new, fitted)
                predict_target(target, new, fitted, region, write, job)
        done.append(Result.open(path))
    return tuple(done)
