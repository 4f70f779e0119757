"""Methods by name, and saved models by what their folder says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from napari_stenhance.errors import InputError
from napari_stenhance.methods.pixel2gene.fitted import FittedRobust
from napari_stenhance.methods.pixel2gene.reference.fitted import FittedReference
from napari_stenhance.methods.pixel2gene.reference.method import Reference
from napari_stenhance.methods.pixel2gene.reference.recipe import ISTAR, PIXEL2GENE
from napari_stenhance.methods.pixel2gene.robust import Recipe, Robust
from napari_stenhance.methods.protocol import Fitted, Method
from napari_stenhance.methods.training import Schedule

if TYPE_CHECKING:
    import torch

MethodName = Literal["pixel2gene", "histosge", "spamcaf"]
Variant = Literal["coded", "full"]
Preset = Literal["robust", "reference", "istar"]


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
    if (method, preset) not in {("pixel2gene", known) for known in get_args(Preset)}:
        msg = (
            f"--method {method} --preset {preset}: there is only pixel2gene with "
            f"{', '.join(get_args(Preset))}."
        )
        raise InputError(msg)
    if epochs is not None and epochs < 1:
        msg = f"--epochs {epochs}: a method must train for at least one epoch."
        raise InputError(msg)
    if preset == "robust":
        schedule = Schedule() if epochs is None else Schedule(epochs=epochs)
        return Robust(encoder, seed, device, Recipe(schedule=schedule))
    published = PIXEL2GENE if preset == "reference" else ISTAR
    own = published.epochs if epochs is None else epochs
    return Reference(encoder, seed, device, replace(published, epochs=own))


def load_fitted(folder: Path, device: torch.device) -> Fitted:
    """Load a saved model.

    Raises
    ------
    InputError
        If the folder holds none, or one that this version does not know.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        kind = config["method"], config["preset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder}: there is no saved model that can be read ({error}); train it again."
        raise InputError(msg) from error
    if kind == ("pixel2gene", "robust"):
        return FittedRobust.load(folder, device)
    if kind in {("pixel2gene", "reference"), ("pixel2gene", "istar")}:
        return FittedReference.load(folder, device)
    msg = f"{folder}: a model of {' '.join(map(str, kind))}; update napari-stenhance to use it."
    raise InputError(msg)
