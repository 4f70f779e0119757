"""Paint faults on a phantom, and show them beside what is found.

python docs/quality_picture.py OUT.jpg
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyvips
from scipy import ndimage

import napari_stenhance as st
from napari_stenhance.features.quality import KINDS, find_quality
from napari_stenhance.phantoms.anatomy import Anatomy
from napari_stenhance.phantoms.cells import PhantomNuclei
from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.plugin.quality import COLOURS
from napari_stenhance.results.palette import rgba
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache

MPP, SIDE_UM, SEED = 0.8, 3000, 5
SHOWN_UM = 4.0


def paint() -> np.ndarray:
    """Paint a phantom's slide, a part of it blurred, a fold, a bubble and a stroke of blue ink."""
    anatomy, side = Anatomy.grow(SIDE_UM, SEED), round(SIDE_UM / MPP)
    painter = Painter(anatomy, PhantomNuclei.grow(anatomy), MPP)
    pixels = painter.paint(slice(0, side), slice(0, side))
    y, x = np.mgrid[:side, :side] * MPP
    blurred = ndimage.gaussian_filter(pixels, (4, 4, 0))
    pixels[(y > 1900) & (x < 1300)] = blurred[(y > 1900) & (x < 1300)]
    fold = (np.abs(y - 900 - 60 * np.sin(x / 250)) < 35) & (x > 1500) & (x < 2500)
    light = pixels / painter.dyes.glass
    light = light ** (1 + 2 * ndimage.gaussian_filter(fold.astype(float), 2)[..., None])
    rim = np.exp(-(((np.hypot(y - 2050, x - 2100) - 260) / 14) ** 2))
    light *= 1 - 0.75 * rim[..., None]
    stroke = np.abs(y - x * 0.35 - 500) < 80
    ink = ndimage.gaussian_filter((stroke & (x < 1300)).astype(float), 2)[..., None]
    light *= (np.array([40, 60, 190]) / 255) ** ink
    return np.clip(light * painter.dyes.glass, 0, 255).astype(np.uint8)


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faults.png"
        pyvips.Image.new_from_array(paint()).write_to_file(str(file))
        cache = Cache(Path(folder) / "cache")
        slide: st.Slide = Slide.open(file, mpp=MPP, cache=cache)
        quality = find_quality(slide, "density", cache, Job())
        print(quality.describe())
        x0, y0, x1, y1 = slide.extent_um()
        seen = slide.read((x0, y0, x1, y1), SHOWN_UM)
    factor = round(quality.grid.pitch_um / SHOWN_UM)
    labels = np.kron(quality.labels, np.ones((factor, factor), np.uint8))
    labels = labels[: seen.shape[0], : seen.shape[1]]
    found = seen.astype(float)
    for label, kind in enumerate(KINDS, 1):
        colour = np.array(rgba(COLOURS[kind])[:3])
        found[labels == label] = 0.4 * found[labels == label] + 0.6 * colour
    gap = np.full((seen.shape[0], 8, 3), 255, np.uint8)
    picture = np.concatenate([seen, gap, found.astype(np.uint8)], axis=1)
    pyvips.Image.new_from_array(picture).write_to_file(str(out), Q=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
