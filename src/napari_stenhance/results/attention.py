"""What a method says of the sizes of crops, as OME-Zarr images: how much each counted where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.methods.field import GeneField
from napari_stenhance.results.ome import describe_image
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.storage.pyramid import create_levels, open_levels
from napari_stenhance.storage.tiles import Tile, tile_size, write_tile

_FOLDER = "attention"


def write_attention_tile(
    result: ResultFolder,
    run: str,
    field: GeneField,
    crops_um: Sequence[float],
    tile: Tile,
    attention: NDArray[np.floating],
) -> None:
    """Write one tile, (rows, columns, sizes), into the image of each size.

    Tiles without tissue need not be written: they are NaN.
    """
    for n, crop_um in enumerate(crops_um):
        levels = _levels(result, run, field, crop_um)
        write_tile(levels[0], tile, attention[..., n])


def _levels(
    result: ResultFolder, run: str, field: GeneField, crop_um: float
) -> list[zarr.Array[Any]]:
    """Make the levels of an image, or open them if they are there."""
    name = f"{_FOLDER}/{crop_um:g}um"
    group = result.run_group(run).get(name)
    if not isinstance(group, zarr.Group) or not group.attrs.get("created"):
        group = result.run_group(run).create_group(name, overwrite=True)
        tile = tile_size(field.latent[0])
        levels = create_levels(group, field.grid.shape, tile=tile, dtype="f4", fill_value=np.nan)
        describe_image(group, levels, field.grid)
        group.attrs["stenhance"] = {"crop_um": crop_um, "run": run}
        group.attrs["created"] = True
    return open_levels(group)


def written_attention(result: ResultFolder, run: str) -> dict[float, list[zarr.Array[Any]]]:
    """Open the images of a run: the levels for each side of crops in micrometres, small first."""
    group = result.run_group(run).get(_FOLDER)
    if not isinstance(group, zarr.Group):
        return {}
    images = [image for _, image in group.groups() if image.attrs.get("created")]
    sizes: list[float] = [image.attrs["stenhance"]["crop_um"] for image in images]  # type: ignore[index,call-overload,misc]
    return {size: open_levels(image) for size, image in sorted(zip(sizes, images, strict=True))}
