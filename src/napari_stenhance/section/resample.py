"""Exact area averaging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AreaWeights:
    """Weights that average pixels over intervals along one axis.

    Attributes
    ----------
    first : ndarray of int64, shape (n,)
        Where each interval's first pixel lies among the pixels at hand.
    weights : ndarray of float32, shape (n, taps)
        Of that pixel and the next ones; 0 where there is no such pixel.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]

    def as_they_are(self) -> slice | None:
        """Return which pixels the intervals are, where each is one pixel and all follow in turn."""
        if not len(self.first) or (self.weights[:, 0] != 1).any():
            return None
        low, high = int(self.first[0]), int(self.first[-1]) + 1
        return slice(low, high) if high - low == len(self.first) else None


def area_weights(start: float, step: float, count: int, first: int, last: int) -> AreaWeights:
    """Weights that average unit pixels over `count` intervals of length `step` from `start`.

    Parameters
    ----------
    start, step : float
        In pixels; pixel j covers [j, j + 1).
    first, last : int
        The pixels at hand: first … last − 1. What an interval covers beyond them has no weight, so
        weights may sum to less than 1.
    """
    # Rounded, so that two windows over the same pixels get the same weights to the last bit.
    edges = np.round(start + np.arange(count + 1) * step, 6)
    low, high = edges[:-1, None], edges[1:, None]
    taps = int(np.ceil(step)) + 1
    pixel = np.floor(low).astype(np.int64) + np.arange(taps)
    weight = np.clip(np.minimum(pixel + 1, high) - np.maximum(pixel, low), 0, None) / step
    weight[(pixel < first) | (pixel >= last)] = 0
    return AreaWeights(pixel[:, 0] - first, weight.astype(np.float32))


def area_average(
    pixels: NDArray[np.uint8], rows: AreaWeights, columns: AreaWeights, outside: int
) -> NDArray[np.uint8]:
    """Average an image (y, x, 3) with weights for each axis; what has no weight is `outside`."""
    plain = rows.as_they_are(), columns.as_they_are()
    if None not in plain:
        return pixels[plain].copy()
    # Here, because numba takes a third of a second to load.
    from napari_stenhance.section.averaging import average

    lines = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    averaged = average(
        lines, rows.first, rows.weights, columns.first, columns.weights, np.float32(outside)
    )
    return averaged.reshape(*averaged.shape[:1], -1, 3)
