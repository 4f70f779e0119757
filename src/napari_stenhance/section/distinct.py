"""Observations that share a position: cells, bins and spots of integer coordinates often do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True)
class DistinctPositions:
    """The different positions of observations, in the order in which they first occur.

    What learns from positions sees each place once, so that no observation is its own neighbour
    and none is hidden while its twin is shown; what is written has every observation.

    Attributes
    ----------
    first : ndarray of int64, shape (places,)
        The first observation of each place, ascending.
    of : ndarray of int64, shape (observations,)
        The place of each observation.
    """

    first: NDArray[np.int64]
    of: NDArray[np.int64]

    @classmethod
    def among(cls, xy: NDArray[np.float64]) -> DistinctPositions:
        """Find the places of finite positions, (observations, 2)."""
        _, first, place = np.unique(
            xy[:, 0] + 1j * xy[:, 1], return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        number = np.empty(len(first), np.int64)
        number[order] = np.arange(len(first))
        return cls(first[order].astype(np.int64), number[place.ravel()])

    @property
    def all_differ(self) -> bool:
        """No two observations share a place."""
        return len(self.first) == len(self.of)

    def summed(self, counts: sp.csr_array[np.float32]) -> sp.csr_array[np.float32]:
        """Sum the counts of each place, (places, genes)."""
        if self.all_differ:
            return counts
        number = len(self.of)
        add = sp.csr_array(
            (np.ones(number, np.float32), (self.of, np.arange(number))), (len(self.first), number)
        )
        summed = sp.csr_array(add @ counts)
        # A product has its columns in no order, and sums of floats depend on theirs.
        summed.sort_indices()
        return summed

    def totals(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum one value of each observation over its place, (places,)."""
        if self.all_differ:
            return np.asarray(values, np.float64)
        weights = np.asarray(values, np.float64)
        return np.bincount(self.of, weights, len(self.first)).astype(np.float64)
