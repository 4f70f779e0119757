"""A window of the slide that is being painted, and the textures that fill it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_stenhance.phantoms.anatomy import PITCH_UM
from napari_stenhance.phantoms.noise import enlarge, white

# What is smooth over several micrometres is drawn on every fourth pixel.
_COARSE = 4
_COARSE_RIM = 8


@dataclass(frozen=True)
class Window:
    """Rows and columns of a slide, in pixels; they may reach beyond it.

    Attributes
    ----------
    seed : int
    mpp : float
        Micrometres per pixel.
    rows, columns : slice
    """

    seed: int
    mpp: float
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @cached_property
    def _centres(self) -> list[NDArray[np.float64]]:
        """Where pixels lie along each axis, in pixels from the slide's corner."""
        return [np.arange(s.start, s.stop) + 0.5 for s in (self.rows, self.columns)]

    @cached_property
    def _coarse(self) -> list[slice]:
        return [
            slice(s.start // _COARSE - _COARSE_RIM, -(-s.stop // _COARSE) + _COARSE_RIM)
            for s in (self.rows, self.columns)
        ]

    def _from_coarse(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = (
            c / _COARSE - 0.5 - s.start for c, s in zip(self._centres, self._coarse, strict=True)
        )
        return enlarge(field, rows, columns)

    def of(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a field of the 8 µm grid at every pixel."""
        rows, columns = (c * self.mpp / PITCH_UM - 0.5 for c in self._centres)
        return enlarge(field, rows, columns)

    def _cloud(self, name: str, um: float) -> NDArray[np.float32]:
        sigma = um / (_COARSE * self.mpp)
        field = white(self.seed, name, self._coarse[0], self._coarse[1])
        field = ndimage.gaussian_filter(field, sigma, truncate=3)
        return self._from_coarse(field * np.float32(2 * np.sqrt(np.pi) * sigma))

    @cached_property
    def fine(self) -> NDArray[np.float32]:
        """Noise of variance 1 that is smooth over 3 µm."""
        return self._cloud("cloud 3", 3.0)

    @cached_property
    def wide(self) -> NDArray[np.float32]:
        """Noise of variance 1 that is smooth over 5 µm."""
        return self._cloud("cloud 5", 5.0)

    @cached_property
    def grain(self) -> NDArray[np.float32]:
        """Noise of about unit variance that is smooth over half a micrometre."""
        noise = white(self.seed, "grain", self.rows, self.columns)
        grain: NDArray[np.float32] = ndimage.gaussian_filter(noise, 0.5 / self.mpp) / 0.6
        return grain

    def borders(self, centres: cKDTree) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return how far each pixel lies from the border between two cells, and from a centre.

        Both in micrometres; the centres are in micrometres from the slide's corner.
        """
        y, x = ((np.arange(s.start, s.stop) + 0.5) * _COARSE * self.mpp for s in self._coarse)
        distance = centres.query(np.stack(np.meshgrid(x, y), axis=-1), k=2)[0].astype(np.float32)
        border = (distance[..., 1] - distance[..., 0]) / 2
        return self._from_coarse(border), self._from_coarse(distance[..., 0])
