"""Keep a dock in step with the viewer's layers, for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget


def follow_layers(widget: QWidget, viewer: ViewerModel, update: Callable[[], None]) -> None:
    """Call `update` now and whenever a layer comes, goes or is renamed."""

    def changed(_event: Any = None) -> None:
        update()

    emitters = (
        viewer.layers.events.inserted,
        viewer.layers.events.removed,
        viewer.layers.events.renamed,
    )
    for emitter in emitters:
        emitter.connect(changed)

    def leave() -> None:
        for emitter in emitters:
            emitter.disconnect(changed)

    widget.destroyed.connect(leave)
    update()
