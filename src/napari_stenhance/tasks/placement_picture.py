"""The spots of a section on its slide, as stated and as they fit better: a small picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.storage.atomic import atomic_path, need_free
from napari_stenhance.tasks.figure_page import drawn_as_ours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_stenhance.scoring.placement import Placement, PlacementFit
    from napari_stenhance.tasks.doctor import Diagnosis

_PANEL_INCHES, _DPI, _SMALL_PT = (3.6, 3.9), 130, 8
_BEYOND = 0.25
"""How far beyond the slide spots are still drawn, of its sides."""


def check_picture(path: Path) -> None:
    """Refuse a place for a picture, before anything is computed.

    Raises
    ------
    InputError
        If it is no PNG, or something lies there.
    """
    if path.suffix.lower() != ".png":
        msg = f"{path}: the picture is a PNG; give it a name that ends in .png."
        raise InputError(msg, option="picture")
    need_free(path)


def write_picture(found: Diagnosis, path: Path) -> None:
    """Write the picture of a diagnosis; nothing is overwritten."""
    with atomic_path(path) as aside:
        aside.write_bytes(placement_png(found.section, found.placement))


def placement_png(section: str, placement: Placement) -> bytes:
    """Draw the spots of a section on its slide, as stated, and as they fit clearly better if so.

    Returns
    -------
    bytes
        A PNG.
    """
    from matplotlib.figure import Figure

    stated, best = placement.stated, placement.best
    fits = [stated] if best is stated else [stated, best]
    width, height = _PANEL_INCHES
    with drawn_as_ours():
        page = Figure(figsize=(width * len(fits), height), dpi=_DPI, facecolor="white")
        for n, fit in enumerate(fits):
            _draw(page.add_subplot(1, len(fits), n + 1), section, placement, fit)
        page.tight_layout()
        drawn = io.BytesIO()
        page.savefig(drawn, format="png", dpi=_DPI, metadata={"Software": None})
    return drawn.getvalue()


def _draw(axes: Axes, section: str, placement: Placement, fit: PlacementFit) -> None:
    """Draw the spots as one way places them, coloured by depth."""
    from matplotlib.collections import EllipseCollection

    view, spots = placement.view, placement.spots
    rows, columns = view.grid.shape
    x0, y0, x1, y1 = view.grid.box_um(slice(0, rows), slice(0, columns))
    axes.imshow(view.pixels, extent=(x0 / 1000, x1 / 1000, y1 / 1000, y0 / 1000))
    xy = fit.way(spots.xy_um) / 1000
    # A lattice half as wide has spots half as large.
    size = spots.diameter_um * float(np.sqrt(abs(np.linalg.det(fit.way.matrix[:, :2])))) / 1000
    sizes: Any = np.full(len(xy), size)
    drawn = EllipseCollection(
        sizes, sizes, np.zeros(len(xy)), units="xy", offsets=xy, transOffset=axes.transData,
        array=spots.depth, cmap="viridis", edgecolors="white", linewidths=0.2,
    )  # fmt: skip
    axes.add_collection(drawn)
    wide, tall = ((x1 - x0) / 1000, (y1 - y0) / 1000)
    low = np.clip(xy.min(axis=0), [-_BEYOND * wide, -_BEYOND * tall], [x0 / 1000, y0 / 1000])
    high = np.clip(
        xy.max(axis=0),
        [x1 / 1000, y1 / 1000],
        [x1 / 1000 + _BEYOND * wide, y1 / 1000 + _BEYOND * tall],
    )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=_SMALL_PT)
    axes.set_xlabel("mm; spots coloured by depth, yellow: most", fontsize=_SMALL_PT)
    axes.set_title(
        f"{section}: {fit.way.name}\n{fit.on_tissue:.0%} on tissue, r {fit.r:.2f}",
        fontsize=_SMALL_PT + 1,
    )
