"""Keep a dock in step with the viewer's layers, for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from napari_stenhance.plugin.layer_info import layer_info, layers_of
from napari_stenhance.plugin.session import session_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from qtpy.QtWidgets import QWidget


def follow_layers(
    widget: QWidget,
    viewer: ViewerModel,
    update: Callable[[], None],
    drawn: Callable[[], None] = lambda: None,
) -> None:
    """Call `update` now and whenever a layer comes, goes or is renamed, until the widget is gone.

    What names itself after what it shows, as genes do, is not renamed in that sense.

    Parameters
    ----------
    widget : QWidget
    viewer : Viewer
    update : callable
    drawn : callable
        Called whenever something is drawn in a region layer, or deleted from it.
    """
    emitters = [viewer.layers.events.inserted, viewer.layers.events.removed]
    regions: list[Any] = []

    def changed(_event: Any = None) -> None:
        for layer, _ in layers_of(viewer, "region"):
            if layer.events.data not in regions:
                layer.events.data.connect(redrawn)
                regions.append(layer.events.data)
        update()

    def renamed(event: Any) -> None:
        info = layer_info(viewer.layers[event.index])
        if info is None or not info.role.covers:
            update()

    def redrawn(_event: Any = None) -> None:
        drawn()

    for emitter in emitters:
        emitter.connect(changed)
    viewer.layers.events.renamed.connect(renamed)

    def leave() -> None:
        viewer.layers.events.renamed.disconnect(renamed)
        for emitter in emitters:
            emitter.disconnect(changed)
        for emitter in regions:
            emitter.disconnect(redrawn)

    widget.destroyed.connect(leave)
    changed()


def follow_session(widget: QWidget, viewer: ViewerModel, update: Callable[[], None]) -> None:
    """Call `update` now, and whenever something else is looked at, until the widget is gone."""
    changed = session_of(viewer).changed

    def looked() -> None:
        update()

    changed.connect(looked)
    widget.destroyed.connect(lambda: changed.disconnect(looked))
    looked()


class Strokes:
    """Calls `painted` whenever something of layers of labels was painted, or taken back.

    Parameters
    ----------
    widget : QWidget
        It ends when this is gone.
    painted : callable
    """

    def __init__(self, widget: QWidget, painted: Callable[[], None]) -> None:
        emitters: list[Any] = []

        def changed(_event: Any = None) -> None:
            painted()

        def leave() -> None:
            for emitter in emitters:
                emitter.disconnect(changed)

        self._emitters, self._changed = emitters, changed
        widget.destroyed.connect(leave)

    def follow(self, layers: Iterable[Labels]) -> None:
        """Follow layers, those that are new among them."""
        for layer in layers:
            # A stroke updates what is under it, undo all that is seen; or there are others.
            events = layer.events
            for emitter in (events.labels_update, events.set_data, events.data):
                if emitter not in self._emitters:
                    emitter.connect(self._changed)
                    self._emitters.append(emitter)
