"""The gene field: a latent raster and a linear decoder, so that any gene's image is on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.methods.decoder import Decoder, Unit
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.levels import Levels, shapes_of
from napari_stenhance.storage.pyramid import mean_pool, read_tile
from napari_stenhance.storage.tile_cache import TileCache
from napari_stenhance.storage.tiles import is_done, tile_size

Raster = Literal["latent", "spread"]
What = Literal["expression", "spread"]
"""The expected value of a gene, or the standard deviation over the members of an ensemble: it
ranks places, it is no interval."""
_AT_ONCE = 16
"""How many genes of a tile are decoded before they are added up."""


@dataclass(frozen=True)
class GeneField:
    """What a fitted method predicted on a grid.

    Attributes
    ----------
    grid : Grid
    decoder : Decoder
    latent, spread : tuple of zarr arrays of float16
        Levels of (rows, columns, r): the members' mean, and their variance along each axis. NaN
        off the tissue and where nothing was predicted.
    tiles : TileCache
        Keeps tiles that were read, as those of other fields; by default one of its own.
    """

    grid: Grid
    decoder: Decoder
    latent: tuple[zarr.Array[Any], ...]
    spread: tuple[zarr.Array[Any], ...]
    tiles: TileCache = field(default_factory=TileCache, repr=False, compare=False)
    _owner: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_owner", self.tiles.owner(self))

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes that the field can show."""
        return self.decoder.genes

    @property
    def unit(self) -> Unit:
        """Unit of the gene images."""
        return self.decoder.unit

    def levels(self, gene: str, what: What = "expression") -> Levels:
        """Decode one gene, or its spread, where and when it is looked at.

        Raises
        ------
        InputError
            If there is no such gene.
        """
        decoder, channel = self.decoder.only(gene)
        raster: Raster = "latent" if what == "expression" else "spread"
        decode = decoder.values if what == "expression" else decoder.spread

        def read(level: int, i: int, j: int) -> NDArray[np.float32]:
            return decode(self.tile(raster, level, i, j, channel), 0)

        return Levels(shapes_of(self.latent), tile_size(self.latent[0]), read)

    def sum_levels(self, weights: Mapping[str, float]) -> Levels:
        """Decode some genes, and add them up, where and when they are looked at.

        Parameters
        ----------
        weights : mapping of str to float
            By which each gene is multiplied once it is decoded, and clipped at 0.

        Raises
        ------
        InputError
            If there is no such gene.
        """
        if self.decoder.weights is None:
            # The raster holds genes: one is read without the others.
            parts = [(self.levels(gene).read, weight) for gene, weight in weights.items()]

            def read(level: int, i: int, j: int) -> NDArray[np.float32]:
                return _summed(part(level, i, j) * np.float32(by) for part, by in parts)

        else:
            columns = self.decoder.indices_of(tuple(weights))
            by = np.array(list(weights.values()), np.float32)
            some = [slice(n, n + _AT_ONCE) for n in range(0, len(by), _AT_ONCE)]

            def read(level: int, i: int, j: int) -> NDArray[np.float32]:
                tile = self.tile("latent", level, i, j)
                # Much of a slide is no tissue.
                inside = np.isfinite(tile[..., 0])
                total, known = np.full(inside.shape, np.nan, np.float32), tile[inside]
                total[inside] = _summed(
                    self.decoder.values(known, columns[s]) @ by[s] for s in some
                )
                return total

        return Levels(shapes_of(self.latent), tile_size(self.latent[0]), read)

    def total_levels(self) -> Levels:
        """Return how much a spot around each superpixel would count in all.

        Raises
        ------
        InputError
            If depth was not learned apart.
        """
        last = self.decoder.channels - 1
        self.decoder.total(np.zeros(self.decoder.channels))

        def read(level: int, i: int, j: int) -> NDArray[np.float32]:
            return self.decoder.total(self.tile("latent", level, i, j, last))

        return Levels(shapes_of(self.latent), tile_size(self.latent[0]), read)

    def image(
        self,
        gene: str,
        level: int = 0,
        rows: slice | None = None,
        columns: slice | None = None,
        what: What = "expression",
    ) -> NDArray[np.float32]:
        """Decode one gene, or its spread.

        Parameters
        ----------
        gene : str
        level : int
            0 is the grid itself; each further level halves it.
        rows, columns : slice, optional
            By default the whole level.
        what : {"expression", "spread"}

        Returns
        -------
        ndarray of float32, shape (rows, columns)
            In `unit`; NaN where nothing was predicted.
        """
        return self.levels(gene, what).part(level, rows, columns)

    def tile(
        self, raster: Raster, level: int, i: int, j: int, channel: int | None = None
    ) -> NDArray[np.float32]:
        """Return one tile of a raster, from memory if it was read lately.

        By default with all channels, else with one, (rows, columns, 1). May be called from several
        threads. A tile that was not written yet is not remembered: it is NaN, or pooled from the
        finer tiles that are there.
        """

        def read() -> tuple[NDArray[np.float32], bool]:
            arrays = self.latent if raster == "latent" else self.spread
            written = is_done(arrays[level], (i, j))
            channels = None if channel is None else slice(channel, channel + 1)
            tile = read_tile(arrays, level, (i, j), mean_pool, channels)
            return tile.astype(np.float32), written

        return self.tiles.get(self._owner, (raster, level, i, j, channel), read)

    def latent_of(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the latents of single superpixels, shape (n, r)."""
        latents = np.empty((len(row), self.decoder.channels), np.float32)
        size = tile_size(self.latent[0])
        tile_of = np.column_stack([row // size, column // size])
        for i, j in np.unique(tile_of, axis=0):
            here = (tile_of == (i, j)).all(axis=1)
            tile = self.tile("latent", 0, int(i), int(j))
            latents[here] = tile[row[here] - i * size, column[here] - j * size]
        return latents


def _summed(parts: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Add arrays up, holding two at a time."""
    return reduce(np.add, parts)
