"""What is seen in a viewer as the options of a figure for print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.asked_for import is_seen
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.layer_info import Place, layers_of, slide_layer
from napari_stenhance.plugin.outlined import outlined_at
from napari_stenhance.plugin.places import box_of
from napari_stenhance.plugin.regions import polygons_um
from napari_stenhance.section.region import Region
from napari_stenhance.tasks.figure_options import FigureOptions

if TYPE_CHECKING:
    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.domains import DomainRun

_WHOLE = 0.9
"""Of a section, from which on all of it is drawn, and not what is in view."""


def view_as_figure(session: Session, out: Path) -> FigureOptions:
    """Ask for a figure of what is seen: gene, scale, part of the section, regions.

    Raises
    ------
    InputError
        If nothing of a result is seen.
    """
    if any(COMPARED in layer.metadata for layer in session.viewer.layers):
        msg = "A figure is drawn of what is seen without the comparison: press End in the panel "
        msg += "Compare. It shows what was measured beside what was predicted, if spots are shown."
        raise InputError(msg)
    genes, panels = _genes_and_panels(session)
    found = _seen_domains(session)
    if found is not None:
        panels.append("domains")
    run = session.genes if genes else found
    if run is None or session.place is None:
        msg = "A figure is drawn of what a result shows: open one, or run something, and look at "
        msg += "a gene or at domains."
        raise InputError(msg)
    colormap = session.colormap.name
    return FigureOptions(
        result=run.result.path,
        out=out,
        genes=genes,
        panels=tuple(panels),
        run=run.name,
        box=_box(session, session.place),
        outlines=_outlines(session),  # type: ignore[arg-type]
        limits=_limits(session),
        colormap=colormap if _is_known(colormap) else FigureOptions.colormap,
        background="he" if is_seen(session, "slide") else "white",
        reliable=session.least_r,
    )


def lost_colours(session: Session) -> str:
    """Say that the colours of the window are none of a figure; empty if they are."""
    name = session.colormap.name
    if session.channels or _is_known(name):
        return ""
    return f"Drawn in {FigureOptions.colormap}: figures know no colormap {name}."


def _genes_and_panels(session: Session) -> tuple[tuple[str, ...], list[str]]:
    """Return what is seen of genes, and as what."""
    if session.genes is None:
        return (), []
    if session.channels:
        return tuple(one.gene for one in session.channels), ["together"]
    if not is_seen(session, "gene", "browse"):
        return (), []
    shown = ["uncertainty"] if session.what == "spread" else ["predicted"]
    measured = session.what == "expression" and is_seen(session, "spots")
    return (session.gene,), [*(["measured"] if measured else []), *shown]


def _seen_domains(session: Session) -> DomainRun | None:
    from napari_stenhance.results.domains import DomainRun

    for layer, info in layers_of(session.viewer, "domains"):
        mine = layer.visible and info.place is session.place and isinstance(info.run, DomainRun)
        if mine and session.genes in {None, info.run}:
            return info.run
    return None


def _box(session: Session, place: Place) -> str:
    """Say which part of the section is in view; empty for all of it."""
    viewer = session.viewer
    centre = np.array(viewer.scene.camera.center[-2:])
    half = np.array(viewer.canvas.size) / viewer.scene.camera.zoom / 2
    low, high = np.array(box_of(viewer, place))
    seen_low, seen_high = np.maximum(centre - half, low), np.minimum(centre + half, high)
    size = seen_high - seen_low
    if (size <= 0).any() or (size >= _WHOLE * (high - low)).all():
        return ""
    (y0, x0), (y1, x1) = seen_low - place.origin, seen_high - place.origin
    return f"{x0:.1f},{y0:.1f},{x1:.1f},{y1:.1f}"


def _outlines(session: Session) -> Region | None:
    """Return the regions that are seen."""
    polygons: list[Any] = []
    for layer, info in layers_of(session.viewer, "region"):
        if layer.visible and info.place is session.place and len(layer.data):
            section = info.section or session.section
            if section is not None and section.slide is not None:
                polygons += polygons_um(layer, slide_layer(session.viewer, section))
    for layer, outlined in outlined_at(session.viewer, session.place):
        polygons += list(outlined.regions.areas) if layer.visible else []
    return Region.from_shapes(polygons) if polygons else None


def _is_known(colormap: str) -> bool:
    from matplotlib import colormaps

    return colormap in colormaps


def _limits(session: Session) -> tuple[str, ...]:
    """Return the scales of the window: those of genes together, or that which the user has set."""
    if session.channels:
        return tuple(_said(one.limits) for one in session.channels)
    chosen = session.limits if session.limits_chosen else None
    return () if chosen is None else (_said(chosen),)


def _said(limits: tuple[float, float]) -> str:
    return ",".join(f"{value:.9g}" for value in limits)
