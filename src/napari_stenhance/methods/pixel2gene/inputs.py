"""What the network sees of a superpixel: its features, and their context over the tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.encoder import FeatureTile

NEAR_UM = 88.0
FAR_UM = 480.0
_SLICE = 48


def half_width(width_um: float, pitch_um: float) -> int:
    """Return how many superpixels a window reaches to each side."""
    return round((width_um / pitch_um - 1) / 2)


def _window_sums(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Sum over windows of 2 half + 1 along both axes; the border is cut off."""
    for axis in (0, 1):
        padded = np.cumsum(values, axis=axis)
        padded = np.concatenate([np.zeros_like(padded.take([0], axis)), padded], axis=axis)
        size = padded.shape[axis]
        width = 2 * half + 1
        values = padded.take(range(width, size), axis) - padded.take(range(size - width), axis)
    return values


def inputs_of(tile: FeatureTile, pitch_um: float) -> NDArray[np.float32]:
    """Return the inputs of the tissue superpixels in the core of a tile.

    Features; their mean and standard deviation over the tissue within 88 µm; their mean over the
    tissue within 480 µm.

    Returns
    -------
    ndarray of float32, shape (tissue superpixels of the core, 4 · dim)
        In row-major order.
    """
    rows, columns = tile.core
    there = tile.tissue[rows, columns]
    dim = tile.values.shape[2]
    inputs = np.empty((int(there.sum()), 4 * dim), np.float32)
    inputs[:, :dim] = tile.values[rows, columns][there]
    for width_um, mean_at, spread_at in ((NEAR_UM, 1, 2), (FAR_UM, 3, None)):
        half = half_width(width_um, pitch_um)
        window = (
            slice(rows.start - half, rows.stop + half),
            slice(columns.start - half, columns.stop + half),
        )
        count = _window_sums(tile.tissue[window].astype(np.float64), half)[there][:, None]
        for low in range(0, dim, _SLICE):
            part = tile.values[window][..., low : low + _SLICE].astype(np.float64)
            width = part.shape[2]
            mean = _window_sums(part, half)[there] / count
            inputs[:, mean_at * dim + low : mean_at * dim + low + width] = mean
            if spread_at is not None:
                square = _window_sums(part * part, half)[there] / count
                spread = np.sqrt(np.maximum(square - mean * mean, 0))
                inputs[:, spread_at * dim + low : spread_at * dim + low + width] = spread
    return inputs
