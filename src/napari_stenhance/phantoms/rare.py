"""Genes beside the named ones, as many and as rare as in a transcriptome; never dense."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import DOMAINS
from napari_stenhance.phantoms.genes import CELL_TYPES, FOLLOWS, Program
from napari_stenhance.phantoms.noise import generator

# Transcripts of a tumour cell, relative to those of its named genes, on so many rare genes.
_TOTAL, _OF = 10.0, 17_800
_ABUNDANCE_SD = 1.5
_EFFECT_SD = 0.5
_COMPARTMENT_SHARE = 0.5
# Low counts are lost as those of named genes are, and these are all low.
_KEPT = 0.75
# Positions: of a spot there are thousands of transcripts.
_AT_ONCE = 1024


@dataclass(frozen=True)
class RareGenes:
    """Genes that follow cell type and compartment, more or less, and are seldom counted.

    In a bin of 8 µm with all 17,800 of them, one in a hundred is counted. Each is as rare however
    many there are.

    Attributes
    ----------
    number : int
    program : Program
        Of the named genes.
    """

    number: int
    program: Program

    @property
    def names(self) -> tuple[str, ...]:
        """`RARE00001` and so on."""
        return tuple(f"RARE{n:05d}" for n in range(1, self.number + 1))

    @property
    def follows(self) -> tuple[str, ...]:
        """What each follows."""
        return (FOLLOWS[1],) * self.number

    @property
    def load(self) -> NDArray[np.float32]:
        """Transcripts of each state on all of them, relative to a tumour cell's: (48,)."""
        return self.program.load * np.float32(_TOTAL * self.number / _OF)

    @cached_property
    def of_states(self) -> NDArray[np.float32]:
        """Expected transcripts of each gene in each state, shape (48, genes).

        They differ in abundance by log-normal chance, and each in how strongly type and compartment
        move it.
        """
        draw = generator(0, "rare")
        genes = self.number
        strength = np.abs(draw.normal(0, _EFFECT_SD, genes)) * np.sqrt(np.pi / 2)
        level = draw.normal(0, _ABUNDANCE_SD, genes)
        of_type = draw.normal(0, 1, (len(CELL_TYPES), 1, genes))
        of_both = draw.normal(0, _COMPARTMENT_SHARE, (len(CELL_TYPES), len(DOMAINS), genes))
        states = np.exp(level + strength * (of_type + of_both)).reshape(-1, genes)
        states *= self.load[:, None] / states.sum(axis=1, keepdims=True)
        return states.astype(np.float32)

    @cached_property
    def _below(self) -> NDArray[np.float64]:
        """Cumulated shares of the genes in each state, shape (48, genes)."""
        shares = np.cumsum(self.of_states, axis=1, dtype=np.float64)
        return shares / shares[:, -1:]

    def draw(
        self,
        amounts: NDArray[np.floating],
        depth: NDArray[np.floating],
        draw: np.random.Generator,
    ) -> sp.csr_matrix:
        """Count transcripts, (positions, genes).

        Counts of less than one are expected: they are Poisson, for what negative binomial ones
        vary beyond it cannot be seen.

        Parameters
        ----------
        amounts : ndarray, shape (positions, 48)
            How much of each state there is.
        depth : ndarray, shape (positions,)
            Transcripts counted of a tumour cell's named genes.
        draw : numpy Generator
        """
        parts = []
        # A tile may hold no tissue.
        for low in range(0, max(len(amounts), 1), _AT_ONCE):
            some = slice(low, low + _AT_ONCE)
            expected = amounts[some] * self.load * (depth[some] * _KEPT)[:, None]
            parts.append(self._draw(draw.poisson(expected), draw))
        return sp.csr_matrix(sp.vstack(parts, format="csr"))

    def _draw(self, number: NDArray[np.int64], draw: np.random.Generator) -> sp.csr_matrix:
        """Draw genes for numbers of transcripts of each state, (positions, 48)."""
        genes, positions = [], []
        for state, below in enumerate(self._below):
            of_state = number[:, state]
            drawn = np.searchsorted(below, draw.random(int(of_state.sum())), side="right")
            genes.append(np.minimum(drawn, self.number - 1))
            positions.append(np.repeat(np.arange(len(number)), of_state))
        at = np.concatenate(positions), np.concatenate(genes)
        counts = sp.csr_matrix(
            (np.ones(len(at[0]), np.float32), at), shape=(len(number), self.number)
        )
        counts.sum_duplicates()
        return counts
