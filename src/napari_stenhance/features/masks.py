"""Which superpixels of a slide are tissue: found once for each slide, kind of mask and grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.histosweep import VERSION as HISTOSWEEP_VERSION
from napari_stenhance.features.histosweep import histosweep_mask
from napari_stenhance.features.tissue import VERSION as TISSUE_VERSION
from napari_stenhance.features.tissue import tissue_mask
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.checked import open_node, read_whole
from napari_stenhance.storage.tiles import create_array

TissueKind = Literal["density", "histosweep"]
TISSUE_KINDS: tuple[TissueKind, ...] = get_args(TissueKind)
_MASKS = {
    "density": (tissue_mask, f"tissue{TISSUE_VERSION}"),
    "histosweep": (histosweep_mask, f"histosweep{HISTOSWEEP_VERSION}"),
}
_KIND = "tissue"


def mask_version(slide: Slide, kind: TissueKind) -> str:
    """Name a slide's mask in cache keys: one that was given, or a kind with its version.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if kind not in _MASKS:
        msg = f"Tissue {kind}: there is no such mask; choose one of {', '.join(_MASKS)}."
        raise InputError(msg, option="tissue")
    return _MASKS[kind][1] if slide.tissue is None else slide.tissue.name


def find_tissue(
    slide: Slide, grid: Grid, kind: TissueKind, cache: Cache, job: Job
) -> NDArray[np.bool_]:
    """Tell which superpixels of a fine grid are tissue, or take it from the cache.

    A mask that was given with the slide is taken as it is.

    Raises
    ------
    InputError
        If none is, or there is no such kind of mask.
    """
    version = mask_version(slide, kind)
    if slide.tissue is not None:
        given = slide.tissue.on(grid)
        if not given.any():
            msg = f"{slide.path}: the tissue mask leaves no superpixel half covered; paint more."
            raise InputError(msg, option="tissue")
        return given
    key = f"{slide.key}-{version}-{grid.key()}"

    def make() -> dict[str, NDArray[Any]]:
        found = _MASKS[kind][0](slide, grid, job)
        if not found.any():
            msg = f"{slide.path}: no tissue was found on the slide; is it an H&E image?"
            raise InputError(msg)
        return {"tissue": found}

    return cached_rasters(cache, _KIND, key, make, job)["tissue"].astype(bool)


def cached_rasters(
    cache: Cache, kind: str, key: str, make: Callable[[], dict[str, NDArray[Any]]], job: Job
) -> dict[str, NDArray[np.uint8]]:
    """Take an entry's rasters of small numbers, (rows, columns), or make them first."""
    entry = cache.entry(kind, key)
    with cache.lock(entry, job):
        if not cache.has(kind, key):
            made = make()
            with cache.building(kind, key) as folder:
                group = zarr.open_group(folder, mode="w")
                for name, values in made.items():
                    array = create_array(
                        group,
                        name,
                        shape=values.shape,
                        chunks=(1024, 1024),
                        dtype="u1",
                        dimension_names=("y", "x"),
                    )
                    array[...] = values.astype("u1")
        return read_rasters(cache, kind, key)


def read_rasters(cache: Cache, kind: str, key: str) -> dict[str, NDArray[np.uint8]]:
    """Read the rasters of an entry that is there."""
    group = zarr.open_group(cache.entry(kind, key), mode="r")
    return {name: read_whole(open_node(group, name, zarr.Array)) for name in group}
