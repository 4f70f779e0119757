"""SpaMCAF: crops of two sizes under gated attention, and what lies around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.methods.registry import MethodEntry

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.protocol import Fitted, Method


def _make(options: Any, seed: int, device: torch.device) -> Method:
    from napari_stenhance.methods.crops.presets import make_crop_method
    from napari_stenhance.methods.spamcaf.network import SPAMCAF
    from napari_stenhance.methods.spamcaf.reference import SPAMCAF_REFERENCE

    return make_crop_method(SPAMCAF, SPAMCAF_REFERENCE, options, seed, device)


def _load(folder: Path, device: torch.device) -> Fitted:
    from napari_stenhance.methods.crops.presets import load_crop_model
    from napari_stenhance.methods.spamcaf.network import SPAMCAF
    from napari_stenhance.methods.spamcaf.reference import SPAMCAF_REFERENCE

    return load_crop_model(SPAMCAF, SPAMCAF_REFERENCE, folder, device)


METHOD = MethodEntry(
    name="spamcaf",
    title="SpaMCAF",
    kind="genes",
    text="crops of two sizes, and those around them",
    make=_make,
    load=_load,
    presets=("robust", "reference"),
    options=("crops", "pitch", "lattice"),
)
