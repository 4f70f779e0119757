"""Pyramids as napari can show them without shifting a level against another.

napari takes the factor of a level from the ratio of shapes, 9270 / 2318 = 3.9991 where it is 4: at
the far edge that is off by up to the factor, in full-resolution pixels. All levels are therefore
padded to one common extent.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_stenhance.errors import StenhanceError
from napari_stenhance.results.scale import SAMPLED, common_extent, limits
from napari_stenhance.section.slide import WHITE

if TYPE_CHECKING:
    import dask.array as da

    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.levels import Levels

_KEPT = 64
"""Tiles of a gene, of a quarter of a megabyte."""


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


def shown_levels(
    levels: Levels,
    dtype: Any = np.float32,
    beyond: float = np.nan,
    over: Levels | None = None,
    *,
    kept: bool = False,
) -> list[da.Array]:
    """Make dask levels whose blocks are tiles; something else lies beyond the data.

    Parameters
    ----------
    levels : Levels
    dtype : dtype
    beyond : float
    over : Levels, optional
        What lies over it, in the same tiles: where that has values, this has none, so that one
        colour is not seen through another.
    kept : bool
        Whether the tiles that were read last are kept; not of what is still being filled.
    """
    import dask.array as da

    size, shapes = levels.tile, levels.shapes
    targets = common_extent(shapes[0], [2**level for level in range(len(shapes))])
    said: set[str] = set()

    def block(level: int, block_id: tuple[int, int]) -> NDArray[Any]:
        rows, columns = (
            min(size, n - at * size) for n, at in zip(targets[level], block_id, strict=True)
        )
        try:
            tile = levels.read(level, *block_id)
            if over is not None:
                tile = np.where(np.isfinite(over.read(level, *block_id)), beyond, tile)
        except StenhanceError as error:
            # A hole, said once: raised while napari draws, it would come again with every frame.
            if str(error) not in said:
                said.add(str(error))
                show_warning(str(error))
            return np.full((rows, columns), beyond, dtype)
        pad = [(0, rows - tile.shape[0]), (0, columns - tile.shape[1])]
        return np.pad(tile, pad, constant_values=beyond)

    read = lru_cache(_KEPT)(block) if kept else block
    return [
        da.map_blocks(
            read,
            level,
            chunks=tuple((size,) * (n // size) + ((n % size,) if n % size else ()) for n in target),
            dtype=dtype,
            meta=np.empty((0, 0), dtype),
            # What lies behind a name may change while a run fills: names are never used twice.
            name=f"stenhance-{uuid.uuid4().hex}",
        )
        for level, target in enumerate(targets)
    ]


def contrast(levels: Sequence[da.Array], most: int = SAMPLED) -> tuple[float, float]:
    """Return the 1st and 99th percentile over tissue, from a level of at most `most` a side."""
    return limits(tissue_values(levels, most))


def tissue_values(levels: Sequence[da.Array], most: int = SAMPLED) -> NDArray[Any]:
    """Return the values over tissue, from a level of at most `most` a side."""
    import dask

    level = next((one for one in levels if max(one.shape) <= most), levels[-1])
    # Threads of dask's own would wait for those of a run that has the processor.
    with dask.config.set(scheduler="synchronous"):
        values = np.asarray(level)
    return values[np.isfinite(values)]
