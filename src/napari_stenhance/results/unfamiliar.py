"""How far the tissue of a run lies from what was learned from, as an OME-Zarr image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.genes import create_image
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.run import Run
from napari_stenhance.storage.checked import has_node, open_node
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.pyramid import mean_pool, open_levels, read_tile
from napari_stenhance.storage.tiles import Tile, tile_size, tiles_of, write_tile

_FOLDER = "unfamiliar"
UNIT = "1 where 95 % of the training tissue ends"


def write_distance_tile(
    result: ResultFolder, run: str, field: GeneField, tile: Tile, distance: NDArray[np.floating]
) -> None:
    """Write one tile, (rows, columns); those without tissue need not be written: they are NaN."""
    said, size = {"unit": UNIT, "run": run}, tile_size(field.latent[0])
    levels = create_image(result.run_group(run), _FOLDER, field.grid, size, said)
    write_tile(levels[0], tile, distance)


def written_distance(result: ResultFolder, run: str) -> list[zarr.Array[Any]]:
    """Open the levels of the image of a run; none where it has no such image."""
    group = result.run_group(run)
    return open_levels(open_node(group, _FOLDER, zarr.Group)) if has_node(group, _FOLDER) else []


def distance_levels(run: Run) -> Levels:
    """Show how far each superpixel of a run lies from the training tissue.

    Raises
    ------
    InputError
        If the run does not know.
    """
    arrays = written_distance(run.result, run.name)
    if not arrays:
        msg = (
            f"{run.result.path}: the run {run.name} does not say how far tissue lies from what "
            "was learned from: presets robust and blended do, of 20 spots and more, but not "
            "reference, nor runs of older versions; run the same command into a new result."
        )
        raise InputError(msg)
    return Levels.from_arrays(arrays, mean_pool)


def distance_at(
    result: ResultFolder, run: str, row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Return the distances of single superpixels, (n,); None where the run does not know."""
    arrays = written_distance(result, run)
    if not arrays:
        return None
    size = tile_size(arrays[0])
    found = np.empty(len(row), np.float32)
    tile_of = np.column_stack([row // size, column // size])
    for i, j in np.unique(tile_of, axis=0):
        here = (tile_of == (i, j)).all(axis=1)
        tile = read_tile(arrays, 0, (int(i), int(j)), mean_pool)
        found[here] = tile[row[here] - i * size, column[here] - j * size]
    return found


def share_unfamiliar(levels: Sequence[zarr.Array[Any]]) -> float | None:
    """Return which share of the predicted tissue lies beyond 1; None where that is not known."""
    far = known = 0
    if not levels:
        return None
    rows, columns = levels[0].shape
    for tile in tiles_of((rows, columns), tile_size(levels[0])):
        values = read_tile(levels, 0, tile.index, mean_pool)
        far += int((values > 1).sum())
        known += int(np.isfinite(values).sum())
    return far / known if known else None
