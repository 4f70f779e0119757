"""Measures of agreement between predicted and measured expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pearson(predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's r of each column over the rows.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)

    Returns
    -------
    ndarray of float64, shape (genes,)
        NaN where either column does not vary.
    """
    a = predicted - predicted.mean(axis=0, dtype=np.float64)
    b = measured - measured.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: NDArray[np.float64] = np.where(norm > 0, (a * b).sum(axis=0) / norm, np.nan)
    return r


class PearsonSums:
    """Pearson's r of each column over rows that come in parts, and are not kept.

    Parameters
    ----------
    columns : int
    """

    def __init__(self, columns: int) -> None:
        self._rows = 0
        self._mean = np.zeros((2, columns))
        # Sums of squares of both, and of products, about the means.
        self._about = np.zeros((3, columns))

    def add(self, predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> None:
        """Add rows, each (n, columns); pairwise update after Chan, Golub and LeVeque (1983)."""
        more = len(predicted)
        if not more:
            return
        both = np.stack([predicted, measured]).astype(np.float64)
        mean = both.mean(axis=1)
        a, b = both - mean[:, None]
        rows = self._rows + more
        shift = mean - self._mean
        weight = self._rows * more / rows
        self._about += np.stack([(a * a).sum(axis=0), (b * b).sum(axis=0), (a * b).sum(axis=0)])
        self._about += weight * np.stack([shift[0] ** 2, shift[1] ** 2, shift[0] * shift[1]])
        self._mean += shift * (more / rows)
        self._rows = rows

    def r(self) -> NDArray[np.float64]:
        """Return r of each column; NaN where either does not vary."""
        norm = np.sqrt(self._about[0] * self._about[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            r: NDArray[np.float64] = np.where(norm > 0, self._about[2] / norm, np.nan)
        return r
