"""From labelled positions to a label image: a pixel takes the label of the nearest position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, majority_pool
from napari_stenhance.storage.tiles import Tile, missing_tiles, write_tile

_REACH = 0.75
_NEIGHBOURS = 4
PIXEL_MOST_UM = 8.0
LABELS_MOST = 255

LabelTile = Callable[[Tile], NDArray[np.uint8]]


def pixel_um(pitch_um: float) -> float:
    """Choose the side of a pixel over a slide.

    That of a gene field, so that both lie on one grid; less where positions lie so close that it
    would swallow them.
    """
    return min(PIXEL_MOST_UM, pitch_um / 2)


def reach_um(xy_um: NDArray[np.float64]) -> float:
    """Return how far a label reaches, such that a lattice has no gaps, and cells have few.

    Three quarters of the median distance to the fourth neighbour: on a lattice that is the pitch,
    and no place of it lies farther than 0.71 of that from a spot; cells lie farther apart than the
    nearest neighbour tells.
    """
    number = min(_NEIGHBOURS, len(xy_um) - 1)
    return _REACH * float(np.median(cKDTree(xy_um).query(xy_um, k=number + 1)[0][:, -1]))


def nearest_labels(
    xy_um: NDArray[np.float64], labels: NDArray[np.int64], grid: Grid, reach: float
) -> LabelTile:
    """Label pixels as the nearest position within reach; 0 where there is none."""
    tree = cKDTree(xy_um)
    # What lies beyond the reach has the index of a position after the last.
    values = np.append(labels, 0).astype(np.uint8)

    def label(tile: Tile) -> NDArray[np.uint8]:
        rows = np.arange(tile.rows.start, tile.rows.stop)
        columns = np.arange(tile.columns.start, tile.columns.stop)
        at = grid.centres_um(rows[:, None], columns[None, :])
        return values[tree.query(at, distance_upper_bound=reach)[1]]

    return label


def raster_labels(raster: NDArray[np.uint8]) -> LabelTile:
    """Label pixels as a raster does."""
    return lambda tile: raster[tile.rows, tile.columns]


def write_labels(
    group: zarr.Group, shape: tuple[int, int], label: LabelTile, tile: int
) -> tuple[list[zarr.Array[Any]], NDArray[np.int64]]:
    """Write every level of a label image, in tiles of at most so many pixels a side.

    Returns
    -------
    levels : list of zarr arrays of uint8
        In the coarse ones, the most frequent label of four pixels.
    pixels : ndarray of int64, shape (256,)
        How many pixels have each label.
    """
    # At least two levels: napari takes a single one for no pyramid, and lets it be painted.
    tile = min(tile, -(-max(shape) // 2))
    levels = create_levels(group, shape, tile=tile, dtype="u1")
    pixels = np.zeros(LABELS_MOST + 1, np.int64)
    for part in missing_tiles(levels[0]):
        values = label(part)
        pixels += np.bincount(values.ravel(), minlength=len(pixels))
        write_tile(levels[0], part, values)
    coarsen_all(levels, majority_pool)
    return levels, pixels
