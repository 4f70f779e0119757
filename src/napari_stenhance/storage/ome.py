"""OME-Zarr 0.5 metadata of pyramids that are filled tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from napari_stenhance.storage.tiles import colours_first

with warnings.catch_warnings():
    # Importing it makes an instance of a class that it itself deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_multiscales_metadata

Place = tuple[Sequence[float], Sequence[float]]
"""Of a level: the sides of a pixel, and where the centre of the first lies, both (y, x)."""


def describe_levels(
    group: zarr.Group,
    levels: Sequence[zarr.Array[Any]],
    places: Sequence[Place],
    units: Sequence[str],
    name: str | None = None,
) -> None:
    """Describe (y, x) or (c, y, x) levels of a group: scale, translation and unit of each.

    Parameters
    ----------
    group : zarr.Group
    levels : sequence of zarr arrays
    places : sequence of tuple
        One for each level.
    units : sequence of str
        Of y and x; "" is not named.
    name : str, optional
    """
    colours = int(colours_first(levels[0]))
    datasets = [
        {
            "path": level.basename,
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0] * colours + list(scale)},
                {"type": "translation", "translation": [0.0] * colours + list(translation)},
            ],
        }
        for level, (scale, translation) in zip(levels, places, strict=True)
    ]
    axes = [{"name": "c", "type": "channel"}] * colours
    for axis, unit in zip(("y", "x"), units, strict=True):
        axes.append({"name": axis, "type": "space", **({"unit": unit} if unit else {})})
    write_multiscales_metadata(group, datasets, fmt=FormatV05(), axes=axes, name=name)


def describe_labels(
    group: zarr.Group,
    properties: Sequence[Mapping[str, Any]],
    colours: Mapping[int, Sequence[int]] | None,
) -> None:
    """Say that described levels are a label image.

    Parameters
    ----------
    group : zarr.Group
    properties : sequence of mapping
        What is known of each label: its "label-value", and more.
    colours : mapping of int to sequence of int, optional
        Red, green, blue and opacity of labels, 0 to 255.
    """
    about: dict[str, Any] = {}
    if properties:
        about["properties"] = list(properties)
    if colours:
        about["colors"] = [{"label-value": n, "rgba": list(c)} for n, c in colours.items()]
    ome: Any = group.attrs["ome"]
    group.attrs["ome"] = {**ome, "image-label": about}
