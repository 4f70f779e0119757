"""Runs whose images are one picture: that of a region over that of the whole slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.results.gene_source import GeneSource

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.results.run import Run


def mosaic(viewer: ViewerModel, place: Place | None, run: GeneSource) -> list[GeneSource]:
    """Return the runs whose images are seen together: under a region, that of the whole."""
    if not run.identity.get("region"):
        return [run]
    whole = [
        info.run
        for _, info in layers_of(viewer, "browse")
        if info.place is place
        and isinstance(info.run, GeneSource)
        and is_same_but_region(info.run, run)
    ]
    return [*whole[-1:], run]


def is_same_but_region(one: Run, other: Run) -> bool:
    """Tell whether two runs learned and predict the same, one of them everywhere."""
    first, second = ({k: v for k, v in r.identity.items() if k != "region"} for r in (one, other))
    return not one.identity.get("region") and first == second
