"""Which superpixels lie in each of many areas: drawn regions, cells, domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.tiles import Tile, tiles_of

if TYPE_CHECKING:
    from napari_stenhance.results.domains import DomainRun

_AT_ONCE = 2**20
"""How many superpixels are asked at once whether they lie in an area."""
_MANY_CORNERS = 64


@dataclass(frozen=True)
class CoverTile:
    """The pairs of an area and a superpixel in it that lie in one tile.

    Attributes
    ----------
    tile : Tile
    area : ndarray of int32, shape (pairs,)
        Number of the area.
    place : ndarray of int32, shape (pairs,)
        Number of the superpixel within the tile, row by row.
    """

    tile: Tile
    area: NDArray[np.int32]
    place: NDArray[np.int32]


@dataclass(frozen=True)
class RegionCover:
    """Which superpixels have their centre in each of some areas, which may overlap.

    An area in which no centre lies, as in a small cell, takes the superpixel under a point inside
    it, as small spots do.

    Attributes
    ----------
    number : int
        Of areas.
    grid : Grid
    tile : int
        The side of the tiles.
    tiles : tuple of CoverTile
        Those that hold any.
    """

    number: int
    grid: Grid
    tile: int
    tiles: tuple[CoverTile, ...]

    @classmethod
    def under(cls, areas: NDArray[np.object_], grid: Grid, tile: int, job: Job) -> RegionCover:
        """Lay areas, in micrometres, over a grid that is read in tiles of some side."""
        tree, seen = shapely.STRtree(areas), np.zeros(len(areas), bool)
        covered: dict[tuple[int, int], list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        every = list(tiles_of(grid.shape, tile))
        with job.stage("Laying regions over superpixels", len(every)) as stage:
            for part in every:
                found = np.sort(tree.query(shapely.box(*grid.box_um(part.rows, part.columns))))
                pairs = list(_inside(areas, found, grid, part, job))
                for area, _ in pairs:
                    seen[area] = True
                covered[part.index] = pairs
                stage.advance()
        lost = np.flatnonzero(~seen)
        inside = shapely.get_coordinates(shapely.point_on_surface(areas[lost]))
        at = np.rint(grid.position(inside)).astype(np.int64)
        on = ((at >= 0) & (at < grid.shape)).all(axis=1)
        lost, at = lost[on], at[on]
        of_tile = at // tile
        for i, j in np.unique(of_tile, axis=0):
            here = (of_tile == (i, j)).all(axis=1)
            columns = min(tile, grid.shape[1] - j * tile)
            within = at[here] - (i * tile, j * tile)
            covered[int(i), int(j)].append((lost[here], within[:, 0] * columns + within[:, 1]))
        return cls(len(areas), grid, tile, tuple(_joined(every, covered)))

    @classmethod
    def of_domains(cls, run: DomainRun, grid: Grid, tile: int, job: Job) -> RegionCover:
        """Take the superpixels whose centre has the label of each domain, in their order."""
        values = np.full(256, -1)
        values[[domain.value for domain in run.domains]] = np.arange(len(run.domains))
        labels, every = run.levels[0], list(tiles_of(grid.shape, tile))
        covered: dict[tuple[int, int], list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        with job.stage("Laying domains over superpixels", len(every)) as stage:
            for part in every:
                rows, columns = (
                    np.arange(one.start, one.stop) for one in (part.rows, part.columns)
                )
                at = np.rint(run.grid.position(grid.centres_um(rows[:, None], columns[None])))
                row, column = at[:, 0, 0].astype(np.int64), at[0, :, 1].astype(np.int64)
                # Where the label image ends there is no domain.
                held = [
                    np.flatnonzero((one >= 0) & (one < most))
                    for one, most in zip((row, column), labels.shape, strict=True)
                ]
                area = np.full(part.shape, -1)
                if len(held[0]) and len(held[1]):
                    r, c = row[held[0]], column[held[1]]
                    read = np.asarray(labels[r[0] : r[-1] + 1, c[0] : c[-1] + 1])
                    area[np.ix_(*held)] = values[read[np.ix_(r - r[0], c - c[0])]]
                place = np.flatnonzero(area >= 0)
                covered[part.index] = [(area.ravel()[place], place)]
                stage.advance()
        return cls(len(run.domains), grid, tile, tuple(_joined(every, covered)))

    def chosen(self, areas: Sequence[int]) -> RegionCover:
        """Return the cover of some areas alone, numbered in this order."""
        new = np.full(self.number, -1, np.int32)
        new[list(areas)] = np.arange(len(areas))
        parts = []
        for part in self.tiles:
            here = new[part.area] >= 0
            if here.any():
                parts.append(CoverTile(part.tile, new[part.area[here]], part.place[here]))
        return RegionCover(len(areas), self.grid, self.tile, tuple(parts))


def _joined(
    every: list[Tile], covered: dict[tuple[int, int], list[tuple[NDArray[Any], NDArray[Any]]]]
) -> Iterator[CoverTile]:
    for part in every:
        pairs = [pair for pair in covered[part.index] if len(pair[0])]
        if pairs:
            area, place = (np.concatenate(one).astype(np.int32) for one in zip(*pairs, strict=True))
            yield CoverTile(part, area, place)


def _inside(
    areas: NDArray[np.object_], found: NDArray[np.int64], grid: Grid, part: Tile, job: Job
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Find pairs of some areas and superpixels of a tile, so many at once as memory allows."""
    bounds = shapely.bounds(areas[found])
    high = grid.position(bounds[:, 2:])
    low = np.ceil(grid.position(bounds[:, :2])).astype(np.int64)
    starts = part.rows.start, part.columns.start
    stops = part.rows.stop, part.columns.stop
    first = np.maximum(low, starts)
    last = np.minimum(np.floor(high).astype(np.int64) + 1, stops)
    size = np.maximum(last - first, 0)
    number = size.prod(axis=1)
    ends = np.cumsum(number)
    begin = 0
    while begin < len(found):
        before = ends[begin - 1] if begin else 0
        # One area alone may have as many as the tile has.
        end = max(int(np.searchsorted(ends, before + _AT_ONCE, side="right")), begin + 1)
        some, many = slice(begin, end), number[begin:end]
        step = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        width = np.repeat(size[some, 1], many)
        row = np.repeat(first[some, 0], many) + step // np.maximum(width, 1)
        column = np.repeat(first[some, 1], many) + step % np.maximum(width, 1)
        xy = grid.centres_um(row, column)
        # For a form with many corners it pays to index them.
        large = areas[found[some]]
        large = large[shapely.get_num_coordinates(large) > _MANY_CORNERS]
        shapely.prepare(large)
        within = shapely.contains_xy(np.repeat(areas[found[some]], many), xy[:, 0], xy[:, 1])
        shapely.destroy_prepared(large)
        columns = part.columns.stop - part.columns.start
        place = (row - part.rows.start) * columns + column - part.columns.start
        yield np.repeat(found[some], many)[within], place[within]
        job.check()
        begin = end
