"""The gene field: a latent raster and a linear decoder, so that any gene's image is on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import has_node, open_node, read_whole
from napari_stenhance.storage.pyramid import mean_pool, read_tile
from napari_stenhance.storage.tile_cache import TileCache
from napari_stenhance.storage.tiles import create_array, is_done, tile_size

Unit = Literal["log1p CP10k", "counts per superpixel"]
What = Literal["latent", "spread"]


@dataclass(frozen=True)
class Decoder:
    """What turns a latent vector into gene values: `latent @ weights + bias`, or nothing at all.

    Attributes
    ----------
    genes : tuple of str
    weights : ndarray of float32, shape (r, genes), or None
        None where the latent holds the genes themselves, one channel each; r is their number.
    bias : ndarray of float32, shape (genes,)
    unit : str
        Of the decoded values.
    held_out_r : ndarray of float32, shape (genes,)
        Pearson correlation, over spots, of each gene on held-out spatial blocks of the training
        sections: the mean over those where the gene varies; NaN where it varies in none, or no
        block was held out.
    held_out_r_given_depth : ndarray of float32, shape (genes,)
        The same with the logarithm of the spots' total count held constant; NaN, too, in a result
        that was written before this was kept.
    spread_scale : ndarray of float32, shape (genes,)
        Brings √(weights² · variance), which ignores covariances, to the members' true standard
        deviation on held-out blocks.
    doubts : tuple of str
        What held-out blocks say against trusting any of it.
    """

    genes: tuple[str, ...]
    weights: NDArray[np.float32] | None
    bias: NDArray[np.float32]
    unit: Unit
    held_out_r: NDArray[np.float32]
    held_out_r_given_depth: NDArray[np.float32]
    spread_scale: NDArray[np.float32]
    doubts: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Length of a latent vector, r."""
        return len(self.genes) if self.weights is None else self.weights.shape[0]

    def index_of(self, gene: str) -> int:
        """Find a gene.

        Raises
        ------
        InputError
            If it is not among `genes`.
        """
        try:
            return self.genes.index(gene)
        except ValueError:
            alike = [g for g in self.genes if g.lower() == str(gene).lower()]
            hint = f"did you mean {alike[0]}?" if alike else "it was not measured or not chosen."
            msg = f"Gene {gene!r} is not among the {len(self.genes)} genes of this run; {hint}"
            raise InputError(msg) from None

    def indices_of(self, genes: Sequence[str]) -> NDArray[np.intp]:
        """Find several genes; see `index_of`."""
        return np.array([self.index_of(gene) for gene in genes], dtype=np.intp)

    def values(self, latent: NDArray[Any], genes: NDArray[np.intp] | int) -> NDArray[np.float32]:
        """Decode latents (…, r); clipped at 0, as everywhere that values are shown or exported."""
        if self.weights is None:
            own = np.asarray(latent[..., genes], np.float32) + self.bias[genes]
            return np.maximum(own, np.float32(0), out=own)
        decoded = np.asarray(latent, np.float32) @ self.weights[:, genes] + self.bias[genes]
        # np.maximum keeps NaN, the mark of what was not predicted.
        return np.maximum(decoded, np.float32(0), out=decoded)

    def spread(self, variance: NDArray[Any], gene: int) -> NDArray[np.float32]:
        """Return the members' standard deviation of one gene from variances along the axes."""
        if self.weights is None:
            squared = np.asarray(variance[..., gene], np.float32)
        else:
            squared = np.asarray(variance, np.float32) @ self.weights[:, gene] ** 2
        spread: NDArray[np.float32] = np.sqrt(squared) * self.spread_scale[gene]
        return spread

    def only(self, gene: str) -> tuple[Decoder, int | None]:
        """Return a decoder of one gene, and the one channel that it decodes; None if all.

        Raises
        ------
        InputError
            If the gene is not among `genes`.
        """
        index = self.index_of(gene)
        one = slice(index, index + 1)
        decoder = Decoder(
            genes=(gene,),
            weights=None if self.weights is None else self.weights[:, one],
            bias=self.bias[one],
            unit=self.unit,
            held_out_r=self.held_out_r[one],
            held_out_r_given_depth=self.held_out_r_given_depth[one],
            spread_scale=self.spread_scale[one],
            doubts=self.doubts,
        )
        return decoder, index if self.weights is None else None

    def write(self, group: zarr.Group) -> None:
        """Write `w` (if there are weights), `b`, gene names and held-out accuracy as arrays."""
        width = max(len(g.encode()) for g in self.genes)
        names = np.array([g.encode() for g in self.genes], dtype=f"S{width}")
        letters = names.view("u1").reshape(len(names), width)
        for name, values, axes in (
            *([] if self.weights is None else [("w", self.weights, ("latent", "gene"))]),
            ("b", self.bias, ("gene",)),
            ("held_out_r", self.held_out_r, ("gene",)),
            ("held_out_r_given_depth", self.held_out_r_given_depth, ("gene",)),
            ("spread_scale", self.spread_scale, ("gene",)),
            ("genes", letters, ("gene", "utf8")),
        ):
            array = create_array(
                group,
                name,
                shape=values.shape,
                chunks=values.shape,
                dtype=values.dtype.str.lstrip("<|"),
                dimension_names=axes,
            )
            array[...] = values
        group.attrs.update({"unit": self.unit, "doubts": list(self.doubts)})

    @classmethod
    def read(cls, group: zarr.Group) -> Decoder:
        """Read what `write` wrote.

        Raises
        ------
        InputError
            If an array is missing or damaged.
        ValueError
            If they do not fit together.
        """
        kept = ("b", "held_out_r", "spread_scale", "genes")
        # Those that not every result has.
        more = [name for name in ("w", "held_out_r_given_depth") if has_node(group, name)]
        arrays = {name: _read(group, name) for name in (*kept, *more)}
        weights = arrays.pop("w", None)
        letters = arrays.pop("genes")
        names = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
        unit = str(group.attrs["unit"])
        fits = all(values.shape == names.shape for values in arrays.values())
        if weights is not None:
            fits = fits and weights.ndim == 2 and weights.shape[1:] == names.shape
        if not fits or unit not in get_args(Unit):
            msg = "its arrays do not fit together"
            raise ValueError(msg)
        return cls(
            genes=tuple(name.decode() for name in names),
            weights=weights,
            bias=arrays["b"],
            unit=unit,  # type: ignore[arg-type]
            held_out_r=arrays["held_out_r"],
            held_out_r_given_depth=arrays.get(
                "held_out_r_given_depth", np.full(len(names), np.nan, np.float32)
            ),
            spread_scale=arrays["spread_scale"],
            doubts=tuple(group.attrs.get("doubts", ())),  # type: ignore[arg-type]
        )


def _read(group: zarr.Group, name: str) -> NDArray[Any]:
    values: NDArray[Any] = read_whole(open_node(group, name, zarr.Array))
    return values


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

    def image(
        self,
        gene: str,
        level: int = 0,
        rows: slice | None = None,
        columns: slice | None = None,
        what: What = "latent",
    ) -> NDArray[np.float32]:
        """Decode one gene, or its spread.

        Parameters
        ----------
        gene : str
        level : int
            0 is the grid itself; each further level halves it.
        rows, columns : slice, optional
            By default the whole level.
        what : {"latent", "spread"}
            The expected value, or the standard deviation over the members (it ranks; it is no
            interval).

        Returns
        -------
        ndarray of float32, shape (rows, columns)
            In `unit`; NaN where nothing was predicted.
        """
        decoder, channel = self.decoder.only(gene)
        shape = getattr(self, what)[level].shape
        rows, columns = rows or slice(0, shape[0]), columns or slice(0, shape[1])
        image = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
        size = tile_size(self.latent[0])
        for i in range(rows.start // size, -(-rows.stop // size)):
            for j in range(columns.start // size, -(-columns.stop // size)):
                tile = self.tile(what, level, i, j, channel)
                low_r, low_c = max(rows.start, i * size), max(columns.start, j * size)
                high_r = min(rows.stop, i * size + tile.shape[0])
                high_c = min(columns.stop, j * size + tile.shape[1])
                part = tile[
                    low_r - i * size : high_r - i * size, low_c - j * size : high_c - j * size
                ]
                image[
                    low_r - rows.start : high_r - rows.start,
                    low_c - columns.start : high_c - columns.start,
                ] = decoder.values(part, 0) if what == "latent" else decoder.spread(part, 0)
        return image

    def tile(
        self, what: What, level: int, i: int, j: int, channel: int | None = None
    ) -> NDArray[np.float32]:
        """Return one tile of a raster, from memory if it was read lately.

        By default with all channels, else with one, (rows, columns, 1). May be called from several
        threads. A tile that was not written yet is not remembered: it is NaN, or pooled from the
        finer tiles that are there.
        """

        def read() -> tuple[NDArray[np.float32], bool]:
            levels = getattr(self, what)
            written = is_done(levels[level], (i, j))
            channels = None if channel is None else slice(channel, channel + 1)
            tile = read_tile(levels, level, (i, j), mean_pool, channels)
            return tile.astype(np.float32), written

        return self.tiles.get(self._owner, (what, level, i, j, channel), read)

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
