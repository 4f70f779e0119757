"""The caption on the canvas, above the colour bar: what its colours, or those of spots, mean."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from napari_stenhance.plugin.channels import channels_caption

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_stenhance.plugin.session import Session

_NAME = "stenhance_caption"
_WIDTH = 48
"""Letters in a line: where it is longer than a small canvas is wide, its beginning is not seen."""
_ORDER = 10**6 - 2
"""Above all layers, with the box behind it, and before the colour bar, which has 10**6."""


def caption_of(session: Session) -> str:
    """Return the title; where napari draws no bar, as for spots, with its ends.

    What is not reliable says so on a line of its own: the title is as wide as the canvas.
    """
    title, limits = session.title, session.limits
    if session.channels and session.genes is not None:
        return channels_caption(session.channels, session.genes)
    if title and limits is not None and session.run is None:
        return f"{title}: {limits[0]:.2f} – {limits[1]:.2f}"
    return title.replace(" – ", "\n")


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
