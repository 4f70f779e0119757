"""Images and labels on a grid, described as OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.ome import describe_labels, describe_levels


def describe_image(group: zarr.Group, levels: Sequence[zarr.Array[Any]], grid: Grid) -> None:
    """Describe (y, x) levels that lie on a grid.

    Pixels are no unit that OME-Zarr knows: where no scale is known, none is named.
    """
    places = [((grid.scale_um(n),) * 2, grid.translate_um(n)) for n in range(len(levels))]
    describe_levels(group, levels, places, ("" if grid.unit == "pixel" else grid.unit,) * 2)


def pitch_of(group: zarr.Group) -> float:
    """Return the side of a pixel of the finest level, as `describe_image` described it."""
    ome: Any = group.attrs["ome"]
    scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    return float(scale["scale"][-1])


def describe_label(
    group: zarr.Group,
    levels: Sequence[zarr.Array[Any]],
    grid: Grid,
    names: Mapping[int, str],
    colours: Mapping[int, tuple[int, int, int, int]] | None = None,
) -> None:
    """Describe (y, x) levels as a label image whose values have names, and colours (RGBA)."""
    describe_image(group, levels, grid)
    properties = [{"label-value": value, "name": name} for value, name in names.items()]
    describe_labels(group, properties, colours)
