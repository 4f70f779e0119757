"""Readers of whole slides side by side: speed, threads, and whether pixels agree.

    python benchmarks/readers.py            makes a slide, reads it, prints a table

What reads formats that tifffile cannot was chosen by this: docs/formats.md has its numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import fastslide
import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.section.images.opening import open_image

SIDE, TILE, REGION = 12288, 256, 256
Read = Callable[[int, int], NDArray[Any]]


def write_slide(path: Path, kind: str) -> None:
    """Write tiled JPEG levels of 1, 4 and 16, as a scanner of Aperio does or as plain TIFF."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 30, (SIDE // 32, SIDE // 32, 3))
    smooth = ndimage.zoom(ndimage.gaussian_filter(coarse, (2, 2, 0)) * 6, (32, 32, 1), order=1)
    pixels = np.clip(190 + smooth + rng.normal(0, 6, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
    how: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
    how |= {"tile": (TILE, TILE), "compressionargs": {"level": 85}}
    about = (
        f"Aperio Image Library v12.0\r\n{SIDE}x{SIDE} (256x256) JPEG/RGB Q=85|AppMag = 20|MPP = 0.5"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        if kind == "SVS":
            tif.write(pixels, description=about, **how)
            thumbnail = {**how, "tile": None, "rowsperstrip": 16}
            tif.write(pixels[::16, ::16], description=about, **thumbnail)
            for step in (4, 16):
                tif.write(pixels[::step, ::step], description=about, **how)
        else:
            tif.write(pixels, **how)
            for step in (4, 16):
                tif.write(pixels[::step, ::step], subfiletype=1, **how)


def _openslide(path: Path) -> Read:
    slide = openslide.OpenSlide(path)
    return lambda x, y: np.asarray(slide.read_region((x, y), 0, (REGION, REGION)))[..., :3]


def _fastslide(path: Path) -> Read:
    slide = fastslide.FastSlide.from_file_path(path)
    return lambda x, y: np.asarray(slide.read_region((x, y), 0, (REGION, REGION)).numpy())


def _ours(path: Path) -> Read:
    level = open_image(path).levels[0]
    return lambda x, y: level[y : y + REGION, x : x + REGION]


READERS = {"this package": _ours, "openslide-bin": _openslide, "fastslide": _fastslide}


def measure(path: Path, count: int) -> None:
    places = np.random.default_rng(1).integers(0, SIDE - REGION, (count, 2)).tolist()
    whole = tifffile.imread(path)
    for name, opened in READERS.items():
        line = f"  {name:14}"
        for threads in (1, 2):
            read = opened(path)
            read(0, 0)
            began, errors, far = time.perf_counter(), 0, 0
            with ThreadPoolExecutor(threads) as pool:
                futures = [pool.submit(partial(read, *place)) for place in places]
                for future in futures:
                    errors += future.exception() is not None
            took = time.perf_counter() - began
            for (x, y), future in list(zip(places, futures, strict=True))[:200]:
                if future.exception() is None:
                    expected = whole[y : y + REGION, x : x + REGION].astype(int)
                    far = max(far, int(np.abs(future.result() - expected).max()))
            line += (
                f"  {threads} thread{'s' * (threads > 1)}: {count / took:6.0f} regions/s, "
                f"{errors} errors, off by {far} at most"
            )
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("SVS", "tiled TIFF"):
            path = Path(folder) / ("s.svs" if kind == "SVS" else "s.tif")
            write_slide(path, kind)
            print(f"{kind}, {SIDE} × {SIDE} px, tiles of {TILE}, regions of {REGION} px")
            measure(path, given.regions)
