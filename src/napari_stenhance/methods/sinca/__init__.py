"""SINCA-Net: genes that the spots did not measure, from single cells (methods page, part 1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_stenhance.methods.registry import MethodEntry, with_epochs

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.sinca.protocol import HiddenGenes, ImputationMethod


def _make(options: Any, seed: int, device: torch.device) -> ImputationMethod:
    from napari_stenhance.methods.sinca.ensemble import SincaEnsemble, SincaRecipe
    from napari_stenhance.methods.sinca.training import SincaSchedule

    recipe = SincaRecipe(schedule=with_epochs(SincaSchedule(), options.epochs))
    return SincaEnsemble(seed, device, options.attended, recipe)


def _published(options: Any, device: torch.device) -> HiddenGenes:
    from napari_stenhance.methods.sinca.reference import first, recipe, training

    if options.preset == "first":
        early = with_epochs(first.SincaFirstRecipe(), options.epochs)
        return training.as_published(partial(first.predict_held_out_first, recipe=early), device)
    published = with_epochs(recipe.SincaReferenceRecipe(), options.epochs)
    return training.as_published(partial(training.predict_held_out, recipe=published), device)


METHOD = MethodEntry(
    name="sinca",
    title="SINCA-Net",
    kind="imputation",
    text="spots and single cells",
    make=_make,
    presets=("robust", "reference", "first"),
    options=("attended",),
    published=_published,
)
