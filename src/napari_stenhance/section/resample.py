"""Exact area averaging along one axis."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def area_weights(
    start: float, step: float, count: int, first: int, last: int
) -> sp.csr_array[np.float32]:
    """Weights that average unit pixels over `count` intervals of length `step` from `start`.

    Parameters
    ----------
    start, step : float
        In pixels; pixel j covers [j, j + 1).
    first, last : int
        The pixels at hand: columns of the matrix are first … last − 1. What an interval covers
        beyond them has no weight, so a row may sum to less than 1.

    Returns
    -------
    csr_array of float32, shape (count, last − first)
    """
    # Rounded, so that two windows over the same pixels get the same weights to the last bit.
    edges = np.round(start + np.arange(count + 1) * step, 6)
    low, high = edges[:-1, None], edges[1:, None]
    taps = int(np.ceil(step)) + 1
    pixel = np.floor(low).astype(np.int64) + np.arange(taps)
    weight = np.clip(np.minimum(pixel + 1, high) - np.maximum(pixel, low), 0, None) / step
    weight[(pixel < first) | (pixel >= last)] = 0
    row, tap = np.nonzero(weight)
    return sp.csr_array(
        (weight[row, tap].astype(np.float32), (row, pixel[row, tap] - first)),
        shape=(count, last - first),
    )


def area_average(
    pixels: NDArray[np.uint8],
    rows: sp.csr_array[np.float32],
    columns: sp.csr_array[np.float32],
    outside: float,
) -> NDArray[np.uint8]:
    """Average an image (y, x, 3) with weights for each axis; what has no weight is `outside`."""
    height, width, bands = pixels.shape
    values = outside - pixels.astype(np.float32)
    values = (rows @ values.reshape(height, width * bands)).reshape(-1, width, bands)
    values = values.transpose(1, 0, 2).reshape(width, -1)
    values = (columns @ values).reshape(columns.shape[0], rows.shape[0], bands)
    result: NDArray[np.uint8] = np.rint(outside - values).astype(np.uint8)
    return np.ascontiguousarray(result.transpose(1, 0, 2))
