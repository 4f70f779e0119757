"""The caption on the canvas, above the colour bar: what its colours, or those of spots, mean."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NAME = "stenhance_caption"
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
    lines = [textwrap.fill(line, _WIDTH) for line in text.split("\n")]
    canvas.overlays[_NAME].text = "\n".join(lines)
    canvas.overlays[_NAME].visible = bool(text)
