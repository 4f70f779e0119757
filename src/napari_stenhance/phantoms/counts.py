"""What an assay counts of the truth: spots, bins and single cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import DOMAINS, GLASS, NECROSIS, Anatomy
from napari_stenhance.phantoms.cells import PhantomNuclei
from napari_stenhance.phantoms.genes import CELL_TYPES, Program
from napari_stenhance.phantoms.noise import generator
from napari_stenhance.phantoms.rare import RareGenes
from napari_stenhance.phantoms.truth import TrueTile, Truth
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.spots import VISIUM_DIAMETER_UM, VISIUM_PITCH_UM, SpotGeometry
from napari_stenhance.storage.tiles import Tile

MEASURED_SHARE = 0.7
SPOT_GEOMETRY = SpotGeometry(VISIUM_DIAMETER_UM, "disc", VISIUM_PITCH_UM, "micrometer")

# Transcripts counted of a tumour cell.
_SPOT_DEPTH = 400.0
_BIN_DEPTH = 120.0
_CELL_DEPTH = 2500.0
_DEPTH_SD = 0.25
# Variance of counts: mean + mean² / shape.
_SHAPE = 8.0
_DROPOUT = 0.25
_IN_TISSUE_LEAST = 0.5
_CELLS_OF_EACH_TYPE = 150


def measured_columns(anatomy: Anatomy) -> int:
    """Return how many columns of the grid, from the left, hold the tissue that is measured."""
    tissue = np.cumsum((anatomy.domain != GLASS).sum(axis=0))
    return int(np.searchsorted(tissue, MEASURED_SHARE * tissue[-1]))


def draw_depth(positions: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Draw how deeply each position is counted, about 1, (positions,)."""
    return np.exp(draw.normal(0, _DEPTH_SD, positions))


def draw_counts(
    rates: NDArray[np.floating], depth: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float32]:
    """Draw counts of expected transcripts, (positions, genes).

    Each position has its own depth; counts are negative binomial, and some of the low ones are
    lost.
    """
    mean = np.asarray(rates, np.float64) * depth[:, None]
    counts = draw.poisson(mean * draw.gamma(_SHAPE, 1 / _SHAPE, mean.shape))
    counts[draw.random(mean.shape) < _DROPOUT * np.exp(-mean)] = 0
    return counts.astype(np.float32)


def draw_bins(true: TrueTile, tile: Tile, truth: Truth) -> sp.csr_matrix:
    """Count the genes that are measured in every tissue superpixel of a tile: 8 µm bins."""
    genes, seed = len(truth.program.measured), truth.anatomy.seed
    draw = generator(seed, "bins", *tile.index)
    depth = draw_depth(len(true.rates), draw)
    named = sp.csr_matrix(draw_counts(true.rates[:, :genes] * _BIN_DEPTH, depth, draw))
    rare = generator(seed, "rare bins", *tile.index)
    return _with_rare(named, true.amounts, depth * _BIN_DEPTH, truth.rare, rare)


def _with_rare(
    named: sp.csr_matrix,
    amounts: NDArray[np.floating],
    depth: NDArray[np.float64],
    rare: RareGenes,
    draw: np.random.Generator,
) -> sp.csr_matrix:
    """Put counts of rare genes, if there are any, behind those of the named ones."""
    if not rare.number:
        return named
    return sp.csr_matrix(sp.hstack([named, rare.draw(amounts, depth, draw)], format="csr"))


@dataclass
class SpotSums:
    """Expected transcripts under each spot of a hexagonal lattice, gathered tile by tile.

    Attributes
    ----------
    grid : Grid
    xy_um : ndarray of float64, shape (spots, 2)
        Centres, (x, y) in micrometres of the world.
    array : ndarray of int64, shape (spots, 2)
        `array_row` and `array_col` as Visium counts them.
    rates : ndarray of float64, shape (spots, genes)
        Of the named genes.
    amounts : ndarray of float64, shape (spots, 48)
        Of each state, for the rare ones.
    """

    grid: Grid
    xy_um: NDArray[np.float64]
    array: NDArray[np.int64]
    under: Footprints
    rates: NDArray[np.float64] = field(repr=False)
    amounts: NDArray[np.float64] = field(repr=False)

    @classmethod
    def over(cls, anatomy: Anatomy, grid: Grid, program: Program) -> SpotSums:
        """Lay the lattice over the measured part, and keep the spots that lie on tissue."""
        right_um = measured_columns(anatomy) * grid.pitch_um - VISIUM_DIAMETER_UM / 2
        bottom_um = grid.shape[0] * grid.pitch_um - VISIUM_DIAMETER_UM / 2
        row, column = np.meshgrid(
            np.arange(int(bottom_um / (VISIUM_PITCH_UM * np.sqrt(3) / 2)) + 1),
            np.arange(int(right_um / VISIUM_PITCH_UM * 2) + 1),
            indexing="ij",
        )
        even = (row + column) % 2 == 0
        array = np.stack([row[even], column[even]], axis=1)
        first = VISIUM_DIAMETER_UM / 2
        xy = first + array[:, ::-1] * np.array([0.5, np.sqrt(3) / 2]) * VISIUM_PITCH_UM
        inside = (xy[:, 0] <= right_um) & (xy[:, 1] <= bottom_um)
        array, xy = array[inside], xy[inside] + grid.corner_um
        tissue = anatomy.domain != GLASS
        whole = Footprints.under(grid, xy, SPOT_GEOMETRY, np.ones(grid.shape, bool)).counts()
        on_tissue = Footprints.under(grid, xy, SPOT_GEOMETRY, tissue).counts()
        keep = on_tissue >= _IN_TISSUE_LEAST * whole
        array, xy = array[keep], xy[keep]
        under = Footprints.under(grid, xy, SPOT_GEOMETRY, tissue)
        sums = (np.zeros((len(xy), n)) for n in (len(program.measured), program.states))
        return cls(grid, xy, array, under, *sums)

    def add(self, true: TrueTile, tile: Tile) -> None:
        """Add what a tile has under the spots."""
        row, column = self.under.row - tile.rows.start, self.under.column - tile.columns.start
        height, width = tile.shape
        here = (row >= 0) & (column >= 0) & (row < height) & (column < width)
        number = np.full(tile.shape, -1)
        number[true.tissue] = np.arange(len(true.rates))
        pairs = number[row[here], column[here]]
        sums = sp.csr_array(
            (np.ones(len(pairs)), (self.under.spot[here], pairs)),
            shape=(len(self.xy_um), len(true.rates)),
        )
        self.rates += sums @ true.rates[:, : self.rates.shape[1]].astype(np.float64)
        self.amounts += sums @ true.amounts.astype(np.float64)

    def draw(self, seed: int, rare: RareGenes) -> sp.csr_matrix:
        """Count, once every tile was added."""
        draw = generator(seed, "spots")
        depth = draw_depth(len(self.rates), draw)
        named = sp.csr_matrix(draw_counts(self.rates * _SPOT_DEPTH, depth, draw))
        draw = generator(seed, "rare spots")
        return _with_rare(named, self.amounts, depth * _SPOT_DEPTH, rare, draw)


def draw_reference(
    cells: PhantomNuclei, program: Program, rare: RareGenes, seed: int
) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """Count single cells of each type, all genes, rare ones last; return counts and cells' types.

    Of each type, living cells of the section are drawn, so that compartments are mixed as they
    are there. Types that the section lacks are left out.
    """
    draw = generator(seed, "reference")
    alive = cells.domain != NECROSIS
    chosen = []
    for kind in range(len(CELL_TYPES)):
        of_kind = np.flatnonzero((cells.kind == kind) & alive)
        if len(of_kind):
            chosen.append(draw.choice(of_kind, _CELLS_OF_EACH_TYPE))
    picked = np.concatenate(chosen)
    state = cells.state[picked]
    amounts = np.zeros((len(picked), program.states), np.float32)
    amounts[np.arange(len(picked)), state] = 1
    fields = draw.standard_normal((len(picked), program.of_fields.shape[0]), np.float32)
    noise = draw.standard_normal((len(picked), program.noisy), np.float32)
    depth = draw_depth(len(picked), draw)
    rates = program.rates(amounts, fields, noise) * _CELL_DEPTH
    named = sp.csr_matrix(draw_counts(rates, depth, draw))
    draw = generator(seed, "rare reference")
    counts = _with_rare(named, amounts, depth * _CELL_DEPTH, rare, draw)
    return counts, state // len(DOMAINS)
