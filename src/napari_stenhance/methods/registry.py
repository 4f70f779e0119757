"""Methods by name, and saved models by what their folder says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.crops.ensemble import CropEnsemble, CropRecipe
from napari_stenhance.methods.crops.model import CropModel
from napari_stenhance.methods.crops.reference.method import CropReference
from napari_stenhance.methods.crops.reference.model import (
    CropReferenceModel,
)
from napari_stenhance.methods.crops.reference.recipe import CropReferenceRecipe
from napari_stenhance.methods.histosge.network import HISTOSGE
from napari_stenhance.methods.histosge.reference import HISTOSGE_REFERENCE
from napari_stenhance.methods.pixel2gene.ensemble import Pixel2GeneEnsemble, Pixel2GeneRecipe
from napari_stenhance.methods.pixel2gene.learner import SpotSchedule
from napari_stenhance.methods.pixel2gene.model import Pixel2GeneModel
from napari_stenhance.methods.pixel2gene.reference.method import Pixel2GeneReference
from napari_stenhance.methods.pixel2gene.reference.model import Pixel2GeneReferenceModel
from napari_stenhance.methods.pixel2gene.reference.recipe import ISTAR, PIXEL2GENE
from napari_stenhance.methods.protocol import Fitted, Method
from napari_stenhance.methods.saved import read_config
from napari_stenhance.methods.spamcaf.full import FULL
from napari_stenhance.methods.spamcaf.network import CODED
from napari_stenhance.methods.spamcaf.reference import SPAMCAF_REFERENCE
from napari_stenhance.methods.training import Schedule as CropSchedule

if TYPE_CHECKING:
    import torch

MethodName = Literal["pixel2gene", "histosge", "spamcaf"]
Variant = Literal["coded", "full"]
Preset = Literal["robust", "reference", "istar"]

SMALLEST_UM, LARGEST_UM = 8.0, 2000.0
"""Of crops."""
DESIGNS = {(d.method, d.variant): d for d in (HISTOSGE, CODED, FULL)}
REFERENCES = {r.method: r for r in (HISTOSGE_REFERENCE, SPAMCAF_REFERENCE)}
_PRESETS: dict[MethodName, tuple[Preset, ...]] = {
    "pixel2gene": ("robust", "reference", "istar"),
    "histosge": ("robust", "reference"),
    "spamcaf": ("robust", "reference"),
}


def make_method(
    method: MethodName,
    preset: Preset,
    encoder: str,
    epochs: int | None,
    seed: int,
    device: torch.device,
    crops_um: tuple[float, ...] = (),
    variant: Variant = "coded",
) -> Method:
    """Make a method that learns from the features of an encoder; epochs by default as its preset.

    Crops, by default of the method's sizes, are options of `histosge` and `spamcaf`; the variant is
    one of `spamcaf`.

    Raises
    ------
    InputError
        If there is no such method or preset, or it cannot train so long.
    """
    if method not in _PRESETS or preset not in _PRESETS[method]:
        there = "; ".join(f"{name}: {', '.join(of)}" for name, of in _PRESETS.items())
        msg = f"Method {method} with preset {preset}: there is no such pair; there are {there}."
        raise InputError(msg, option="preset")
    if epochs is not None and epochs < 1:
        msg = f"{epochs} epochs: a method must train for at least one epoch."
        raise InputError(msg, option="epochs")
    if method != "pixel2gene":
        return _sees_crops(method, preset, encoder, epochs, seed, device, crops_um, variant)
    if crops_um or variant != "coded":
        msg = "Crops and variant are options of methods that see crops; pixel2gene does not."
        raise InputError(msg, option="crops" if crops_um else "variant")
    if preset == "robust":
        schedule = SpotSchedule() if epochs is None else SpotSchedule(epochs=epochs)
        return Pixel2GeneEnsemble(encoder, seed, device, Pixel2GeneRecipe(schedule=schedule))
    published = PIXEL2GENE if preset == "reference" else ISTAR
    own = published.epochs if epochs is None else epochs
    return Pixel2GeneReference(encoder, seed, device, replace(published, epochs=own))


def _sees_crops(
    method: MethodName,
    preset: Preset,
    encoder: str,
    epochs: int | None,
    seed: int,
    device: torch.device,
    crops_um: tuple[float, ...],
    variant: Variant,
) -> Method:
    known = REFERENCES[method] if preset == "reference" else DESIGNS.get((method, variant))
    if preset == "reference" and variant != "coded":
        msg = f"Variant {variant}: the preset reference is what was coded; leave one of them out."
        raise InputError(msg, option="variant")
    if known is None:
        there = ", ".join(v for m, v in DESIGNS if m == method)
        msg = f"Variant {variant}: there is no such variant of {method}; there is {there}."
        raise InputError(msg, option="variant")
    if any(not SMALLEST_UM <= crop <= LARGEST_UM for crop in crops_um):
        msg = f"Crops: each must measure {SMALLEST_UM:g} to {LARGEST_UM:g} µm."
        raise InputError(msg, option="crops")
    if crops_um and known.most_crops is not None and len(crops_um) > known.most_crops:
        msg = f"Crops: {method} sees crops of one size; name one, or choose the method spamcaf."
        raise InputError(msg, option="crops")
    crops_um = crops_um or known.crops_um
    if isinstance(known, CropReferenceRecipe):
        published = known if epochs is None else replace(known, epochs=epochs)
        return CropReference(published, crops_um, encoder, seed, device)
    schedule = CropSchedule() if epochs is None else CropSchedule(epochs=epochs)
    return CropEnsemble(known, crops_um, encoder, seed, device, CropRecipe(schedule=schedule))


def load_fitted(folder: Path, device: torch.device) -> Fitted:
    """Load a saved model.

    Raises
    ------
    InputError
        If the folder holds none, or one that this version does not know.
    """
    config = read_config(folder)
    kind = str(config.get("method")), str(config.get("preset"))
    if kind == ("pixel2gene", "robust"):
        return Pixel2GeneModel.load(folder, device)
    if kind in {("pixel2gene", "reference"), ("pixel2gene", "istar")}:
        return Pixel2GeneReferenceModel.load(folder, device)
    design = DESIGNS.get((kind[0], str(config.get("variant"))))
    if design is not None and kind[1] == "robust":
        return CropModel.load(folder, design, device)
    if kind[0] in REFERENCES and kind[1] == "reference":
        return CropReferenceModel.load(folder, REFERENCES[kind[0]], device)
    msg = f"{folder}: a model of {' '.join(kind)}; update napari-stenhance to use it."
    raise InputError(msg)
