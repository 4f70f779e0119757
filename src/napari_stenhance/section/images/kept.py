"""Levels whose tiles are kept for a while, as regions that are read one after the other overlap."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from napari_stenhance.section.images.slicing import SlicedLevel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.images.image import Pixels
    from napari_stenhance.storage.tile_cache import TileCache

_LARGEST = 2**22
"""Bytes of a tile: strips as wide as a slide are read in parts, and few of them could be kept."""


class KeptLevel(SlicedLevel):
    """A level that decodes a tile once, while a cache holds it.

    Parameters
    ----------
    level : Pixels
    cache : TileCache
        May be shared by several levels.
    """

    def __init__(self, level: Pixels, cache: TileCache) -> None:
        super().__init__(level.shape, level.chunks)
        self._level, self._cache, self._owner = level, cache, cache.owner(self)

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        # Whether a folder is ours is asked of all modules here, and of none that is slow to import.
        import numpy as np

        if math.prod(self.chunks) > _LARGEST:
            return self._level[top:bottom, left:right]
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        high, wide = self.chunks[:2]
        for i, j in itertools.product(
            range(top // high, -(-bottom // high)), range(left // wide, -(-right // wide))
        ):
            tile = self._tile(i, j)
            y0, x0 = max(top, i * high), max(left, j * wide)
            part = tile[y0 - i * high : bottom - i * high, x0 - j * wide : right - j * wide]
            out[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
        return out

    def _tile(self, i: int, j: int) -> NDArray[np.uint8]:
        high, wide = self.chunks[:2]

        def read() -> tuple[NDArray[np.uint8], bool]:
            return self._level[i * high : (i + 1) * high, j * wide : (j + 1) * wide], True

        return self._cache.get(self._owner, (i, j), read)
