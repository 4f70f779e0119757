"""What the network sees of a superpixel: its features, and their context over the tissue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job
from napari_stenhance.section.sums import running_sums
from napari_stenhance.storage.tiles import Tile, tiles_of

NEAR_UM = 88.0
FAR_UM = 480.0
WIDE_UM = 1000.0
# Of the features of a superpixel: own, near mean, near spread, far mean, wide mean.
VIEWS = 5
_TILE = 256
# Of vectors so long that a tile of them would take a gigabyte and more, a quarter of one.
_LONG = 512
_SLICE = 24
# Multiples of these sum up without rounding, so that sums do not depend on where a tile begins.
_STEP, _STEP_OF_SQUARES = 2.0**-24, 2.0**-20


def half_width(width_um: float, pitch_um: float) -> int:
    """Return how many superpixels a window reaches to each side."""
    return round((width_um / pitch_um - 1) / 2)


def _window_sums(values: NDArray[np.floating], half: int) -> NDArray[np.float64]:
    """Sum over windows of 2 half + 1 along both axes of (y, x, …); the border is cut off."""
    width = 2 * half + 1
    total = running_sums(values, 0)
    total = running_sums(total[width:] - total[:-width], 1)
    return total[:, width:] - total[:, :-width]


def _in_steps(values: NDArray[np.float32], step: float) -> NDArray[np.float64]:
    """Round to multiples of a step."""
    steps = np.multiply(values, 1 / step, dtype=np.float64)
    np.rint(steps, out=steps)
    steps *= step
    return steps


def inputs_of(tile: FeatureTile, pitch_um: float) -> NDArray[np.float32]:
    """Return the inputs of the tissue superpixels in the core of a tile.

    Features; their mean and standard deviation over the tissue within 88 µm; their mean over the
    tissue within 480 µm, and within 1 mm.

    Returns
    -------
    ndarray of float32, shape (tissue superpixels of the core, 5 · dim)
        In row-major order.
    """
    rows, columns = tile.core
    tissue = tile.tissue[rows, columns]
    dim = tile.values.shape[2]
    inputs = np.empty((int(tissue.sum()), VIEWS * dim), np.float32)
    inputs[:, :dim] = tile.values[rows, columns][tissue]
    for width_um, mean_at, spread_at in ((NEAR_UM, 1, 2), (FAR_UM, 3, None), (WIDE_UM, 4, None)):
        half = half_width(width_um, pitch_um)
        window = (
            slice(rows.start - half, rows.stop + half),
            slice(columns.start - half, columns.stop + half),
        )
        count = _window_sums(tile.tissue[window].astype(np.float32), half)[tissue][:, None]
        for low in range(0, dim, _SLICE):
            part = tile.values[window][..., low : low + _SLICE]
            width = part.shape[2]
            mean = _window_sums(_in_steps(part, _STEP), half)[tissue] / count
            inputs[:, mean_at * dim + low : mean_at * dim + low + width] = mean
            if spread_at is not None:
                squares = _in_steps(part * part, _STEP_OF_SQUARES)
                square = _window_sums(squares, half)[tissue] / count
                spread = np.sqrt(np.maximum(square - mean * mean, 0))
                inputs[:, spread_at * dim + low : spread_at * dim + low + width] = spread
    return inputs


def training_inputs(
    samples: Sequence[TrainingSection],
    most_each: int,
    rng: np.random.Generator,
    job: Job,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gather the inputs of the superpixels under all spots, at most `most_each` of each.

    Returns
    -------
    inputs : ndarray of float32, shape (pairs, 5 · dim)
        Ordered by spot.
    spot : ndarray of int64, shape (pairs,)
        Numbered through all samples.
    """
    inputs, spot, offset = [], [], 0
    for sample in samples:
        kept = _at_most(sample.footprints.spot, most_each, rng)
        row, column = sample.footprints.row[kept], sample.footprints.column[kept]
        inputs.append(_inputs_under(sample, row, column, job))
        spot.append(sample.footprints.spot[kept] + offset)
        offset += len(sample.xy_um)
    return np.concatenate(inputs), np.concatenate(spot)


def _at_most(spot: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Keep at most `most` random pairs of each spot; pairs are ordered by spot and stay so."""
    order = np.lexsort((rng.random(len(spot)), spot))
    first = np.searchsorted(spot, spot)
    return np.sort(order[np.arange(len(spot)) - first < most])


def _inputs_under(
    sample: TrainingSection, row: NDArray[np.int64], column: NDArray[np.int64], job: Job
) -> NDArray[np.float32]:
    """Return the inputs of single tissue superpixels, (n, channels), tile by tile."""
    grid = sample.features.grid
    inputs = np.empty((len(row), VIEWS * sample.features.dim), np.float32)
    halo = round(WIDE_UM / 2 / grid.pitch_um)
    tiles: list[tuple[Tile, NDArray[np.intp]]] = []
    side = _TILE if sample.features.dim <= _LONG else _TILE // 2
    for tile in tiles_of(grid.shape, side):
        here = np.flatnonzero(
            (row >= tile.rows.start)
            & (row < tile.rows.stop)
            & (column >= tile.columns.start)
            & (column < tile.columns.stop)
        )
        if len(here):
            tiles.append((tile, here))
    with job.stage(f"Reading features under the spots of {sample.name}", len(tiles)) as stage:
        for tile, here in tiles:
            seen = sample.features.tile(tile.rows, tile.columns, halo)
            tissue = sample.features.tissue[tile.rows, tile.columns]
            values = inputs_of(seen, grid.pitch_um)
            number = np.full(tile.shape, -1)
            number[tissue] = np.arange(len(values))
            at = row[here] - tile.rows.start, column[here] - tile.columns.start
            inputs[here] = values[number[at]]
            stage.advance()
    return inputs
