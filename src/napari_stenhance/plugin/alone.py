"""How a layer of `ALONE` is looked at: by itself, over the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_stenhance.plugin.session import Session


def look_alone(session: Session, layer: Layer) -> None:
    """Look at a layer by itself, and make it the active one."""
    layer.visible = True
    session.look_at_slide(layer)
    session.viewer.layers.selection.active = layer
