"""Extract features of a slide, tile by tile, into the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import Encoder, FeatureTile, window_rows
from napari_stenhance.features.histosweep import VERSION as HISTOSWEEP_VERSION
from napari_stenhance.features.histosweep import histosweep_mask
from napari_stenhance.features.tissue import VERSION as TISSUE_VERSION
from napari_stenhance.features.tissue import tissue_mask
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Box, Slide
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.tiles import (
    Tile,
    create_array,
    is_done,
    sweep_partial,
    tile_size,
    tiles_of,
    writable,
    write_tile,
)

TILE = 128
SAMPLE_MOST = 4096
SAMPLE_BLOCK = 4
_KIND = "features"

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
        Over a fixed sample of the whole tissue, whatever part of it was extracted.
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
    cache = cache or Cache.default()
    if tissue not in _MASKS:
        msg = f"--tissue {tissue}: there is no such mask; choose one of {', '.join(_MASKS)}."
        raise InputError(msg)
    grid = Grid.over(slide, encoder.pitch_um)
    find_mask, mask_version = _MASKS[tissue]
    key = f"{slide.sha256[:32]}-{encoder.fingerprint()}-{mask_version}-{grid.key()}"
    entry = cache.entry(_KIND, key)
    with cache.lock(entry, wait=True):
        if not cache.has(_KIND, key):
            mask = find_mask(slide, grid, job)
            mean, sd = _sample_moments(slide, encoder, grid, mask, job)
            with cache.building(_KIND, key) as folder:
                _create(folder, grid, encoder.dim, mask, mean, sd, tile)
        group = zarr.open_group(entry, mode="r+")
        values = writable(_array(group, "values"))
        features = FeatureMap(
            key=key,
            grid=grid,
            values=values,
            tissue=np.asarray(_array(group, "tissue")[:]).astype(bool),
            mean=np.asarray(_array(group, "mean")[:]),
            sd=np.asarray(_array(group, "sd")[:]),
        )
        sweep_partial(entry)
        wanted = features.tissue if needed is None else features.tissue & needed
        tiles = [
            t for t in tiles_of(grid.shape, values.chunks[0]) if wanted[t.rows, t.columns].any()
        ]
        missing = [t for t in tiles if not is_done(values, t.index)]
        if missing:
            with job.stage(f"Extracting {encoder.name} features of {slide.name}", len(tiles)) as st:
                st.skip(len(tiles) - len(missing))
                boxes = [_tissue_box(t, features.tissue, encoder) for t in missing]
                pixels = _read_ahead(slide, encoder, grid, boxes)
                for t, box, seen in zip(missing, boxes, pixels, strict=True):
                    write_tile(values, t, _encode_tile(encoder, seen, t, box, features.tissue))
                    st.advance()
    return features


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _create(
    folder: Any,
    grid: Grid,
    dim: int,
    tissue: NDArray[np.bool_],
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    tile: int,
) -> None:
    group = zarr.open_group(folder, mode="w")
    create_array(
        group,
        "values",
        shape=(*grid.shape, dim),
        chunks=(tile, tile, dim),
        dtype="f2",
        dimension_names=("y", "x", "c"),
    )
    for name, content in (("tissue", tissue.astype("u1")), ("mean", mean), ("sd", sd)):
        group.create_array(name, data=content)


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


def _read_ahead(
    slide: Slide, encoder: Encoder, grid: Grid, boxes: Sequence[tuple[slice, slice]]
) -> Iterator[NDArray[np.uint8]]:
    """Read the pixels of the next tile while the present one is encoded."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for box in boxes:
            following = pool.submit(slide.read, _box_with_halo(encoder, grid, box), encoder.mpp)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _encode_tile(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    tile: Tile,
    box: tuple[slice, slice],
    tissue: NDArray[np.bool_],
) -> NDArray[np.float16]:
    with inference_errors(f"Encoding with {encoder.name}"):
        encoded = encoder.encode(pixels)
    full = np.zeros((*tile.shape, encoder.dim), np.float16)
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


def _sample_moments(
    slide: Slide, encoder: Encoder, grid: Grid, tissue: NDArray[np.bool_], job: Job
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take mean and sd of each channel over at most 4,096 tissue superpixels.

    They are drawn in blocks of 4 × 4 (or of one window), since a superpixel costs little more
    with its neighbours than alone.
    """
    if not tissue.any():
        msg = f"{slide.path}: no tissue was found on the slide; is it an H&E image?"
        raise InputError(msg)
    side = max(SAMPLE_BLOCK, window_rows(encoder))
    blocks = np.unique(np.argwhere(tissue) // side, axis=0)
    most = max(SAMPLE_MOST // side**2, 1)
    if len(blocks) > most:
        drawn = np.random.default_rng(0).choice(len(blocks), most, replace=False)
        blocks = blocks[np.sort(drawn)]
    boxes = [(slice(r * side, (r + 1) * side), slice(c * side, (c + 1) * side)) for r, c in blocks]
    sample = []
    with job.stage(f"Sampling the tissue of {slide.name}", len(boxes)) as stage:
        pixels = _read_ahead(slide, encoder, grid, boxes)
        for (rows, columns), seen in zip(boxes, pixels, strict=True):
            with inference_errors(f"Encoding with {encoder.name}"):
                encoded = encoder.encode(seen).astype(np.float16)
            there = tissue[rows, columns]
            sample.append(encoded[: there.shape[0], : there.shape[1]][there])
            stage.advance()
    values = np.concatenate(sample).astype(np.float64)
    sd = values.std(axis=0)
    return values.mean(axis=0), np.where(sd > 0, sd, 1.0)
