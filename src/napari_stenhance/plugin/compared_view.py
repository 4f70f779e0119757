"""Views of a comparison beside each other, under one camera, and nothing else meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.genes import set_contrast
from napari_stenhance.plugin.images import set_colormap
from napari_stenhance.plugin.layer_info import LayerData, Place, layers_of
from napari_stenhance.plugin.looks import SavedCamera
from napari_stenhance.plugin.places import box_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.comparison import ComparedSide

_GAP, _FILLED = 0.02, 0.9
_FONTS = {1: 8, 2: 8, 3: 7}
"""Of titles, in points, by the number of views."""


def compared_boxes(viewer: ViewerModel, sides: Sequence[ComparedSide]) -> list[NDArray[np.float64]]:
    """Return ((top, left), (bottom, right)) of each side in its section: of spots, or else of all.

    Parameters
    ----------
    viewer : ViewerModel
    sides : sequence of ComparedSide
    """
    boxes = []
    for place in (side.place for side in sides):
        spots = [one for one, info in layers_of(viewer, "spots") if info.place is place]
        box = spots[0].extent.world if spots else box_of(viewer, place)
        boxes.append(np.asarray(box) - place.origin)
    return boxes


class ComparedView:
    """A viewer that shows a comparison, and nothing else meanwhile.

    Parameters
    ----------
    viewer : ViewerModel
    quiet : callable
        Gives a context in which layers change without being looked at.
    """

    def __init__(self, viewer: ViewerModel, quiet: Callable[[], Any]) -> None:
        self._viewer, self._quiet = viewer, quiet
        self._before: Mapping[Layer, bool] = {}
        self._camera: SavedCamera | None = None
        self._place: Place | None = None
        self._boxes = np.zeros((0, 2, 2))

    @property
    def layers(self) -> list[Layer]:
        """The layers of the comparison."""
        return [layer for layer in self._viewer.layers if COMPARED in layer.metadata]

    @property
    def is_on(self) -> bool:
        """Whether something is compared."""
        return self._camera is not None

    def show(
        self,
        views: list[list[LayerData]],
        number: int,
        place: Place,
        boxes: Sequence[NDArray[np.float64]],
    ) -> Iterator[None]:
        """Show views beside each other, a layer a turn; what was seen before is hidden.

        Parameters
        ----------
        views : list of list of tuple
            Layers of each, from the bottom up.
        number : int
            How many each has.
        place : Place
            Where all of them lie.
        boxes : sequence of ndarray
            Of what is to be seen of each side, the first in coordinates of that place: all have one
            centre.
        """
        from napari.layers import Layer as LayerClass

        grid = self._viewer.canvas.grid
        new = self._camera is None or not np.array_equal(boxes, self._boxes)
        self._boxes = np.array(boxes)
        if self._camera is None:
            self._camera, self._place = SavedCamera.of(self._viewer, place), place
        self.hide_others()
        for _ in self.layers:
            self.remove_one()
            yield
        # The first view is made of the layers on top: so what lies below does not count.
        for view in reversed(views):
            for data in view:
                layer = LayerClass.create(*data)
                with self._quiet():
                    self._viewer.layers.append(layer)
                    if data is view[-1]:
                        self._title(layer, _FONTS[len(views)])
                yield
        grid.shape, grid.stride, grid.spacing = (1, -1), -number, _GAP
        grid.enabled = True
        if new:
            self._fit(place, len(views))

    def show_another(self, views: list[list[LayerData]]) -> Iterator[None]:
        """Show another gene in the views that are there: to remove a layer takes napari long."""
        tops = iter([view[-1] for view in reversed(views)])
        for layer in self.layers:
            if not layer.name_overlay.visible:
                # A slide, which stays.
                continue
            data, attributes, kind = next(tops)
            with self._quiet():
                layer.name = attributes["name"]
                if kind == "points":
                    layer.face_color = attributes["face_color"]
                else:
                    layer.data = data
                    set_contrast(layer, attributes["contrast_limits"])
                    set_colormap(layer, attributes["colormap"])
            yield

    def _fit(self, place: Place, views: int) -> None:
        """Let each view show all of its side."""
        height, width = self._viewer.canvas.size
        room = np.array((height, width / views - _GAP * width))
        largest = (self._boxes[:, 1] - self._boxes[:, 0]).max(axis=0)
        camera = self._viewer.scene.camera
        camera.center = (0.0, *(self._boxes[0].mean(axis=0) + place.origin))
        camera.zoom = _FILLED * float(np.min(room / np.maximum(largest, 1e-9)))

    @staticmethod
    def _title(layer: Layer, size: int) -> None:
        """Write over a view what it shows, and below it its colours."""
        layer.name_overlay.font_size, layer.name_overlay.visible = size, True
        if type(layer).__name__ == "Image":
            layer.colorbar.position, layer.colorbar.visible = "bottom_left", True

    def hide_others(self) -> None:
        """Hide what is not compared; what was seen of it is shown again in the end."""
        with self._quiet():
            for layer in self._viewer.layers:
                if COMPARED in layer.metadata:
                    continue
                if layer not in self._before:
                    self._before = {**self._before, layer: layer.visible}
                layer.visible = False

    def end(self) -> None:
        """Hide the comparison, whose layers may then be removed, and show what was seen before."""
        grid = self._viewer.canvas.grid
        with self._quiet():
            for layer in self.layers:
                layer.visible = False
            grid.enabled, grid.stride, grid.shape, grid.spacing = False, 1, (-1, -1), 0
            for layer, visible in self._before.items():
                if layer in self._viewer.layers:
                    layer.visible = visible
        if self._camera is not None and self._place is not None:
            self._camera.move(self._viewer, self._place)
        self._before, self._camera = {}, None

    def remove_one(self) -> None:
        """Remove one layer of the comparison: after each, others should have their turn."""
        with self._quiet():
            for layer in self.layers[:1]:
                self._viewer.layers.remove(layer)
