"""Regions: polygons in micrometres of the world, GeoJSON on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from napari_stenhance.errors import InputError
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.reading import reading

_FARTHEST_UM = 1e9
_BAND = 256


@dataclass(frozen=True)
class Region:
    """One or more polygons, in micrometres, as one area."""

    area: BaseGeometry

    @classmethod
    def read(cls, path: str | Path) -> Region:
        """Read the polygons of a GeoJSON file whose coordinates are (x, y) in micrometres.

        Raises
        ------
        InputError
            If the file is missing, no GeoJSON, says that it is in pixels, or holds no polygon with
            an area.
        """
        path = Path(path)
        if not path.exists():
            msg = f"{path}: there is no such region file."
            raise InputError(msg)
        with reading(path, "this GeoJSON", "save the region again"):
            content = json.loads(path.read_text("utf-8-sig"))
            features = content.get("features", [content]) if isinstance(content, dict) else content
            pixels = _says_pixels(content, features)
            drawn = [f.get("geometry", f) for f in features]
            # A feature may be nowhere.
            shapes = [shape(one) for one in drawn if one is not None]
            for one in shapes:
                if not (np.abs(shapely.get_coordinates(one)) < _FARTHEST_UM).all():
                    msg = f"a coordinate is not a number below {_FARTHEST_UM:g} µm"
                    raise ValueError(msg)
            region = cls.from_shapes(shapes)
        if pixels:
            msg = (
                f"{path}: {pixels} its coordinates in pixels, and a region's are micrometres; "
                "multiply them by the slide's µm per pixel, and save them as plain polygons."
            )
            raise InputError(msg)
        if not region.area.area > 0:
            msg = f"{path}: it holds no polygon with an area; draw one and save it again."
            raise InputError(msg)
        return region

    @classmethod
    def from_shapes(cls, shapes: Sequence[BaseGeometry]) -> Region:
        """Unite shapes, in micrometres; those that cross themselves are mended."""
        return cls(shapely.union_all([shapely.make_valid(s) for s in shapes]))

    @classmethod
    def given(cls, region: Path | Region | None) -> Region | None:
        """Take what an option holds: a file, a region, or nothing."""
        return region if region is None or isinstance(region, Region) else cls.read(region)

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


def _says_pixels(content: Any, features: Sequence[Any]) -> str:
    """Say who wrote coordinates in pixels, as a file tells; empty where it does not."""
    units = content.get("units", ()) if isinstance(content, dict) else ()
    if "pixel" in units:
        return "it says that it has"
    # QuPath knows the scale, and writes pixels all the same.
    kinds = [(one.get("properties") or {}).get("objectType") for one in features]
    old = [one.get("id") == "PathAnnotationObject" for one in features]
    return "QuPath wrote" if any(kinds) or any(old) else ""
