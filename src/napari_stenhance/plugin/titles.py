"""What is said of what is looked at: on the canvas, and above the bar in the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.plugin.channels import channels_caption
from napari_stenhance.plugin.genes import gene_title
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.levels import said_ends

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session


def title_of(session: Session) -> str:
    """Say what the bar stands for; empty where what is seen is of no gene, no counts, or several.

    What the user has hidden is not spoken of.
    """
    run, spots = session.genes, session.measured
    if session.limits is None or (session.run is not None and run is None):
        return ""
    over = _seen(session, "spots") and session.other_limits is None
    if run is not None and _seen(session, "gene", "browse", "lattice"):
        return gene_title(run, session.gene, session.what, session.reliability, over=over)
    if not over or spots is None:
        return ""
    said = f"{session.label} measured" if session.gene else "total counts measured"
    return f"{said}, {spots.unit if session.gene else 'log1p'}"


def other_title_of(session: Session) -> str:
    """Say what spots stand for whose unit is not that of the bar; empty if there are none."""
    if session.other_limits is None or session.measured is None or not _seen(session, "spots"):
        return ""
    low, high = said_ends(session.other_limits)
    return f"spots: {session.label} measured, {session.measured.unit}: {low} – {high}"


def caption_of(session: Session) -> str:
    """Return the title; where napari draws no bar, as for spots, with its ends.

    What is not reliable says so on a line of its own: the title is as wide as the canvas.
    """
    if session.channels and session.genes is not None:
        return channels_caption(session.channels, session.genes)
    said = title_of(session)
    if said and session.limits is not None and not _seen(session, "gene", "browse"):
        said = f"{said}: {' – '.join(said_ends(session.limits))}"
    else:
        said = said.replace(" – ", "\n")
    return "\n".join(filter(None, (said, other_title_of(session))))


def _seen(session: Session, *roles: str) -> bool:
    layers = layers_of(session.viewer, *roles)
    return any(
        layer.visible and info.place is session.place and info.gene == session.gene
        for layer, info in layers
    )
