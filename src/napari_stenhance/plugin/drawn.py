"""The shapes of a region layer as regions with names, and regions as shapes: holes are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.plugin.regions import REGION_COLOUR, area_of, outline
from napari_stenhance.section.named_regions import NamedRegions

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Shapes

    from napari_stenhance.plugin.layer_info import Place

NAME, KIND, COLOUR, NUMBERS = "name", "class", "colour", "measurements"
"""Columns of a layer's features: what a file says of each region."""
_LINES = {"line", "path"}
_NAMES_MOST = 100
"""Regions up to which names are written on the slide."""
_NAME_SIZE = 10


def drawn_regions(layer: Shapes, place: Place) -> tuple[NamedRegions, NDArray[np.int64]]:
    """Return what is drawn in a layer as regions, and the number of the shape of each.

    Lines and paths, which have no area, are none.

    Parameters
    ----------
    layer : Shapes
    place : Place
        Where the section lies, in whose micrometres regions are.
    """
    kinds, corners = layer.shape_type, layer.data
    shapes = [n for n, kind in enumerate(kinds) if kind not in _LINES and len(corners[n]) >= 3]
    to_world, moved = _to_world(layer)
    areas = np.empty(len(shapes), dtype=object)
    for at, n in enumerate(shapes):
        world = outline(kinds[n], corners[n])[:, -2:] @ to_world.T + moved - place.origin
        areas[at] = area_of(world[:, ::-1])
    kept = shapely.area(areas) > 0
    at = np.array(shapes, np.int64)[kept]
    said = _said(layer.features, at)
    return NamedRegions(areas=areas[kept], **said), at


def _to_world(layer: Shapes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix and the shift that take a layer's (y, x) to the world."""
    zero = np.asarray(layer.data_to_world((0.0, 0.0)))[-2:]
    ends = [np.asarray(layer.data_to_world(unit))[-2:] - zero for unit in ((1.0, 0.0), (0.0, 1.0))]
    return np.column_stack(ends), zero


def shape_of(area: Any) -> NDArray[np.float64]:
    """Return the corners (x, y) of a polygon, or several, with their holes, as one shape.

    napari's polygons have one ring, and what it encloses twice is not filled: from the first corner
    each further ring is gone to, around and back from. Along these ways there is no area.
    """
    polygons = shapely.get_parts(area)
    first, *others = [
        np.asarray(ring.coords)[:, :2]
        for one in polygons
        for ring in (one.exterior, *one.interiors)
    ]
    if not others:
        return first[:-1]
    home = first[:1]
    return np.concatenate([first, *(part for ring in others for part in (ring, home))])


def add_regions(layer: Shapes, regions: NamedRegions, mpp: float) -> None:
    """Draw regions, in micrometres, in the layer of their section.

    Parameters
    ----------
    layer : Shapes
    regions : NamedRegions
    mpp : float
        Micrometres per pixel of the layer.
    """
    before = layer.features.copy()
    shapes = [shape_of(area)[:, ::-1] / mpp for area in regions.areas]
    width = layer.current_edge_width if len(layer.data) == 0 else layer.edge_width[0]
    colours = [colour or REGION_COLOUR for colour in regions.colours]
    layer.add_polygons(shapes, edge_color=colours, face_color="transparent", edge_width=width)
    texts = [json.dumps(dict(numbers)) if numbers else "" for numbers in regions.measurements]
    columns = zip(
        (NAME, KIND, COLOUR, NUMBERS),
        (regions.names, regions.kinds, regions.colours, texts),
        strict=True,
    )
    features = layer.features.copy()
    for column, values in columns:
        old = before[column] if column in before else [""] * len(before)
        features[column] = [*old, *values]
    layer.features = features


def write_names(layer: Shapes, names: Sequence[str], shapes: Sequence[int]) -> None:
    """Write names beside some shapes, in their colours; of many none could be read."""
    texts = [""] * len(layer.data)
    for n, name in zip(shapes, names, strict=True):
        texts[n] = name
    if text := _written(texts, layer.edge_color):
        layer.text = text
    else:
        layer.text.visible = False


def written_names(features: pd.DataFrame, kinds: Sequence[str], colours: Any) -> dict[str, Any]:
    """Return what napari writes beside shapes that are regions; nothing of very many.

    Parameters
    ----------
    features : DataFrame
        Of the shapes.
    kinds : sequence of str
        As napari calls shapes.
    colours : array
        Of each.
    """
    names = enumerate(zip(_texts(features, NAME), kinds, strict=True))
    texts = ["" if kind in _LINES else name or _unnamed(n) for n, (name, kind) in names]
    return _written(texts, colours)


def _unnamed(n: int) -> str:
    return f"Region {n + 1}"


def _written(texts: list[str], colours: Any) -> dict[str, Any]:
    if not 0 < len(texts) <= _NAMES_MOST:
        return {}
    return {
        "string": {"array": texts, "default": ""},
        "color": {"array": colours, "default": REGION_COLOUR},
        "size": _NAME_SIZE,
        "anchor": "upper_left",
    }


def set_names(layer: Shapes, names: Sequence[str], shapes: Sequence[int]) -> None:
    """Name some shapes."""
    features = layer.features.copy()
    column = _texts(features, NAME)
    for n, name in zip(shapes, names, strict=True):
        column[n] = name
    features[NAME] = column
    layer.features = features


def name_new(layer: Shapes, known: int) -> None:
    """Name the shapes that came after so many: napari gives what is drawn the name of another."""
    names = _texts(layer.features, NAME)
    taken, new = set(names[:known]), []
    for n in range(known, len(names)):
        number = n + 1
        while f"Region {number}" in taken:
            number += 1
        new.append(f"Region {number}")
        taken.add(new[-1])
    if new:
        features = layer.features.copy()
        features[NAME] = [*names[:known], *new]
        for column in (KIND, COLOUR, NUMBERS):
            if column in features:
                features[column] = [*_texts(features, column)[:known], *[""] * len(new)]
        layer.features = features


def _said(features: pd.DataFrame, shapes: NDArray[np.int64]) -> dict[str, Any]:
    every = (_texts(features, column) for column in (NAME, KIND, COLOUR, NUMBERS))
    names, kinds, colours, numbers = ([texts[n] for n in shapes] for texts in every)
    return {
        "names": tuple(name or _unnamed(n) for name, n in zip(names, shapes, strict=True)),
        "kinds": tuple(kinds),
        "colours": tuple(colours),
        "measurements": tuple(json.loads(text) if text else {} for text in numbers),
    }


def _texts(features: pd.DataFrame, column: str) -> list[str]:
    if column not in features:
        return [""] * len(features)
    return [value if isinstance(value, str) else "" for value in features[column]]
