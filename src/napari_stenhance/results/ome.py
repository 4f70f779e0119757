"""OME-Zarr 0.5 metadata for images and labels that are filled tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import zarr

from napari_stenhance.section.grid import Grid

with warnings.catch_warnings():
    # Importing it makes an instance of a class that it itself deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_multiscales_metadata


def describe_image(group: zarr.Group, levels: Sequence[zarr.Array[Any]], grid: Grid) -> None:
    """Describe (y, x) levels of a group: scale, translation and unit of each, in micrometres."""
    datasets = [
        {
            "path": level.basename,
            "coordinateTransformations": [
                {"type": "scale", "scale": [grid.scale_um(n)] * 2},
                {"type": "translation", "translation": [grid.translation_um(n)] * 2},
            ],
        }
        for n, level in enumerate(levels)
    ]
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in ("y", "x")]
    write_multiscales_metadata(group, datasets, fmt=FormatV05(), axes=axes)


def describe_label(
    group: zarr.Group,
    levels: Sequence[zarr.Array[Any]],
    grid: Grid,
    names: dict[int, str],
) -> None:
    """Describe (y, x) levels as a label image whose values have names."""
    describe_image(group, levels, grid)
    ome = dict(group.attrs["ome"])  # type: ignore[arg-type]
    ome["image-label"] = {
        "properties": [{"label-value": value, "name": name} for value, name in names.items()],
    }
    group.attrs["ome"] = ome
