"""The outlines of very many regions as a pyramid, drawn tile by tile when these are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.plugin.cells import LazyLevel
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.tile_cache import TileCache

if TYPE_CHECKING:
    from napari_stenhance.section.named_regions import NamedRegions

FINEST = 0.5
"""The width of a pixel of the finest level, in pixels of the slide."""
_TILE = _COARSEST = 512
_FINE, _THIN, _THICK = 0, 1, 2
"""Pixels of a level on either side of a line: of the screen, half to all of these."""
_SMALL = 16
"""Pixels of a level: where the usual region is no wider, lines are fine, or all would be lines."""
_KEPT_BYTES = 2**27


@dataclass(frozen=True, eq=False)
class OutlinedRegions:
    """Where the outlines of regions lie in a pyramid, in micrometres of their section.

    Attributes
    ----------
    regions : NamedRegions
    chosen : tuple of int
        Which of them stand out.
    xy : ndarray of float64, shape (corners, 2)
        Of all rings, one after another; each ends where it begins.
    first : ndarray of int64, shape (rings + 1,)
        Where each begins.
    of : ndarray of int64, shape (rings,)
        The region of each.
    corner : ndarray of float64, shape (2,)
        The (y, x) of the outer corner of the first pixel.
    pixel : float
        The width of a pixel of the finest level.
    width : float
        Of the usual region.
    shapes : tuple of tuple of int
        (rows, columns) of each level, finest first.
    """

    regions: NamedRegions
    chosen: tuple[int, ...]
    xy: NDArray[np.float64]
    first: NDArray[np.int64]
    of: NDArray[np.int64]
    corner: NDArray[np.float64]
    pixel: float
    width: float
    shapes: tuple[tuple[int, int], ...]
    _rings: shapely.STRtree
    _areas: shapely.STRtree
    _tiles: TileCache = field(default_factory=partial(TileCache, _KEPT_BYTES))

    @classmethod
    def from_regions(cls, regions: NamedRegions, mpp: float) -> OutlinedRegions:
        """Lay out regions; a thread does, for it also loads what draws them.

        Parameters
        ----------
        regions : NamedRegions
            At least one.
        mpp : float
            Micrometres per pixel of the slide.
        """
        polygons, region = shapely.get_parts(regions.areas, return_index=True)
        rings, polygon = shapely.get_rings(polygons, return_index=True)
        corners = shapely.get_num_coordinates(rings)
        xy = shapely.get_coordinates(rings)
        low, high, pixel = xy.min(axis=0)[::-1], xy.max(axis=0)[::-1], mpp * FINEST
        # So that no line is cut at the edge of the coarsest level.
        edge = max(float((high - low).max()) / _COARSEST, pixel) * 2 * _THICK
        low, high = low - edge, high + edge
        size = (high - low) / pixel
        halvings = max(int(np.ceil(np.log2(size.max() / _COARSEST))), 0)
        coarsest = np.ceil(size / 2**halvings).astype(int)
        each = [coarsest * 2**n for n in reversed(range(halvings + 1))]
        made = cls(
            regions,
            (),
            xy,
            np.append(0, np.cumsum(corners)).astype(np.int64),
            region[polygon].astype(np.int64),
            low,
            pixel,
            float(np.sqrt(np.median(shapely.area(regions.areas)))),
            tuple((int(rows), int(columns)) for rows, columns in each),
            shapely.STRtree(rings),
            shapely.STRtree(regions.areas),
        )
        made.drawn(halvings, 0, 0)
        # It is made when it is first asked.
        made.at((0.0, 0.0))
        return made

    def place(self) -> dict[str, Any]:
        """Return where the image lies, as attributes of its layer."""
        first = self.corner + self.pixel / 2
        return {"scale": (self.pixel,) * 2, "translate": tuple(first), "multiscale": True}

    def levels(self, labels: NDArray[np.uint8]) -> list[LazyLevel]:
        """Return the levels of an image of the outlines: a label for each region, else 0."""
        labels = np.append(labels, np.uint8(0))
        chosen = np.zeros(len(self.regions), bool)
        chosen[list(self.chosen)] = True

        def read(level: int, i: int, j: int) -> NDArray[np.uint8]:
            tile = self.drawn(level, i, j)
            if self.chosen:
                # Neighbours share their borders: what is chosen lies on top.
                rings = self._near(level, i, j)
                tile = tile.copy()
                self._draw_into(tile, level, i, j, rings[chosen[self.of[rings]]], _THICK)
            return labels[tile]

        levels, kind = Levels(self.shapes, _TILE, read), np.dtype(np.uint8)
        return [LazyLevel(levels, level, kind) for level in range(len(self.shapes))]

    def drawn(self, level: int, i: int, j: int) -> NDArray[np.int32]:
        """Return whose outline is seen in each pixel of a tile; -1 where none is."""
        return self._tiles.get(0, (level, i, j), lambda: (self._draw(level, i, j), True))

    def _draw(self, level: int, i: int, j: int) -> NDArray[np.int32]:
        rows, columns = self.shapes[level]
        shape = min(_TILE, rows - i * _TILE), min(_TILE, columns - j * _TILE)
        tile = np.full(shape, -1, np.int32)
        half = _FINE if self.width <= _SMALL * self.pixel * 2**level else _THIN
        self._draw_into(tile, level, i, j, self._near(level, i, j), half)
        return tile

    def _draw_into(
        self,
        tile: NDArray[np.int32],
        level: int,
        i: int,
        j: int,
        rings: NDArray[np.int64],
        half: int,
    ) -> None:
        # Here, because numba takes a third of a second to load.
        from napari_stenhance.plugin.line_drawing import draw_lines

        pixel = self.pixel * 2**level
        corner = self.corner + np.array([i, j]) * _TILE * pixel
        draw_lines(tile, self.xy, self.first, self.of, rings, corner, pixel, half)

    def _near(self, level: int, i: int, j: int) -> NDArray[np.int64]:
        """Return the rings of which something may be seen in a tile, in their order."""
        pixel = self.pixel * 2**level
        low = self.corner + np.array([i, j]) * _TILE * pixel
        y, x = low - 2 * _THICK * pixel
        size = (_TILE + 4 * _THICK) * pixel
        return np.sort(self._rings.query(shapely.box(x, y, x + size, y + size))).astype(np.int64)

    def at(self, yx: Sequence[float]) -> NDArray[np.int64]:
        """Return the regions around a point in micrometres of the section, the smallest first."""
        found = self._areas.query(shapely.Point(yx[1], yx[0]), predicate="intersects")
        return found[np.argsort(shapely.area(self.regions.areas[found]))].astype(np.int64)

    def under(self, yx: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the regions around a place in pixels of the finest level, the smallest first."""
        return self.at(self.corner + (yx + 0.5) * self.pixel)

    def box(self) -> NDArray[np.float64]:
        """Return ((top, left), (bottom, right)) around what is chosen, in micrometres."""
        left, top, right, bottom = shapely.total_bounds(self.regions.areas[list(self.chosen)])
        return np.array([[top, left], [bottom, right]])
