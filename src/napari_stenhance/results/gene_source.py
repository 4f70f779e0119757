"""Genes to look at, whatever they come from: fields, published rasters, imputations."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.levels import Levels

What = Literal["expression", "spread"]
"""The expected value of a gene, or the standard deviation over the members of an ensemble: it
ranks places, it is no interval."""
Origin = Literal["predicted", "imputed", "measured"]


class GeneSource(Protocol):
    """Anything whose genes can be looked at."""

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that can be shown."""

    @property
    def unit(self) -> str:
        """Unit of their images."""

    @property
    def grid(self) -> Grid:
        """Where their images lie."""

    def levels(self, gene: str, what: What = "expression") -> Levels:
        """Show one gene, or its spread; NaN where there is nothing.

        Raises
        ------
        InputError
            If there is no such gene.
        """

    @property
    def held_out_r(self) -> NDArray[np.float32]:
        """Pearson's r of each gene where it was measured and hidden; NaN if not known."""

    @property
    def held_out_r_given_depth(self) -> NDArray[np.float32]:
        """The same with the log total count of the spots held constant."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was guessed or left out, or makes them less to be trusted."""

    @property
    def shown_first(self) -> str:
        """The gene to look at first."""

    def origin(self, gene: str) -> Origin:
        """Tell where the values of a gene come from."""

    def trust(self, gene: str) -> str:
        """Say how far a gene can be trusted."""
