"""Genes to look at, whatever they come from: fields, published rasters, imputations."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.results.field import What
from napari_stenhance.results.gene_statistics import GeneStatistics
from napari_stenhance.results.run import Run
from napari_stenhance.storage.levels import Levels

Origin = Literal["predicted", "imputed", "measured"]
Reliability = Literal["reliable", "not reliable", "not known", "measured"]
RELIABLE_R = 0.1
"""The least r given depth, on held-out spots, of a gene that is taken to be reliable."""


def judge(
    given_depth: NDArray[np.floating], measured: NDArray[np.bool_], least: float = RELIABLE_R
) -> NDArray[np.object_]:
    """Tell of genes whether what is shown of them is reliable.

    Parameters
    ----------
    given_depth : ndarray, shape (genes,)
        Pearson's r with depth held constant, on held-out spots; NaN where it is not known.
    measured : ndarray of bool, shape (genes,)
        Whether what was measured is shown.
    least : float
        The least r of a reliable one.

    Returns
    -------
    ndarray of object, shape (genes,)
        As `Reliability`. What is not known is not unreliable.
    """
    found = np.full(np.shape(given_depth), "not known", dtype=object)
    found[given_depth >= least] = "reliable"
    found[given_depth < least] = "not reliable"
    found[measured] = "measured"
    return found


class GeneSource(Run):
    """A run whose genes can be looked at."""

    pooled: ClassVar[bool]
    """Whether coarse levels of images that are written are means; else, as they are looked at."""

    @property
    @abstractmethod
    def number(self) -> int:
        """How many of its kind the result had before it."""

    @property
    @abstractmethod
    def genes(self) -> tuple[str, ...]:
        """Genes that can be shown."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Unit of their images."""

    @property
    @abstractmethod
    def shown_first(self) -> str:
        """The gene to look at first."""

    @property
    @abstractmethod
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of each gene where it was measured and hidden; NaN if not known."""

    @property
    @abstractmethod
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the log total count of the spots held constant."""

    @cached_property
    def statistics(self) -> GeneStatistics:
        """What can be said of every gene at once: ask only for that of a complete run."""
        return self.compute_statistics()

    @property
    def known_statistics(self) -> GeneStatistics | None:
        """The same if it was computed before; else None."""
        found: GeneStatistics | None = vars(self).get("statistics")
        return found

    @abstractmethod
    def compute_statistics(self) -> GeneStatistics:
        """Compute what can be said of every gene at once."""

    @abstractmethod
    def levels(self, gene: str, what: What = "expression") -> Levels:
        """Show one gene, or its spread; NaN where there is nothing.

        Raises
        ------
        InputError
            If there is no such gene, or its values are damaged.
        """

    @abstractmethod
    def origin(self, gene: str) -> Origin:
        """Tell where the values of a gene come from."""

    def reliability(self, gene: str, least: float = RELIABLE_R) -> Reliability:
        """Tell whether what is shown of a gene is reliable; see `judge`."""
        at = self.genes.index(gene)
        measured = np.array([self.origin(gene) == "measured"])
        found: Reliability = judge(self.held_out_r_given_depth[at : at + 1], measured, least)[0]
        return found

    @abstractmethod
    def trust(self, gene: str) -> str:
        """Say how far a gene can be trusted."""
