"""Which layers of ours show what is looked at: the others are hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_stenhance.plugin.channels import is_shown
from napari_stenhance.plugin.section_runs import runs_seen

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.channels import Channel
    from napari_stenhance.plugin.layer_info import LayerInfo, Place
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.results.run import Run

OF_GENES = ("gene", "browse", "spots", "lattice")
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
    if name == "channel" or (look.channels and name in OF_GENES):
        return is_shown(info, run, look.channels)
    if name == "spots":
        if run is None:
            return look.run is None
        measured = look.gene in info.colours and look.what == "expression"
        return look.with_spots and measured
    if name == "lattice":
        mine = run is not None and info.of_run == run.key
        return mine and look.with_spots and look.gene in info.colours
    if name in {"gene", "browse"}:
        shown = run is not None and info.of_run in [
            one.key for one in runs_seen(look.viewer, look.place, run)
        ]
        return shown and layer.visible and (info.gene, info.what) == (look.gene, look.what)
    if info.run is not None:
        return layer.visible and look.run is not None and info.of_run == look.run.key
    return bool(layer.visible)
