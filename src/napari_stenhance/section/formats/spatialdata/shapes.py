"""The shapes that a table annotates: circles or polygons, by the ids of their instances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.formats.spatialdata.placing import Way, ways_of
from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.tables.parquet import open_parquet
from napari_stenhance.section.tables.zarr_table import look_through_zarr, zarr_attributes

_ROUND = 4 / np.pi


@dataclass(frozen=True, eq=False)
class Shapes:
    """Circles or polygons.

    Attributes
    ----------
    ids : list of str
    xy : ndarray of float64, shape (shapes, 2)
        Centres, in units of the element.
    width : float
        The median diameter, or that of a disc of the median area; 0 if unknown.
    side : float
        Of a square of the median area; 0 for circles.
    ways : dict of str to Way
    polygons : CellOutlines or None
        By the ids, in units of the element.
    """

    ids: list[str]
    xy: NDArray[np.float64]
    width: float
    side: float
    ways: dict[str, Way]
    polygons: CellOutlines | None = None


def read_shapes(folder: Path) -> Shapes:
    """Read shapes as SpatialData writes them, since 0.2 as Parquet.

    Raises
    ------
    ValueError, OSError and others
        If they are none, or damaged.
    """
    import shapely

    said = zarr_attributes(folder)
    ways = ways_of(said.get("coordinateTransformations"), ("x", "y"))
    if not (folder / "shapes.parquet").is_file():
        return _circles_of_old(folder, ways)
    with open_parquet(folder / "shapes.parquet") as file:
        table = file.read()
    table.validate(full=True)
    frame = table.to_pandas()
    outlines = shapely.from_wkb(frame["geometry"].to_numpy(dtype=object))
    centres = shapely.centroid(outlines)
    there = ~(shapely.is_missing(centres) | shapely.is_empty(centres))
    xy = np.full((len(frame), 2), np.nan)
    xy[there] = shapely.get_coordinates(centres[there])
    ids = [str(one) for one in frame.index]
    if "radius" in frame:
        width = 2 * _usual(frame["radius"].to_numpy(np.float64))
        return Shapes(ids, xy, width, 0.0, ways)
    area = _usual(shapely.area(outlines))
    polygons = CellOutlines.from_shapes(ids, outlines)
    return Shapes(ids, xy, float(np.sqrt(area * _ROUND)), float(np.sqrt(area)), ways, polygons)


def _usual(sizes: NDArray[np.float64]) -> float:
    """Return the median of what has a size; 0 where nothing has."""
    known = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.median(known)) if len(known) else 0.0


def _circles_of_old(folder: Path, ways: dict[str, Way]) -> Shapes:
    """Read circles of the first version, which are arrays."""
    import zarr
    from zarr.storage import LocalStore

    look_through_zarr(folder)
    group = zarr.open_group(LocalStore(folder, read_only=True), mode="r", use_consolidated=False)
    if "coords" not in group:
        msg = "there is no shapes.parquet in it"
        raise ValueError(msg)
    if "radius" not in group:
        msg = "polygons of the first version of SpatialData are not read: write the store again"
        raise ValueError(msg)
    parts = {name: np.asarray(group[name]) for name in ("coords", "Index", "radius")}
    xy, radius = (parts[name].astype(np.float64) for name in ("coords", "radius"))
    ids = [str(one) for one in parts["Index"].tolist()]
    if xy.shape != (len(ids), 2):
        msg = f"there are {len(ids)} circles at {xy.shape} coordinates"
        raise ValueError(msg)
    return Shapes(ids, xy, 2 * _usual(radius), 0.0, ways)
