"""OME-Zarr 0.5 metadata for images and labels that are filled tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from napari_stenhance.section.grid import Grid

with warnings.catch_warnings():
    # Importing it makes an instance of a class that it itself deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_multiscales_metadata


def describe_image(group: zarr.Group, levels: Sequence[zarr.Array[Any]], grid: Grid) -> None:
    """Describe (y, x) levels of a group: scale, translation and unit of each.

    Pixels are no unit that OME-Zarr knows: where no scale is known, none is named.
    """
    datasets = [
        {
            "path": level.basename,
            "coordinateTransformations": [
                {"type": "scale", "scale": [grid.scale_um(n)] * 2},
                {"type": "translation", "translation": list(grid.translate_um(n))},
            ],
        }
        for n, level in enumerate(levels)
    ]
    unit = {} if grid.unit == "pixel" else {"unit": grid.unit}
    axes = [{"name": n, "type": "space", **unit} for n in ("y", "x")]
    write_multiscales_metadata(group, datasets, fmt=FormatV05(), axes=axes)


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
    ome: Any = group.attrs["ome"]
    about: dict[str, Any] = {
        "properties": [{"label-value": value, "name": name} for value, name in names.items()],
    }
    if colours is not None:
        about["colors"] = [{"label-value": v, "rgba": list(rgba)} for v, rgba in colours.items()]
    group.attrs["ome"] = {**ome, "image-label": about}
