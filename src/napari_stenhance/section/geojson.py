"""Polygons in GeoJSON, ours and QuPath's: many at once, into micrometres of the world and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.feature_text import read_feature_text
from napari_stenhance.storage.reading import reading

_FARTHEST = 1e9
_DECIMALS = 9
"""Of a pixel: what is lost on the way to micrometres and back is less."""
_ADVICE = "save the region again"
_PIXELS = {"pixel", "pixels", "px"}
_MICROMETRES = {"micrometer", "micrometers", "micrometre", "micrometres", "micron", "microns"}
_MICROMETRES |= {"um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m"}
_SAME_UNIT = 0.01
"""How far a pixel may be from 1 µm, and either unit be meant."""
_MOST = 0.5
"""Of what is drawn: where less lies on the slide, it is in another unit."""


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a GeoJSON file that have an area.

    Attributes
    ----------
    areas : ndarray of object, shape (features,)
        Polygons and multi-polygons, valid, in micrometres.
    said : tuple of mapping
        What the file says of each: a feature without its geometry.
    doubts : tuple of str
    """

    areas: NDArray[np.object_]
    said: tuple[Mapping[str, Any], ...]
    doubts: tuple[str, ...]


def read_features(
    path: Path, mpp: float | None = None, shape: tuple[int, int] | None = None
) -> Features:
    """Read the polygons of a file.

    Parameters
    ----------
    path : Path
    mpp : float, optional
        Micrometres per pixel of the slide, by which coordinates in pixels are converted. QuPath
        counts pixels from the outer corner of the first, whose centre is 0 µm here.
    shape : tuple of int, optional
        Rows and columns of the slide: a file that does not say its unit is in pixels where its
        polygons lie on the slide as pixels alone, and else in micrometres, which is said.

    Raises
    ------
    InputError
        If the file is missing, no GeoJSON, in pixels of an unknown width, or holds no polygon with
        an area.
    """
    if not path.exists():
        msg = f"{path}: there is no such region file."
        raise InputError(msg)
    with reading(path, "this GeoJSON", _ADVICE):
        content = read_feature_text(path.read_text("utf-8-sig"))
        found = content.get("features", [content]) if isinstance(content, dict) else content
        pixels, of_qupath = _in_pixels(content, found)
        drawn = [one.get("geometry", one) for one in found]
        # A feature may be nowhere.
        some = [n for n, one in enumerate(drawn) if one is not None]
        areas = _shapes([drawn[n] for n in some])
    doubts: tuple[str, ...] = ()
    if not pixels and not _units(content):
        pixels, doubts = _guessed(path, areas, mpp, shape)
    if not pixels:
        mpp = None
    elif mpp is None:
        who = "QuPath wrote" if of_qupath else "it says that it has"
        msg = (
            f"{path}: {who} its coordinates in pixels, and a region's are micrometres; "
            "multiply them by the slide's µm per pixel, and save them as plain polygons."
        )
        raise InputError(msg)
    if mpp is not None:
        width = mpp
        # Ours are counted from the centre of the first pixel.
        corner = 0.5 if of_qupath else 0.0
        areas = shapely.transform(areas, lambda px: (px - corner) * width)
        if not doubts:
            by = "QuPath wrote its coordinates" if of_qupath else "its coordinates are"
            doubts = (f"{path.name}: {by} in pixels; at {mpp:g} µm they are in µm here.",)
    kept = shapely.area(areas) > 0
    if not kept.any():
        msg = f"{path}: it holds no polygon with an area; draw one and save it again."
        raise InputError(msg)
    lost = len(found) - int(kept.sum())
    if lost:
        verb = agree(lost, "has no area and was", "have no area and were")
        doubts += (f"{path.name}: {counted(lost, 'feature', len(found))} {verb} left out.",)
    said = tuple(
        {key: value for key, value in found[some[n]].items() if key != "geometry"}
        for n in np.flatnonzero(kept)
    )
    return Features(areas[kept], said, doubts)


def features_text(
    areas: NDArray[np.object_], said: Iterable[Mapping[str, Any]], mpp: float | None = None
) -> str:
    """Write polygons as a collection of features.

    Parameters
    ----------
    areas : ndarray of object
        In micrometres.
    said : iterable of mapping
        The properties of each.
    mpp : float, optional
        Write pixels of this width, as QuPath counts them; by default micrometres.
    """
    if mpp is not None:
        areas = shapely.transform(areas, lambda um: np.round(um / mpp + 0.5, _DECIMALS))
    features = [
        {"type": "Feature", "geometry": _written(area), "properties": dict(properties)}
        for area, properties in zip(areas, said, strict=True)
    ]
    unit = {"units": ["micrometer", "micrometer"]} if mpp is None else {}
    return json.dumps({"type": "FeatureCollection", **unit, "features": features})


def _in_pixels(content: Any, features: Sequence[Any]) -> tuple[bool, bool]:
    """Tell whether coordinates are in pixels, as a file tells, and whether they are QuPath's."""
    units = _units(content)
    if units and units <= _PIXELS:
        return True, False
    if not units <= _MICROMETRES:
        msg = f"its unit is {' and '.join(sorted(units))}; only micrometer and pixel are known"
        raise ValueError(msg)
    # QuPath knows the scale, and writes pixels all the same.
    new = any((one.get("properties") or {}).get("objectType") for one in features)
    old = any(str(one.get("id", "")).startswith("Path") for one in features)
    return new or old, new or old


def _units(content: Any) -> set[str]:
    """Return the units that a file says, of x and y; none where it says none."""
    said = content.get("units") if isinstance(content, dict) else None
    return set(map(str, said if isinstance(said, list) else [said])) if said else set()


def _guessed(
    path: Path, areas: NDArray[np.object_], mpp: float | None, shape: tuple[int, int] | None
) -> tuple[bool, tuple[str, ...]]:
    """Tell whether coordinates without a unit are pixels, and what is to be said of that."""
    boxes = shapely.bounds(areas[shapely.area(areas) > 0])
    if mpp is None or shape is None or abs(mpp - 1) < _SAME_UNIT or not len(boxes):
        return False, ()
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2

    def on_slide(unit: float) -> float:
        rows, columns = (n * unit for n in shape)
        return float(((x > -unit) & (y > -unit) & (x < columns) & (y < rows)).mean())

    as_um, as_pixels = on_slide(mpp), on_slide(1.0)
    if as_pixels == 1.0 and as_um < _MOST:
        said = f"only as pixels do they lie on the slide; at {mpp:g} µm they are in µm here."
        return True, (f"{path.name}: it does not say the unit of its coordinates; {said}",)
    said = 'they are taken for µm. If they are pixels, write "units": ["pixel", "pixel"] into it.'
    return False, (f"{path.name}: it does not say the unit of its coordinates; {said}",)


def _shapes(geometries: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
    """Make shapes of GeoJSON's; what crosses itself is mended, and what has no area is empty."""
    areas = np.full(len(geometries), None, dtype=object)
    plain = [n for n, one in enumerate(geometries) if one["type"] == "Polygon"]
    several = [n for n, one in enumerate(geometries) if one["type"] == "MultiPolygon"]
    if plain:
        areas[plain] = _polygons([geometries[n]["coordinates"] for n in plain])
    if several:
        parts = [geometries[n]["coordinates"] for n in several]
        of = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
        polygons = _polygons([polygon for one in parts for polygon in one])
        areas[several] = shapely.multipolygons(polygons, indices=of, out=_empty(len(parts)))
    for n in {*range(len(geometries))} - {*plain, *several}:
        areas[n] = shape(geometries[n])
    _check_numbers(shapely.get_coordinates(areas))
    wrong = ~shapely.is_valid(areas)
    areas[wrong] = shapely.make_valid(areas[wrong])
    mixed = ~np.isin(shapely.get_type_id(areas), (_POLYGON, _MULTIPOLYGON))
    for n in np.flatnonzero(mixed):
        areas[n] = _only_areas(areas[n])
    return areas


_POLYGON = int(shapely.GeometryType.POLYGON)
_MULTIPOLYGON = int(shapely.GeometryType.MULTIPOLYGON)


def _empty(number: int) -> NDArray[np.object_]:
    return np.full(number, shapely.MultiPolygon(), dtype=object)


def _polygons(coordinates: Sequence[Sequence[Any]]) -> NDArray[np.object_]:
    """Make polygons of lists of rings, all at once: of which the first is the outer one."""
    # Of fewer than three corners nothing has an area, nor what lies in it.
    kept = [
        [ring for ring in one if len(ring) > 2] if _has_outer(one) else [] for one in coordinates
    ]
    rings = [np.asarray(ring, np.float64)[:, :2] for one in kept for ring in one]
    of_ring = np.repeat(np.arange(len(kept)), [len(one) for one in kept])
    polygons = np.full(len(coordinates), shapely.Polygon(), dtype=object)
    if rings:
        of_corner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        corners = np.concatenate(rings)
        # shapely would say that a ring is open.
        _check_numbers(corners)
        made: Any = shapely.linearrings(corners, indices=of_corner)
        shapely.polygons(made, indices=of_ring, out=polygons)
    return polygons


def _check_numbers(corners: NDArray[np.float64]) -> None:
    if not (np.abs(corners) < _FARTHEST).all():
        msg = f"a coordinate is not a number below {_FARTHEST:g}"
        raise ValueError(msg)


def _has_outer(rings: Sequence[Any]) -> bool:
    return bool(rings) and len(rings[0]) > 2


def _only_areas(mixed: Any) -> Any:
    """Keep the polygons of a collection, or of what a mended one left."""
    parts = shapely.get_parts(mixed)
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts = shapely.get_parts(parts)
    return shapely.union_all(parts[shapely.get_type_id(parts) == _POLYGON])


def _written(area: Any) -> dict[str, Any]:
    """Write a polygon, or several, with their holes, as GeoJSON has them."""
    polygons = [
        [np.asarray(ring.coords).tolist() for ring in (part.exterior, *part.interiors)]
        for part in shapely.get_parts(area)
    ]
    if shapely.get_type_id(area) == _POLYGON:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
