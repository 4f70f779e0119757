"""Pyramids as napari can show them without shifting a level against another.

napari takes the factor of a level from the ratio of shapes, 9270 / 2318 = 3.9991 where it is 4: at
the far edge that is off by up to the factor, in full-resolution pixels. All levels are therefore
padded to one common extent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_stenhance.errors import StenhanceError
from napari_stenhance.section.slide import WHITE
from napari_stenhance.storage.pyramid import majority_pool, mean_pool, read_tile
from napari_stenhance.storage.tiles import tile_size

if TYPE_CHECKING:
    import dask.array as da
    import zarr

    from napari_stenhance.results.field import GeneField, What
    from napari_stenhance.section.slide import Slide

_SAMPLED = 1024


def common_extent(shape: tuple[int, int], factors: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shape of each level when all cover the same extent, none less than its data."""
    rows, columns = (-(-n // max(factors)) * max(factors) for n in shape)
    return [(rows // factor, columns // factor) for factor in factors]


def slide_levels(slide: Slide) -> list[da.Array]:
    """Return the levels of a slide, white at the lower and right edge.

    Levels whose factor is no whole number are left out: no padding could align them.
    """
    import dask.array as da

    whole = [
        (level, int(factor))
        for level, factor in zip(slide.levels, slide.downsamples, strict=True)
        if factor == int(factor)
    ]
    shapes = common_extent(slide.shape, [factor for _, factor in whole])
    return [
        da.pad(
            level,
            [(0, rows - level.shape[0]), (0, columns - level.shape[1]), (0, 0)],
            constant_values=WHITE,
        )
        for (level, _), (rows, columns) in zip(whole, shapes, strict=True)
    ]


def image_levels(levels: Sequence[zarr.Array[Any]]) -> list[da.Array]:
    """Return the levels of a gene image; what was not written yet is NaN or pooled from below."""
    return _lazy(
        [(level.shape[0], level.shape[1]) for level in levels],
        tile_size(levels[0]),
        lambda level, i, j: read_tile(levels, level, (i, j), mean_pool),
    )


def field_levels(field: GeneField, gene: str, what: What = "latent") -> list[da.Array]:
    """Return the levels of any gene of a field, decoded where and when they are looked at."""
    shapes = [(raster.shape[0], raster.shape[1]) for raster in getattr(field, what)]
    size = tile_size(field.latent[0])

    def read(level: int, i: int, j: int) -> NDArray[np.float32]:
        rows, columns = (
            slice(at * size, min((at + 1) * size, n))
            for at, n in zip((i, j), shapes[level], strict=True)
        )
        return field.image(gene, level, rows, columns, what)

    return _lazy(shapes, size, read)


def spot_levels(levels: Sequence[zarr.Array[Any]], values: NDArray[np.float32]) -> list[da.Array]:
    """Return levels that show a value of each spot where a raster says which spot lies there."""
    # A pixel without a spot, -1, takes the last.
    last = np.append(values, np.float32(np.nan))
    return _lazy(
        [(level.shape[0], level.shape[1]) for level in levels],
        tile_size(levels[0]),
        lambda level, i, j: last[read_tile(levels, level, (i, j), majority_pool)],
    )


def label_levels(levels: Sequence[zarr.Array[Any]]) -> list[da.Array]:
    """Return the levels of a label image, all of which are written."""
    return _lazy(
        [(level.shape[0], level.shape[1]) for level in levels],
        tile_size(levels[0]),
        lambda level, i, j: read_tile(levels, level, (i, j), majority_pool),
        dtype=levels[0].dtype,
        beyond=0,
    )


def _lazy(
    shapes: Sequence[tuple[int, int]],
    size: int,
    read: Callable[[int, int, int], NDArray[Any]],
    dtype: Any = np.float32,
    beyond: float = np.nan,
) -> list[da.Array]:
    """Make dask levels whose blocks are tiles; something else lies beyond the data."""
    import dask.array as da

    targets = common_extent(shapes[0], [2**level for level in range(len(shapes))])
    said: set[str] = set()

    def block(level: int, block_id: tuple[int, int]) -> NDArray[Any]:
        i, j = block_id
        rows, columns = (
            min(size, n - at * size) for n, at in zip(targets[level], block_id, strict=True)
        )
        try:
            tile = read(level, i, j)
        except StenhanceError as error:
            # A hole, said once: raised while napari draws, it would come again with every frame.
            if str(error) not in said:
                said.add(str(error))
                show_warning(str(error))
            return np.full((rows, columns), beyond, dtype)
        pad = [(0, rows - tile.shape[0]), (0, columns - tile.shape[1])]
        return np.pad(tile, pad, constant_values=beyond)

    return [
        da.map_blocks(
            block,
            level,
            chunks=tuple((size,) * (n // size) + ((n % size,) if n % size else ()) for n in target),
            dtype=dtype,
            meta=np.empty((0, 0), dtype),
            # What lies behind a name may change while a run fills: names are never used twice.
            name=f"stenhance-{uuid.uuid4().hex}",
        )
        for level, target in enumerate(targets)
    ]


def contrast(levels: Sequence[da.Array], most: int = _SAMPLED) -> tuple[float, float]:
    """Return the 1st and 99th percentile over tissue, from a level of at most `most` a side."""
    level = next((one for one in levels if max(one.shape) <= most), levels[-1])
    values = np.asarray(level)
    values = values[np.isfinite(values)]
    return limits(values)


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the 1st and 99th percentile; a range that is never empty."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + max(abs(low) * 1e-3, 1e-3))
