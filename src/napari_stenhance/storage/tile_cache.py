"""Tiles that were read and decompressed, kept in memory, the same for all that are looked at."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import LRUCache
from numpy.typing import NDArray

MOST_BYTES = 1024**3


class TileCache:
    """The least recently used tiles are forgotten beyond a bound that holds for all owners.

    Whoever opens results holds one: a viewer, or an opened folder. May be used from several
    threads.

    Parameters
    ----------
    most_bytes : int
        How much the tiles of all owners may take together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._tiles: LRUCache[tuple[int, Hashable], NDArray[Any]] = LRUCache(
            most_bytes, getsizeof=lambda tile: int(tile.nbytes)
        )
        self._lock = threading.Lock()
        self._owners = 0
        self._gone: deque[int] = deque()

    @property
    def nbytes(self) -> int:
        """How much the tiles take."""
        with self._lock:
            return int(self._tiles.currsize)

    def owner(self, of: object) -> int:
        """Make a key under which the tiles of an object are kept as long as it lives."""
        with self._lock:
            self._owners += 1
            owner = self._owners
        weakref.finalize(of, self._forget, owner).atexit = False
        return owner

    def get(
        self, owner: int, key: Hashable, read: Callable[[], tuple[NDArray[Any], bool]]
    ) -> NDArray[Any]:
        """Return a tile; `read` gives one that is not kept, and whether to keep it."""
        with self._lock:
            self._drop_gone()
            tile = self._tiles.get((owner, key))
        if tile is None:
            tile, keep = read()
            if keep and tile.nbytes <= self.most_bytes:
                with self._lock:
                    self._tiles[owner, key] = tile
        return tile

    def _forget(self, owner: int) -> None:
        # An object may be collected at any moment, also while this very thread holds the lock.
        self._gone.append(owner)
        if self._lock.acquire(blocking=False):
            try:
                self._drop_gone()
            finally:
                self._lock.release()

    def _drop_gone(self) -> None:
        while self._gone:
            owner = self._gone.popleft()
            for key in [key for key in self._tiles if key[0] == owner]:
                del self._tiles[key]
