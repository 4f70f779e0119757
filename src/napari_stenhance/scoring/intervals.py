"""Prediction intervals: between which values a spot would be measured, from held-out spots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9
"""How many of the spots are to lie between the ends."""
_ROUNDING = 1e-5
_EACH, _MOST = 40, 8
"""Held-out spots of a class of like predictions, at least, and how many classes, at most."""


@dataclass(frozen=True, eq=False)
class SpotIntervals:
    """How far measured values of some genes lie from predicted ones: Mondrian conformal intervals.

    Counts are discrete, have many zeros, and vary more where they are high. So each gene has its
    own ends, and other ones for each class of like predictions: 5th and 95th percentile of measured
    less predicted over the held-out spots of that class, with the correction for how few they are.

    Attributes
    ----------
    edges : ndarray of float32, shape (classes - 1, genes)
        Predictions from which on the next class holds, ascending.
    below, above : ndarray of float32, shape (classes, genes)
        What is added to a prediction to give the ends; infinite where there are too few spots.

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic learning in a random world (2005), chapter 4.5; Romano,
    Patterson and Candès, Conformalized quantile regression, NeurIPS 32 (2019).
    """

    edges: NDArray[np.float32]
    below: NDArray[np.float32]
    above: NDArray[np.float32]

    @classmethod
    def from_held_out(
        cls,
        predicted: NDArray[np.floating],
        measured: NDArray[np.floating],
        level: float = LEVEL,
    ) -> SpotIntervals:
        """Calibrate with spots that were held out from learning.

        Parameters
        ----------
        predicted, measured : ndarray, shape (spots, genes)
            In one unit.
        level : float
            Share of spots that the intervals are to cover.
        """
        spots, genes = predicted.shape
        classes = int(np.clip(spots // _EACH, 1, _MOST))
        order = np.argsort(predicted, axis=0, kind="stable")
        ascending = np.take_along_axis(np.asarray(predicted, np.float32), order, 0)
        away = np.take_along_axis(np.asarray(measured, np.float32), order, 0) - ascending
        starts = np.linspace(0, spots, classes + 1).astype(int)
        edges = (ascending[starts[1:-1] - 1] + ascending[starts[1:-1]]) / 2
        below, above = (np.empty((classes, genes), np.float32) for _ in range(2))
        for one, (first, end) in enumerate(pairwise(starts)):
            some = np.sort(away[first:end], axis=0)
            # The new spot is one more, that may lie anywhere among them.
            rank = int(np.floor((len(some) + 1) * (1 - level) / 2))
            below[one] = some[rank - 1] if rank else -np.inf
            above[one] = some[len(some) - rank] if rank else np.inf
        return cls(edges.astype(np.float32), below, above)

    def of(
        self, predicted: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the ends for predictions, (…, genes), each of that shape; none is below 0."""
        values = np.asarray(predicted, np.float32)
        low, high = np.full_like(values, np.nan), np.full_like(values, np.nan)
        for gene in range(values.shape[-1]):
            one = values[..., gene]
            known = np.isfinite(one)
            here = one[known]
            at = np.searchsorted(self.edges[:, gene], here, side="right")
            low[..., gene][known] = np.maximum(here + self.below[at, gene], 0)
            high[..., gene][known] = np.maximum(here + self.above[at, gene], 0)
        return low, high


def is_inside(
    measured: NDArray[np.floating], ends: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.bool_]:
    """Tell which measured values lie between the ends, or on them, but for rounding."""
    low, high = ends
    inside: NDArray[np.bool_] = (measured >= low - _ROUNDING) & (measured <= high + _ROUNDING)
    return inside
