"""From labelled positions to a label image: a pixel takes the label of the nearest position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, majority_pool
from napari_stenhance.storage.tiles import Tile, missing_tiles, write_tile

_REACH = 0.75
_NEIGHBOURS = 4
PIXEL_MOST_UM = 8.0
LABELS_MOST = 255

LabelTile = Callable[[Tile], NDArray[np.uint8]]
IndexTile = Callable[[Tile], NDArray[np.int64]]


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
    nearest neighbour tells. Positions that are there several times count once.
    """
    apart = xy_um[DistinctPositions.among(xy_um).first]
    number = min(_NEIGHBOURS, len(apart) - 1)
    # A list of one: the last neighbour alone, as an axis of its own.
    return _REACH * float(np.median(cKDTree(apart).query(apart, k=[number + 1])[0]))


def nearest_positions(xy_um: NDArray[np.float64], grid: Grid, reach: float) -> IndexTile:
    """Find the position nearest to each pixel, within reach; -1 where there is none.

    Of several at one place, the first.
    """
    first = DistinctPositions.among(xy_um).first
    tree = cKDTree(xy_um[first])
    # What has no position takes the last.
    position = np.append(first, -1)

    def nearest(tile: Tile) -> NDArray[np.int64]:
        rows = np.arange(tile.rows.start, tile.rows.stop)
        columns = np.arange(tile.columns.start, tile.columns.stop)
        at = grid.centres_um(rows[:, None], columns[None, :])
        found: NDArray[np.int64] = position[tree.query(at, distance_upper_bound=reach)[1]]
        return found

    return nearest


def nearest_labels(
    xy_um: NDArray[np.float64], labels: NDArray[np.int64], grid: Grid, reach: float
) -> LabelTile:
    """Label pixels as the nearest position within reach; 0 where there is none."""
    nearest = nearest_positions(xy_um, grid, reach)
    # What has no position, -1, takes the last.
    values = np.append(labels, 0).astype(np.uint8)
    return lambda tile: values[nearest(tile)]


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
    levels = create_levels(group, shape, tile=_tile(shape, tile), dtype="u1")
    pixels = np.zeros(LABELS_MOST + 1, np.int64)
    for part in missing_tiles(levels[0]):
        values = label(part)
        pixels += np.bincount(values.ravel(), minlength=len(pixels))
        write_tile(levels[0], part, values)
    coarsen_all(levels, majority_pool)
    return levels, pixels


def write_positions(
    group: zarr.Group, shape: tuple[int, int], nearest: IndexTile, tile: int
) -> list[zarr.Array[Any]]:
    """Write every level of a raster that says which position each pixel belongs to, int32."""
    levels = create_levels(group, shape, tile=_tile(shape, tile), dtype="i4", fill_value=-1)
    for part in missing_tiles(levels[0]):
        write_tile(levels[0], part, nearest(part))
    coarsen_all(levels, majority_pool)
    return levels


def _tile(shape: tuple[int, int], most: int) -> int:
    """Choose tiles of which there are two levels at least.

    napari takes a single one for no pyramid, and lets it be painted.
    """
    return min(most, -(-max(shape) // 2))
