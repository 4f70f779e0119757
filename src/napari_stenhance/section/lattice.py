"""The array that spots were printed on, and finer lattices between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.spots import ARRAY_COLUMNS, array_columns

if TYPE_CHECKING:
    import anndata as ad

# Of a pitch: spots that lie farther from where their numbers put them, at the median.
_OFF_MOST = 0.25
# Neighbours along the two directions: in array numbers, and where all are equally far.
_HEXAGONAL = np.array([[2, 0], [1, 1]]), np.array([[1, 0], [0.5, np.sqrt(0.75)]])
_SQUARE = np.array([[1, 0], [0, 1]]), np.eye(2)


def array_numbers(spots: ad.AnnData) -> NDArray[np.float64] | None:
    """Return the array's (column, row) of each spot; None where the spots do not say.

    Visium says `array_col` and `array_row`; legacy ST says `array_x` and `array_y`, which may be
    where a spot was found rather than its number, and are rounded.
    """
    for names in ARRAY_COLUMNS:
        if set(names) <= set(spots.obs.columns):
            numbers = array_columns(spots.obs, names)
            return None if numbers is None else np.rint(numbers)
    return None


@dataclass(frozen=True)
class FinerLattice:
    """Points on the spots' array and between them: first the spots, in their order.

    Attributes
    ----------
    array_xy : ndarray of float64, shape (points, 2)
        (column, row), with fractions between spots.
    xy : ndarray of float64, shape (points, 2)
        In full-resolution pixels; spots are where they were measured.
    is_measured : ndarray of bool, shape (points,)
    nearest : ndarray of int64, shape (points,)
        Index of the nearest spot.
    distance : ndarray of float64, shape (points,)
        To that spot, in full-resolution pixels.
    """

    array_xy: NDArray[np.float64]
    xy: NDArray[np.float64]
    is_measured: NDArray[np.bool_]
    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]


@dataclass(frozen=True)
class SpotLattice:
    """The array of a section's spots: hexagonal, where every second column is empty, or square.

    Attributes
    ----------
    numbers : ndarray of int64, shape (spots, 2)
        (column, row) of each spot.
    xy : ndarray of float64, shape (spots, 2)
        In full-resolution pixels.
    steps : ndarray of float64, shape (2, 2)
        By how much (x, y) grow with a column, and with a row.
    origin : ndarray of float64, shape (2,)
        (x, y) of column 0, row 0.
    """

    numbers: NDArray[np.int64]
    xy: NDArray[np.float64]
    steps: NDArray[np.float64]
    origin: NDArray[np.float64]

    @classmethod
    def from_spots(cls, spots: ad.AnnData, where: str) -> SpotLattice:
        """Fit positions to array numbers, whatever the scale, turn or flip.

        Raises
        ------
        InputError
            If spots have no array numbers, two at different positions have the same, or the
            positions do not follow them.
        """
        found = array_numbers(spots)
        if found is None:
            msg = (
                f"{where}: the spots do not say where they lie on their array (array_row and "
                "array_col, or array_x and array_y, all of them numbers), so there is no lattice "
                "between them; leave the lattice out."
            )
            raise InputError(msg, option="lattice")
        numbers = found.astype(np.int64)
        xy = np.asarray(spots.obsm["spatial"], np.float64)[:, :2]
        # Observations of one place share its number.
        unique, times = np.unique(
            numbers[DistinctPositions.among(xy).first], axis=0, return_counts=True
        )
        if (times > 1).any():
            column, row = unique[times > 1][0]
            msg = f"{where}: two spots have column {column} and row {row} of the array; remove one."
            raise InputError(msg)
        design = np.column_stack([numbers, np.ones(len(numbers))])
        fit, _, rank, _ = np.linalg.lstsq(design, xy, rcond=None)
        affine = np.asarray(fit, np.float64)
        lattice = cls(numbers, xy, affine[:2], affine[2])
        along, _ = lattice._directions
        pitch = np.hypot(*(along @ lattice.steps).T).mean()
        off = np.median(np.hypot(*(lattice.place(numbers) - xy).T))
        if rank < 3 or not off <= _OFF_MOST * pitch:
            msg = (
                f"{where}: the positions of the spots do not follow their numbers on the array; "
                "check that both are of this section, or leave the lattice out."
            )
            raise InputError(msg, option="lattice")
        return lattice

    @property
    def _directions(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        column, row = self.numbers.T
        one_parity = len(np.unique((column + row) % 2)) == 1
        return _HEXAGONAL if one_parity and len(np.unique(row % 2)) == 2 else _SQUARE

    def place(self, array_xy: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
        """Return (x, y) in full-resolution pixels of places on the array."""
        return array_xy @ self.steps + self.origin

    def finer(self, s: int) -> FinerLattice:
        """Divide the steps between neighbours by `s`: s² as many points, and an edge around them.

        A point belongs to it if a spot is as near as any place of the array, also one without a
        spot. Points that several spots share are there once.
        """
        along, apart = self._directions
        step = np.array(list(itertools.product(range(-s, s + 1), repeat=2)))
        near = np.array([n for n in itertools.product((-1, 0, 1), repeat=2) if any(n)]) @ apart
        from_spot = step @ apart / s
        to_others = np.linalg.norm(from_spot[:, None] - near, axis=2).min(axis=1)
        nearest_here = (np.linalg.norm(from_spot, axis=1) <= to_others + 1e-9) & step.any(axis=1)
        # Counted in steps, so that equal places are equal numbers.
        between = (self.numbers[:, None] * s + step[nearest_here] @ along).reshape(-1, 2)
        between = np.unique(between[:, ::-1], axis=0)[:, ::-1]
        array_xy = np.concatenate([self.numbers, between / s])
        xy = np.concatenate([self.xy, self.place(between / s)])
        distance, nearest = cKDTree(self.xy).query(xy)
        # A spot is its own, also where another lies at its very position.
        nearest[: len(self.xy)] = np.arange(len(self.xy))
        measured = np.arange(len(xy)) < len(self.xy)
        return FinerLattice(array_xy, xy, measured, np.asarray(nearest, np.int64), distance)
