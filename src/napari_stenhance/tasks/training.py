"""What the tasks share that learn genes: options, the method they make, and its samples."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import method_choices, preset_choices
from napari_stenhance.tasks.options import Help, SlideOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.features.source import FeatureSettings
    from napari_stenhance.methods.protocol import Method
    from napari_stenhance.methods.training_section import TrainingSection
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

Genes = Annotated[
    tuple[str, ...],
    Help(
        "Genes to model: all, hvg:N or seurat_v3:N (most variable), heg:N (most counted), var:N "
        "(as iStar), names with commas, or @ and a file with one on each line; by default all, or "
        "what the preset says."
    ),
]
Written = Annotated[
    tuple[str, ...],
    Help(
        "Genes to write as images: names with commas, or @ and a file of them; any other can be "
        "shown later."
    ),
]
EncoderName = Annotated[
    str,
    Help(
        "What turns tissue into features: stain (no weights needed), efficientnet, uni or another "
        "that the command weights lists, timm:MODEL (NAME?weights=FILE names their weights), or "
        "one that another package adds, by its name; stain+uni joins two.",
        label="Tissue features",
    ),
]
Crops = Annotated[
    str,
    Help(
        "Sides of the square crops that the method sees of each position, if it sees crops, such "
        "as 163,489; by default its own.",
        unit="µm",
        label="Crop sizes",
    ),
]
MethodName = Annotated[str, Help("What learns", choices=partial(method_choices, "genes"))]
Pitch = Annotated[
    float | None,
    Help(
        "Side of a superpixel of what a method that sees crops predicts; by default a quarter of "
        "the spots' pitch.",
        unit="µm",
        label="Superpixel",
    ),
]
Tissue = Annotated[
    Path,
    Help(
        "How tissue is told from glass: density or histosweep; or, for one slide, a mask of it, "
        "where 0 is no tissue (PNG, TIFF, OME-Zarr labels, at any scale), or polygons (GeoJSON, "
        "µm).",
        takes=("ndarray",),
    ),
]
DENSITY = Path("density")
"""The usual way to tell tissue from glass."""
Quality = Annotated[
    bool,
    Help(
        "Do not learn from spots under pen marks, folds, air bubbles or blur, and say how much of "
        "the slide has such faults."
    ),
]
Preset = Annotated[
    str,
    Help(
        "How the method is trained, robust so that the image predicts held-out data best, blended "
        "with the counts around each superpixel too, the others as published, with at most 3,000 "
        "genes",
        choices=partial(preset_choices, "genes"),
    ),
]

# x and y are taken to be swapped if fewer spots lie on tissue, and with them swapped far more.
_SWAPPED_MOST = 0.8
_SWAPPED_GAIN = 1.3
_PITCHES_IN_SPOTS = 4
_FINEST_UM = 8.0


def run_name(method: str, encoder: str, preset: str) -> str:
    """Name a run after what made it."""
    from napari_stenhance.features.registry import find_encoder

    return f"{method}-{find_encoder(encoder).title}-{preset}"


def pitch_between(sections: Sequence[Section]) -> float:
    """Return a quarter of the pitch of spots, the smallest of several sections, in micrometres.

    Bins lie so close that a quarter would be finer than any feature: at least 8 µm.
    """
    pitch = min(section.geometry().pitch_um for section in sections) / _PITCHES_IN_SPOTS
    return max(pitch, _FINEST_UM)


def open_training(
    section: Any, options: SlideOptions, image: Path | None, cache: Cache, job: Job
) -> Section:
    """Open a section to learn from.

    Raises
    ------
    InputError
        If it lacks spots, slide or scale, or its counts are neither raw nor come with libraries.
    """
    from napari_stenhance.section.spots import check_raw
    from napari_stenhance.tasks.inference import open_for

    opened = open_for(section, options, image=image, spots=True, slide=True, cache=cache, job=job)
    if opened.library is None:
        check_raw(opened.need_spots(), opened.where)
    return opened


def take_sample(
    section: Section, settings: FeatureSettings, method: Method, job: Job
) -> TrainingSection:
    """Extract the features that a method needs to learn from the spots of a section."""
    import numpy as np

    from napari_stenhance.features.opening import open_features
    from napari_stenhance.methods.training_section import TrainingSection
    from napari_stenhance.section.footprint import Footprints
    from napari_stenhance.tasks.faults import feature_doubts

    features = open_features(section.need_slide(), settings, job)
    xy_um, geometry = section.spots_um(), section.geometry()
    feature_doubts([section], [features], job)
    on_fault = spots_on_faults(section, settings, job) if settings.quality else None
    grid, mask = features.grid, features.tissue
    _check_order(section, grid, mask)
    under = Footprints.under(grid, xy_um, geometry, np.ones(grid.shape, dtype=bool))
    whole = math.isinf(method.halo_um)
    near = None if whole else under.mask(grid.shape, math.ceil(method.halo_um / grid.pitch_um))
    features.extract(near)
    on_tissue = Footprints.under(grid, xy_um, geometry, mask)
    return TrainingSection.from_section(
        section, features, on_tissue, method.least_share, on_fault, method.most_spots, job
    )


def spots_on_faults(section: Section, settings: FeatureSettings, job: Job) -> NDArray[np.bool_]:
    """Tell which spots of a section lie on faults of its slide."""
    from napari_stenhance.features.quality import find_quality

    quality = find_quality(section.need_slide(), settings.tissue, settings.cache, job)
    return quality.on_fault(section.spots_um(), section.geometry())


def _check_order(section: Section, grid: Grid, tissue: NDArray[np.bool_]) -> None:
    """Refuse coordinates that meet the tissue only with x and y swapped.

    Raises
    ------
    InputError
        If far fewer spots lie on tissue than would if they were.
    """
    import numpy as np

    at = np.rint(grid.position(section.spots_um())).astype(int)

    def on_tissue(at: NDArray[np.int_]) -> float:
        inside = ((at >= 0) & (at < tissue.shape)).all(axis=1)
        return float(tissue[tuple(at[inside].T)].sum() / len(at))

    as_given, swapped = on_tissue(at), on_tissue(at[:, ::-1])
    if as_given < _SWAPPED_MOST and swapped > _SWAPPED_GAIN * as_given:
        msg = (
            f"{section.where}: {as_given:.0%} of the spots lie on tissue, and "
            f"with x and y swapped {swapped:.0%} would; coordinates must be (x, y)."
        )
        raise InputError(msg)
