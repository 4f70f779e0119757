"""Write the slide of a phantom as a pyramidal TIFF, as scanners do, in strips."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.running.job import Job
from napari_stenhance.section.images.image import STRIP
from napari_stenhance.section.pyramids import write_pyramid
from napari_stenhance.storage.tiles import tiles_of

_QUALITY = 85
_WIDTH = 1024
_THREADS = min(os.cpu_count() or 1, 4)


def write_slide(path: Path, painter: Painter, side_px: int, job: Job) -> None:
    """Paint a square slide and write it with all its levels, tiled, JPEG, with its scale.

    Parameters
    ----------
    path : Path
        A `.tif`; beside it, a scratch folder of the same size holds the levels meanwhile.
    painter : Painter
    side_px : int
    job : Job
    """
    scratch = path.with_suffix(".levels")
    group, strips = zarr.open_group(scratch, mode="w"), _strips(painter, side_px)
    levels = write_pyramid(group, (side_px, side_px), strips, job, "Painting the slide")
    dots_per_cm = 1e4 / painter.mpp
    with (
        tifffile.TiffWriter(path, bigtiff=True) as tif,
        job.stage("Writing the slide", len(levels)) as stage,
    ):
        for number, level in enumerate(levels):
            down = 2**number
            tif.write(
                _tiles(level),
                shape=level.shape,
                dtype="uint8",
                tile=(STRIP, STRIP),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": _QUALITY},
                subifds=0 if number else len(levels) - 1,
                subfiletype=1 if number else 0,
                resolution=(dots_per_cm / down, dots_per_cm / down),
                resolutionunit="CENTIMETER",
                metadata=None,
                software="napari-stenhance phantom",
            )
            stage.advance()
    shutil.rmtree(scratch)


def _strips(painter: Painter, side_px: int) -> Iterator[NDArray[np.uint8]]:
    """Paint from top to bottom; the windows of a strip side by side in threads."""
    rows, columns = (
        [slice(n, min(n + size, side_px)) for n in range(0, side_px, size)]
        for size in (STRIP, _WIDTH)
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        for strip in rows:
            yield np.concatenate(list(pool.map(partial(painter.paint, strip), columns)), axis=1)


def _tiles(level: zarr.Array[Any]) -> Iterator[NDArray[np.uint8]]:
    """Read whole tiles, row by row; those at the edge are continued beyond it."""
    for tile in tiles_of((level.shape[0], level.shape[1]), STRIP):
        pixels = np.asarray(level[tile.rows, tile.columns])
        pad = [(0, STRIP - pixels.shape[0]), (0, STRIP - pixels.shape[1]), (0, 0)]
        yield np.pad(pixels, pad, mode="edge")
