"""SINCA-Net by its options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.methods.sinca.ensemble import SincaEnsemble, SincaRecipe
from napari_stenhance.methods.sinca.metacells import Attended
from napari_stenhance.methods.sinca.protocol import ImputationMethod
from napari_stenhance.methods.sinca.training import SincaSchedule

if TYPE_CHECKING:
    import torch


def make_imputation(
    attended: Attended, epochs: int | None, seed: int, device: torch.device
) -> ImputationMethod:
    """Make SINCA-Net, preset `robust`; epochs by default its own.

    Raises
    ------
    InputError
        If it cannot train so long.
    """
    if epochs is not None and epochs < 1:
        msg = f"{epochs} epochs: a method must train for at least one epoch."
        raise InputError(msg, option="epochs")
    schedule = SincaSchedule() if epochs is None else SincaSchedule(epochs=epochs)
    return SincaEnsemble(seed, device, attended, replace(SincaRecipe(), schedule=schedule))
