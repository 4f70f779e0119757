"""STAMGC by preset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from napari_stenhance.errors import InputError
from napari_stenhance.methods.stamgc.clustering import Clustering
from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble, StamgcRecipe
from napari_stenhance.methods.stamgc.protocol import DomainMethod
from napari_stenhance.methods.stamgc.reference import StamgcReference

if TYPE_CHECKING:
    import torch

DomainPreset = Literal["robust", "reference"]


def make_domain_method(
    preset: DomainPreset,
    clustering: Clustering,
    runs: int,
    refine: bool,
    group: str,
    epochs: int | None,
    seed: int,
    device: torch.device,
) -> DomainMethod:
    """Make STAMGC.

    `clustering`, `runs` and `refine` are options of `robust`, `group` one of `reference`; epochs
    are by default those of the preset.

    Raises
    ------
    InputError
        If an option has no meaning for the preset, or no sense.
    """
    if runs < 1:
        msg = f"{runs} runs: at least one training is needed."
        raise InputError(msg, option="runs")
    if epochs is not None and epochs < 1:
        msg = f"{epochs} epochs: a method must train for at least one epoch."
        raise InputError(msg, option="epochs")
    if preset == "reference":
        if (clustering, runs, refine) != ("kmeans", 1, False):
            msg = (
                "The preset reference clusters one run with K-means, as published; leave out "
                "clustering, runs and refine, or choose the preset robust."
            )
            raise InputError(msg, option="preset")
        return StamgcReference(seed, device, group, epochs)
    if group:
        msg = f"Group {group}: groups are configurations of the preset reference; leave it out."
        raise InputError(msg, option="group")
    recipe = StamgcRecipe(clustering=clustering, runs=runs, refine=refine)
    return StamgcEnsemble(
        seed, device, recipe if epochs is None else replace(recipe, epochs=epochs)
    )
