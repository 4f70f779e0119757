"""Outlines of cells, as an assay segmented them: to look at, for values belong to cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CellOutlines:
    """A polygon for each of some cells, which may have none.

    Attributes
    ----------
    ids : sequence of str
    xy : ndarray of float32, shape (corners, 2)
        Of all polygons, one after another, in full-resolution pixels.
    first : ndarray of int64, shape (cells + 1,)
        Where each begins; one that has no corners is none.
    """

    ids: Sequence[str]
    xy: NDArray[np.float32]
    first: NDArray[np.int64]

    @classmethod
    def from_runs(
        cls,
        ids: Sequence[str],
        of: NDArray[np.integer],
        polygon: NDArray[np.integer],
        xy: NDArray[np.float64],
    ) -> CellOutlines:
        """Take corners that each say their cell; those of a polygon follow each other.

        One of fewer than three corners is none.

        Parameters
        ----------
        ids : sequence of str
        of, polygon : ndarray of int, shape (corners,)
            The cell, as a number of `ids`, and what tells its polygons apart.
        xy : ndarray of float64, shape (corners, 2)
        """
        new = (np.diff(of, prepend=-1) != 0) | (np.diff(polygon, prepend=polygon[:1]) != 0)
        first = np.r_[np.flatnonzero(new), len(of)].astype(np.int64)
        names = np.asarray(ids, object)[of[new]]
        runs = cls(names, _corners(xy), first)
        return runs._taken(np.flatnonzero(runs.corners > 2)).largest()

    @classmethod
    def from_shapes(cls, ids: Sequence[str], shapes: Any) -> CellOutlines:
        """Take the outer rings of shapely's polygons; of several parts, that with most corners."""
        import shapely

        parts, of = shapely.get_parts(shapes, return_index=True)
        polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        rings = shapely.get_exterior_ring(parts[polygon])
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        first = np.searchsorted(ring, np.arange(len(rings) + 1))
        names = np.asarray(ids, object)[of[polygon]]
        return cls(names, _corners(xy), first.astype(np.int64)).largest()

    @property
    def corners(self) -> NDArray[np.int64]:
        """How many corners each has."""
        return np.diff(self.first)

    def largest(self) -> CellOutlines:
        """Keep the polygon with most corners of each cell."""
        order = np.argsort(-self.corners, kind="stable")
        _, kept = np.unique(np.asarray(self.ids, str)[order], return_index=True)
        return self if len(kept) == len(order) else self._taken(np.sort(order[kept]))

    def of(self, ids: Sequence[str]) -> CellOutlines:
        """Return those of some cells, in their order; none where there is none."""
        import pandas as pd

        at = pd.Index(np.asarray(self.ids, object)).get_indexer(pd.Index(ids))
        return replace(self._taken(at), ids=ids)

    def only(self, kept: NDArray[np.bool_]) -> CellOutlines:
        """Return them for the same cells, but for some none."""
        return replace(self._taken(np.where(kept, np.arange(len(kept)), -1)), ids=self.ids)

    def moved(self, place: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> CellOutlines:
        """Return them where their (x, y) are taken to."""
        return replace(self, xy=_corners(place(self.xy.astype(np.float64))))

    def _taken(self, at: NDArray[np.integer]) -> CellOutlines:
        """Return those of some cells, by their numbers; none where that is below 0."""
        number = np.where(at < 0, 0, self.corners[at]) if len(self.ids) else np.zeros(len(at), int)
        first = np.r_[0, np.cumsum(number)].astype(np.int64)
        step = np.arange(first[-1]) - np.repeat(first[:-1], number)
        taken = np.repeat(self.first[np.maximum(at, 0)], number) + step
        ids = np.asarray(self.ids, object)[at] if len(self.ids) else ()
        return CellOutlines(ids, self.xy[taken], first)


def _corners(xy: NDArray[np.float64]) -> NDArray[np.float32]:
    """Take corners as they are kept; one that no image reaches is infinitely far."""
    with np.errstate(over="ignore"):
        return xy.astype(np.float32)
