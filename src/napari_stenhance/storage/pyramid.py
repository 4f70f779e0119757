"""Pyramids of tiled arrays: each coarse chunk is built once, when its children exist."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Stage
from napari_stenhance.storage.checked import checked, folder_of, open_node
from napari_stenhance.storage.tiles import (
    Index,
    create_array,
    is_done,
    missing_tiles,
    read_box,
    tile_size,
    write_tile,
)

Pool = Callable[[NDArray[Any]], NDArray[Any]]


def level_shapes(shape: tuple[int, int], smallest: int) -> list[tuple[int, int]]:
    """Halve (rows, columns), rounding up, until both fit into `smallest`."""
    shapes = [shape]
    while max(shapes[-1]) > smallest:
        rows, columns = shapes[-1]
        shapes.append((-(-rows // 2), -(-columns // 2)))
    return shapes


def create_levels(
    group: zarr.Group,
    shape: tuple[int, int],
    *,
    tile: int,
    dtype: str,
    channels: int | None = None,
    apart: bool = False,
    first: bool = False,
    fill_value: float = 0,
    shapes: Sequence[tuple[int, int]] = (),
) -> list[zarr.Array[Any]]:
    """Make the arrays s0, s1 … of a pyramid, down to one that fits into a tile, or of `shapes`.

    `channels` adds a last axis, or the first: OME-Zarr has colours there. A tile is one file with
    all of them; if they are `apart`, each can be read from it without the others.
    """
    more = () if channels is None else (channels,)

    def ordered(plane: tuple[Any, Any], last: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*last, *plane) if first else (*plane, *last)

    return [
        create_array(
            group,
            f"s{level}",
            shape=ordered(level_shape, more),
            chunks=ordered((tile, tile), (1,) if apart else more),
            shards=ordered((tile, tile), more) if apart else None,
            dtype=dtype,
            dimension_names=ordered(("y", "x"), ("c",) * len(more)),
            fill_value=fill_value,
        )
        for level, level_shape in enumerate(shapes or level_shapes(shape, tile))
    ]


def open_levels(
    group: zarr.Group, shape: tuple[int, int] | None = None, channels: int | None = None
) -> list[zarr.Array[Any]]:
    """Open the arrays s0, s1 … of a pyramid, finest first; empty chunks are written here too.

    Parameters
    ----------
    group : zarr.Group
    shape : tuple of int, optional
        Rows and columns that the finest should have.
    channels : int, optional
        How many it should have.

    Raises
    ------
    InputError
        If a level is missing or damaged, or they are not the levels of one such pyramid.
    """
    number = sum(1 for child in folder_of(group).glob("s*") if child.is_dir())
    levels: list[zarr.Array[Any]] = [
        checked(open_node(group, f"s{n}", zarr.Array)) for n in range(number)
    ]
    whole = bool(levels) and all(level.ndim in (2, 3) for level in levels)
    if whole:
        # All that is read goes by the tiles of the finest level.
        rows, columns = levels[0].shape[:2]
        expected = level_shapes((rows, columns), tile_size(levels[0]))
        last = levels[0].shape[2:]
        whole = (
            [level.shape for level in levels] == [(*each, *last) for each in expected]
            and shape in (None, (rows, columns))
            and channels in (None, *last)
            and len({level.dtype for level in levels}) == 1
        )
    if not whole:
        msg = (
            f"{folder_of(group)}: its levels are not those of one pyramid: some are missing, or a "
            "zarr.json is damaged; copy the whole again, or make it anew."
        )
        raise InputError(msg)
    return levels


def mean_pool(values: NDArray[Any]) -> NDArray[np.float32]:
    """Average 2 × 2 blocks of a (y, x, …) array, leaving out NaN; all-NaN blocks stay NaN.

    Odd edges are averaged over what is there.
    """
    rows, columns = values.shape[:2]
    total, count = np.zeros((2, -(-rows // 2), -(-columns // 2), *values.shape[2:]), np.float32)
    # One quarter of the pixels after the other: tiles of a thousand channels are large.
    for i, j in itertools.product((0, 1), (0, 1)):
        quarter = values[i::2, j::2].astype(np.float32)
        finite = np.isfinite(quarter)
        quarter[~finite] = 0
        total[: quarter.shape[0], : quarter.shape[1]] += quarter
        count[: quarter.shape[0], : quarter.shape[1]] += finite
    with np.errstate(invalid="ignore"):
        total /= count
    return total


def round_pool(values: NDArray[Any]) -> NDArray[Any]:
    """Average 2 × 2 blocks of whole numbers of at most 4 bytes, rounded: halves upwards."""
    rows, columns = values.shape[:2]
    if rows % 2 or columns % 2:
        # The last of an odd number counts twice.
        beyond = [(0, rows % 2), (0, columns % 2), *[(0, 0)] * (values.ndim - 2)]
        values = np.pad(values, beyond, mode="edge")
    total = values[::2].astype(
        np.promote_types(values.dtype, "u2" if values.itemsize == 1 else "i8")
    )
    total += values[1::2]
    mean: NDArray[Any] = (total[:, ::2] + total[:, 1::2] + 2) >> 2
    return mean


def any_pool(values: NDArray[Any]) -> NDArray[Any]:
    """Take the largest of 2 × 2 blocks: labels of a mask survive in the coarse levels."""
    rows, columns = values.shape[:2]
    padded = np.pad(values, [(0, rows % 2), (0, columns % 2)])
    pooled: NDArray[Any] = np.maximum.reduce([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    return pooled


def majority_pool(values: NDArray[Any]) -> NDArray[Any]:
    """Take the most frequent of 2 × 2 blocks; of several the upper left: labels stay labels."""
    rows, columns = values.shape
    padded = np.pad(values, [(0, rows % 2), (0, columns % 2)], mode="edge")
    four = np.stack([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    pooled: NDArray[Any] = four[0].copy()
    # Most blocks are of one label: there is nothing to count.
    mixed = (four[1:] != four[0]).any(axis=0)
    four = four[:, mixed]
    winner = (four[:, None] == four[None]).sum(axis=1).argmax(axis=0)[None]
    pooled[mixed] = np.take_along_axis(four, winner, axis=0)[0]
    return pooled


def coarsen_all(levels: Sequence[zarr.Array[Any]], pool: Pool, stage: Stage | None = None) -> int:
    """Fill what is missing of every coarse level, from the finest down.

    Returns
    -------
    int
        How many tiles were built; a stage advances with each.
    """
    built = 0
    for fine, coarse in itertools.pairwise(levels):
        for tile in missing_tiles(coarse):
            rows, columns = (slice(2 * s.start, 2 * s.stop) for s in (tile.rows, tile.columns))
            write_tile(coarse, tile, pool(read_box(fine, rows, columns)))
            built += 1
            if stage is not None:
                stage.advance()
    return built


def read_tile(
    levels: Sequence[zarr.Array[Any]],
    level: int,
    index: Index,
    pool: Pool,
    channels: slice | None = None,
) -> NDArray[Any]:
    """Read one tile; one of a coarse level that was not built yet is pooled from what lies below.

    So a pyramid that is still being filled can be looked at from any distance. By default with all
    channels.
    """
    array, size = levels[level], tile_size(levels[0])
    row, column = index
    if level == 0 or is_done(array, index):
        where = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
        return np.asarray(array[where if channels is None else (*where, channels)])
    finer = levels[level - 1]
    rows, columns = (
        [n for n in (2 * at, 2 * at + 1) if n * size < length]
        for at, length in zip(index, finer.shape[:2], strict=True)
    )
    children = [
        np.concatenate(
            [read_tile(levels, level - 1, (i, j), pool, channels) for j in columns], axis=1
        )
        for i in rows
    ]
    return pool(np.concatenate(children)).astype(array.dtype)
