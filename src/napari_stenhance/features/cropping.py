"""Square crops around positions, cut out of blocks of pixels that are read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Slide

_SPAN = 4
"""Crops that start within so many sides of each other are read as one block, if that is less."""


@dataclass(frozen=True)
class Block:
    """Pixels, and the crops that lie in them.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (y, x, 3)
    corners : ndarray of int64, shape (n, 2)
        Row and column of each crop's first pixel.
    place : ndarray of int64, shape (n,)
        Which of all the crops each is.
    """

    pixels: NDArray[np.uint8]
    corners: NDArray[np.int64]
    place: NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Square crops of one size; `numpy.asarray` cuts them out: (n, side, side, 3) of uint8.

    Crops that overlap share the pixels of a block until then: a device is sent each pixel once.

    Attributes
    ----------
    side : int
        In pixels.
    blocks : tuple of Block
    count : int
        How many crops there are.
    """

    side: int
    blocks: tuple[Block, ...]
    count: int

    @classmethod
    def from_array(cls, crops: NDArray[np.uint8]) -> Crops:
        """Take crops that were cut, (n, side, side, 3)."""
        count, side = crops.shape[:2]
        strip = np.ascontiguousarray(crops).reshape(count * side, side, 3)
        place = np.arange(count)
        corners = np.column_stack([place * side, np.zeros_like(place)])
        return cls(side, (Block(strip, corners, place),) if count else (), count)

    def __len__(self) -> int:
        """Count the crops."""
        return self.count

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Cut the crops out."""
        if copy is False:
            msg = "crops are cut out when they are asked for: a copy cannot be avoided"
            raise ValueError(msg)
        cut = np.empty((self.count, self.side, self.side, 3), np.uint8)
        for block in self.blocks:
            windows = sliding_window_view(block.pixels, (self.side, self.side), axis=(0, 1))
            cut[block.place] = windows[tuple(block.corners.T)].transpose(0, 2, 3, 1)
        return cut if dtype is None else cut.astype(dtype)

    def parts(self, most: int) -> Iterator[Crops]:
        """Yield the crops in order, at most so many at a time."""
        for start in range(0, self.count, most):
            stop = min(start + most, self.count)
            blocks = []
            for block in self.blocks:
                held = (block.place >= start) & (block.place < stop)
                if held.any():
                    here = block.corners[held], block.place[held] - start
                    blocks.append(Block(block.pixels, *here))
            yield Crops(self.side, tuple(blocks), stop - start)


def encode_crops(
    encode: Callable[[Crops], NDArray[np.float32]], crops: Crops, batch: int, job: Job
) -> NDArray[np.float32]:
    """Encode crops, at most a batch at a time, and look at the job before each.

    Returns
    -------
    ndarray of float32, shape (n, …)

    Raises
    ------
    Cancelled
        If the job was cancelled.
    """
    parts = []
    for part in crops.parts(batch):
        job.check()
        parts.append(encode(part))
    return np.concatenate(parts)


def read_crops(slide: Slide, xy_um: NDArray[np.float64], size_um: float, side: int) -> Crops:
    """Read crops of one size around positions (x, y), as `side` pixels.

    Their pixels lie on one lattice over the slide, so that a crop does not depend on which others
    are read; beyond the slide all is white.
    """
    pixel_um = size_um / side
    corner = np.array(slide.extent_um()[:2])
    # Rounded twice, so that a crop halfway between pixels does not hang on the last bit.
    start = np.round((xy_um - corner) / pixel_um - side / 2, 6)
    first = np.floor(start + 0.5).astype(np.int64)
    blocks = []
    for near in _near(first, side):
        low, high = first[near].min(axis=0), first[near].max(axis=0) + side
        x0, y0 = corner + low * pixel_um
        x1, y1 = corner + high * pixel_um
        pixels = slide.read((x0, y0, x1, y1), pixel_um)
        blocks.append(Block(pixels, (first[near] - low)[:, ::-1], near))
    return Crops(side, tuple(blocks), len(first))


def _near(first: NDArray[np.int64], side: int) -> Iterator[NDArray[np.int64]]:
    """Group crops by where they start, (n, 2); those far from each other stay alone."""
    _, group = np.unique(first // (_SPAN * side), axis=0, return_inverse=True)
    for number in range(group.max() + 1 if len(group) else 0):
        near = np.flatnonzero(group == number)
        sides = np.ptp(first[near], axis=0) + side
        if sides.prod() <= len(near) * side**2:
            yield near
        else:
            yield from near[:, None]
