"""Tiled zarr arrays whose chunks are the unit of work: a tile is done when its chunk exists."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from napari_stenhance.storage.atomic import is_left_behind, remove
from napari_stenhance.storage.checked import CheckedArray, checked, chunk_file

Index = tuple[int, ...]
FILES = "files"
_OF_ZARR = re.compile(r"\.[0-9a-f]{32}\.partial\Z")


@dataclass(frozen=True)
class Tile:
    """One tile of a (y, x, …) array: its chunk index and what it covers."""

    index: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that the tile covers."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def tiles_of(shape: tuple[int, int], size: int) -> Iterator[Tile]:
    """Cut a (rows, columns) raster into square tiles, row by row; those at the edge are smaller."""
    rows, columns = (range(-(-n // size)) for n in shape)
    for i, j in itertools.product(rows, columns):
        yield Tile(
            (i, j),
            slice(i * size, min((i + 1) * size, shape[0])),
            slice(j * size, min((j + 1) * size, shape[1])),
        )


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: str,
    dimension_names: Sequence[str],
    fill_value: float = 0,
    shards: Sequence[int] | None = None,
) -> CheckedArray:
    """Make an array in which every written chunk exists on disk, also one equal to the fill value.

    Blosc-LZ4 with shuffle writes about three times as fast as zarr's default and is smaller on
    such rasters; a checksum follows each chunk. With `shards`, a file holds so much, in chunks that
    can be read one by one, each with its checksum.
    """
    array = group.create_array(
        name,
        shape=tuple(shape),
        chunks=_within(chunks, shape),
        shards=None if shards is None else _within(shards, shape),
        dtype=dtype,
        dimension_names=list(dimension_names),
        fill_value=fill_value,
        compressors=(BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()),
        config={"write_empty_chunks": True},
    )
    return checked(array)


def _within(lengths: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(c, n) for c, n in zip(lengths, shape, strict=True))


def y_axis(array: zarr.Array[Any]) -> int:
    """Return which axis is y, x being the next: 1 in (c, y, x), as OME-Zarr has colours, else 0."""
    return int((getattr(array.metadata, "dimension_names", None) or "y")[0] == "c")


def is_done(array: zarr.Array[Any], index: Index) -> bool:
    """Tell whether a chunk was written; stores write aside and rename, so it is whole."""
    before = (0,) * y_axis(array)
    full = (*before, *index, *(0,) * (array.ndim - len(before) - len(index)))
    return chunk_file(array, full).is_file()


def tile_size(array: zarr.Array[Any]) -> int:
    """Return the side of an array's tiles; chunks are shorter along an axis that is."""
    y = y_axis(array)
    return int(max(array.chunks[y : y + 2]))


def missing_tiles(array: zarr.Array[Any]) -> list[Tile]:
    """List the tiles of an array that were not written yet."""
    y = y_axis(array)
    tiles = tiles_of((array.shape[y], array.shape[y + 1]), tile_size(array))
    return [tile for tile in tiles if not is_done(array, tile.index)]


def is_partial(name: str) -> bool:
    """Tell what zarr writes aside: it is named `<chunk key>.<32 hex>.partial`."""
    return _OF_ZARR.search(name) is not None


def sweep_partial(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder of arrays, under its lock.

    The files of a result are not zarr's, and there only scratch of ours goes.
    """
    for where, folders, files in os.walk(folder):
        at = Path(where)
        of_zarr = FILES not in at.relative_to(folder).parts[:1]
        for name in (*folders, *files):
            if is_left_behind(name) or (of_zarr and is_partial(name)):
                remove(at / name)


def read_box(array: zarr.Array[Any], rows: slice, columns: slice) -> NDArray[Any]:
    """Read rows and columns of an array as (y, x, …)."""
    y = y_axis(array)
    values = np.asarray(array[(*(slice(None),) * y, rows, columns)])
    return np.moveaxis(values, 0, -1) if y else values


def write_tile(array: zarr.Array[Any], tile: Tile, values: NDArray[Any]) -> None:
    """Write one whole tile, (y, x, …), atomically."""
    y = y_axis(array)
    values = np.moveaxis(values, -1, 0) if y else values
    where = (*(slice(None),) * y, tile.rows, tile.columns)
    array[where] = np.ascontiguousarray(values, dtype=array.dtype)
