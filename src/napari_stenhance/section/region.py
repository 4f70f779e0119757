"""Regions: polygons in micrometres of the world, GeoJSON on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from napari_stenhance.section.geojson import read_features
from napari_stenhance.section.grid import Grid

_BAND = 256


@dataclass(frozen=True)
class Region:
    """One or more polygons, in micrometres, as one area."""

    area: BaseGeometry

    @classmethod
    def read(
        cls, path: str | Path, mpp: float | None = None, shape: tuple[int, int] | None = None
    ) -> Region:
        """Read the polygons of a GeoJSON file whose coordinates are (x, y) in micrometres.

        Parameters
        ----------
        path : str or Path
        mpp : float, optional
            Micrometres per pixel of the slide: where it is given, pixels, as QuPath writes them,
            are converted.
        shape : tuple of int, optional
            Rows and columns of the slide: pixels that are not said to be such are converted, too,
            if the polygons lie on the slide only as these.

        Raises
        ------
        InputError
            If the file is missing, no GeoJSON, in pixels of an unknown width, or holds no polygon
            with an area.
        """
        return cls.from_shapes(list(read_features(Path(path), mpp, shape).areas))

    @classmethod
    def from_shapes(cls, shapes: Sequence[BaseGeometry]) -> Region:
        """Unite shapes, in micrometres; those that cross themselves are mended."""
        return cls(shapely.union_all([shapely.make_valid(s) for s in shapes]))

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Tell which superpixels have their centre in the region, shape `grid.shape`."""
        mask = np.zeros(grid.shape, dtype=bool)
        x0, y0, x1, y1 = self.area.bounds
        low = np.floor(grid.position(np.array([x0, y0]))).astype(int)
        high = np.ceil(grid.position(np.array([x1, y1]))).astype(int) + 1
        rows = np.arange(max(low[0], 0), min(high[0], grid.shape[0]))
        columns = np.arange(max(low[1], 0), min(high[1], grid.shape[1]))
        if len(rows) and len(columns):
            # By bands: of a whole slide the centres alone would be gigabytes.
            for top in range(0, len(rows), _BAND):
                band = rows[top : top + _BAND]
                centres = grid.centres_um(band[:, None], columns[None, :])
                inside = shapely.contains_xy(self.area, centres[..., 0], centres[..., 1])
                mask[band[0] : band[-1] + 1, columns[0] : columns[-1] + 1] = inside
        return mask

    def to_json(self) -> str:
        """Return the area as canonical GeoJSON, for provenance."""
        return str(shapely.to_geojson(shapely.normalize(self.area)))
