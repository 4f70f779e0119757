"""What GEF and GEM have in common: counts in bins, or in cells, at places of the chip's spots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

STEP_NM = 500.0
"""Between spots of the chip (DNB), but on the oldest."""
BIN_DEFAULT = 20


@dataclass(frozen=True, eq=False)
class StereoCounts:
    """Counts at places of the chip.

    Attributes
    ----------
    ids : list of str
    xy : ndarray of float64, shape (n, 2)
        In steps of the chip; whole numbers are its spots.
    counts : csr_matrix of float32, shape (n, genes)
    genes : DataFrame
    bin_size : int or None
        Steps along a bin; None for cells.
    step_nm : float or None
        As the file states it.
    offset : tuple of float
        Of the chip's first spot, to add to `xy`.
    obs : DataFrame, optional
        More of each cell.
    area : ndarray of float64, optional
        Of each cell, in squares of the chip.
    doubts : tuple of str
    """

    ids: list[str]
    xy: NDArray[np.float64]
    counts: sp.csr_matrix
    genes: pd.DataFrame
    bin_size: int | None
    step_nm: float | None
    offset: tuple[float, float] = (0.0, 0.0)
    area: NDArray[np.float64] | None = None
    doubts: tuple[str, ...] = field(default=())


def bin_ids(row: NDArray[np.int64], column: NDArray[np.int64]) -> list[str]:
    """Name bins by their first spot of the chip."""
    return [f"{x}_{y}" for x, y in zip(column.tolist(), row.tolist(), strict=True)]
