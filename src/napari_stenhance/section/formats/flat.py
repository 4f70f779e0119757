"""Images without a pyramid: decoded once, in strips, into a pyramid in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyvips
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job, Stage
from napari_stenhance.section.formats.pixels import STRIP, ImageSource, Pixels
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.checked import folder_of
from napari_stenhance.storage.pyramid import create_levels, open_levels
from napari_stenhance.storage.reading import reading

SUFFIXES = (".jpg", ".jpeg", ".png")
TILE = STRIP
_WIDEST = 2**28 // (TILE * 3)
"""Pixels of a row: strips of this package and of libvips are in memory at the same time."""
_SWELLS = 1100
"""The most bytes that a byte of deflate, or of a JPEG, becomes; of deflate it is 1032."""
_MEMORY_SHARE = 0.5
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def open_jpeg(path: Path) -> ImageSource:
    """Open a JPEG; its density in dots per inch is never a scale.

    Raises
    ------
    InputError
        If its header cannot be read, or claims what the file cannot hold.
    """
    image = _header(path, pyvips.Image.jpegload)
    # Each block of 8 × 8 pixels takes a bit at least, in the first of its scans.
    _check_claim(path, image, image.width * image.height / 64 / 8)
    return _source(path, image, pyvips.Image.jpegload)


def open_png(path: Path) -> ImageSource:
    """Open a PNG; its density in pixels per metre is never a scale.

    Raises
    ------
    InputError
        If its header cannot be read, or claims what the file cannot hold.
    """
    image = _header(path, pyvips.Image.pngload)
    with reading(path, "this image"), path.open("rb") as file:
        head = file.read(26)
        bits = head[24] * _PNG_CHANNELS[head[25]]
    _check_claim(path, image, image.width * image.height * bits / 8 / _SWELLS)
    return _source(path, image, pyvips.Image.pngload)


def _header(path: Path, load: Callable[..., pyvips.Image]) -> pyvips.Image:
    # A file of the same name may have been opened before, and changed.
    with _decoding(path):
        return load(str(path), access="sequential", fail_on="truncated", revalidate=True)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except pyvips.Error as error:
        lines = [line for line in str(error.detail).strip().splitlines() if line]
        reason = lines[-1] if lines else "it is damaged"
        msg = f"{path}: this image cannot be read ({reason}); export it again."
        raise InputError(msg) from error


def _check_claim(path: Path, image: pyvips.Image, least: float) -> None:
    """Refuse an image whose header claims more than it can hold, before any is allocated.

    Parameters
    ----------
    path : Path
    image : pyvips.Image
    least : float
        Bytes that the file has at least, if what it claims is so.
    """
    size = f"{image.width} × {image.height} px"
    if least > path.stat().st_size:
        msg = (
            f"{path}: this image cannot be read (it claims {size}, more than the file can hold); "
            "copy it again, or export it anew."
        )
        raise InputError(msg)
    if image.width > _WIDEST:
        msg = f"{path}: an image of {size} is too wide for its format; export it as tiled TIFF."
        raise InputError(msg)
    interlaced = image.get_typeof("interlaced") != 0 and bool(image.get("interlaced"))
    # All of it is in memory while it is decoded: samples of 16 bits, for three colours.
    needed = image.width * image.height * 6
    if interlaced and needed > _MEMORY_SHARE * psutil.virtual_memory().available:
        msg = (
            f"{path}: decoding this image takes {needed / 2**30:.1f} GB at once, since it is "
            "progressive (interlaced); export it without, or as tiled TIFF."
        )
        raise InputError(msg)


def _source(path: Path, image: pyvips.Image, load: Callable[..., pyvips.Image]) -> ImageSource:
    return ImageSource(path, (image.height, image.width), "", (), (), lambda: _strips(path, load))


def _strips(path: Path, load: Callable[..., pyvips.Image]) -> Iterator[NDArray[np.uint8]]:
    """Decode an image from top to bottom, 8-bit RGB; only one strip is in memory."""
    image = _header(path, load)
    with _decoding(path):
        if image.hasalpha():
            image = image.flatten(background=[255] if image.bands == 2 else [255, 255, 255])
        if image.interpretation != "srgb" or image.format != "uchar":
            image = image.colourspace("srgb").cast("uchar")
        region = pyvips.Region.new(image)
        for top in range(0, image.height, TILE):
            rows = min(TILE, image.height - top)
            data = region.fetch(0, top, image.width, rows)
            yield np.frombuffer(data, np.uint8).reshape(rows, image.width, image.bands)


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
                levels = create_levels(group, (height, width), tile=TILE, dtype="u1", channels=3)
                with job.stage(f"Building the pyramid of {path.name}", -(-height // TILE)) as stage:
                    write_levels(levels, image.strips(), stage)
    group = zarr.open_group(entry, mode="r")
    opened = tuple(_Cached(level) for level in open_levels(group))
    return opened, tuple(float(2**level) for level in range(len(opened)))
