"""Images without a pyramid: decoded once, in strips, into a pyramid in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job, Stage
from napari_stenhance.section.formats.pixels import Pixels
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.pyramid import create_levels, open_levels

SUFFIXES = (".jpg", ".jpeg", ".png")
TILE = 512


def _opened(path: Path) -> pyvips.Image:
    try:
        return pyvips.Image.new_from_file(str(path), access="sequential", fail_on="truncated")
    except pyvips.Error as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: pyvips.Error) -> InputError:
    lines = [line for line in str(error.detail).strip().splitlines() if line]
    reason = lines[-1] if lines else "unknown format"
    return InputError(f"{path}: this image cannot be read ({reason}); export it again.")


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (height, width) in pixels from its header alone."""
    image = _opened(path)
    return image.height, image.width


def _strips(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode an image from top to bottom, 8-bit RGB; only one strip is in memory."""
    image = _opened(path)
    try:
        if image.hasalpha():
            image = image.flatten(background=[255] if image.bands == 2 else [255, 255, 255])
        if image.interpretation != "srgb" or image.format != "uchar":
            image = image.colourspace("srgb").cast("uchar")
        region = pyvips.Region.new(image)
        for top in range(0, image.height, TILE):
            rows = min(TILE, image.height - top)
            data = region.fetch(0, top, image.width, rows)
            yield np.frombuffer(data, np.uint8).reshape(rows, image.width, image.bands)
    except pyvips.Error as error:
        raise _unreadable(path, error) from error


def _halve(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2 × 2 pixels, rounded; an odd edge counts twice."""
    rows, columns = strip.shape[:2]
    padded = np.pad(strip, [(0, rows % 2), (0, columns % 2), (0, 0)], mode="edge")
    total = padded[::2].astype(np.uint16) + padded[1::2]
    mean = (total[:, ::2] + total[:, 1::2] + 2) >> 2
    return mean.astype(np.uint8)


def write_levels(
    levels: list[zarr.Array[Any]], strips: Iterator[NDArray[np.uint8]], stage: Stage
) -> None:
    """Stream strips into all levels: each level holds at most one row of tiles in memory."""
    pending: list[list[NDArray[np.uint8]]] = [[] for _ in levels]
    written = [0 for _ in levels]

    def feed(level: int, strip: NDArray[np.uint8]) -> None:
        pending[level].append(strip)
        waiting = sum(len(part) for part in pending[level])
        if waiting < TILE and written[level] + waiting < levels[level].shape[0]:
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
        return np.asarray(self._level[key])


def open_pyramid(
    path: Path, sha256: str, cache: Cache, job: Job
) -> tuple[tuple[Pixels, ...], tuple[float, ...]]:
    """Open the cached pyramid of a flat image; build it first if it is not there.

    Returns
    -------
    levels : tuple of Pixels
        Each level half the one before.
    downsamples : tuple of float
    """
    # Entries of "pyramids" have no checksums.
    kind, key = "pyramids2", sha256[:32]
    entry = cache.entry(kind, key)
    with cache.lock(entry, job):
        if not cache.has(kind, key):
            height, width = image_size(path)
            with cache.building(kind, key) as folder:
                group = zarr.open_group(folder, mode="w")
                levels = create_levels(group, (height, width), tile=TILE, dtype="u1", channels=3)
                with job.stage(f"Building the pyramid of {path.name}", -(-height // TILE)) as stage:
                    write_levels(levels, _strips(path), stage)
    group = zarr.open_group(entry, mode="r")
    opened = tuple(_Cached(level) for level in open_levels(group))
    return opened, tuple(float(2**level) for level in range(len(opened)))
