"""Features of crops from a network, kept in the cache in chunks of a few positions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Crops, encode_crops, read_crops
from napari_stenhance.features.crops import CropFeatures
from napari_stenhance.features.encoder import CropEncoder
from napari_stenhance.features.masks import mask_version
from napari_stenhance.running.device import threads
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.storage.cache import still_there
from napari_stenhance.storage.checked import CheckedArray, checked, open_node
from napari_stenhance.storage.tiles import create_array, is_done, sweep_partial

CHUNK = 64
SAMPLE = 512
# Entries of "crops" have no checksums, those of "crops2" other chunks.
_KIND = "crops3"
_BLOCK = 16


@dataclass(frozen=True, eq=False)
class EncodedCrops(CropFeatures):
    """Features of crops from an encoder of crops.

    They are kept in single precision, as the published programs use: beside the time that a crop
    takes to encode, the disk that half precision would save is nothing.
    """

    @property
    def encoder(self) -> CropEncoder:
        """On the device of the run."""
        return self.settings.crop_encoder[0]

    @property
    def fingerprint(self) -> str:
        """Identify the weights, without building the network."""
        return self.settings.encoder.identity()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the encoder says of such crops of the slide."""
        mpp, (encoder, where) = self.slide.scale(), self.settings.crop_encoder
        of_sizes = (d for size in self.crops.sizes_um for d in encoder.doubts(mpp, size))
        return (*of_sizes, *where)

    @cached_property
    def key(self) -> str:
        """Of the cache entry of the grid."""
        mask = mask_version(self.slide, self.settings.tissue)
        return self._key(mask, self.grid.key())

    def _key(self, *of: str) -> str:
        sizes = "+".join(f"{s:.17g}" for s in self.crops.sizes_um) + "um"
        return "-".join([self.slide.key, self.encoder.fingerprint(), sizes, *of])

    @property
    def dim(self) -> int:
        """Length of a feature vector, over all sizes."""
        return self.encoder.dim * len(self.crops.sizes_um)

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return _in_order(self.tissue)

    @cached_property
    def _row_of(self) -> NDArray[np.int64]:
        """Which of the values is a superpixel's; −1 off the tissue."""
        row_of = np.full(self.grid.shape, -1)
        row_of[self._order] = np.arange(len(self._order[0]))
        return row_of

    @cached_property
    def moments(self) -> NDArray[np.float32]:
        """Mean and sd of each channel, (2, dim).

        Over at most 512 superpixels drawn from the whole tissue, whatever part was asked for.
        """
        sample = np.asarray(self._values[:SAMPLE], np.float64)
        sd = sample.std(axis=0)
        return np.stack([sample.mean(axis=0), np.where(sd > 0, sd, 1)]).astype(np.float32)

    def extract(self, needed: NDArray[np.bool_] | None = None) -> None:
        """Encode crops around superpixels."""
        self._filled(needed)

    def _filled(self, needed: NDArray[np.bool_] | None) -> CheckedArray:
        key = self.key  # missing weights are said before any tissue is found
        row, column = self._order
        wanted = np.ones(len(row), bool) if needed is None else needed[row, column]
        wanted[:SAMPLE] = True
        return self._stored(key, self.grid.centres_um(row, column), wanted)

    def _stored(
        self, key: str, xy_um: NDArray[np.float64], wanted: NDArray[np.bool_]
    ) -> CheckedArray:
        """Encode the positions of an entry that are wanted, and return all, (n, dim), raw."""
        cache, entry = self.settings.cache, self.settings.cache.entry(_KIND, key)
        with cache.lock(entry, self.job):
            if not cache.has(_KIND, key):
                with cache.building(_KIND, key) as folder:
                    _create(folder, len(xy_um), self.dim)
            values = _open(entry)
            self._fill(values, xy_um, wanted)
        return values

    def _fill(
        self, values: zarr.Array[Any], xy_um: NDArray[np.float64], wanted: NDArray[np.bool_]
    ) -> None:
        """Encode the chunks of positions that hold a wanted one and are missing."""
        chunks = [
            slice(i, min(i + CHUNK, len(xy_um)))
            for i in range(0, len(xy_um), CHUNK)
            if wanted[i : i + CHUNK].any()
        ]
        missing = [c for c in chunks if not is_done(values, (c.start // CHUNK,))]
        if not missing:
            return
        total, left = (sum(c.stop - c.start for c in some) for some in (chunks, missing))
        encoder, sizes_um, side = self.encoder, self.crops.sizes_um, self.encoder.side_px
        # Chunks that fill a batch go through the network together.
        step = max(encoder.batch // CHUNK, 1)
        groups = [missing[i : i + step] for i in range(0, len(missing), step)]
        slide = self.slide.keeping_tiles(self.job.memory_bytes // 8)

        def read(group: list[slice]) -> list[Crops]:
            xy = np.concatenate([xy_um[chunk] for chunk in group])
            return [read_crops(slide, xy, size, side) for size in sizes_um]

        # What is read, and about as much again while it is averaged.
        group_bytes = 2 * step * CHUNK * len(sizes_um) * side**2 * 3
        workers = max(min(threads(), self.job.memory_bytes // group_bytes), 1)
        doing = f"Encoding crops of {self.slide.name} with {encoder.name}"
        with self.job.stage(doing, total) as stage:
            stage.skip(total - left)
            encoded = prefetch(
                self._encode, prefetch(read, groups, workers), encoder.at_once or workers
            )
            for group, vectors in zip(groups, encoded, strict=True):
                start = 0
                for chunk in group:
                    stop = start + chunk.stop - chunk.start
                    values[chunk] = vectors[start:stop]
                    start = stop
                stage.advance(len(vectors))

    def _encode(self, crops: list[Crops]) -> NDArray[np.float32]:
        """Encode the crops of all sizes around the same positions, (n, dim)."""
        encode, batch = self.encoder.encode, self.encoder.batch
        return np.concatenate([encode_crops(encode, c, batch, self.job) for c in crops], axis=1)

    @cached_property
    def _values(self) -> CheckedArray:
        return self._filled(np.zeros(self.grid.shape, bool))

    def superpixels(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool = False
    ) -> NDArray[np.float32]:
        """Read single superpixels."""
        still_there(self._values)
        return self._scaled(np.asarray(self._values.oindex[self._row_of[row, column], :]), raw)

    def at(self, xy_um: NDArray[np.float64], *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features at any positions, which have a cache entry of their own."""
        if not len(xy_um):
            return np.empty((0, self.dim), np.float32)
        positions = np.ascontiguousarray(xy_um, np.float64)
        which = hashlib.sha256(positions.tobytes()).hexdigest()[:16]
        key = self._key(f"{self.slide.scale():.17g}mpp", f"at{which}")
        values = self._stored(key, positions, np.ones(len(positions), bool))
        return self._scaled(np.asarray(values[:]), raw)

    def _scaled(self, values: NDArray[np.float32], raw: bool) -> NDArray[np.float32]:
        return values if raw else (values - self.moments[0]) / self.moments[1]


def _create(folder: Path, positions: int, dim: int) -> None:
    create_array(
        zarr.open_group(folder, mode="w"),
        "values",
        shape=(positions, dim),
        chunks=(CHUNK, dim),
        dtype="f4",
        dimension_names=("position", "c"),
    )


def _open(entry: Path) -> CheckedArray:
    sweep_partial(entry)
    return checked(open_node(zarr.open_group(entry, mode="r+"), "values", zarr.Array))


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
