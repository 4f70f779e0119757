"""Pixel2Gene: an MLP from a superpixel's histology features to gene expression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.methods.registry import MethodEntry, with_epochs

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Fitted, Method


def _make(options: Any, seed: int, device: torch.device) -> Method:
    if options.preset in {"robust", "blended"}:
        from napari_stenhance.methods.pixel2gene.ensemble import (
            Pixel2GeneEnsemble,
            Pixel2GeneRecipe,
        )
        from napari_stenhance.methods.pixel2gene.learner import SpotSchedule

        recipe = Pixel2GeneRecipe(schedule=with_epochs(SpotSchedule(), options.epochs))
        image = Pixel2GeneEnsemble(options.encoder, seed, device, recipe)
        if options.preset == "robust":
            return image
        from napari_stenhance.methods.pixel2gene.blended.method import Pixel2GeneBlend

        return Pixel2GeneBlend(image)
    from napari_stenhance.methods.pixel2gene.reference.method import Pixel2GeneReference
    from napari_stenhance.methods.pixel2gene.reference.recipe import ISTAR, PIXEL2GENE

    published = with_epochs(PIXEL2GENE if options.preset == "reference" else ISTAR, options.epochs)
    return Pixel2GeneReference(options.encoder, seed, device, published)


def _load(folder: Path, device: torch.device) -> Fitted:
    from napari_stenhance.methods.pixel2gene.blended.model import BlendedModel
    from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
    from napari_stenhance.methods.pixel2gene.reference.model import Pixel2GeneReferenceModel
    from napari_stenhance.methods.saved import read_config

    preset = read_config(folder)["preset"]
    if preset == "robust":
        return Pixel2GeneModel.load(folder, device)
    if preset == "blended":
        return BlendedModel.load(folder, device)
    return Pixel2GeneReferenceModel.load(folder, device)


METHOD = MethodEntry(
    name="pixel2gene",
    title="Pixel2Gene",
    kind="genes",
    text="superpixels of 8 µm",
    make=_make,
    load=_load,
    presets=("robust", "blended", "reference", "istar"),
    own_section=("blended",),
)
