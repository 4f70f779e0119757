"""What is true of a phantom: expression and compartment of every superpixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.phantoms.anatomy import DOMAINS, GLASS, PITCH_UM, Anatomy
from napari_stenhance.phantoms.cells import MIX, PhantomNuclei
from napari_stenhance.phantoms.genes import CELL_TYPES, Program
from napari_stenhance.phantoms.noise import generator
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.storage.tiles import Tile

# A cell's transcripts lie around its centre, as wide as a cell.
_CELL_SIGMA_UM = 5.5
_HALO = 4
TILE = 128
# Cell bodies that the section has cut off their nuclei, for each superpixel.
_AMBIENT = 0.02


class TrueTile(NamedTuple):
    """What is true of the tissue superpixels of a tile.

    Attributes
    ----------
    tissue : ndarray of bool, shape of the tile
    amounts : ndarray of float32, shape (tissue superpixels, 48)
        How much of each state there is.
    rates : ndarray of float32, shape (tissue superpixels, named genes)
        Expected transcripts, relative to those of a tumour cell.
    library : ndarray of float32, shape (tissue superpixels,)
        Those of all genes that are measured, rare ones too.
    """

    tissue: NDArray[np.bool_]
    amounts: NDArray[np.float32]
    rates: NDArray[np.float32]
    library: NDArray[np.float32]

    def log1p_cp10k(self) -> NDArray[np.float32]:
        """Return log(1 + transcripts per 10,000) of the named genes, as `rates`."""
        return logged(self.rates, self.library[:, None])


def logged(rates: NDArray[np.float32], library: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log(1 + transcripts per 10,000 of the library)."""
    return np.log1p(rates * (1e4 / np.maximum(library, 1e-12)))


@dataclass(frozen=True)
class Truth:
    """Computes what is true of any tile of a phantom."""

    anatomy: Anatomy
    cells: PhantomNuclei
    program: Program
    rare: RareGenes

    def tile(self, tile: Tile) -> TrueTile:
        """Return expected transcripts in a tile of the 8 µm grid."""
        here = tile.rows, tile.columns
        domain = self.anatomy.domain[here]
        tissue = domain != GLASS
        noise = generator(self.anatomy.seed, "nothing", *tile.index).standard_normal(
            (*tile.shape, self.program.noisy), np.float32
        )
        fields = np.moveaxis(self.anatomy.fields[:, *here], 0, -1)
        amounts = self._amounts(tile)[tissue] + self._ambient[domain[tissue]]
        rates = self.program.rates(amounts, fields[tissue], noise[tissue])
        library = rates[:, : len(self.program.measured)].sum(axis=1)
        if self.rare.number:
            library += amounts @ self.rare.load
        return TrueTile(tissue, amounts, rates, library)

    @property
    def _ambient(self) -> NDArray[np.float32]:
        """How much of each state there is without a cell, by compartment: (6, 48)."""
        ambient = np.zeros((len(DOMAINS), len(CELL_TYPES), len(DOMAINS)), np.float32)
        for domain, mix in MIX.items():
            ambient[domain, :, domain] = _AMBIENT * np.array(mix)
        return ambient.reshape(len(DOMAINS), -1)

    def _amounts(self, tile: Tile) -> NDArray[np.float32]:
        """Return how much of each state lies in each superpixel, (rows, columns, 48)."""
        top, left = tile.rows.start - _HALO, tile.columns.start - _HALO
        height, width = (n + 2 * _HALO for n in tile.shape)
        span = self.cells.within(top * PITCH_UM, (top + height) * PITCH_UM)
        at = np.floor(self.cells.xy_um[span] / PITCH_UM).astype(np.int64) - (left, top)
        near = (at >= 0).all(axis=1) & (at[:, 0] < width) & (at[:, 1] < height)
        states = self.program.states
        index = ((at[:, 1] * width + at[:, 0]) * states + self.cells.state[span])[near]
        counts = np.bincount(index, minlength=height * width * states).astype(np.float32)
        sigma = _CELL_SIGMA_UM / PITCH_UM
        amounts = ndimage.gaussian_filter(
            counts.reshape(height, width, states), (sigma, sigma, 0), truncate=_HALO / sigma
        )
        return amounts[_HALO:-_HALO, _HALO:-_HALO]
