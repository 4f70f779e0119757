"""Features of superpixels, extracted tile by tile into the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.features.encoder import (
    SlideEncoder,
    SuperpixelEncoder,
    TileRequest,
    window_rows,
)
from napari_stenhance.features.feature_stats import FeatureStats
from napari_stenhance.features.masks import find_tissue, mask_version
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.running.device import inference_errors, threads
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.cache import still_there
from napari_stenhance.storage.checked import CheckedArray, checked, open_node
from napari_stenhance.storage.tiles import (
    Tile,
    create_array,
    is_done,
    sweep_partial,
    tile_size,
    tiles_of,
    write_tile,
)

TILE = 128
# Entries of "features" have no checksums.
_KIND = "features2"
# What a thread holds while it encodes a tile: pixels as stored, maps, features.
_TILE_BYTES = 64 * 1024**2
# Of a tile of the cache: 128² superpixels of `stain`.
_CHUNK_BYTES = 5 * 1024**2


@dataclass(frozen=True, eq=False)
class TileFeatures(FeatureSource):
    """An encoder's superpixels on a grid, in the cache.

    Tiles that hold no tissue are skipped; what was stopped goes on with the tiles that are missing.

    Attributes
    ----------
    side : int
        Of a tile in superpixels at most, where the entry is new. Tiles are of whole windows, and
        smaller where vectors are long.
    """

    side: int = TILE

    @property
    def encoder(self) -> SuperpixelEncoder | SlideEncoder:
        """Of this slide.

        Raises
        ------
        InputError
            If the encoder makes no superpixels, or the slide's scale is unknown.
        """
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple[SuperpixelEncoder | SlideEncoder, tuple[str, ...]]:
        make, doubts = self.settings.superpixel_encoder
        return make(self.slide), doubts

    @cached_property
    def grid(self) -> Grid:
        """Of the encoder's pitch."""
        return Grid.over(self.slide, self.encoder.pitch_um)

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Which superpixels are tissue."""
        settings = self.settings
        return find_tissue(self.slide, self.grid, settings.tissue, settings.cache, self.job)

    @property
    def fingerprint(self) -> str:
        """Identify weights and settings of the encoder."""
        return self.encoder.fingerprint()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the encoder says of the slide, and if superpixels are narrower than its pixels."""
        encoder, where = self._loaded
        pixel, pitch = self.slide.scale(), encoder.pitch_um
        if pixel <= pitch:
            return (*encoder.doubts(), *where)
        doubt = (
            f"Superpixels of {pitch:g} µm are narrower than the pixels of the slide, {pixel:.3g} "
            "µm: what is predicted changes no finer than these do."
        )
        return (doubt, *encoder.doubts(), *where)

    @cached_property
    def key(self) -> str:
        """Of the cache entry."""
        mask = mask_version(self.slide, self.settings.tissue)
        return f"{self.slide.key}-{self.fingerprint}-{mask}-{self.grid.key()}"

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.encoder.dim

    @cached_property
    def _arrays(self) -> tuple[CheckedArray, CheckedArray]:
        """Values, (rows, columns, dim) of float16 and raw, and their moments, (2, dim)."""
        cache, entry = self.settings.cache, self.settings.cache.entry(_KIND, self.key)
        with cache.lock(entry, self.job):
            if not cache.has(_KIND, self.key):
                with cache.building(_KIND, self.key) as folder:
                    _create(
                        zarr.open_group(folder, mode="w"),
                        self.grid.shape,
                        self.dim,
                        self._tile_side(),
                    )
            group = zarr.open_group(entry, mode="r+")
        values, moments = (
            checked(open_node(group, name, zarr.Array)) for name in ("values", "moments")
        )
        return values, moments

    def _tile_side(self) -> int:
        """Return how many superpixels a tile of a new entry spans along an axis."""
        most = min(self.side, math.isqrt(_CHUNK_BYTES // (2 * self.dim)))
        step = window_rows(self.encoder)
        return max(most // step, 1) * step

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """Mean and sd of each channel, (2, dim).

        Over a fixed sample of the whole tissue, whatever part was extracted (`FeatureStats`).
        """
        moments = self._arrays[1]
        if not is_done(moments, (0,)):
            self.extract(np.zeros(self.grid.shape, bool))
        still_there(moments)
        return np.asarray(moments[:])

    def extract(self, needed: NDArray[np.bool_] | None = None) -> None:
        """Extract the whole tiles that hold superpixels that are wanted."""
        mask, (values, moments) = self.tissue, self._arrays
        wanted = mask if needed is None else mask & needed
        entry = self.settings.cache.entry(_KIND, self.key)
        with self.settings.cache.lock(entry, self.job):
            sweep_partial(entry)
            whole = tiles_of(self.grid.shape, tile_size(values))
            tiles = [t for t in whole if wanted[t.rows, t.columns].any()]
            missing = [t for t in tiles if not is_done(values, t.index)]
            probe = None if is_done(moments, (0,)) else FeatureStats.over(mask, self.encoder)
            if missing:
                if self.settings.encoder.prepare is not None:
                    self.settings.encoder.prepare(self.job)
                boxes = [self._tissue_box(t) for t in missing]
                doing = f"Extracting {self.encoder.name} features of {self.slide.name}"
                with self.job.stage(doing, len(tiles)) as stage:
                    stage.skip(len(tiles) - len(missing))
                    encoded = self._encode_ahead(boxes)
                    for t, box, features in zip(missing, boxes, encoded, strict=True):
                        content = _on_tissue(features, t, box, mask)
                        write_tile(values, t, content)
                        if probe is not None:
                            probe.take((t.rows, t.columns), content)
                        stage.advance()
            if probe is not None:
                self._finish(probe, values)
                moments[:] = probe.moments()

    def _tissue_box(self, tile: Tile) -> tuple[slice, slice]:
        """Shrink a tile to the whole windows that hold its tissue: glass is not encoded."""
        step = window_rows(self.encoder)
        spans = []
        for axis, span in enumerate((tile.rows, tile.columns)):
            held = np.flatnonzero(self.tissue[tile.rows, tile.columns].any(axis=1 - axis))
            low = (span.start + int(held[0])) // step * step
            high = -(-(span.start + int(held[-1]) + 1) // step) * step
            spans.append(slice(low, high))
        return spans[0], spans[1]

    def _encode_ahead(self, boxes: Sequence[tuple[slice, slice]]) -> Iterator[NDArray[np.float16]]:
        """Read and encode boxes ahead in threads, and yield them in order."""
        encoder, cache = self.encoder, self.settings.cache
        slide = self.slide.keeping_tiles(self.job.memory_bytes // 8)
        workers = max(min(threads(), self.job.memory_bytes // _TILE_BYTES), 1)
        if isinstance(encoder, SlideEncoder):
            return encoder.encode_tiles(
                TileRequest(slide, self.grid, self.tissue, boxes, workers, cache, self.job)
            )
        halo_um = encoder.halo_px * encoder.mpp

        def read(box: tuple[slice, slice]) -> NDArray[np.uint8]:
            x0, y0, x1, y1 = self.grid.box_um(*box)
            around = x0 - halo_um, y0 - halo_um, x1 + halo_um, y1 + halo_um
            return slide.read(around, encoder.mpp)

        def encode(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
            with inference_errors(f"Encoding with {encoder.name}"):
                return encoder.encode(pixels).astype(np.float16)

        if encoder.at_once is None:
            return prefetch(lambda box: encode(read(box)), boxes, workers)
        return prefetch(encode, prefetch(read, boxes, workers), encoder.at_once)

    def _finish(self, probe: FeatureStats, values: zarr.Array[Any]) -> None:
        """Take what the probe still lacks from tiles of earlier runs, or encode it by itself."""
        size = tile_size(values)
        tile_of = np.column_stack([probe.row, probe.column]) // size
        for i, j in np.unique(tile_of[~probe.taken], axis=0):
            if is_done(values, (i, j)):
                box = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)
                probe.take(box, np.asarray(values[box]))
        boxes = probe.boxes_lacking()
        if boxes:
            doing = f"Sampling the tissue of {self.slide.name}"
            with self.job.stage(doing, len(boxes)) as stage:
                for box, features in zip(boxes, self._encode_ahead(boxes), strict=True):
                    probe.take(box, features)
                    stage.advance()

    def superpixels(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool = False
    ) -> NDArray[np.float32]:
        """Read single superpixels, each tile once."""
        values = self._arrays[0]
        still_there(values)
        found = np.empty((len(row), self.dim), np.float32)
        size, across = tile_size(values), self.grid.shape[1]
        tile_of = row // size * across + column // size
        for tile in np.unique(tile_of):
            here = tile_of == tile
            top, left = (int(n) * size for n in divmod(tile, across))
            content = np.asarray(values[top : top + size, left : left + size])
            found[here] = content[row[here] - top, column[here] - left]
        if not raw:
            mean, sd = self.moments.astype(np.float32)
            found -= mean
            found /= sd
        return found

    def at(self, xy_um: NDArray[np.float64], *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features of the superpixel that each position lies in; 0 off the tissue."""
        at = np.rint(self.grid.position(xy_um)).astype(np.int64)
        on_tissue = np.asarray(((at >= 0) & (at < self.grid.shape)).all(axis=1))
        on_tissue[on_tissue] = self.tissue[tuple(at[on_tissue].T)]
        values = np.zeros((len(at), self.dim), np.float32)
        values[on_tissue] = self.superpixels(*at[on_tissue].T, raw=raw)
        return values


def _create(group: zarr.Group, shape: tuple[int, int], dim: int, tile: int) -> None:
    create_array(
        group,
        "values",
        shape=(*shape, dim),
        chunks=(tile, tile, dim),
        dtype="f2",
        dimension_names=("y", "x", "c"),
    )
    create_array(
        group,
        "moments",
        shape=(2, dim),
        chunks=(2, dim),
        dtype="f8",
        dimension_names=("moment", "c"),
    )


def _on_tissue(
    encoded: NDArray[np.float16],
    tile: Tile,
    box: tuple[slice, slice],
    tissue: NDArray[np.bool_],
) -> NDArray[np.float16]:
    """Put what was encoded of a tile into its place, 0 off the tissue."""
    full = np.zeros((*tile.shape, encoded.shape[2]), np.float16)
    rows, columns = (
        slice(max(b.start, t.start), min(b.stop, t.stop))
        for b, t in zip(box, (tile.rows, tile.columns), strict=True)
    )
    target = full[
        rows.start - tile.rows.start : rows.stop - tile.rows.start,
        columns.start - tile.columns.start : columns.stop - tile.columns.start,
    ]
    inside = tissue[rows, columns]
    source = encoded[
        rows.start - box[0].start : rows.stop - box[0].start,
        columns.start - box[1].start : columns.stop - box[1].start,
    ]
    target[inside] = source[inside]
    return full
