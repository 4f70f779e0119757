"""Which superpixels lie under each spot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.section.grid import Grid
from napari_stenhance.section.spots import SpotGeometry


@dataclass(frozen=True)
class Footprints:
    """Pairs of a spot and a superpixel under it, ordered by spot.

    Attributes
    ----------
    spot, row, column : ndarray of int64, shape (pairs,)
    n_spots : int
    """

    spot: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    n_spots: int

    @classmethod
    def under(
        cls,
        grid: Grid,
        xy_um: NDArray[np.float64],
        geometry: SpotGeometry,
        tissue: NDArray[np.bool_],
    ) -> Footprints:
        """Take the tissue superpixels whose centre lies in a spot; a spot may have none.

        A spot smaller than a superpixel takes the one it lies in.
        """
        at = grid.position(xy_um)
        radius = geometry.spot_diameter_um / 2 / grid.pitch_um
        reach = np.arange(-int(np.ceil(radius)) - 1, int(np.ceil(radius)) + 2)
        dr, dc = (d.ravel() for d in np.meshgrid(reach, reach, indexing="ij"))
        nearest = np.rint(at).astype(np.int64)
        away_r = nearest[:, :1] + dr - at[:, :1]
        away_c = nearest[:, 1:] + dc - at[:, 1:]
        if geometry.spot_shape == "square":
            covered = np.maximum(np.abs(away_r), np.abs(away_c)) <= radius
        else:
            covered = np.hypot(away_r, away_c) <= radius
        covered[~covered.any(axis=1)] = (dr == 0) & (dc == 0)
        spot, offset = np.nonzero(covered)
        row, column = nearest[spot, 0] + dr[offset], nearest[spot, 1] + dc[offset]
        inside = (row >= 0) & (column >= 0) & (row < grid.shape[0]) & (column < grid.shape[1])
        spot, row, column = spot[inside], row[inside], column[inside]
        on_tissue = tissue[row, column]
        return cls(spot[on_tissue], row[on_tissue], column[on_tissue], len(at))

    def counts(self) -> NDArray[np.int64]:
        """Return how many superpixels each spot has, shape (n_spots,)."""
        return np.bincount(self.spot, minlength=self.n_spots)

    def only(self, spots: NDArray[np.int64]) -> Footprints:
        """Return the pairs of some spots, given in ascending order and numbered anew."""
        new = np.full(self.n_spots, -1)
        new[spots] = np.arange(len(spots))
        kept = new[self.spot] >= 0
        return Footprints(new[self.spot[kept]], self.row[kept], self.column[kept], len(spots))

    def with_nearest(
        self, grid: Grid, xy_um: NDArray[np.float64], tissue: NDArray[np.bool_]
    ) -> Footprints:
        """Give spots that have no superpixel the nearest one with tissue."""
        empty = np.flatnonzero(self.counts() == 0)
        if not len(empty) or not tissue.any():
            return self
        at = np.rint(grid.position(xy_um[empty])).astype(np.int64)
        at = np.clip(at, 0, np.array(grid.shape) - 1)
        nearest = ndimage.distance_transform_edt(
            ~tissue, return_distances=False, return_indices=True
        )
        spot = np.concatenate([self.spot, empty])
        row = np.concatenate([self.row, nearest[0][at[:, 0], at[:, 1]]])
        column = np.concatenate([self.column, nearest[1][at[:, 0], at[:, 1]]])
        order = np.argsort(spot, kind="stable")
        return Footprints(spot[order], row[order], column[order], self.n_spots)

    def mask(self, shape: tuple[int, int], halo: int) -> NDArray[np.bool_]:
        """Mark the superpixels and everything within `halo` of them along each axis."""
        mask = np.zeros(shape, dtype=bool)
        mask[self.row, self.column] = True
        grown: NDArray[np.bool_] = ndimage.maximum_filter(mask, size=2 * halo + 1)
        return grown

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Average values given for each pair, (pairs, k), over each spot: (n_spots, k)."""
        total = np.zeros((self.n_spots, values.shape[1]))
        np.add.at(total, self.spot, values)
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = total / self.counts()[:, None]
        return mean
