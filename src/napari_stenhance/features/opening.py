"""Open the features of crops around positions on a slide, whatever encodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Crops
from napari_stenhance.features.crops import CropMap, PooledCrops, needed_around, pooled_tissue
from napari_stenhance.features.encoded import EncodedCrops
from napari_stenhance.features.extract import TissueKind, extract
from napari_stenhance.features.registry import EncoderSpec, make_crop_encoder, make_encoder
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

if TYPE_CHECKING:
    import torch


def open_crops(
    slide: Slide,
    encoder: str,
    grid: Grid,
    crops_um: tuple[float, ...],
    job: Job,
    *,
    device: torch.device,
    cache: Cache | None = None,
    needed: NDArray[np.bool_] | None = None,
    tissue: TissueKind = "density",
) -> CropMap:
    """Extract the features of crops around the tissue superpixels of a grid, or find them cached.

    Parameters
    ----------
    slide : Slide
    encoder : str
        As the option `encoder` takes it.
    grid : Grid
        Over the slide.
    crops_um : tuple of float
        Sides of the crops, in micrometres.
    job : Job
    device : torch.device
        Where networks run.
    cache : Cache, optional
        By default the user's.
    needed : ndarray of bool, shape of the grid, optional
        The superpixels that are wanted; by default all.
    tissue : {"density", "histosweep"}
        How tissue is told from glass.

    Raises
    ------
    InputError
        If there is no such encoder, its weights are not here, or no tissue is found.
    InferenceError
        If the device fails.
    """
    if EncoderSpec.parse(encoder).name != "stain":
        crops = Crops(slide, make_crop_encoder(encoder, device), crops_um)
        for crop_um in crops_um:
            for doubt in crops.encoder.doubts(slide.scale(), crop_um):
                job.note(doubt)
        encoded = EncodedCrops.over(
            crops, grid, job, cache=cache or Cache.default(), needed=needed, tissue=tissue
        )
        return CropMap(grid, encoded.row_of >= 0, crops_um, encoded)
    superpixels = make_encoder(encoder, slide)
    fine = Grid.over(slide, superpixels.pitch_um)
    near = None
    if needed is not None:
        near = needed_around(needed, grid, fine, max(crops_um) / 2 + grid.pitch_um)
    features = extract(slide, superpixels, job, cache=cache, needed=near, tissue=tissue)
    source = PooledCrops(features, grid, crops_um)
    return CropMap(grid, pooled_tissue(features.tissue, fine, grid), crops_um, source)
