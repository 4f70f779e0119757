"""Where someone is taken to: the camera over a section, and an active layer that is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_stenhance.plugin.layer_info import Place, layer_info, our_layers
from napari_stenhance.plugin.places import box_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

_MARGIN = 0.95
_WORKED_ON = ("region", "tissue", "painting")
"""Layers that the user draws and paints in."""


def move_camera(viewer: ViewerModel, place: Place) -> None:
    """Show all of a section; a picture under its spots may reach beyond the tissue."""
    box = box_of(viewer, place, but="picture")
    size = np.maximum(box[1] - box[0], 1e-9)
    viewer.scene.camera.center = (0.0, *box.mean(axis=0))
    viewer.scene.camera.zoom = _MARGIN * float(np.min(np.asarray(viewer.canvas.size) / size))


def make_active(viewer: ViewerModel, place: Place | None) -> None:
    """Make active what is seen, unless the user works on something else that is."""
    active = viewer.layers.selection.active
    info = None if active is None else layer_info(active)
    if active is not None and active.visible and (info is None or info.role.name in _WORKED_ON):
        return
    seen = [
        (layer, info)
        for layer, info in our_layers(viewer)
        if layer.visible and info.place is place and info.role.name != "region"
    ]
    images = [layer for layer, info in seen if info.role.fills]
    viewer.layers.selection.active = [None, *(layer for layer, _ in seen), *images][-1]
