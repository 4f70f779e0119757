"""Very many cells as a pyramid: each by itself where zoomed in, else means of those in a pixel.

Of 500,000 points napari draws every one in every frame, and seen whole they hide each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.spots import nearest_distance, positions_px
from napari_stenhance.storage.levels import Levels
from napari_stenhance.storage.tile_cache import TileCache

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.outlines import CellOutlines
    from napari_stenhance.section.spots import SpotGeometry

CELLS_AS_IMAGE = 50_000
"""Cells of a section from which on they are an image, also if they have no outlines."""
_TILE = 512
_COARSEST = 512
_DRAWN = 4
"""Levels on which each cell is drawn; pixels of the next are as wide as cells lie apart."""
_PIXELS_MOST = 2**22
"""On the finest level of means: where cells are few for the room, its pixels are wider."""
_KEPT_BYTES = 2**28
_DOTS = "have no outline, and are shown as dots"
_OUTLINED = 2
"""Levels on which outlines are drawn: on coarser ones a cell is too small to have a form."""
_WIDEST = 4
"""Diameters of the usual cell: an outline that reaches farther from the centre is not believed."""


@dataclass(frozen=True, eq=False)
class LazyLevel:
    """A level that is read where it is sliced.

    dask would take longer to list its tiles than those in view take to be drawn, for each gene.
    """

    levels: Levels
    level: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.levels.shapes[self.level]

    @property
    def ndim(self) -> int:
        """Of an image."""
        return 2

    @property
    def size(self) -> int:
        """Of pixels."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        key = (*key, slice(None)) if isinstance(key, tuple) else (key, slice(None), slice(None))
        spans, within = [], []
        for at, n in zip(key[:2], self.shape, strict=True):
            if isinstance(at, slice):
                start, stop, step = at.indices(n)
                spans.append(slice(start, max(start, stop)))
                within.append(slice(None, None, step))
            else:
                one = int(at) % n
                spans.append(slice(one, one + 1))
                within.append(0)
        part = self.levels.part(self.level, *spans)
        return part[tuple(within)].astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class CellRaster:
    """Where cells lie in a pyramid: drawn on its fine levels, tile by tile, when these are seen.

    Attributes
    ----------
    yx : ndarray of float64, shape (cells, 2)
        Centres in full-resolution pixels.
    radius : float
        Of the disc that each cell is drawn as, or half the side of a square.
    square : bool
    pixel : float
        The width of a pixel of the finest level.
    corner : ndarray of float64, shape (2,)
        The outer corner of its first pixel.
    shapes : tuple of tuple of int
        (rows, columns) of each level, finest first.
    outlines : CellOutlines or None
        Of those that have one around their centre, in the order of the cells.
    doubts : tuple of str
    """

    yx: NDArray[np.float64]
    radius: float
    square: bool
    pixel: float
    corner: NDArray[np.float64]
    shapes: tuple[tuple[int, int], ...]
    outlines: CellOutlines | None
    doubts: tuple[str, ...]
    _by_row: NDArray[np.int64]
    _tiles: TileCache = field(default_factory=partial(TileCache, _KEPT_BYTES))
    _means: dict[int, sp.csr_array[np.float32]] = field(default_factory=dict)

    @classmethod
    def of_spots(
        cls,
        spots: ad.AnnData,
        geometry: SpotGeometry,
        mpp: float | None,
        where: str,
        read: Callable[[], CellOutlines] | None = None,
    ) -> CellRaster | None:
        """Lay out cells; None where they are few, and nothing outlines them.

        Parameters
        ----------
        spots : AnnData
        geometry : SpotGeometry
        mpp : float or None
            Micrometres per pixel of their positions.
        where : str
            What errors name.
        read : callable, optional
            Reads their outlines.
        """
        square = geometry.spot_shape == "square"
        drawn = None if square else read
        if spots.n_obs < CELLS_AS_IMAGE and drawn is None:
            return None
        yx = positions_px(spots, where)[:, ::-1]
        apart, width = nearest_distance(yx), geometry.spot_diameter_um
        if geometry.unit == "micrometer":
            width /= mpp or 1.0
        if not apart:
            return None
        radius = (width or apart) / 2
        outlines, doubts = _outlines(drawn, yx, _WIDEST * 2 * radius) if drawn else (None, ())
        low, high = yx.min(axis=0) - radius, yx.max(axis=0) + radius
        if outlines is not None:
            low = np.minimum(low, outlines.xy.min(axis=0)[::-1])
            high = np.maximum(high, outlines.xy.max(axis=0)[::-1])
        shared = max(apart, float(np.sqrt(np.prod(high - low) / _PIXELS_MOST)))
        shapes = _shapes((high - low) / shared)
        by_row, pixel = np.argsort(yx[:, 0]), shared / 2**_DRAWN
        made = cls(yx, radius, square, pixel, low, shapes, outlines, doubts, by_row)
        for level in range(_DRAWN, len(shapes)):
            made._means[level] = made._shared(level)
        # In the thread that opens it: what draws is loaded, or compiled, once.
        made.drawn(0, 0, 0)
        return made

    def place(self, mpp: float) -> dict[str, Any]:
        """Return where the image lies, as attributes of its layer."""
        first = (self.corner + self.pixel / 2) * mpp
        return {"scale": (self.pixel * mpp,) * 2, "translate": tuple(first), "multiscale": True}

    def image(self, values: NDArray[np.floating]) -> list[LazyLevel]:
        """Return the levels of an image of a value for each cell; NaN where there is none."""
        known = np.append(np.asarray(values, np.float32), np.float32(np.nan))
        whole: dict[int, NDArray[np.float32]] = {}

        def read(level: int, i: int, j: int) -> NDArray[np.float32]:
            if level < _DRAWN:
                return known[self.drawn(level, i, j)]
            if level not in whole:
                whole[level] = self._mean(level, known[:-1])
            return whole[level][i * _TILE : (i + 1) * _TILE, j * _TILE : (j + 1) * _TILE]

        return self._levels(read, np.float32)

    def labels(self, values: NDArray[np.integer]) -> list[LazyLevel]:
        """Return the levels of an image of a label for each cell; 0 where there is none.

        Of cells that share a pixel, the label that most have.
        """
        known = np.append(np.asarray(values, np.uint8), np.uint8(0))
        whole: dict[int, NDArray[np.uint8]] = {}

        def read(level: int, i: int, j: int) -> NDArray[np.uint8]:
            if level < _DRAWN:
                return known[self.drawn(level, i, j)]
            if level not in whole:
                whole[level] = self._most(level, known[:-1])
            return whole[level][i * _TILE : (i + 1) * _TILE, j * _TILE : (j + 1) * _TILE]

        return self._levels(read, np.uint8)

    def _levels(self, read: Callable[[int, int, int], NDArray[Any]], kind: Any) -> list[LazyLevel]:
        levels, dtype = Levels(self.shapes, _TILE, read), np.dtype(kind)
        return [LazyLevel(levels, level, dtype) for level in range(len(self.shapes))]

    def _most(self, level: int, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        means, found = self._means[level], np.unique(labels[labels > 0])
        share = np.zeros(means.shape[0], np.float32)
        image = np.zeros(means.shape[0], np.uint8)
        for label in found:
            of = means @ (labels == label).astype(np.float32)
            image[of > share] = label
            share = np.maximum(share, of)
        return image.reshape(self.shapes[level])

    def under(self, yx: NDArray[np.float64], level: int) -> NDArray[np.int64]:
        """Return which cells are seen at a place, in pixels of the finest level, on a level."""
        (row, column), (rows, columns) = (
            np.floor((yx + 0.5) / 2**level).astype(int),
            self.shapes[level],
        )
        if not (0 <= row < rows and 0 <= column < columns):
            return np.empty(0, np.int64)
        if level >= _DRAWN:
            means, at = self._means[level], row * columns + column
            return means.indices[means.indptr[at] : means.indptr[at + 1]].astype(np.int64)
        tile = self.drawn(level, row // _TILE, column // _TILE)
        found = tile[row % _TILE, column % _TILE]
        return np.array([found] if found >= 0 else [], np.int64)

    def drawn(self, level: int, i: int, j: int) -> NDArray[np.int32]:
        """Return which cell is seen in each pixel of a tile; -1 where none is."""
        return self._tiles.get(0, (level, i, j), lambda: (self._draw(level, i, j), True))

    def _draw(self, level: int, i: int, j: int) -> NDArray[np.int32]:
        # Here, because numba takes a third of a second to load.
        from napari_stenhance.plugin.cell_drawing import draw_discs, draw_outlines, set_apart

        pixel, (rows, columns) = self.pixel * 2**level, self.shapes[level]
        top, left = i * _TILE, j * _TILE
        shape = min(_TILE, rows - top), min(_TILE, columns - left)
        tile = np.full(shape, -1, np.int32)
        low = self.corner + np.array([top, left]) * pixel
        cells = self._near(low, low + np.array(shape) * pixel)
        # In pixels of the tile, whose centres are whole numbers.
        at, radius = (self.yx[cells] - low) / pixel - 0.5, self.radius / pixel
        if self.outlines is None or level >= _OUTLINED:
            draw_discs(tile, at, radius, self.square, cells)
            return tile
        outlines = self.outlines
        without = outlines.first[cells] == outlines.first[cells + 1]
        draw_discs(tile, at[without], radius, self.square, cells[without])
        # Of a cell with an outline the disc is no more than its middle, so that none is lost.
        draw_discs(tile, at[~without], 0.0, self.square, cells[~without])
        draw_outlines(tile, outlines.xy, outlines.first, cells, low, pixel)
        set_apart(tile)
        return tile

    def _near(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the cells of which something may lie in a box."""
        edge = self.radius * (1 if self.outlines is None else 2 * _WIDEST) + self.pixel
        ends = low[0] - edge, high[0] + edge
        first, last = np.searchsorted(self.yx[:, 0], ends, sorter=self._by_row)
        cells = self._by_row[first:last]
        x = self.yx[cells, 1]
        return cells[(x >= low[1] - edge) & (x <= high[1] + edge)]

    def _shared(self, level: int) -> sp.csr_array[np.float32]:
        """Say which cells reach into each pixel of a level, each row as a mean."""
        pixel, (rows, columns) = self.pixel * 2**level, self.shapes[level]
        edges = np.array([-self.radius, 0.0, self.radius])
        y, x = (
            np.clip(np.int64((self.yx[:, n, None] + edges - self.corner[n]) / pixel), 0, most - 1)
            for n, most in enumerate((rows, columns))
        )
        pixels = (y[:, :, None] * columns + x[:, None, :]).reshape(len(self.yx), -1)
        pixels.sort(axis=1)
        new = np.column_stack([np.ones(len(pixels), bool), np.diff(pixels, axis=1) > 0])
        cells, number = np.nonzero(new)[0], pixels[new]
        share = 1 / np.bincount(number, minlength=rows * columns)[number]
        return sp.csr_array(
            (share.astype(np.float32), (number, cells)), shape=(rows * columns, len(self.yx))
        )

    def _mean(self, level: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        means = self._means[level]
        image = means @ values
        image[np.diff(means.indptr) == 0] = np.nan
        return image.reshape(self.shapes[level])


def _shapes(size: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """Return the (rows, columns) of all levels, each exactly half of the one before.

    Parameters
    ----------
    size : ndarray of float64, shape (2,)
        In pixels of the first level of means.
    """
    halvings = max(int(np.ceil(np.log2(size.max() / _COARSEST))), 0)
    coarsest = np.ceil(size / 2**halvings).astype(int)
    each = [coarsest * 2**n for n in reversed(range(halvings + _DRAWN + 1))]
    return tuple((int(rows), int(columns)) for rows, columns in each)


def _outlines(
    read: Callable[[], CellOutlines], yx: NDArray[np.float64], reach: float
) -> tuple[CellOutlines | None, tuple[str, ...]]:
    """Read the outlines of cells; one that does not lie around its cell is none, and is said."""
    try:
        outlines = read()
    except InputError as error:
        return None, (f"{error} Cells are shown as dots.",)
    some = outlines.corners > 2
    low, high = np.full((2, len(yx), 2), np.nan)
    at = outlines.first[:-1][some]
    if len(at):
        # Of cells without corners nothing lies between where these begin.
        low[some] = np.minimum.reduceat(outlines.xy, at)[:, ::-1]
        high[some] = np.maximum.reduceat(outlines.xy, at)[:, ::-1]
    with np.errstate(invalid="ignore"):
        around = (low <= yx) & (yx <= high) & (yx - low <= reach) & (high - yx <= reach)
    good = around.all(axis=1)
    lost, off = int((~some).sum()), int((some & ~good).sum())
    doubts = []
    if lost:
        said = agree(lost, "has no outline, and is shown as a dot", _DOTS)
        doubts.append(f"{counted(lost, 'cell', len(yx))} {said}.")
    if off:
        said = f"{agree(off, 'is shown as a dot', 'are shown as dots')}: the outline does not lie"
        doubts.append(
            f"{counted(off, 'cell', len(yx))} {said} around the position, or reaches much farther "
            "than usual."
        )
    return outlines.only(good) if good.any() else None, tuple(doubts)
