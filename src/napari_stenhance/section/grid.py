"""The raster of superpixels laid over a slide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_stenhance.section.slide import Box, Slide


@dataclass(frozen=True)
class Grid:
    """A raster of square superpixels whose outer corner is the outer corner of pixel (0, 0).

    Attributes
    ----------
    pitch_um : float
        Side of a superpixel in micrometres.
    shape : tuple of int
        Rows and columns.
    mpp : float
        Micrometres per pixel of the slide, which fixes where the corner lies: −mpp / 2.
    """

    pitch_um: float
    shape: tuple[int, int]
    mpp: float

    @classmethod
    def over(cls, slide: Slide, pitch_um: float = 8.0) -> Grid:
        """Lay a grid over the whole slide; the last row and column may reach beyond it."""
        mpp = slide.scale()
        rows, columns = (math.ceil(round(n * mpp / pitch_um, 9)) for n in slide.shape)
        return cls(pitch_um, (rows, columns), mpp)

    @property
    def corner_um(self) -> float:
        """World coordinate, in micrometres, of the outer corner, the same along x and y."""
        return -self.mpp / 2

    def scale_um(self, level: int = 0) -> float:
        """Return the side of a superpixel at a level of the pyramid, in micrometres."""
        return float(self.pitch_um * 2**level)

    def translation_um(self, level: int = 0) -> float:
        """Return the world coordinate of the centre of superpixel (0, 0) at a level."""
        return (self.scale_um(level) - self.mpp) / 2

    def centres_um(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the (x, y) centres of superpixels in micrometres, shape (…, 2)."""
        xy = np.stack(np.broadcast_arrays(columns, rows), axis=-1).astype(np.float64)
        return self.translation_um() + xy * self.pitch_um

    def position(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (row, column) of world positions, in superpixels; integers are centres."""
        return (np.asarray(xy_um, np.float64)[..., ::-1] - self.translation_um()) / self.pitch_um

    def box_um(self, rows: slice, columns: slice) -> Box:
        """Return the world box that rows and columns cover; both may reach beyond the grid."""
        x0, x1 = (self.corner_um + n * self.pitch_um for n in (columns.start, columns.stop))
        y0, y1 = (self.corner_um + n * self.pitch_um for n in (rows.start, rows.stop))
        return x0, y0, x1, y1

    def key(self) -> str:
        """Name the grid in cache keys."""
        return f"{self.pitch_um:g}um-{self.shape[0]}x{self.shape[1]}-{self.mpp:.6g}mpp"
