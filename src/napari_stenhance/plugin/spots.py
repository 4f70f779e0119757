"""Spots coloured by a gene, fast: one column of the counts, one lookup table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.plugin.levels import limits
from napari_stenhance.section.spots import log1p_cp10k

if TYPE_CHECKING:
    import anndata as ad

COLORMAP = "viridis"
TOTAL = ""


@dataclass(frozen=True, eq=False)
class SpotColours:
    """Counts of a section by column, so that a gene's spots are found at once.

    Attributes
    ----------
    genes : tuple of str
    counts : csc_array of float32, shape (spots, genes)
        Raw.
    library : ndarray of float64, shape (spots,)
        Total count of each spot.
    """

    genes: tuple[str, ...]
    counts: sp.csc_array[np.float32]
    library: NDArray[np.float64]

    @classmethod
    def of(cls, spots: ad.AnnData) -> SpotColours:
        """Take the counts of spots."""
        counts = sp.csc_array(spots.X, dtype=np.float32)
        return cls(tuple(spots.var_names), counts, np.asarray(counts.sum(axis=1), np.float64))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {gene: n for n, gene in enumerate(self.genes)}

    def __contains__(self, gene: str) -> bool:
        """Tell whether a gene was measured."""
        return gene in self._column

    def values(self, gene: str) -> NDArray[np.float32]:
        """Return log1p CP10k of a gene for each spot; for `TOTAL`, log1p of the total count."""
        if gene == TOTAL:
            return np.log1p(self.library).astype(np.float32)
        column = sp.csr_array(self.counts[:, [self._column[gene]]])
        return np.asarray(log1p_cp10k(column, self.library).todense()).ravel()

    def paint(self, gene: str) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """Colour the spots by a gene, from its 1st to its 99th percentile.

        Returns
        -------
        rgba : ndarray of float32, shape (spots, 4)
        ends : tuple of float
            The values that the first and the last colour stand for.
        """
        values = self.values(gene)
        low, high = limits(values)
        steps = np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        return lookup_table()[steps], (low, high)


def lookup_table() -> NDArray[np.float32]:
    """Return the 256 colours of spots, from low to high, as RGBA of 0 … 1."""
    from napari.utils.colormaps import ensure_colormap

    table: NDArray[Any] = ensure_colormap(COLORMAP).map(np.linspace(0, 1, 256))
    return table.astype(np.float32)


def label(name: str, gene: str) -> str:
    """Name a spots layer after what colours it."""
    what = "total counts [log1p]" if gene == TOTAL else f"{gene} [log1p CP10k]"
    return f"{name} spots: {what}"
