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
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.storage.checked import has_node, open_node
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.pyramid import mean_pool, open_levels, read_tile
from napari_stenhance.storage.tiles import Tile, tile_size, tiles_of, write_tile

_FOLDER = "unfamiliar"
UNIT = "1 where 95 % of the training tissue ends"
_DOUBTED = 0.15
"""Three times what is expected. Serial sections of a tumour came to .05 to .11, other organs and
phantoms to .21 and more (docs/reliability.md)."""


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


def distance_levels(run: FieldRun) -> Levels:
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


def share_unfamiliar(levels: Sequence[zarr.Array[Any]]) -> float | None:
    """Return which share of the predicted tissue lies beyond 1; None where that is not known."""
    far = known = 0
    for tile in tiles_of(levels[0].shape[:2], tile_size(levels[0])) if levels else ():
        values = read_tile(levels, 0, tile.index, mean_pool)
        far += int((values > 1).sum())
        known += int(np.isfinite(values).sum())
    return far / known if known else None


def unfamiliar_doubts(share: float | None, learned_from: Sequence[str]) -> list[str]:
    """Say that much of the tissue is unlike what was learned from; nothing where little is."""
    if share is None or share <= _DOUBTED:
        return []
    of = ", ".join(learned_from)
    said = f"{share:.0%} of the tissue looks unlike what was learned from ({of}), where 5% would "
    return [f"{said}if it were alike: what is predicted there is a guess."]
