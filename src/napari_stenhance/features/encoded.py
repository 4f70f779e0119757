"""Features of crops from a network, kept in the cache in chunks of a few positions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.cropping import CHUNK, Crops
from napari_stenhance.features.crops import pooled_tissue
from napari_stenhance.features.extract import (
    TissueKind,
    make_mask,
    mask_version,
    read_mask,
    write_mask,
)
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache, still_there
from napari_stenhance.storage.checked import CheckedArray, checked, open_node
from napari_stenhance.storage.tiles import create_array, sweep_partial

SAMPLE = 512
# Entries of "crops" have no checksums.
_KIND = "crops2"
_FINE_UM = 8.0
_BLOCK = 8


@dataclass(frozen=True)
class EncodedCrops:
    """Features of crops from a network: `CropSource`.

    Attributes
    ----------
    key : str
        Of the cache entry of the grid.
    crops : Crops
    grid : Grid
    cache : Cache
    values : zarr array of float32, shape (n, dim)
        Raw, of the superpixels that are tissue; only chunks that were asked for exist. Single
        precision, as the published programs use: beside the time that a crop takes to encode,
        the disk that half precision would save is nothing.
    row_of : ndarray of int64, shape (rows, columns)
        Which of `values` is a superpixel's; −1 off the tissue.
    mean, sd : ndarray of float32, shape (dim,)
        Over at most 512 superpixels drawn from the whole tissue, whatever part was asked for.
    """

    key: str
    crops: Crops
    grid: Grid
    cache: Cache
    values: zarr.Array[Any]
    row_of: NDArray[np.int64]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    @classmethod
    def over(
        cls,
        crops: Crops,
        grid: Grid,
        job: Job,
        *,
        cache: Cache,
        needed: NDArray[np.bool_] | None,
        tissue: TissueKind,
    ) -> EncodedCrops:
        """Encode crops around the tissue superpixels of a grid; parameters as of `open_crops`.

        Raises
        ------
        InputError
            If no tissue is found, or there is no such kind of mask.
        InferenceError
            If the device fails.
        """
        key = crops.key(mask_version(tissue), grid.key())
        entry = cache.entry(_KIND, key)
        with cache.lock(entry, job):
            if not cache.has(_KIND, key):
                mask = _coarse_mask(crops.slide, grid, job, tissue)
                with cache.building(_KIND, key) as folder:
                    group = _create(folder, int(mask.sum()), crops.dim)
                    write_mask(group, mask)
            values, group = _open(entry)
            row, column = _in_order(read_mask(group))
            wanted = np.ones(len(row), bool) if needed is None else needed[row, column]
            wanted[:SAMPLE] = True
            crops.fill(values, grid.centres_um(row, column), job, wanted)
        row_of = np.full(grid.shape, -1)
        row_of[row, column] = np.arange(len(row))
        sample = np.asarray(values[:SAMPLE], np.float64)
        sd = sample.std(axis=0)
        moments = (m.astype(np.float32) for m in (sample.mean(axis=0), np.where(sd > 0, sd, 1)))
        return cls(key, crops, grid, cache, values, row_of, *moments)

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.crops.dim

    def cells(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool
    ) -> NDArray[np.float32]:
        """Return the features of superpixels that were asked for."""
        still_there(self.values)
        stored = self.values.oindex[self.row_of[row, column], :]
        return self._scaled(np.asarray(stored), raw)

    def at(self, xy_um: NDArray[np.float64], job: Job, *, raw: bool) -> NDArray[np.float32]:
        """Return the features at any positions, which have a cache entry of their own."""
        if not len(xy_um):
            return np.empty((0, self.dim), np.float32)
        slide, positions = self.crops.slide, np.ascontiguousarray(xy_um, np.float64)
        which = hashlib.sha256(positions.tobytes()).hexdigest()[:16]
        key = self.crops.key(f"{slide.scale():.17g}mpp", f"at{which}")
        entry = self.cache.entry(_KIND, key)
        with self.cache.lock(entry, job):
            if not self.cache.has(_KIND, key):
                with self.cache.building(_KIND, key) as folder:
                    _create(folder, len(positions), self.dim)
            values, _ = _open(entry)
            self.crops.fill(values, positions, job, np.ones(len(positions), bool))
            return self._scaled(np.asarray(values[:]), raw)

    def _scaled(self, values: NDArray[np.float32], raw: bool) -> NDArray[np.float32]:
        return values if raw else (values - self.mean) / self.sd


def _coarse_mask(slide: Slide, grid: Grid, job: Job, tissue: TissueKind) -> NDArray[np.bool_]:
    """Tell which superpixels of a coarse grid are at least half tissue."""
    fine = Grid.over(slide, _FINE_UM)
    mask = pooled_tissue(make_mask(slide, fine, job, tissue), fine, grid)
    if not mask.any():
        msg = (
            f"{slide.path}: no square of {grid.pitch_um:g} µm on the slide is half tissue; the "
            "slide holds too little of it for such a grid."
        )
        raise InputError(msg)
    return mask


def _create(folder: Path, positions: int, dim: int) -> zarr.Group:
    group = zarr.open_group(folder, mode="w")
    create_array(
        group,
        "values",
        shape=(positions, dim),
        chunks=(CHUNK, dim),
        dtype="f4",
        dimension_names=("position", "c"),
    )
    return group


def _open(entry: Path) -> tuple[CheckedArray, zarr.Group]:
    sweep_partial(entry)
    group = zarr.open_group(entry, mode="r+")
    return checked(open_node(group, "values", zarr.Array)), group


def _in_order(tissue: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List tissue superpixels as they are stored: a fixed sample, then the others by blocks.

    So the sample fills the first chunks, and any other chunk lies closely together.
    """
    row, column = np.nonzero(tissue)
    near = np.lexsort((column, row, column // _BLOCK, row // _BLOCK))
    if len(near) > SAMPLE:
        drawn = np.zeros(len(near), bool)
        drawn[np.random.default_rng(0).choice(len(near), SAMPLE, replace=False)] = True
        near = np.concatenate([near[drawn], near[~drawn]])
    return row[near], column[near]
