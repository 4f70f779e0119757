"""What a method says of the sizes of crops, as OME-Zarr images: how much each counted where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.results.attributes import ADVICE, KEY
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.genes import create_image
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.storage.checked import folder_of, has_node, open_node
from napari_stenhance.storage.pyramid import open_levels
from napari_stenhance.storage.reading import reading
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
        said, size = {"crop_um": crop_um, "run": run}, tile_size(field.latent[0])
        name = f"{_FOLDER}/{crop_um:g}um"
        levels = create_image(result.run_group(run), name, field.grid, size, said)
        write_tile(levels[0], tile, attention[..., n])


def written_attention(result: ResultFolder, run: str) -> dict[float, list[zarr.Array[Any]]]:
    """Open the images of a run: the levels for each side of crops in micrometres, small first."""
    if not has_node(result.run_group(run), _FOLDER):
        return {}
    group = open_node(result.run_group(run), _FOLDER, zarr.Group)
    names = [each.name for each in folder_of(group).iterdir() if (each / "zarr.json").is_file()]
    images = [open_node(group, name, zarr.Group) for name in names]
    with reading(folder_of(group), advice=ADVICE):
        sizes: dict[float, zarr.Group] = {
            float(image.attrs[KEY]["crop_um"]): image  # type: ignore[index,call-overload,arg-type]
            for image in images
            if image.attrs.get("created")
        }
    return {size: open_levels(sizes[size]) for size in sorted(sizes)}
