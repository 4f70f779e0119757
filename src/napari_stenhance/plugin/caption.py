"""The caption on the canvas, above the colour bar: what its colours, or those of spots, mean."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Protocol

from napari_stenhance.plugin.asked_for import Look
from napari_stenhance.plugin.channels import channels_caption
from napari_stenhance.plugin.genes import gene_title
from napari_stenhance.plugin.layer_info import layers_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_stenhance.results.gene_source import Reliability

_NAME = "stenhance_caption"
_WIDTH = 48
"""Letters in a line: where it is longer than a small canvas is wide, its beginning is not seen."""
_ORDER = 10**6 - 2
"""Above all layers, with the box behind it, and before the colour bar, which has 10**6."""


class Captioned(Look, Protocol):
    """What is looked at, with what its colours stand for."""

    limits: tuple[float, float] | None

    @property
    def label(self) -> str: ...
    @property
    def reliability(self) -> Reliability: ...


def title_of(session: Captioned) -> str:
    """Say what the colours stand for; empty where they stand for no gene, no counts, or several."""
    run = session.genes
    if session.limits is None or (session.run is not None and run is None):
        return ""
    if run is None:
        said = f"{session.label} measured" if session.gene else "total counts measured"
        return f"{said}, log1p{' CP10k' if session.gene else ''}"
    spots = layers_of(session.viewer, "spots")
    over = any(layer.visible and info.place is session.place for layer, info in spots)
    return gene_title(run, session.gene, session.what, session.reliability, over=over)


def caption_of(session: Captioned) -> str:
    """Return the title; where napari draws no bar, as for spots, with its ends.

    What is not reliable says so on a line of its own: the title is as wide as the canvas.
    """
    if session.channels and session.genes is not None:
        return channels_caption(session.channels, session.genes)
    title = title_of(session)
    if title and session.limits is not None and session.run is None:
        return f"{title}: {session.limits[0]:.2f} – {session.limits[1]:.2f}"
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
