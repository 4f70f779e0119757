"""OME-Zarr 0.5 metadata of pyramids that are filled tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from napari_stenhance.storage.tiles import y_axis

with warnings.catch_warnings():
    # Importing it makes an instance of a class that it itself deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_multiscales_metadata

Place = tuple[Sequence[float], Sequence[float]]
"""Of a level, (y, x): the sides of a pixel, and where the centre of the first lies."""


def describe_levels(
    group: zarr.Group,
    levels: Sequence[zarr.Array[Any]],
    places: Sequence[Place],
    units: Sequence[str],
    name: str | None = None,
) -> None:
    """Describe (y, x) or (c, y, x) levels of a group; of the units of y and x, "" is not named."""
    colours = y_axis(levels[0])
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
    for axis, unit in zip("yx", units, strict=True):
        axes.append({"name": axis, "type": "space", **({"unit": unit} if unit else {})})
    write_multiscales_metadata(group, datasets, fmt=FormatV05(), axes=axes, name=name)


def describe_labels(
    group: zarr.Group,
    properties: Sequence[Mapping[str, Any]],
    colours: Mapping[int, Sequence[int]] | None,
) -> None:
    """Say of described levels that they are labels, with their "label-value"s and RGBA colours."""
    said: dict[str, Any] = {"properties": list(properties)} if properties else {}
    if colours:
        said["colors"] = [{"label-value": n, "rgba": list(c)} for n, c in colours.items()]
    ome: Any = group.attrs["ome"]
    group.attrs["ome"] = {**ome, "image-label": said}
