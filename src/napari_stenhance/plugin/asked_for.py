"""Which layers of ours show what is looked at: the others are hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_stenhance.plugin.channels import is_shown
from napari_stenhance.plugin.layer_info import ALONE, layers_of
from napari_stenhance.plugin.section_runs import runs_seen

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.layer_info import LayerInfo, Place
    from napari_stenhance.results.channels import Channel
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.run import Run

OF_SPOTS = ("spots", "lattice", "cells")
"""Layers that show one gene at spots, between them, or in cells."""
OF_GENES = ("gene", "browse", *OF_SPOTS)
"""Layers that show one gene."""


class LookedAt(Protocol):
    """What is looked at, as a session says it."""

    place: Place | None
    run: Run | None
    gene: str
    what: What
    channels: tuple[Channel, ...]
    with_spots: bool

    @property
    def viewer(self) -> ViewerModel: ...
    @property
    def genes(self) -> GeneSource | None: ...


def is_asked_for(look: LookedAt, layer: Layer, info: LayerInfo) -> bool:
    """Tell whether a layer shows what is looked at."""
    if info.place is not look.place:
        return False
    name, run = info.role.name, look.genes
    measured = name in OF_SPOTS and look.gene in info.colours and look.what == "expression"
    if name == "channel" or (look.channels and name in OF_GENES):
        return is_shown(info, run, look.channels)
    if name == "spots":
        if run is None:
            return look.run is None
        return look.with_spots and measured
    if name in {"lattice", "cells"}:
        mine = run is not None and info.of_run == run.key
        return mine and look.with_spots and measured
    if name in {"gene", "browse"}:
        shown = run is not None and info.of_run in [
            one.key for one in runs_seen(look.viewer, look.place, run)
        ]
        return shown and layer.visible and (info.gene, info.what) == (look.gene, look.what)
    if name in ALONE:
        # It is looked at by itself: over a gene neither could be read.
        return False
    if info.run is not None:
        return layer.visible and look.run is not None and info.of_run == look.run.key
    return bool(layer.visible)


def under_hidden(look: LookedAt, info: LayerInfo) -> GeneSource | None:
    """Return the whole's run where what was hidden is the image of a region over it; else None."""
    run = look.genes
    if run is None or look.channels or info.role.name not in {"gene", "browse"}:
        return None
    under = runs_seen(look.viewer, look.place, run)[0]
    return under if under is not run and (info.of_run, info.gene) == (run.key, look.gene) else None


def are_spots_seen(look: LookedAt) -> bool:
    """Tell whether spots of the section, or of a lattice over it, are seen."""
    return is_seen(look, *OF_SPOTS)


def is_seen(look: LookedAt, *roles: str) -> bool:
    """Tell whether any layer of the section with some roles is seen."""
    layers = layers_of(look.viewer, *roles)
    return any(layer.visible and info.place is look.place for layer, info in layers)


def why_no_spots(look: LookedAt) -> str:
    """Say why spots cannot be shown over what is looked at, or hidden; empty where they can."""
    run = look.genes
    if run is None:
        return "Spots are shown over the image of a run, and none is looked at."
    if look.channels:
        return "Several genes are shown at once, and spots show one: they are hidden meanwhile."
    if look.what == "spread":
        return "Spots were measured: they have no uncertainty, and are hidden meanwhile."
    found = [
        info.colours
        for _, info in layers_of(look.viewer, *OF_SPOTS)
        if info.place is look.place and info.of_run in {None, run.key}
    ]
    if not any(look.gene in colours for colours in found if colours is not None):
        return "The spots did not measure this." if found else "No spots of this section are open."
    return ""
