"""Where someone is taken to: the camera over a section, and an active layer that is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.layer_info import Place, layer_info, our_layers
from napari_stenhance.plugin.places import box_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_MARGIN = 0.95
_WORKED_ON = ("region", "tissue", "painting", "brush")
"""Layers that the user draws and paints in."""
_REGIONS = ("region", "outlined regions")


def move_camera(viewer: ViewerModel, place: Place) -> None:
    """Show all of a section; a picture under its spots may reach beyond the tissue."""
    box = box_of(viewer, place, but="picture")
    size = np.maximum(box[1] - box[0], 1e-9)
    viewer.scene.camera.center = (0.0, *box.mean(axis=0))
    viewer.scene.camera.zoom = _MARGIN * float(np.min(np.asarray(viewer.canvas.size) / size))


def centre_on(viewer: ViewerModel, box: NDArray[np.float64]) -> None:
    """Bring a box ((top, left), (bottom, right)) of the world into view, if it is not all there."""
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.size) / camera.zoom / 2
    off = np.abs(box - np.asarray(camera.center[-2:]))
    if (off > half).any():
        camera.center = (0.0, *box.mean(axis=0))
        # What is larger than the view is seen whole.
        share = float(np.max((box[1] - box[0]) / (2 * half)))
        camera.zoom = camera.zoom / max(share / _MARGIN, 1.0)


def make_active(viewer: ViewerModel, place: Place | None) -> None:
    """Make active what is seen, unless the user works on something else that is."""
    active = viewer.layers.selection.active
    info = None if active is None else layer_info(active)
    if active is not None and active.visible and (info is None or info.role.name in _WORKED_ON):
        return
    seen = [
        (layer, info)
        for layer, info in our_layers(viewer)
        if layer.visible and info.place is place and info.role.name not in _REGIONS
    ]
    images = [layer for layer, info in seen if info.role.fills]
    viewer.layers.selection.active = [None, *(layer for layer, _ in seen), *images][-1]


def say_value(viewer: ViewerModel) -> None:
    """Let the status bar say what is under the mouse now: napari says it when the mouse moves."""
    active = viewer.layers.selection.active
    if active is not None and isinstance(viewer.status, dict) and viewer.dims.ndisplay == 2:
        viewer.status = active.get_status(viewer.cursor.position, world=True)


class SeenLayers:
    """Makes active what is seen, where napari takes a layer that is hidden.

    Attributes
    ----------
    added : Layer or None
        The layer that napari has just added, and makes active.
    below : Layer or None
        That which lay below one that was just removed: napari makes it active.
    """

    def __init__(self, viewer: ViewerModel, place: Callable[[], Place | None]) -> None:
        self._viewer, self._place = ref(viewer), place
        self.added: Layer | None = None
        self.below: Layer | None = None
        viewer.layers.selection.events.changed.connect(self._selected)
        viewer.layers.selection.events.active.connect(self._activated)

    def _selected(self, event: Any) -> None:
        if self.below is not None and self.below in event.added:
            below, self.below = self.below, None
            self._leave(below)

    def _activated(self, event: Any) -> None:
        if event.value is not None and event.value is self.added:
            self.added = None
            self._leave(event.value)

    def _leave(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is not None and not layer.visible:
            make_active(viewer, self._place())
