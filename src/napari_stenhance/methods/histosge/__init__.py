"""HisToSGE: crops with a position code, attention between positions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.methods.registry import MethodEntry

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Fitted, Method


def _make(options: Any, seed: int, device: torch.device) -> Method:
    from napari_stenhance.methods.crops.presets import make_crop_method
    from napari_stenhance.methods.histosge.network import HISTOSGE
    from napari_stenhance.methods.histosge.reference import HISTOSGE_REFERENCE

    return make_crop_method(HISTOSGE, HISTOSGE_REFERENCE, options, seed, device)


def _load(folder: Path, device: torch.device) -> Fitted:
    from napari_stenhance.methods.crops.presets import load_crop_model
    from napari_stenhance.methods.histosge.network import HISTOSGE
    from napari_stenhance.methods.histosge.reference import HISTOSGE_REFERENCE

    return load_crop_model(HISTOSGE, HISTOSGE_REFERENCE, folder, device)


METHOD = MethodEntry(
    name="histosge",
    title="HisToSGE",
    kind="genes",
    text="one crop, and those around it",
    make=_make,
    load=_load,
    presets=("robust", "reference"),
    options=("crops", "pitch", "lattice"),
)
