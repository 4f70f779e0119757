"""The pyramid of an image that has none: decoded once, in strips, into the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.running.job import Job, Stage
from napari_stenhance.section.images.image import STRIP, ImageSource, Pixels
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.pyramid import create_levels, open_levels
from napari_stenhance.storage.reading import reading


def _halve(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2 × 2 pixels, rounded; an odd edge counts twice."""
    rows, columns = strip.shape[:2]
    padded = np.pad(strip, [(0, rows % 2), (0, columns % 2), (0, 0)], mode="edge")
    total = padded[::2].astype(np.uint16) + padded[1::2]
    mean = (total[:, ::2] + total[:, 1::2] + 2) >> 2
    return mean.astype(np.uint8)


def write_levels(
    levels: Sequence[zarr.Array[Any]], strips: Iterator[NDArray[np.uint8]], stage: Stage
) -> None:
    """Stream strips into all levels: each level holds at most one row of tiles in memory."""
    pending: list[list[NDArray[np.uint8]]] = [[] for _ in levels]
    written = [0 for _ in levels]

    def feed(level: int, strip: NDArray[np.uint8]) -> None:
        pending[level].append(strip)
        waiting = sum(len(part) for part in pending[level])
        if waiting < STRIP and written[level] + waiting < levels[level].shape[0]:
            return
        rows = np.concatenate(pending[level])
        pending[level].clear()
        top = written[level]
        levels[level][top : top + len(rows)] = rows
        written[level] += len(rows)
        if level + 1 < len(levels):
            feed(level + 1, _halve(rows))

    for strip in strips:
        feed(0, strip)
        stage.advance()


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
    image: ImageSource, sha256: str, cache: Cache, job: Job
) -> tuple[tuple[Pixels, ...], tuple[float, ...]]:
    """Open the cached pyramid of an image that has none; build it first if it is not there.

    Returns
    -------
    levels : tuple of Pixels
        Each level half the one before.
    downsamples : tuple of float
    """
    path, (height, width) = image.path, image.shape
    # Entries of "pyramids" have no checksums.
    kind, key = "pyramids2", "-".join(filter(None, (sha256[:32], image.part)))
    entry = cache.entry(kind, key)
    with cache.lock(entry, job):
        if not cache.has(kind, key):
            with cache.building(kind, key) as folder:
                group = zarr.open_group(folder, mode="w")
                levels = create_levels(group, (height, width), tile=STRIP, dtype="u1", channels=3)
                with job.stage(
                    f"Building the pyramid of {path.name}", -(-height // STRIP)
                ) as stage:
                    write_levels(levels, image.strips(), stage)
    group = zarr.open_group(entry, mode="r")
    opened = tuple(_Cached(level) for level in open_levels(group))
    return opened, tuple(float(2**level) for level in range(len(opened)))
