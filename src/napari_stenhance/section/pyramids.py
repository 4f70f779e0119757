"""The pyramid of an image that has none: decoded once, in strips, into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.running.job import Job
from napari_stenhance.section.images.image import STRIP, ImageSource, Pixels
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.hashing import FileState
from napari_stenhance.storage.pyramid import coarsen_all, create_levels, open_levels, round_pool
from napari_stenhance.storage.reading import reading
from napari_stenhance.storage.tiles import missing_tiles


def write_pyramid(
    group: zarr.Group,
    shape: tuple[int, int],
    strips: Iterator[NDArray[np.uint8]],
    job: Job,
    title: str,
) -> list[zarr.Array[Any]]:
    """Write an image in 8-bit colours from its strips, then its coarser levels, as one stage."""
    levels = create_levels(group, shape, tile=STRIP, dtype="u1", channels=3)
    across = -(-shape[1] // STRIP)
    with job.stage(title, sum(len(missing_tiles(level)) for level in levels)) as stage:
        for n, strip in enumerate(strips):
            levels[0][n * STRIP : n * STRIP + len(strip)] = strip
            stage.advance(across)
        coarsen_all(levels, round_pool, stage)
    return levels


class _Cached:
    """A level of a pyramid in the cache, as an array that notices when it was deleted."""

    def __init__(self, level: zarr.Array[Any]) -> None:
        self._level = level
        self.shape, self.chunks = level.shape, level.chunks
        self.dtype, self.ndim = level.dtype, level.ndim

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
        still_there(self._level)
        advice = "delete it, and it is made again"
        with reading(folder_of(self._level), "a tile of the cache", advice):
            return np.asarray(self._level[key])


def cached_pyramid(
    image: ImageSource, state: FileState, cache: Cache, job: Job
) -> tuple[tuple[Pixels, ...], tuple[float, ...]]:
    """Open the cached pyramid of an image that has none; build it first if it is not there.

    It is known by the file's state, not by its content: reading all of a file once more before it
    is seen would take as long as decoding it, on a slow share.

    Returns
    -------
    levels : tuple of Pixels
        Each level half the one before.
    downsamples : tuple of float
    """
    # Entries of "pyramids" have no checksums, those of "pyramids2" are known by content.
    what = "\n".join((state.key, image.part, *image.conversions))
    kind, key = "pyramids3", hashlib.sha256(what.encode()).hexdigest()[:32]
    entry = cache.entry(kind, key)
    with cache.lock(entry, job):
        if not cache.has(kind, key):
            with cache.building(kind, key) as folder:
                title = f"Building the pyramid of {image.path.name}"
                group = zarr.open_group(folder, mode="w")
                write_pyramid(group, image.shape, image.strips(), job, title)
    group = zarr.open_group(entry, mode="r")
    opened = tuple(_Cached(level) for level in open_levels(group))
    return opened, tuple(float(2**level) for level in range(len(opened)))
