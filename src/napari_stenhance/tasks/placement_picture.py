"""The spots of a section on its slide, as stated and as they fit better: a small picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.storage.atomic import atomic_path, need_free
from napari_stenhance.tasks.figure_page import drawn_as_ours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_stenhance.scoring.placement import Placement, PlacementFit

_PANEL_INCHES, _EDGES_INCHES, _DPI, _SMALL_PT = 3.2, (0.4, 0.45, 0.65), 130, 8
"""How long a panel is at most; and the room left of it, below and above."""
_AROUND, _BEYOND = 0.12, 0.25
"""How much is shown around the spots, of their extent; and beyond the slide, of its sides."""
_SHADES, _MANY, _LETTERS = (2, 98), 1000, 50


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


def write_picture(section: str, placement: Placement, path: Path) -> None:
    """Write the picture of a section's spots; nothing is overwritten."""
    with atomic_path(path) as aside:
        aside.write_bytes(placement_png(section, placement))


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
    box = _shown_mm(placement, fits)
    wide, tall = box[1] - box[0]
    panel = _PANEL_INCHES * min(1.0, wide / tall), _PANEL_INCHES * min(1.0, tall / wide)
    left, below, above = _EDGES_INCHES
    width, height = left + panel[0], below + panel[1] + above
    with drawn_as_ours():
        page = Figure((width * len(fits) + left / 2, height), _DPI, facecolor="white")
        whole = page.get_size_inches()
        for n, fit in enumerate(fits):
            x, y = left + n * width, below
            place = (x / whole[0], y / whole[1], panel[0] / whole[0], panel[1] / whole[1])
            _draw(page.add_axes(place), section, placement, fit, box)
        drawn = io.BytesIO()
        page.savefig(drawn, format="png", dpi=_DPI, metadata={"Software": None})
    return drawn.getvalue()


def _shown_mm(placement: Placement, fits: Sequence[PlacementFit]) -> NDArray[np.float64]:
    """Return ((x, y), (x, y)) around the spots in all ways, on the slide or somewhat beyond."""
    xy = np.concatenate([fit.way(placement.spots.xy_um) for fit in fits])
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = _AROUND * (high - low).max()
    end = np.array(placement.view.extent_um)
    low = np.maximum(low - margin, -_BEYOND * end)
    high = np.minimum(high + margin, (1 + _BEYOND) * end)
    return np.stack([low, high]) / 1000


def _draw(
    axes: Axes,
    section: str,
    placement: Placement,
    fit: PlacementFit,
    box: NDArray[np.float64],
) -> None:
    """Draw the spots as one way places them, coloured by depth."""
    from matplotlib.collections import EllipseCollection

    view, spots = placement.view, placement.spots
    rows, columns = view.grid.shape
    x0, y0, x1, y1 = (v / 1000 for v in view.grid.box_um(slice(0, rows), slice(0, columns)))
    axes.imshow(view.pixels, extent=(x0, x1, y1, y0))
    xy = fit.way(spots.xy_um) / 1000
    # A lattice half as wide has spots half as large.
    size = spots.diameter_um * float(np.sqrt(abs(np.linalg.det(fit.way.matrix[:, :2])))) / 1000
    sizes: Any = np.full(len(xy), size)
    drawn = EllipseCollection(
        sizes, sizes, np.zeros(len(xy)), units="xy", offsets=xy, transOffset=axes.transData,
        array=spots.depth, cmap="viridis", clim=np.percentile(spots.depth, _SHADES),
        edgecolors="white", linewidths=0.3 if len(xy) < _MANY else 0,
    )  # fmt: skip
    axes.add_collection(drawn)
    axes.set_xlim(box[0, 0], box[1, 0])
    axes.set_ylim(box[1, 1], box[0, 1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=_SMALL_PT)
    axes.set_xlabel("mm; spots coloured by depth, yellow: most", fontsize=_SMALL_PT)
    said = f"{section}: {fit.way.name}"
    axes.set_title(
        f"{textwrap.fill(said, _LETTERS)}\n{fit.on_tissue:.0%} on tissue, r {fit.r:.2f}",
        fontsize=_SMALL_PT + 1,
    )
