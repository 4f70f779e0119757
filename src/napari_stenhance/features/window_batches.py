"""Windows of several tiles that go through a network together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Block, Crops
from napari_stenhance.features.encoder import WindowEncoder, window_rows
from napari_stenhance.running.job import Job
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide

Box = tuple[slice, slice]


def encode_windows(
    encoder: WindowEncoder,
    slide: Slide,
    grid: Grid,
    tissue: NDArray[np.bool_],
    boxes: Sequence[Box],
    workers: int,
    job: Job,
) -> Iterator[NDArray[np.float16]]:
    """Yield the superpixels of each box, (rows, columns, dim); 0 in windows without tissue.

    Windows without tissue are not encoded, and those of as many boxes as fill a batch go through
    the network together, while the next ones are read.

    Parameters
    ----------
    encoder : WindowEncoder
    slide : Slide
    grid : Grid
        Of the encoder's pitch.
    tissue : ndarray of bool
        On the grid.
    boxes : sequence of (rows, columns)
        Of whole windows; they may reach beyond the grid.
    workers : int
        Threads that read.
    job : Job
        Looked at between batches.
    """
    rows, halo_um = window_rows(encoder), encoder.halo_px * encoder.mpp
    held = [_windows(tissue, box, rows) for box in boxes]
    groups = _grouped([len(windows) for windows in held], encoder.batch)

    def read(group: range) -> tuple[range, Crops]:
        blocks, count = [], 0
        for n in group:
            x0, y0, x1, y1 = grid.box_um(*boxes[n])
            around = x0 - halo_um, y0 - halo_um, x1 + halo_um, y1 + halo_um
            place = np.arange(count, count + len(held[n]))
            pixels = slide.read(around, encoder.mpp)
            blocks.append(Block(pixels, held[n] * encoder.window_px, place))
            count += len(place)
        return group, Crops(encoder.side_px, tuple(blocks), count)

    def encode(group_squares: tuple[range, Crops]) -> list[NDArray[np.float16]]:
        group, squares = group_squares
        parts = []
        for part in squares.parts(encoder.batch):
            job.check()
            parts.append(encoder.encode_windows(part).astype(np.float16))
        found, features, start = np.concatenate(parts), [], 0
        for n in group:
            features.append(_tiled(found[start : start + len(held[n])], held[n], boxes[n]))
            start += len(held[n])
        return features

    reading = prefetch(read, groups, workers)
    for features in prefetch(encode, reading, encoder.at_once or workers):
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
