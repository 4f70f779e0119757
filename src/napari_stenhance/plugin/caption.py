"""The caption on the canvas: which gene is seen, in which unit, predicted or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session

_NAME = "stenhance_caption"


def caption(session: Session) -> str:
    """Say what the colours show, and what the first and the last of them stand for."""
    run, gene, limits = session.genes, session.gene, session.limits
    if session.place is None or limits is None or (session.run is not None and run is None):
        return ""
    ends = f"{limits[0]:.2f} – {limits[1]:.2f}"
    if run is None:
        what = f"{gene} measured, log1p CP10k" if gene else "total counts, log1p"
        return f"{what}: {ends}"
    said = "uncertainty of " if session.what == "spread" else ""
    return f"{said}{gene} {run.origin(gene)}, {run.unit}: {ends}"


def show_caption(session: Session) -> None:
    """Write it beside the colour bar."""
    from napari.components._viewer_constants import CanvasPosition
    from napari.components.overlays import TextOverlay

    overlays = session.viewer.canvas.overlays
    if _NAME not in overlays:
        overlays[_NAME] = TextOverlay(position=CanvasPosition.TOP_RIGHT, font_size=10)
    text = caption(session)
    overlays[_NAME].text = text
    overlays[_NAME].visible = bool(text)
