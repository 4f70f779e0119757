"""What an opened image gives: its pixels, level by level, and what its file states about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STRIP = 512
"""Rows of a strip of a decoded image."""


class Pixels(Protocol):
    """A level of a pyramid, (y, x, 3) uint8, read where it is sliced; any thread may do so.

    Slicing raises `InputError` where the file is damaged, and nothing else.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[np.uint8]
    ndim: int

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class ImageSource:
    """The one image of a file that is the slide, chosen once: whatever is said here is of it.

    Attributes
    ----------
    path : Path
    shape : tuple of int
        Height and width in pixels.
    part : str
        Which image of the file it is; "" if files of its format have one.
    levels : tuple of Pixels
        From full resolution down; empty if the file holds no pyramid.
    downsamples : tuple of float
        Full-resolution pixels for each pixel of a level.
    strips : callable
        Decodes the image from top to bottom, `STRIP` rows at a time, (rows, width, 3) uint8.
    mpp : float or None
        Micrometres per pixel that the file states; None if it states none that can be true.
    doubts : tuple of str
        What was guessed or not believed.
    close : callable
        Lets go of the file; levels can then not be read any more.
    """

    path: Path
    shape: tuple[int, int]
    part: str
    levels: tuple[Pixels, ...]
    downsamples: tuple[float, ...]
    strips: Callable[[], Iterator[NDArray[np.uint8]]]
    mpp: float | None = None
    doubts: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None
