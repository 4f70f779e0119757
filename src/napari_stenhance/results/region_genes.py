"""Which genes tell a region from the rest, and where else it looks like it: from the latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.results.field import GeneField
from napari_stenhance.results.region_cover import CoverTile, RegionCover
from napari_stenhance.results.region_numbers import RegionGroups, covered_moments, whole_moments
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.job import Job
from napari_stenhance.storage.levels import Levels, shapes_of
from napari_stenhance.storage.tiles import tile_size, tiles_of

if TYPE_CHECKING:
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.region import Region


@dataclass(frozen=True)
class LatentSums:
    """Number and sum of the latents of some superpixels.

    Attributes
    ----------
    number : int
    total : ndarray of float64, shape (r,)
    """

    number: int
    total: NDArray[np.float64]

    @classmethod
    def of(cls, latents: NDArray[np.floating]) -> LatentSums:
        """Add up latents (superpixels, r); those that were not predicted are none."""
        known = latents[np.isfinite(latents[:, 0])].astype(np.float64)
        return cls(len(known), known.sum(axis=0))

    @classmethod
    def inside(cls, field: GeneField, cover: RegionCover, area: int | None) -> LatentSums:
        """Add up those of an area, or of all of the field."""
        r = field.decoder.channels
        sums = cls(0, np.zeros(r))
        if area is None:
            for tile in tiles_of(field.grid.shape, tile_size(field.latent[0])):
                sums = sums + cls.of(field.tile("latent", 0, *tile.index).reshape(-1, r))
            return sums
        for part in cover.tiles:
            here = part.place[part.area == area]
            if len(here):
                latents = field.tile("latent", 0, *part.tile.index).reshape(-1, r)
                sums = sums + cls.of(latents[here])
        return sums

    def __add__(self, other: LatentSums) -> LatentSums:
        return LatentSums(self.number + other.number, self.total + other.total)

    def without(self, other: LatentSums) -> LatentSums:
        """Take away what is also in others."""
        return LatentSums(self.number - other.number, self.total - other.total)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean latent."""
        return self.total / max(self.number, 1)


def gene_differences(
    field: GeneField, cover: RegionCover, area: int, against: int | None, job: Job
) -> NDArray[np.float64]:
    """Return how much higher the mean of each gene is predicted in an area than elsewhere.

    Where a decoder has weights, of values before they are clipped at 0: it follows from the latent,
    whatever the number of genes. Genes are ranked by this and not by the effect, in standard
    deviations: all genes follow from a few smooth rasters, so that one that was counted at two
    spots differs by as many standard deviations as a marker, and by a thousandth of its height.

    Parameters
    ----------
    field : GeneField
    cover : RegionCover
    area : int
    against : int or None
        The area to compare with, without what lies in both; None for all of the rest.
    job : Job

    Returns
    -------
    ndarray of float64, shape (genes,)
        In the field's unit; NaN where there is nothing on either side.
    """
    if field.decoder.weights is None:
        return _differences_of_each(field, cover, area, against, job)
    inside = LatentSums.inside(field, cover, area)
    if against is None:
        rest = LatentSums.inside(field, cover, None).without(inside)
    else:
        both = _shared(cover, area, against)
        rest = LatentSums.inside(field, cover, against)
        rest = rest.without(LatentSums.inside(field, both, 0))
    if min(inside.number, rest.number) < 1:
        return np.full(len(field.genes), np.nan)
    difference: NDArray[np.float64] = (inside.mean - rest.mean) @ field.decoder.weights
    return difference


def _differences_of_each(
    field: GeneField, cover: RegionCover, area: int, against: int | None, job: Job
) -> NDArray[np.float64]:
    """Compare gene by gene: a raster that holds genes has as many channels."""
    differences = np.full(len(field.genes), np.nan)
    pair = cover.chosen([area] if against is None else [area, against])
    with job.stage("Comparing genes", len(field.genes)) as stage:
        for n, gene in enumerate(field.genes):
            levels = field.levels(gene)
            sums = covered_moments(levels, pair, 0)
            found = sums[0].at(0)
            if against is None:
                rest = whole_moments(levels).without(found)
            else:
                rest = sums[0].at(1).without(sums[1].at(1))
            differences[n] = found.compared(rest)[0][0]
            stage.advance()
    return differences


def _shared(cover: RegionCover, area: int, other: int) -> RegionCover:
    """Return the cover of what lies in both of two areas."""
    parts = []
    for part in cover.tiles:
        both = np.intersect1d(part.place[part.area == area], part.place[part.area == other])
        if len(both):
            parts.append(CoverTile(part.tile, np.zeros(len(both), np.int32), both))
    return RegionCover(1, cover.grid, cover.tile, tuple(parts))


def _divided(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(one, other, out=np.full(one.shape, np.nan), where=other > 0)


def top_genes(
    run: GeneSource, groups: RegionGroups, group: int, against: int | None, number: int, job: Job
) -> tuple[str, ...]:
    """Name the genes that are predicted most above the rest in a group, or above another group.

    Raises
    ------
    InputError
        If the run is no gene field.
    """
    if not isinstance(run, FieldRun):
        msg = f"{run.name}: top genes are found in what was predicted from a slide; name genes."
        raise InputError(msg, option="genes")
    higher = gene_differences(run.field, groups.cover, group, against, job)
    order = np.argsort(-np.nan_to_num(higher, nan=-np.inf), kind="stable")[:number]
    return tuple(run.genes[n] for n in order if higher[n] > 0)


def similarity_levels(run: GeneSource, region: Region, job: Job) -> Levels:
    """Say of each superpixel how like a region it is predicted to be, over all genes.

    The cosine between two differences from the tissue's mean: that of what is predicted of a
    superpixel, before it is clipped at 0, and that of the mean of the region. It is 1 where genes
    deviate from the tissue's mean as they do in the region, 0 where unlike, -1 where they deviate
    the other way round. It follows from the latent, whatever the number of genes.

    Parameters
    ----------
    run : GeneSource
        One that predicted a gene field.
    region : Region
    job : Job

    Returns
    -------
    Levels
        On the grid of the run; NaN where nothing was predicted.

    Raises
    ------
    InputError
        If the run has no gene field, nothing is predicted in the region, or it is just as the
        tissue's mean.
    """
    if not isinstance(run, FieldRun):
        msg = f"{run.name}: what is alike is found in what was predicted from a slide."
        raise InputError(msg)
    field, areas = run.field, np.empty(1, dtype=object)
    areas[0] = region.area
    cover = RegionCover.under(areas, field.grid, tile_size(field.latent[0]), job)
    weights = field.decoder.weights
    r = field.decoder.channels
    metric = np.eye(r) if weights is None else weights.astype(np.float64) @ weights.T
    inside = LatentSums.inside(field, cover, 0)
    middle = LatentSums.inside(field, cover, None).mean
    if not inside.number:
        msg = "Nothing is predicted in this region; draw it on the tissue that was predicted."
        raise InputError(msg)
    towards = metric @ (inside.mean - middle)
    length = float(np.sqrt(max(float((inside.mean - middle) @ towards), 0.0)))
    if not length > 0:
        msg = "This region is predicted as the mean of the tissue; nothing is like it alone."
        raise InputError(msg)

    def read(level: int, i: int, j: int) -> NDArray[np.float32]:
        tile = field.tile("latent", level, i, j)
        known = np.isfinite(tile[..., 0])
        image, away = np.full(known.shape, np.nan, np.float32), tile[known] - middle
        own = np.einsum("nr,nr->n", away @ metric, away)
        image[known] = _divided(away @ towards, np.sqrt(np.maximum(own, 0)) * length)
        return image

    return Levels(shapes_of(field.latent), tile_size(field.latent[0]), read)
