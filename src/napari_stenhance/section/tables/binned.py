"""Counts that are summed in square bins, from lists of molecules that no memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_GENES_MOST, _SIDE_MOST = 2**21, 2**21
_PARTS_MOST = 16


@dataclass
class BinnedCounts:
    """Counts by bin and gene: what was added, summed from time to time.

    Examples
    --------
    >>> counts = BinnedCounts()
    >>> counts.add(row, column, gene, number)
    >>> rows, columns, matrix = counts.matrix(["ACTB", "EPCAM"])
    """

    _parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)

    def add(
        self,
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        gene: NDArray[np.int64],
        number: NDArray[np.int64],
    ) -> None:
        """Add the counts of some molecules: where each lies, and of which gene it is.

        Raises
        ------
        ValueError
            If a bin lies below 0 or beyond two millions, as in no tissue.
        """
        for what, most in ((row, _SIDE_MOST), (column, _SIDE_MOST), (gene, _GENES_MOST)):
            if len(what) and not 0 <= what.min() <= what.max() < most:
                msg = f"a place or a gene is not between 0 and {most}"
                raise ValueError(msg)
        key = (row * _SIDE_MOST + column) * _GENES_MOST + gene
        self._parts.append(_summed([(key, number)]))
        if len(self._parts) > _PARTS_MOST:
            self._parts = [_summed(self._parts)]

    def matrix(
        self, genes: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], sp.csr_matrix]:
        """Return rows and columns of the bins that count something, and their counts.

        Returns
        -------
        row, column : ndarray of int64, shape (bins,)
            Ascending by row, then column.
        counts : csr_matrix of float32, shape (bins, genes)
        """
        key, number = _summed(self._parts)
        self._parts = []
        place, gene = key // _GENES_MOST, key % _GENES_MOST
        first = np.flatnonzero(np.r_[True, np.diff(place) != 0][: len(place)])
        bins = place[first]
        indptr = np.append(first, len(place))
        counts = sp.csr_matrix(
            (number.astype(np.float32), gene, indptr), shape=(len(bins), len(genes))
        )
        return bins // _SIDE_MOST, bins % _SIDE_MOST, counts


def _summed(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum the counts of each key; keys ascend."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    key, number = (np.concatenate(one) for one in zip(*parts, strict=True))
    if not len(key):
        return key, number
    order = np.argsort(key, kind="stable")
    key, number = key[order], number[order]
    first = np.flatnonzero(np.r_[True, np.diff(key) != 0])
    return key[first], np.add.reduceat(number, first)
