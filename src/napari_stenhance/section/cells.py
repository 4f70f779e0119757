"""Single cells of the same kind of tissue: the reference that unmeasured genes come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cells:
    """A single-cell reference.

    Attributes
    ----------
    name : str
    genes : tuple of str
        By the names that the result uses: those of the spots for genes that they measured too.
    counts : csr_array of float32, shape (cells, genes)
        Raw; cells without counts are left out.
    groups : tuple of str
        Names of the clusters; empty where no column says them.
    group : ndarray of int64, shape (cells,), or None
        The cluster of each cell, an index into `groups`.
    """

    name: str
    genes: tuple[str, ...]
    counts: sp.csr_array[np.float32]
    groups: tuple[str, ...] = ()
    group: NDArray[np.int64] | None = None
