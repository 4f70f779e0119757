"""Clicks on the canvas that choose something: drags, and what one draws with, are napari's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel

_STILL_PX = 4
"""How far the mouse may move in a click."""


def is_click(viewer: ViewerModel, event: Any) -> Generator[None, None, bool]:
    """Follow the mouse until it is let go, and tell whether it chose what lay under it.

    Parameters
    ----------
    viewer : ViewerModel
    event : Event
        Of a callback of `mouse_drag_callbacks`, which yields wherever this does.
    """
    active = viewer.layers.selection.active
    moving = active is None or str(active.mode) in {"pan_zoom", "transform"}
    if event.button != 1 or not moving:
        return False
    start = np.array(event.pos)
    yield
    while event.type == "mouse_move":
        if np.abs(np.array(event.pos) - start).max() > _STILL_PX:
            return False
        yield
    return True


def follow_drag(
    viewer: ViewerModel,
    event: Any,
    px: Callable[[Any], tuple[float, float]],
    moved: Callable[[float, float], None] | None,
) -> Generator[None, None, bool]:
    """Follow the mouse until it is let go, and tell whether it stayed where it was pressed.

    Parameters
    ----------
    viewer : ViewerModel
    event : Event
        As of `is_click`.
    px : callable
        Returns (x, y) of an event, in what is moved.
    moved : callable or None
        Told how far (dx, dy) the mouse is from where it was pressed; meanwhile the slide stays.
    """
    start, at = px(event), np.array(event.pos)
    camera, still = viewer.scene.camera, True
    before = camera.mouse_pan
    if moved is not None:
        camera.mouse_pan = False
    try:
        yield
        while event.type == "mouse_move":
            still &= bool(np.abs(np.array(event.pos) - at).max() <= _STILL_PX)
            if moved is not None and not still:
                x, y = px(event)
                moved(x - start[0], y - start[1])
            yield
    finally:
        camera.mouse_pan = before
    return still
