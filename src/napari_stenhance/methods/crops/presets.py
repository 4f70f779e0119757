"""Methods that see crops, by preset: made of options, and loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from napari_stenhance.errors import InputError
from napari_stenhance.methods.crops.design import Design
from napari_stenhance.methods.crops.ensemble import CropEnsemble
from napari_stenhance.methods.crops.model import CropModel
from napari_stenhance.methods.crops.reference.method import CropReference
from napari_stenhance.methods.crops.reference.model import CropReferenceModel
from napari_stenhance.methods.crops.reference.recipe import CropReferenceRecipe
from napari_stenhance.methods.registry import with_epochs
from napari_stenhance.methods.robust import RobustRecipe
from napari_stenhance.methods.saved import read_config
from napari_stenhance.methods.training import Schedule

SMALLEST_UM, LARGEST_UM = 8.0, 2000.0
"""Of crops."""


def make_crop_method(
    design: Design, published: CropReferenceRecipe, options: Any, seed: int, device: torch.device
) -> CropEnsemble | CropReference:
    """Make a method that sees crops, of the sizes that options name, or else of its own.

    Raises
    ------
    InputError
        If crops cannot be so, or so many.
    """
    known = published if options.preset == "reference" else design
    crops_um = _sides(options.crops) or known.crops_um
    if known.most_crops is not None and len(crops_um) > known.most_crops:
        msg = f"Crops {options.crops}: {known.method} sees crops of one size; name one."
        raise InputError(msg, option="crops")
    if options.preset == "reference":
        recipe = with_epochs(published, options.epochs)
        return CropReference(recipe, crops_um, options.encoder, seed, device)
    robust = RobustRecipe(schedule=with_epochs(Schedule(), options.epochs))
    return CropEnsemble(options.encoder, seed, device, robust, design=design, crops_um=crops_um)


def _sides(crops: str) -> tuple[float, ...]:
    """Read `163,489`."""
    try:
        sides = tuple(float(side) for side in crops.split(",")) if crops.strip() else ()
    except ValueError:
        sides = (math.nan,)
    fit = all(SMALLEST_UM <= side <= LARGEST_UM for side in sides)
    if not fit or len(set(sides)) < len(sides):
        msg = (
            f"Crops {crops}: write different sides of {SMALLEST_UM:g} to {LARGEST_UM:g} "
            "micrometres, such as 163,489."
        )
        raise InputError(msg, option="crops")
    return sides


def load_crop_model(
    design: Design, published: CropReferenceRecipe, folder: Path, device: torch.device
) -> CropModel | CropReferenceModel:
    """Load what a method that sees crops saved.

    Raises
    ------
    InputError
        If files are missing or damaged, or the network is one that the method had before.
    """
    if read_config(folder)["preset"] == "reference":
        return CropReferenceModel.load(folder, published, device)
    return CropModel.load(folder, design, device)
