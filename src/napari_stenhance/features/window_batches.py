"""Windows of several tiles that go through a network together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Block, Crops, encode_crops
from napari_stenhance.features.encoder import TileRequest
from napari_stenhance.running.prefetch import prefetch

Box = tuple[slice, slice]


@dataclass(frozen=True)
class WindowLayout:
    """What a network sees at a time, and what of it is kept.

    Attributes
    ----------
    side_px : int
        Of a square.
    mpp : float
        Micrometres per pixel; within a hundredth of what was asked for, so that a window is of
        whole pixels.
    rows : int
        Superpixels along each side of a window, the middle of a square.
    window_px : int
    """

    side_px: int
    mpp: float
    rows: int
    window_px: int

    @classmethod
    def around(cls, side_px: int, context_px: int, mpp: float, pitch_um: float) -> WindowLayout:
        """Lay the widest window that has at least so much context on every side."""
        rows = int((side_px - 2 * context_px) * mpp / pitch_um + 1e-6)
        window_px = round(rows * pitch_um / mpp)
        return cls(side_px, rows * pitch_um / window_px, rows, window_px)

    @property
    def halo_px(self) -> int:
        """How far squares reach beyond their windows."""
        return -(-(self.side_px - self.window_px) // 2)


def encode_windows(
    request: TileRequest,
    layout: WindowLayout,
    encode: Callable[[Crops], NDArray[np.float32]],
    batch: int,
    at_once: int,
) -> Iterator[NDArray[np.float16]]:
    """Yield the superpixels of each rectangle, (rows, columns, dim); 0 in windows without tissue.

    Windows without tissue are not encoded, and those of as many rectangles as fill a batch go
    through the network together, while the next ones are read.

    Parameters
    ----------
    request : TileRequest
    layout : WindowLayout
    encode : callable
        Encodes the windows in the middle of squares, (n, rows, rows, dim).
    batch : int
        How many it takes at a time.
    at_once : int
        How many threads may call it.
    """
    rows, halo_um = layout.rows, layout.halo_px * layout.mpp
    boxes, slide, job = request.boxes, request.slide, request.job
    held = [_windows(request.tissue, box, rows) for box in boxes]
    groups = _grouped([len(windows) for windows in held], batch)

    def read(group: range) -> tuple[range, Crops]:
        blocks, count = [], 0
        for n in group:
            x0, y0, x1, y1 = request.grid.box_um(*boxes[n])
            around = x0 - halo_um, y0 - halo_um, x1 + halo_um, y1 + halo_um
            place = np.arange(count, count + len(held[n]))
            pixels = slide.read(around, layout.mpp)
            blocks.append(Block(pixels, held[n] * layout.window_px, place))
            count += len(place)
        return group, Crops(layout.side_px, tuple(blocks), count)

    def encode_group(group_squares: tuple[range, Crops]) -> list[NDArray[np.float16]]:
        group, squares = group_squares
        found = encode_crops(encode, squares, batch, job).astype(np.float16)
        features, start = [], 0
        for n in group:
            features.append(_tiled(found[start : start + len(held[n])], held[n], boxes[n]))
            start += len(held[n])
        return features

    reading = prefetch(read, groups, request.workers)
    for features in prefetch(encode_group, reading, at_once):
        yield from features


def _windows(tissue: NDArray[np.bool_], box: Box, rows: int) -> NDArray[np.int64]:
    """Number the windows of a box that hold tissue: their row and column, (n, 2)."""
    down, along = ((s.stop - s.start) // rows for s in box)
    here = np.zeros((down * rows, along * rows), bool)
    known = tissue[box]
    here[: known.shape[0], : known.shape[1]] = known
    return np.argwhere(here.reshape(down, rows, along, rows).any(axis=(1, 3)))


def _grouped(counts: Sequence[int], batch: int) -> list[range]:
    """Group consecutive boxes whose windows fill a batch, given how many each holds."""
    groups, start, windows = [], 0, 0
    for n, count in enumerate(counts, 1):
        windows += count
        if windows >= batch or n == len(counts):
            groups.append(range(start, n))
            start, windows = n, 0
    return groups


def _tiled(found: NDArray[np.float16], windows: NDArray[np.int64], box: Box) -> NDArray[np.float16]:
    """Put windows, (n, rows, rows, dim), in their places in a box."""
    rows, dim = found.shape[1], found.shape[3]
    down, along = ((s.stop - s.start) // rows for s in box)
    tiled = np.zeros((down, rows, along, rows, dim), np.float16)
    tiled[windows[:, 0], :, windows[:, 1]] = found
    return tiled.reshape(down * rows, along * rows, dim)
