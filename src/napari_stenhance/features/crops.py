"""Features of square crops: one vector for each position, on a grid and anywhere else."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.errors import InputError
from napari_stenhance.features.encoder import FeatureTile
from napari_stenhance.features.masks import find_tissue
from napari_stenhance.features.source import CropLayout, FeatureSource
from napari_stenhance.features.superpixels import TileFeatures
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.sums import running_sums
from napari_stenhance.section.tissue_mask import area_between

_BLOCK = 128
_FINE_UM = 8.0
_TISSUE_SHARE = 0.5
_MOST = 100_000_000


@dataclass(frozen=True, eq=False)
class CropFeatures(FeatureSource, ABC):
    """Features of crops around the centres of a grid, and around any other position.

    Those of several sizes lie one after the other.

    Attributes
    ----------
    crops : CropLayout
    """

    crops: CropLayout

    @cached_property
    def grid(self) -> Grid:
        """Of the superpixels around whose centres crops lie.

        Raises
        ------
        InputError
            If there are too many.
        """
        grid = Grid.over(self.slide, self.crops.pitch_um)
        number = math.prod(grid.shape)
        if number > _MOST:
            least = grid.pitch_um * math.sqrt(number / _MOST)
            msg = (
                f"{self.slide.path}: at a pitch of {grid.pitch_um:g} µm the slide has {number:,} "
                f"superpixels, more than {_MOST:,}; choose a pitch of {least:.2g} µm or more."
            )
            raise InputError(msg, option="pitch")
        return grid

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Superpixels of which at least half is tissue."""
        fine, settings = Grid.over(self.slide, _FINE_UM), self.settings
        found = find_tissue(self.slide, fine, settings.tissue, settings.cache, self.job)
        mask = pooled_tissue(found, fine, self.grid)
        if not mask.any():
            msg = (
                f"{self.slide.path}: no square of {self.grid.pitch_um:g} µm on the slide is half "
                "tissue; the slide holds too little of it for such a grid."
            )
            raise InputError(msg)
        return mask


def pooled_tissue(tissue: NDArray[np.bool_], fine: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Tell which superpixels of a coarser grid over the same slide are at least half tissue."""
    share: NDArray[np.float64] = tissue.astype(np.float64)
    for axis, size in enumerate(grid.shape):
        share = area_between(share, np.arange(size + 1) * grid.pitch_um / fine.pitch_um, axis)
    half: NDArray[np.bool_] = share >= _TISSUE_SHARE * (grid.pitch_um / fine.pitch_um) ** 2
    return half


def needed_around(
    needed: NDArray[np.bool_], grid: Grid, fine: Grid, reach_um: float
) -> NDArray[np.bool_]:
    """Mark the superpixels of a finer grid that crops around those of a coarser one reach."""
    row, column = (
        np.minimum((np.arange(n) + 0.5) * fine.pitch_um / grid.pitch_um, size - 1).astype(np.int64)
        for n, size in zip(fine.shape, grid.shape, strict=True)
    )
    reach = int(np.ceil(reach_um / fine.pitch_um)) + 1
    grown: NDArray[np.bool_] = ndimage.maximum_filter(
        needed[np.ix_(row, column)], size=2 * reach + 1
    )
    return grown


@dataclass(frozen=True, eq=False)
class PooledCrops(CropFeatures):
    """Features of superpixels, averaged over the tissue in each crop.

    Parts of superpixels count for what lies in the crop. Where a crop holds no tissue, features
    are those of the mean superpixel: 0, standardised.
    """

    @cached_property
    def fine(self) -> TileFeatures:
        """What is averaged."""
        return TileFeatures(self.slide, self.settings, self.job)

    @property
    def fingerprint(self) -> str:
        """Of the encoder of superpixels."""
        return self.fine.fingerprint

    @property
    def doubts(self) -> tuple[str, ...]:
        """Of the encoder of superpixels."""
        return self.fine.doubts

    @property
    def key(self) -> str:
        """Of the superpixels."""
        return self.fine.key

    @property
    def dim(self) -> int:
        """Length of a feature vector, over all sizes."""
        return self.fine.dim * len(self.crops.sizes_um)

    def extract(self, needed: NDArray[np.bool_] | None = None) -> None:
        """Extract the superpixels that the crops reach."""
        if needed is not None:
            reach_um = max(self.crops.sizes_um) / 2 + self.grid.pitch_um
            needed = needed_around(needed, self.grid, self.fine.grid, reach_um)
        self.fine.extract(needed)

    def superpixels(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, raw: bool = False
    ) -> NDArray[np.float32]:
        """Return the features of superpixels of the grid."""
        return self.at(self.grid.centres_um(row, column), raw=raw)

    def at(self, xy_um: NDArray[np.float64], *, raw: bool = False) -> NDArray[np.float32]:
        """Return the features at any positions."""
        # Where 0 is the outer corner, in superpixels.
        at = self.fine.grid.position(xy_um) + 0.5
        values = np.empty((len(at), self.dim), np.float32)
        sizes_um = self.crops.sizes_um
        halo = int(np.ceil(max(sizes_um) / 2 / self.fine.grid.pitch_um)) + 1
        block_of = np.floor(at / _BLOCK).astype(np.int64)
        for block in np.unique(block_of, axis=0):
            here = (block_of == block).all(axis=1)
            rows, columns = (slice(n * _BLOCK, (n + 1) * _BLOCK) for n in block.tolist())
            tile = self.fine.tile(rows, columns, halo)
            values[here] = self._pooled(tile, at[here] - block * _BLOCK + halo)
            self.job.check()
        if raw:
            mean, sd = self.fine.moments
            values *= np.tile(sd, len(sizes_um))
            values += np.tile(mean, len(sizes_um))
        return values

    def _pooled(self, tile: FeatureTile, at: NDArray[np.float64]) -> NDArray[np.float32]:
        """Average a tile over crops around positions (row, column), corner at 0."""
        height, width = tile.tissue.shape
        # Values are 0 off the tissue, so that their sums are over the tissue.
        layers = np.concatenate([tile.values, tile.tissue[..., None]], axis=2)
        total = running_sums(running_sums(layers, 0), 1)
        parts = []
        for crop_um in self.crops.sizes_um:
            half = crop_um / 2 / self.fine.grid.pitch_um
            sums = np.zeros((len(at), layers.shape[2]))
            for down, along, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
                corner = np.clip(at + half * np.array([down, along]), 0, [height, width])
                low = np.minimum(np.floor(corner).astype(np.int64), [height - 1, width - 1])
                part = corner - low
                for i in (0, 1):
                    for j in (0, 1):
                        weight = np.abs(1 - i - part[:, 0]) * np.abs(1 - j - part[:, 1])
                        sums += (sign * weight)[:, None] * total[low[:, 0] + i, low[:, 1] + j]
            share = sums[:, -1:]
            covered = share > 1e-6
            parts.append(np.where(covered, sums[:, :-1] / np.where(covered, share, 1), 0))
        return np.concatenate(parts, axis=1).astype(np.float32)
