"""The raster of superpixels laid over a slide, or over spots that have none."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_stenhance.section.slide import Box, Slide


Unit = Literal["micrometer", "pixel"]


@dataclass(frozen=True)
class Grid:
    """A raster of square superpixels, laid from the outer corner of pixel (0, 0).

    Attributes
    ----------
    pitch_um : float
        Side of a superpixel in micrometres.
    shape : tuple of int
        Rows and columns.
    mpp : float
        Micrometres per pixel of the slide, which fixes where the corner lies: −mpp / 2.
    origin_um : tuple of float
        How far, along (x, y), the raster begins from that corner: spots without a slide may lie
        anywhere.
    unit : {"micrometer", "pixel"}
        "pixel" where no scale is known: every length is then in pixels.
    """

    pitch_um: float
    shape: tuple[int, int]
    mpp: float
    origin_um: tuple[float, float] = (0.0, 0.0)
    unit: Unit = "micrometer"

    @classmethod
    def over(cls, slide: Slide, pitch_um: float = 8.0) -> Grid:
        """Lay a grid over the whole slide; the last row and column may reach beyond it."""
        mpp = slide.scale()
        rows, columns = (math.ceil(round(n * mpp / pitch_um, 9)) for n in slide.shape)
        return cls(pitch_um, (rows, columns), mpp)

    @classmethod
    def around(
        cls, xy_um: NDArray[np.float64], pitch_um: float, margin_um: float, mpp: float | None
    ) -> Grid:
        """Lay a grid over positions (x, y), with a margin; without a scale they are in pixels."""
        corner = -(mpp or 1.0) / 2
        low, high = (
            np.floor((xy_um.min(axis=0) - margin_um - corner) / pitch_um),
            np.ceil((xy_um.max(axis=0) + margin_um - corner) / pitch_um),
        )
        columns, rows = (int(n) for n in high - low)
        x, y = (float(n * pitch_um) for n in low)
        unit: Unit = "pixel" if mpp is None else "micrometer"
        return cls(pitch_um, (rows, columns), mpp or 1.0, (x, y), unit)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Grid:
        """Make a grid of what `to_json` said.

        Raises
        ------
        ValueError
            If there is no such grid.
        """
        more: dict[str, Any] = {"unit": content["unit"]} if "unit" in content else {}
        if "origin_um" in content:
            more["origin_um"] = tuple(content["origin_um"])
        grid = cls(content["pitch_um"], tuple(content["shape"]), content["mpp"], **more)
        rows, columns = (operator.index(n) for n in grid.shape)
        x, y = grid.origin_um
        possible = min(rows, columns) > 0 and math.isfinite(x) and math.isfinite(y)
        possible = possible and 0 < grid.pitch_um < math.inf and 0 < grid.mpp < math.inf
        if not possible or grid.unit not in get_args(Unit):
            msg = f"there is no such grid: {dict(content)}"
            raise ValueError(msg)
        return grid

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the grid; origin and unit only where they are not the usual."""
        content: dict[str, Any] = {
            "pitch_um": self.pitch_um,
            "shape": list(self.shape),
            "mpp": self.mpp,
        }
        if self.origin_um != (0.0, 0.0):
            content["origin_um"] = list(self.origin_um)
        if self.unit != "micrometer":
            content["unit"] = self.unit
        return content

    @property
    def corner_um(self) -> float:
        """World coordinate of the outer corner of pixel (0, 0), the same along x and y."""
        return -self.mpp / 2

    def scale_um(self, level: int = 0) -> float:
        """Return the side of a superpixel at a level of the pyramid, in micrometres."""
        return float(self.pitch_um * 2**level)

    def translation_um(self, level: int = 0) -> float:
        """Return how far the centre of superpixel (0, 0) at a level lies from the origin."""
        return (self.scale_um(level) - self.mpp) / 2

    def translate_um(self, level: int = 0) -> tuple[float, float]:
        """Return the world (y, x) of the centre of superpixel (0, 0) at a level."""
        x, y = self.origin_um
        return self.translation_um(level) + y, self.translation_um(level) + x

    def centres_um(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the (x, y) centres of superpixels in micrometres, shape (…, 2)."""
        xy = np.stack(np.broadcast_arrays(columns, rows), axis=-1).astype(np.float64)
        return self.translate_um()[::-1] + xy * self.pitch_um

    def position(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (row, column) of world positions, in superpixels; integers are centres."""
        return (np.asarray(xy_um, np.float64)[..., ::-1] - self.translate_um()) / self.pitch_um

    def box_um(self, rows: slice, columns: slice) -> Box:
        """Return the world box that rows and columns cover; both may reach beyond the grid."""
        x, y = (self.corner_um + n for n in self.origin_um)
        x0, x1 = (x + n * self.pitch_um for n in (columns.start, columns.stop))
        y0, y1 = (y + n * self.pitch_um for n in (rows.start, rows.stop))
        return x0, y0, x1, y1

    def key(self) -> str:
        """Name the grid in cache keys: two grids that differ in anything have two names."""
        rows, columns = self.shape
        name = f"{self.pitch_um:.17g}um-{rows}x{columns}-{self.mpp:.17g}mpp"
        if self.origin_um != (0.0, 0.0):
            name += "-at{:.17g},{:.17g}".format(*self.origin_um)
        return name if self.unit == "micrometer" else f"{name}-{self.unit}"
