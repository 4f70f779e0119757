"""Pictures of the tissue that are coarser than its slide: to look at where there is no slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.stated import one_library, scale_factors

_FINEST_FIRST = {"hires": "tissue_hires_scalef", "lowres": "tissue_lowres_scalef"}
_PIXELS_MOST = 10**8
_WHITE = 255


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was made smaller than the slide.

    A cell is one of its pixels, or less: nothing is predicted on it unless it serves as the slide.

    Attributes
    ----------
    name : str
        What the files call it.
    factor : float
        Its pixels for each full-resolution pixel, below 1.
    read : callable
        Returns its pixels, (height, width, 3) uint8 RGB; raises `InputError` if they cannot be
        read.
    shape : tuple of int, or None
        Its height and width, where they are known before it is read.
    called : str
        By what it is given as the slide, where a table keeps it: "hires", "lowres".
    """

    name: str
    factor: float
    read: Callable[[], NDArray[np.uint8]]
    shape: tuple[int, int] | None = None
    called: str = ""


def picture_of_file(path: Path, factor: float) -> Picture:
    """Make the picture that a file holds, which is read when it is looked at."""
    return Picture(path.name, factor, partial(_read, path))


def picture_in(uns: Mapping[str, Any]) -> Picture | None:
    """Find the picture that an AnnData keeps of its one library, the finer of two.

    None where it keeps none with its scale factor, or has several libraries.

    Parameters
    ----------
    uns : mapping
        `uns["spatial"][library]["images"]` and `…["scalefactors"]`, as scanpy writes them.
    """
    where, library = one_library(uns)
    images, (_, factors) = library.get("images"), scale_factors(uns)
    if not isinstance(images, Mapping):
        return None
    for which, key in _FINEST_FIRST.items():
        pixels, factor = images.get(which), _factor(factors.get(key))
        if isinstance(pixels, np.ndarray) and _is_rgb(pixels) and factor is not None:
            name = f'{where}["images"]["{which}"]'
            height, width = pixels.shape[:2]
            return Picture(name, factor, partial(_in_8_bits, pixels), (height, width), which)
    return None


def _read(path: Path) -> NDArray[np.uint8]:
    source = open_image(path)
    try:
        height, width = source.shape
        if height * width > _PIXELS_MOST:
            msg = (
                f"{path}: {height} × {width} px are too many for a picture of the tissue; if it "
                "is the slide, name it."
            )
            raise InputError(msg)
        return np.concatenate(list(source.strips()))
    finally:
        source.close()


def _factor(said: object) -> float | None:
    try:
        factor = float(np.asarray(said, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return factor if 0 < factor <= 1 else None


def _is_rgb(pixels: NDArray[Any]) -> bool:
    return (
        pixels.ndim == 3
        and pixels.shape[2] in {3, 4}
        and 0 < pixels.size <= 4 * _PIXELS_MOST
        and (pixels.dtype == np.uint8 or pixels.dtype.kind == "f")
    )


def _in_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 8-bit RGB on white; floats go from 0 to 1, as matplotlib reads pictures."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return pixels
    values = pixels.astype(np.float32) / (_WHITE if pixels.dtype == np.uint8 else 1)
    values = np.clip(np.nan_to_num(values, nan=1.0), 0, 1)
    if values.shape[2] == 4:
        alpha = values[..., 3:]
        values = values[..., :3] * alpha + (1 - alpha)
    eight: NDArray[np.uint8] = np.rint(values * _WHITE).astype(np.uint8)
    return eight
