"""The caption on the canvas, above the colour bar: what its colours, or those of spots, mean."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.viewer import Viewer

_NAME = "stenhance_caption"
_BEFORE = "  "
"""Before each line: napari takes lines for narrower than they are drawn, by a few hundredths, and
they would begin outside the box behind them."""
_WIDTH = 48
"""Letters in a line: where it is longer than a small canvas is wide, its beginning is not seen."""
_ORDER = 10**6 - 2
"""Above all layers, with the box behind it, and before the colour bar, which has 10**6."""


def show_caption(viewer: ViewerModel, text: str) -> None:
    """Write what the colours stand for; empty takes it away."""
    from napari.components._viewer_constants import CanvasPosition
    from napari.components.overlays import TextOverlay

    canvas = viewer.canvas
    if _NAME not in canvas.overlays:
        position = CanvasPosition.TOP_RIGHT
        canvas.overlays[_NAME] = TextOverlay(position=position, font_size=10, order=_ORDER)
        canvas.overlay_tiling.top_right = "vertical"
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, _WIDTH)]
    canvas.overlays[_NAME].text = "\n".join(f"{_BEFORE}{line}" for line in lines)
    canvas.overlays[_NAME].visible = bool(text)


def place_overlays(viewer: Viewer) -> None:
    """Let the caption and bars that changed lie where they belong before they are drawn.

    napari finds a place for them while it draws, and draws all of its canvas once more for that.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    viewer.window._qt_viewer.canvas._update_overlay_canvas_positions()
