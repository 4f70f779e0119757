"""The caption on the canvas, above the colour bar: what its colours, or those of spots, mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NAME = "stenhance_caption"
_ORDER = 10**6 - 2
"""Above all layers, with the box behind it, and before the colour bar, which has 10**6."""


def show_caption(viewer: ViewerModel, title: str, ends: tuple[float, float] | None = None) -> None:
    """Write what the colours stand for; empty takes it away.

    Parameters
    ----------
    viewer : Viewer
    title : str
        What is not reliable says so on a line of its own: the title is as wide as the canvas.
    ends : tuple of float, optional
        What the first and the last colour stand for, where no bar says so.
    """
    from napari.components._viewer_constants import CanvasPosition
    from napari.components.overlays import TextOverlay

    text = title.replace(" – ", "\n")
    if title and ends is not None:
        text = f"{title}: {ends[0]:.2f} – {ends[1]:.2f}"
    canvas = viewer.canvas
    if _NAME not in canvas.overlays:
        position = CanvasPosition.TOP_RIGHT
        canvas.overlays[_NAME] = TextOverlay(position=position, font_size=10, order=_ORDER)
        canvas.overlay_tiling.top_right = "vertical"
    canvas.overlays[_NAME].text = text
    canvas.overlays[_NAME].visible = bool(text)
