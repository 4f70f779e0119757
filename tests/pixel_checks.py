"""What tests of pixels share: one picture, how it is read, and how OpenSlide reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_stenhance.section.images.image import ImageSource
from napari_stenhance.section.images.opening import open_image
from pixel_files import (
    Pixels,
    gradient,
)

RGB = gradient()
GREY = RGB[..., 0]
ALPHA = np.repeat(np.array([0, 128, 255], np.uint8), 32)[:, None] * np.ones((1, 128), np.uint8)
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).astype(np.uint8)
TILES = {"tile": (64, 64)}
STRIPS = {"rowsperstrip": 40}


def as_rgb(grey: NDArray[Any]) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


def read_image(path: Path) -> tuple[Pixels, ImageSource]:
    """Read all of an image, before any colour profile."""
    image = open_image(path, icc=False)
    if image.levels:
        return image.levels[0][:, :], image
    return np.concatenate(list(image.strips())), image


def difference(shown: Pixels, expected: Pixels) -> int:
    assert shown.shape == expected.shape
    return int(np.abs(shown.astype(int) - expected).max())


def by_openslide(path: Path, level: int = 0) -> Pixels:
    with openslide.OpenSlide(path) as slide:
        region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(Image.alpha_composite(Image.new("RGBA", region.size, "white"), region))[
        ..., :3
    ]


def write_flat(path: Path, data: Any, **options: Any) -> None:
    tifffile.imwrite(path, data, **{"photometric": "rgb", "metadata": None, **options})
