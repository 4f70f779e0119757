"""What is said of what is looked at: on the canvas, and above the bar in the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_stenhance.plugin.asked_for import LookedAt
from napari_stenhance.plugin.channels import channels_caption
from napari_stenhance.plugin.genes import gene_title
from napari_stenhance.plugin.layer_info import ALONE, is_of_what_is_gone, layers_of
from napari_stenhance.results.scale import said_ends

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_stenhance.plugin.colours import Colours
    from napari_stenhance.results.gene_source import Reliability


class Shown(LookedAt, Protocol):
    """What is looked at, and how it is shown, as a session says it."""

    limits: tuple[float, float] | None
    other_limits: tuple[float, float] | None

    @property
    def measured(self) -> Colours | None: ...
    @property
    def reliability(self) -> Reliability: ...


def label_of(shown: Shown) -> str:
    """Say what the gene, or the sum of genes, is called."""
    source = shown.genes or shown.measured
    return source.names.label(shown.gene) if source and shown.gene else shown.gene


def title_of(shown: Shown) -> str:
    """Say what the bar stands for; empty where what is seen is of no gene, no counts, or several.

    What the user has hidden is not spoken of.
    """
    run, spots = shown.genes, shown.measured
    if shown.limits is None or (shown.run is not None and run is None):
        return ""
    over = _seen(shown, "spots") and shown.other_limits is None
    if run is not None and _seen(shown, "gene", "browse", "lattice", "cells"):
        return gene_title(run, shown.gene, shown.what, shown.reliability, over=over)
    if not over or spots is None:
        return ""
    said = f"{label_of(shown)} measured" if shown.gene else "total counts measured"
    return f"{said}, {spots.unit if shown.gene else 'log1p'}"


def other_title_of(shown: Shown) -> str:
    """Say what spots stand for whose unit is not that of the bar; empty if there are none."""
    if shown.other_limits is None or shown.measured is None or not _seen(shown, "spots"):
        return ""
    low, high = said_ends(shown.other_limits)
    return f"spots: {label_of(shown)} measured, {shown.measured.unit}: {low} – {high}"


def caption_of(shown: Shown) -> str:
    """Return the title; where napari draws no bar, as for spots, with its ends.

    What is not reliable says so on a line of its own: the title is as wide as the canvas.
    """
    for layer, info in layers_of(shown.viewer, *ALONE):
        if layer.visible and info.place is shown.place:
            if info.role.name == "marked":
                unit = "" if info.run is None else f"{info.run.unit}; "
                return f"{info.part}, predicted\n{unit}at most 1 in 10 wrong on held-out"
            if info.role.name == "depth":
                low, high = layer.contrast_limits
                return f"total counts of a spot, predicted\n{low:,.0f} – {high:,.0f}"
            if info.role.name == "unfamiliar":
                return "unfamiliar tissue\n1 is the edge of what was learned"
            return f"similarity to {info.part}, predicted\n1 alike, 0 unlike, -1 opposite"
    if shown.channels and shown.genes is not None:
        return channels_caption(shown.channels, shown.genes)
    said = title_of(shown)
    if said and shown.limits is not None and not _seen(shown, "gene", "browse"):
        said = f"{said}: {' – '.join(said_ends(shown.limits))}"
    else:
        said = said.replace(" – ", "\n")
    pictures = [_said_of_picture(one) for one in shown.viewer.layers if is_of_what_is_gone(one)]
    if any(pictures) and said:
        said = f"spots: {said}"
        pictures = [f"over it: {one}" for one in pictures if one]
    return "\n".join(filter(None, (said, other_title_of(shown), *pictures)))


def _said_of_picture(layer: Layer) -> str:
    """Say what a picture of what is gone shows; nothing while it is hidden."""
    if not layer.visible:
        return ""
    limits = getattr(layer, "contrast_limits", None)
    return f"{layer.name}{'' if limits is None else ': ' + ' – '.join(said_ends(limits))}"


def _seen(shown: Shown, *roles: str) -> bool:
    layers = layers_of(shown.viewer, *roles)
    return any(
        layer.visible and info.place is shown.place and info.gene == shown.gene
        for layer, info in layers
    )
