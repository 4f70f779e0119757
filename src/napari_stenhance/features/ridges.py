"""How far a raster of densities rises along a line above both sides: ridges, such as folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.bands import Band
from napari_stenhance.running.compiled import compiled

DIRECTIONS = 12
EVEN = 0.65
_PARTS, _STEPS = 5, 6
_ANGLE = np.arange(DIRECTIONS) * np.pi / DIRECTIONS


def ridge_factor(
    density: NDArray[np.float32],
    band: Band,
    tissue: NDArray[np.bool_],
    candidates: NDArray[np.bool_],
    halves: tuple[float, ...],
) -> NDArray[np.float32]:
    """Tell by what factor density rises along the best line through each candidate of a band.

    A line is 30 superpixels long, in five parts, and on each side of it, at one of a few distances,
    run two others. The factor is that between the line and the denser side, in the channel where
    it is least; each part alone may fall short of it by a fifth. Both sides must be tissue.

    Parameters
    ----------
    density : ndarray of float32, shape (rows around the band, columns, 3)
    band : Band
        With a halo of at least `ridge_reach`.
    tissue, candidates : ndarray of bool, shape (rows, columns)
        Of the whole slide.
    halves : tuple of float
        Distances of the sides, in superpixels.

    Returns
    -------
    ndarray of float32, shape (rows of the band, columns)
        0 where there is no such line.
    """
    here = candidates[band.rows]
    factor = np.zeros(here.shape, np.float32)
    row, column = np.nonzero(here)
    along = np.stack([np.sin(_ANGLE), np.cos(_ANGLE)], axis=1)
    # Rows are counted from the slide's first: halves are rounded alike in every band.
    factor[row, column] = _factors(
        density, band.around.start, tissue, row + band.rows.start, column, along, np.array(halves)
    )
    return factor


def ridge_reach(halves: tuple[float, ...]) -> int:
    """Return how many superpixels away from a candidate its lines may lie."""
    return int(np.hypot(_PARTS * _STEPS / 2, max(halves) + 1)) + 1


@compiled
def _factors(density, top, tissue, rows, columns, along, halves):  # type: ignore[no-untyped-def]
    parts, steps, slack, even = _PARTS, _STEPS, 1.25, EVEN
    height, width = tissue.shape
    best = np.zeros(len(rows), np.float32)
    sums = np.zeros((3, 3))
    whole = np.zeros((3, 3))
    for i in range(len(rows)):
        for k in range(len(along)):
            dy, dx = along[k]
            for half in halves:
                whole[:] = 0
                least = np.inf
                inside = True
                for part in range(parts):
                    sums[:] = 0
                    for step in range(steps):
                        t = part * steps + step + 0.5 - parts * steps / 2
                        for line in range(5):
                            # The line itself, two at its left, two at its right.
                            side = (line + 1) // 2
                            away = 0.0 if line == 0 else half + (line + 1) % 2
                            if side == 2:
                                away = -away
                            y = int(np.rint(rows[i] + t * dy - away * dx))
                            x = int(np.rint(columns[i] + t * dx + away * dy))
                            if y < 0 or x < 0 or y >= height or x >= width or not tissue[y, x]:
                                inside = False
                                break
                            share = 1.0 if line == 0 else 0.5
                            for channel in range(3):
                                sums[side, channel] += share * density[y - top, x, channel]
                        if not inside:
                            break
                    if not inside:
                        break
                    for channel in range(3):
                        beside = max(sums[1, channel], sums[2, channel], 1e-3)
                        least = min(least, slack * sums[0, channel] / beside)
                    whole += sums
                if inside:
                    left, right = whole[1].sum(), whole[2].sum()
                    if min(left, right) < even * max(left, right):
                        continue
                    for channel in range(3):
                        beside = max(whole[1, channel], whole[2, channel], 1e-3)
                        least = min(least, whole[0, channel] / beside)
                    best[i] = max(best[i], least)
    return best
