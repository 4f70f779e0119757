"""Bins as an image: very many squares that touch are slow as points, and look the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.lattice import array_numbers
from napari_stenhance.section.spots import positions_px

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.spots import SpotGeometry

BINS_AS_IMAGE = 10_000
"""Bins of a section from which on they are an image: as points they flicker, some px wide."""
# Of a bin's side: where it lies at most from where its row and column put it.
_OFF_MOST = 0.25
# Pixels of the image for each bin: where most are empty it would be large, and show little.
_EMPTY_MOST = 16


@dataclass(frozen=True, eq=False)
class BinRaster:
    """Where bins lie in an image of one pixel each.

    Attributes
    ----------
    row, column : ndarray of int64, shape (bins,)
    shape : tuple of int
    step : ndarray of float64, shape (2, 2)
        What a row, and a column, is in (y, x) of full-resolution pixels, as columns.
    corner : ndarray of float64, shape (2,)
        Where the centre of the first row and column lies.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]
    step: NDArray[np.float64]
    corner: NDArray[np.float64]

    @classmethod
    def of_spots(cls, spots: ad.AnnData, geometry: SpotGeometry, where: str) -> BinRaster | None:
        """Lay bins on rows and columns; None where there are few, or no such."""
        numbers = array_numbers(spots)
        if geometry.spot_shape != "square" or spots.n_obs < BINS_AS_IMAGE or numbers is None:
            return None
        at = np.rint(numbers[:, ::-1]).astype(np.int64)
        at -= at.min(axis=0)
        height, width = (int(n) + 1 for n in at.max(axis=0))
        if height * width > _EMPTY_MOST * len(at):
            return None
        if np.bincount(at @ (width, 1), minlength=height * width).max() > 1:
            return None
        yx = positions_px(spots, where)[:, ::-1]
        design = np.column_stack([at, np.ones(len(at))])
        (*steps, corner), *_ = np.linalg.lstsq(design, yx, rcond=None)
        step = np.array(steps).T
        off = np.abs(yx - design @ np.vstack([*steps, corner])).max()
        if not off <= _OFF_MOST * np.sqrt(abs(np.linalg.det(step))):
            return None
        return cls(*at.T, (height, width), step, corner)

    @cached_property
    def _number(self) -> NDArray[np.int64]:
        """Which bin each pixel is; -1 where there is none."""
        number = np.full(self.shape, -1)
        number[self.row, self.column] = np.arange(len(self.row))
        return number

    def place(self, mpp: float) -> dict[str, Any]:
        """Return where the image lies, turned and mirrored as bins are: attributes of its layer."""
        from napari.utils.transforms.transform_utils import decompose_linear_matrix

        rotate, scale, shear = decompose_linear_matrix(self.step * mpp, upper_triangular=True)
        first = tuple(self.corner * mpp)
        return {"scale": tuple(scale), "rotate": rotate, "shear": shear, "translate": first}

    def under(self, yx: NDArray[np.float64], _level: int) -> NDArray[np.int64]:
        """Return which bin is at a place, in pixels of the image; none where there is none."""
        row, column = np.rint(yx).astype(int)
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            return np.empty(0, np.int64)
        found = self._number[row, column]
        return np.array([found] if found >= 0 else [], np.int64)

    def labels(self, values: NDArray[np.integer]) -> list[NDArray[np.uint8]]:
        """Return two levels of an image of a label for each bin; 0 where there is none.

        napari lets people paint in what has one level alone.
        """
        from napari_stenhance.storage.pyramid import majority_pool

        # A level is half of the other, exactly.
        pixels = np.zeros([-(-n // 2) * 2 for n in self.shape], np.uint8)
        pixels[self.row, self.column] = values
        return [pixels, majority_pool(pixels)]

    def image(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return an image of a value for each bin; NaN where there is none."""
        pixels = np.full(self.shape, np.nan, np.float32)
        pixels[self.row, self.column] = values
        return pixels
