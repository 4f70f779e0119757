"""Extract features of a slide, tile by tile, into the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import Encoder, FeatureTile, window_rows
from napari_stenhance.features.feature_stats import FeatureStats
from napari_stenhance.features.histosweep import VERSION as HISTOSWEEP_VERSION
from napari_stenhance.features.histosweep import histosweep_mask
from napari_stenhance.features.tissue import VERSION as TISSUE_VERSION
from napari_stenhance.features.tissue import tissue_mask
from napari_stenhance.running.device import inference_errors, threads
from napari_stenhance.running.job import Job
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Box, Slide
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.checked import checked, open_node, read_whole
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
_ARRAYS = ("values", "moments")
# Entries of "features" have no checksums.
_KIND = "features2"
# What a thread holds while it encodes a tile: pixels as stored, maps, features.
_TILE_BYTES = 64 * 1024**2

TissueKind = Literal["density", "histosweep"]
_MASKS = {
    "density": (tissue_mask, f"tissue{TISSUE_VERSION}"),
    "histosweep": (histosweep_mask, f"histosweep{HISTOSWEEP_VERSION}"),
}


@dataclass(frozen=True)
class FeatureMap:
    """An encoder's output on a grid, in the cache.

    Attributes
    ----------
    key : str
        Of the cache entry.
    grid : Grid
    values : zarr array of float16, shape (rows, columns, dim)
        Raw; 0 off the tissue. Only tiles that were asked for exist.
    tissue : ndarray of bool, shape (rows, columns)
    mean, sd : ndarray of float64, shape (dim,)
        Over a fixed sample of the whole tissue, whatever part of it was extracted (`FeatureStats`).
    """

    key: str
    grid: Grid
    values: zarr.Array[Any]
    tissue: NDArray[np.bool_]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return int(self.values.shape[2])

    def tile(self, rows: slice, columns: slice, halo: int = 0, *, raw: bool = False) -> FeatureTile:
        """Read a rectangle, standardised or as the encoder made it, with `halo` around it.

        Beyond the grid there is no tissue; off the tissue values are 0.
        """
        top, left = rows.start - halo, columns.start - halo
        height, width = (s.stop - s.start + 2 * halo for s in (rows, columns))
        values = np.zeros((height, width, self.dim), np.float32)
        tissue = np.zeros((height, width), bool)
        r0, c0 = max(top, 0), max(left, 0)
        r1, c1 = min(top + height, self.grid.shape[0]), min(left + width, self.grid.shape[1])
        inside = slice(r0 - top, r1 - top), slice(c0 - left, c1 - left)
        tissue[inside] = self.tissue[r0:r1, c0:c1]
        still_there(self.values)
        stored = np.asarray(self.values[r0:r1, c0:c1])
        there = tissue[inside]
        block = np.zeros(stored.shape, np.float32)
        shift, scale = (0, 1) if raw else (m.astype(np.float32) for m in (self.mean, self.sd))
        block[there] = (stored[there] - shift) / scale
        values[inside] = block
        centre = self.grid.centres_um(
            np.arange(top, top + height)[:, None], np.arange(left, left + width)[None]
        )
        core = slice(halo, height - halo), slice(halo, width - halo)
        return FeatureTile(values, tissue, centre, core)

    def raw_at(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float16]:
        """Read single superpixels as the encoder made them, shape (n, dim)."""
        still_there(self.values)
        values = np.empty((len(row), self.dim), np.float16)
        size = tile_size(self.values)
        tile_of = np.column_stack([row // size, column // size])
        for i, j in np.unique(tile_of, axis=0):
            here = (tile_of == (i, j)).all(axis=1)
            tile = self.values[i * size : (i + 1) * size, j * size : (j + 1) * size]
            values[here] = np.asarray(tile)[row[here] - i * size, column[here] - j * size]
        return values


def find_tissue(
    slide: Slide,
    encoder: Encoder,
    job: Job,
    *,
    cache: Cache | None = None,
    tissue: TissueKind = "density",
) -> NDArray[np.bool_]:
    """Tell which superpixels are tissue, or take it from the cache; parameters as of `extract`."""
    with _opened(slide, encoder, job, cache or Cache.default(), tissue, TILE) as (_, group):
        return read_mask(group)


def extract(
    slide: Slide,
    encoder: Encoder,
    job: Job,
    *,
    cache: Cache | None = None,
    needed: NDArray[np.bool_] | None = None,
    tile: int = TILE,
    tissue: TissueKind = "density",
) -> FeatureMap:
    """Extract features where there is tissue, or take them from the cache.

    Tiles that hold no tissue are skipped; a run that was stopped goes on with the tiles that are
    missing.

    Parameters
    ----------
    slide : Slide
    encoder : Encoder
    job : Job
    cache : Cache, optional
        By default the user's.
    needed : ndarray of bool, optional
        The superpixels that are wanted; by default all. Whole tiles are extracted.
    tile : int
        Side of a tile in superpixels, where the entry is new.
    tissue : {"density", "histosweep"}
        How tissue is told from glass; each kind has entries of its own.

    Raises
    ------
    InputError
        If no tissue is found on the slide, or there is no such kind of mask.
    InferenceError
        If the device fails.
    """
    with _opened(slide, encoder, job, cache or Cache.default(), tissue, tile) as (key, group):
        mask, grid = read_mask(group), Grid.over(slide, encoder.pitch_um)
        values, moments = (checked(open_node(group, name, zarr.Array)) for name in _ARRAYS)
        wanted = mask if needed is None else mask & needed
        tiles = [
            t for t in tiles_of(grid.shape, values.chunks[0]) if wanted[t.rows, t.columns].any()
        ]
        missing = [t for t in tiles if not is_done(values, t.index)]
        probe = None if is_done(moments, (0,)) else FeatureStats.over(mask, encoder)
        if missing:
            boxes = [_tissue_box(t, mask, encoder) for t in missing]
            with job.stage(f"Extracting {encoder.name} features of {slide.name}", len(tiles)) as st:
                st.skip(len(tiles) - len(missing))
                encoded = _encode_ahead(slide, encoder, grid, boxes, job)
                for t, box, features in zip(missing, boxes, encoded, strict=True):
                    content = _on_tissue(features, t, box, mask)
                    write_tile(values, t, content)
                    if probe is not None:
                        probe.take((t.rows, t.columns), content)
                    st.advance()
        if probe is not None:
            _finish(probe, slide, encoder, grid, values, job)
            moments[:] = probe.moments()
        mean, sd = np.asarray(moments[:])
    return FeatureMap(key, grid, values, mask, mean, sd)


def mask_version(tissue: TissueKind) -> str:
    """Name a kind of mask, with its version, in cache keys.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if tissue not in _MASKS:
        msg = f"Tissue {tissue}: there is no such mask; choose one of {', '.join(_MASKS)}."
        raise InputError(msg, option="tissue")
    return _MASKS[tissue][1]


def make_mask(slide: Slide, grid: Grid, job: Job, tissue: TissueKind) -> NDArray[np.bool_]:
    """Tell which superpixels of a fine grid are tissue.

    Raises
    ------
    InputError
        If none is.
    """
    find_mask, _ = _MASKS[tissue]
    mask = find_mask(slide, grid, job)
    if not mask.any():
        msg = f"{slide.path}: no tissue was found on the slide; is it an H&E image?"
        raise InputError(msg)
    return mask


@contextmanager
def _opened(
    slide: Slide, encoder: Encoder, job: Job, cache: Cache, tissue: TissueKind, tile: int
) -> Iterator[tuple[str, zarr.Group]]:
    """Hold the cache entry, made with the tissue mask if it is new."""
    grid = Grid.over(slide, encoder.pitch_um)
    key = f"{slide.sha256[:32]}-{encoder.fingerprint()}-{mask_version(tissue)}-{grid.key()}"
    entry = cache.entry(_KIND, key)
    with cache.lock(entry, job):
        if not cache.has(_KIND, key):
            mask = make_mask(slide, grid, job, tissue)
            with cache.building(_KIND, key) as folder:
                _create(zarr.open_group(folder, mode="w"), mask, encoder.dim, tile)
        sweep_partial(entry)
        yield key, zarr.open_group(entry, mode="r+")


def _create(group: zarr.Group, tissue: NDArray[np.bool_], dim: int, tile: int) -> None:
    create_array(
        group,
        "values",
        shape=(*tissue.shape, dim),
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
    write_mask(group, tissue)


def write_mask(group: zarr.Group, tissue: NDArray[np.bool_]) -> None:
    """Keep the tissue of a cache entry."""
    mask = create_array(
        group,
        "tissue",
        shape=tissue.shape,
        chunks=(1024, 1024),
        dtype="u1",
        dimension_names=("y", "x"),
    )
    mask[...] = tissue.astype("u1")


def read_mask(group: zarr.Group) -> NDArray[np.bool_]:
    """Read what `write_mask` wrote.

    Raises
    ------
    InputError
        If it is damaged.
    """
    mask: NDArray[np.bool_] = read_whole(open_node(group, "tissue", zarr.Array)).astype(bool)
    return mask


def _tissue_box(tile: Tile, tissue: NDArray[np.bool_], encoder: Encoder) -> tuple[slice, slice]:
    """Shrink a tile to the whole windows that hold its tissue: glass is not encoded."""
    step = window_rows(encoder)
    spans = []
    for axis, span in enumerate((tile.rows, tile.columns)):
        held = np.flatnonzero(tissue[tile.rows, tile.columns].any(axis=1 - axis))
        low = (span.start + int(held[0])) // step * step
        high = -(-(span.start + int(held[-1]) + 1) // step) * step
        spans.append(slice(low, high))
    return spans[0], spans[1]


def _box_with_halo(encoder: Encoder, grid: Grid, box: tuple[slice, slice]) -> Box:
    x0, y0, x1, y1 = grid.box_um(*box)
    halo = encoder.halo_px * encoder.mpp
    return x0 - halo, y0 - halo, x1 + halo, y1 + halo


def _encode_ahead(
    slide: Slide,
    encoder: Encoder,
    grid: Grid,
    boxes: Sequence[tuple[slice, slice]],
    job: Job,
) -> Iterator[NDArray[np.float16]]:
    """Read and encode boxes in as many threads as may compute, and yield them in order."""

    def encode(box: tuple[slice, slice]) -> NDArray[np.float16]:
        pixels = slide.read(_box_with_halo(encoder, grid, box), encoder.mpp)
        with inference_errors(f"Encoding with {encoder.name}"):
            return encoder.encode(pixels).astype(np.float16)

    workers = max(min(threads(), job.memory_bytes // _TILE_BYTES), 1)
    return prefetch(encode, boxes, workers)


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
    there = tissue[rows, columns]
    source = encoded[
        rows.start - box[0].start : rows.stop - box[0].start,
        columns.start - box[1].start : columns.stop - box[1].start,
    ]
    target[there] = source[there]
    return full


def _finish(
    probe: FeatureStats,
    slide: Slide,
    encoder: Encoder,
    grid: Grid,
    values: zarr.Array[Any],
    job: Job,
) -> None:
    """Take what the probe still lacks from tiles of earlier runs, or encode it by itself."""
    lacking = ~probe.taken
    size = tile_size(values)
    tile_of = np.column_stack([probe.row, probe.column]) // size
    for i, j in np.unique(tile_of[lacking], axis=0):
        if is_done(values, (i, j)):
            box = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)
            probe.take(box, np.asarray(values[box]))
    boxes = probe.boxes_lacking()
    if boxes:
        with job.stage(f"Sampling the tissue of {slide.name}", len(boxes)) as stage:
            encoded = _encode_ahead(slide, encoder, grid, boxes, job)
            for box, features in zip(boxes, encoded, strict=True):
                probe.take(box, features)
                stage.advance()
