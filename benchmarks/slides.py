"""A slide of 60,000 × 60,000 px in the viewer, and reading it: against OpenSlide on the same file.

The slide is a tiled pyramid of JPEG tiles, made first. Needs a display (`xvfb-run` will do) and
OpenSlide (`pip install openslide-python openslide-bin`; the extra `test` has both).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from timing import seconds

SIDE, TILE, KINDS = 60_000, 256, 64
REGIONS, REGION = 1_000, 256
OPENING = """
import os, sys, time
import psutil
import napari
from napari_stenhance.plugin.widgets.workbench import workbench_of
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
dock = workbench_of(viewer).open("section")
viewer.add_image(__import__("numpy").zeros((64, 64, 3), "u1"), name="first")
QApplication.processEvents()
viewer.screenshot()
viewer.layers.clear()
before = psutil.Process().memory_info().rss
started = time.perf_counter()
from pathlib import Path
dock.open(Path(sys.argv[1]))
while not viewer.layers:
    QApplication.processEvents()
viewer.screenshot()
took = time.perf_counter() - started
print(took, (psutil.Process().memory_info().rss - before) / 2**20, flush=True)
os._exit(0)
"""


def write_slide(path: Path, side: int = SIDE) -> None:
    """Write a tiled pyramid, whose tiles are drawn from a few of coloured noise."""
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(KINDS):
        coarse = rng.integers(120, 250, (TILE // 8, TILE // 8, 3), dtype=np.uint8)
        kinds.append(imagecodecs.jpeg_encode(np.kron(coarse, np.ones((8, 8, 1), np.uint8)), 85))
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(int(np.log2(side / TILE)) + 1):
            at = side // 2**level
            order = np.random.default_rng(level).integers(0, KINDS, (-(-at // TILE)) ** 2)
            tif.write(
                (kinds[kind] for kind in order),
                shape=(at, at, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                tile=(TILE, TILE),
                compression="jpeg",
                resolution=(2e4 / 2**level, 2e4 / 2**level),
                resolutionunit="CENTIMETER",
                subfiletype=int(level > 0),
                metadata=None,
            )


class _Counting:
    """A level that counts the tiles that reading it decodes."""

    def __init__(self, level: Any, read: list[int]) -> None:
        self._level, self._read = level, read
        self.shape, self.chunks = level.shape, level.chunks
        self.dtype, self.ndim = level.dtype, level.ndim

    def __getitem__(self, key: Any) -> Any:
        spans = [range(n)[k] for k, n in zip(key[:2], self.shape, strict=False)]
        across = [(s[-1] // TILE - s[0] // TILE + 1) if len(s) else 0 for s in spans]
        self._read.append(across[0] * across[1])
        return self._level[key]


def panning(path: Path) -> tuple[int, int]:
    """Pan at full resolution; return how many tiles came into view, and how many were read."""
    from dataclasses import replace

    import napari
    from qtpy.QtWidgets import QApplication

    from napari_stenhance.plugin.layers import section_layers
    from napari_stenhance.plugin.scene import add_layers
    from napari_stenhance.section.section import Section
    from napari_stenhance.section.slide import Slide

    read: list[int] = []
    slide = Slide.open(path)
    counted = tuple(_Counting(level, read) for level in slide.pixels)
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    add_layers(viewer, section_layers(Section(slide=replace(slide, pixels=counted))))
    QApplication.processEvents()
    viewer.scene.camera.zoom = 1 / slide.scale()
    viewer.scene.camera.center = (0, SIDE * slide.scale() / 2, SIDE * slide.scale() / 2)
    QApplication.processEvents()
    viewer.screenshot()
    layer = viewer.layers[0]
    read.clear()
    visible: set[tuple[int, int]] = set()
    for step in range(20):
        at = SIDE / 2 + 200 * (step + 1)
        viewer.scene.camera.center = (0, at * slide.scale(), at * slide.scale())
        QApplication.processEvents()
        viewer.screenshot()
        corners = layer.corner_pixels[:, :2]
        low, high = corners[0] // TILE, corners[1] // TILE
        visible |= {(i, j) for i in range(low[0], high[0] + 1) for j in range(low[1], high[1] + 1)}
    level = layer.data_level
    assert level == 0, f"the viewer shows level {level}"
    tiles = sum(read)
    viewer.close()
    return len(visible), tiles


def regions(path: Path) -> tuple[list[float], list[float], int]:
    """Read random regions with both, in turn; return seconds, and how far pixels differ at most."""
    import openslide

    from napari_stenhance.section.slide import Slide

    at = np.random.default_rng(1).integers(0, SIDE - REGION, (REGIONS, 2))

    def ours(level: Any) -> None:
        for y, x in at:
            level[y : y + REGION, x : x + REGION]

    def theirs(slide: Any) -> None:
        for y, x in at:
            np.asarray(slide.read_region((int(x), int(y)), 0, (REGION, REGION)))

    mine, other = [], []
    for _ in range(5):
        mine.append(seconds(lambda: ours(Slide.open(path).pixels[0])))
        with openslide.OpenSlide(str(path)) as slide:
            other.append(seconds(lambda slide=slide: theirs(slide)))
    with openslide.OpenSlide(str(path)) as slide:
        level = Slide.open(path).pixels[0]
        differ = max(
            int(
                np.abs(
                    np.asarray(slide.read_region((int(x), int(y)), 0, (REGION, REGION)))[
                        ..., :3
                    ].astype(int)
                    - level[y : y + REGION, x : x + REGION]
                ).max()
            )
            for y, x in at[:20]
        )
    return mine, other, differ


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        write_slide(path)
        print(f"{SIDE} × {SIDE} px, {path.stat().st_size / 2**20:.0f} MB\n")
        opened = []
        for _ in range(5):
            run = subprocess.run(
                [sys.executable, "-c", OPENING, str(path)],
                capture_output=True,
                text=True,
                check=True,
            )
            opened.append([float(value) for value in run.stdout.split()[-2:]])
        took, memory = np.median(opened, axis=0)
        print("| opening in a viewer that shows docks | median of 5 | bound |\n|---|---|---|")
        print(f"| until it is drawn, s | {took:.2f} | 2 |")
        print(f"| memory above the viewer's own, MB | {memory:.0f} | 500 |\n", flush=True)
        visible, read = panning(path)
        print("| panning at full resolution, 20 steps | tiles | ÷ visible |\n|---|---|---|")
        print(
            f"| visible | {visible} | 1 |\n| read | {read} | {read / visible:.2f} |\n", flush=True
        )
        mine, other, differ = regions(path)
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        print(f"| {REGIONS} random regions of {REGION} px | s | ÷ OpenSlide |\n|---|---|---|")
        print(f"| OpenSlide | {np.median(other):.2f} | 1 |")
        print(
            f"| `Slide.pixels` | {np.median(mine):.2f} | {np.median(ratios):.2f} "
            f"({min(ratios):.2f}–{max(ratios):.2f}) |\n\nPixels differ by at most {differ} levels."
        )


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - started:.0f} s")
