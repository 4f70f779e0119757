"""Genes to look at, whatever they come from: fields, published rasters, imputations."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.results.field import What
from napari_stenhance.results.run import Run
from napari_stenhance.storage.levels import Levels

Origin = Literal["predicted", "imputed", "measured"]


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

    @abstractmethod
    def trust(self, gene: str) -> str:
        """Say how far a gene can be trusted."""
