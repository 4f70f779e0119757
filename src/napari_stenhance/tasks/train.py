"""Learn gene expression from sections, and keep the model, to predict other slides with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import (
    Device,
    Epochs,
    Help,
    Image,
    Learned,
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
)

if TYPE_CHECKING:
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.trained import Trained


@dataclass(frozen=True)
class TrainOptions(SlideOptions):
    """Options of `train`; sections may also be `Section` objects."""

    sections: Learned
    out: Annotated[Path, Help("The model's folder (her2.model); nothing is overwritten.")]
    method: MethodName = "pixel2gene"
    genes: Genes = ()
    encoder: EncoderName = "stain"
    crops: Crops = ""
    pitch: Pitch = None
    tissue: Tissue = DENSITY
    quality: Quality = True
    preset: Preset = "robust"
    epochs: Epochs = None
    image: Image = None
    device: Device = "auto"
    seed: Seed = 0


def train(options: TrainOptions, job: Job | None = None, cache: Cache | None = None) -> Trained:
    """Learn from sections without predicting: `predict` does, with the model's folder.

    `napari_stenhance.train` says what comes of it, and what it raises.
    """
    from napari_stenhance.features.opening import open_features
    from napari_stenhance.running.device import describe_device
    from napari_stenhance.storage.cache import Cache
    from napari_stenhance.tasks.faults import feature_doubts, quality_doubts
    from napari_stenhance.tasks.inference import note_doubts, versions
    from napari_stenhance.tasks.kept_model import KeptModel
    from napari_stenhance.tasks.lesson import open_lesson
    from napari_stenhance.tasks.trained import save_trained

    job, cache = job or Job(), cache or Cache.default()
    if options.out.exists():
        msg = f"{options.out}: something lies here already; choose another name."
        raise InputError(msg, option="out")
    lesson = open_lesson(options, job, cache)
    kept = KeptModel.from_training(lesson.identity, cache)
    fitted = kept.load(lesson.features.device, job) or lesson.fit(job)
    note_doubts(fitted, job)
    sources = [open_features(s.need_slide(), lesson.features, job) for s in lesson.sections]
    seen = feature_doubts(lesson.sections, sources, job)
    faults = quality_doubts(lesson.sections, lesson.features, job)
    provenance = {
        "seed": options.seed,
        "device": describe_device(lesson.features.device),
        "versions": versions(),
        "doubts": list(dict.fromkeys([*lesson.doubts, *faults, *seen, *fitted.decoder.doubts])),
    }
    with kept.unless_saved(fitted):
        return save_trained(options.out, lesson.identity, provenance, fitted.save)
