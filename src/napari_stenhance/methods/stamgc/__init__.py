"""STAMGC: spatial domains from spots, cells or superpixels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.methods.registry import MethodEntry, with_epochs

if TYPE_CHECKING:
    import torch

    from napari_stenhance.methods.stamgc.protocol import DomainMethod


def _make(options: Any, seed: int, device: torch.device) -> DomainMethod:
    """Clustering, runs and refine are options of `robust`, group one of `reference`."""
    from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
    from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
    from napari_stenhance.methods.stamgc.reference import StamgcReference

    if options.runs is not None and options.runs < 1:
        msg = f"{options.runs} runs: at least one training is needed."
        raise InputError(msg, option="runs")
    if options.preset == "reference":
        plain = options.clustering in {"auto", "kmeans"} and options.runs in {None, 1}
        if not plain or options.refine:
            msg = (
                "The preset reference clusters one run with K-means, as published; leave out "
                "clustering, runs and refine, or choose the preset robust."
            )
            raise InputError(msg, option="preset")
        return StamgcReference(seed, device, options.group, options.epochs)
    if options.group:
        msg = f"Group {options.group}: groups are configurations of the preset reference; "
        raise InputError(f"{msg}leave it out.", option="group")
    recipe = with_epochs(StamgcRecipe(refine=options.refine), options.epochs)
    if options.clustering != "auto":
        recipe = replace(recipe, clustering=options.clustering)
    if options.runs is not None:
        recipe = replace(recipe, runs=options.runs)
    return StamgcEnsemble(seed, device, recipe)


METHOD = MethodEntry(
    name="stamgc",
    title="STAMGC",
    kind="domains",
    text="spots, or superpixels of a result",
    make=_make,
    presets=("robust", "reference"),
    options=("clustering", "runs", "refine", "group"),
)
