"""What the published network learns from: superpixels under spots, raw counts, spatial folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from napari_stenhance.errors import InputError
from napari_stenhance.methods.pixel2gene.reference.quality import (
    alone,
    enough_counts,
    tissue_clusters,
)
from napari_stenhance.methods.pixel2gene.reference.recipe import Pixel2GeneReferenceRecipe
from napari_stenhance.methods.training_section import TrainingSection
from napari_stenhance.running.job import Job

PIXELS = 16
"""Pixels of the prepared image along a superpixel: at 8 µm, 0.5 µm each."""


@dataclass(frozen=True)
class Rows:
    """One row for each spot that is learned from.

    Attributes
    ----------
    inputs : ndarray of float16, shape (superpixels, dim)
        Features as the encoder made them.
    under : ndarray of int64, shape (rows, n)
        Which of them lie under a spot.
    counts : ndarray of float32, shape (rows, genes)
        Raw.
    depth : ndarray of float64, shape (rows,)
        Total count of a spot, over all genes that were measured.
    section, fold : ndarray of int64, shape (rows,)
        The fold is 0 where there are none.
    """

    inputs: NDArray[np.float16]
    under: NDArray[np.int64]
    counts: NDArray[np.float32]
    depth: NDArray[np.float64]
    section: NDArray[np.int64]
    fold: NDArray[np.int64]


def superpixels_of(
    xy_um: NDArray[np.float64], pitch_um: float, *, nearest: bool
) -> NDArray[np.int64]:
    """Return (row, column) of positions (x, y), shape (n, 2), by way of whole prepared pixels."""
    pixel = np.rint(xy_um[:, ::-1] / (pitch_um / PIXELS))
    cut = np.rint if nearest else np.floor
    at: NDArray[np.int64] = cut(pixel / PIXELS).astype(np.int64)
    return at


def radius_of(diameter_um: float, pitch_um: float) -> float:
    """Return the radius of a spot in superpixels, by way of whole prepared pixels."""
    return round(diameter_um / 2 / (pitch_um / PIXELS)) / PIXELS


def disc(radius: float) -> NDArray[np.int64]:
    """Return the offsets (i, j) with i² + j² ≤ radius², shape (n, 2)."""
    reach = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    i, j = (axis.ravel() for axis in np.meshgrid(reach, reach, indexing="ij"))
    return np.column_stack([i, j])[i**2 + j**2 <= radius**2]


def block_ids(
    at: NDArray[np.int64], shape: tuple[int, int], block: int, *, colliding: bool
) -> NDArray[np.int64]:
    """Number the block that each superpixel (row, column) of a raster lies in.

    If `colliding`, as in the published program: with the blocks in a column, where the blocks in a
    row are meant, of a raster padded to whole 256 pixels.
    """
    rows, columns = shape
    per_row = -(-rows // PIXELS) * PIXELS // block if colliding else -(-columns // block)
    return at[:, 0] // block * per_row + at[:, 1] // block


def spatial_folds(blocks: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Deal blocks to folds of about equal size: scikit-learn's greedy GroupKFold.

    Raises
    ------
    InputError
        If there are fewer blocks than folds.
    """
    fold = np.zeros(len(blocks), np.int64)
    if not folds:
        return fold
    count = len(np.unique(blocks))
    if count < folds:
        msg = (
            f"The spots that pass the published filter lie in {count} blocks, and {folds} folds "
            "need as many; use the preset robust."
        )
        raise InputError(msg, option="preset")
    for number, (_, held) in enumerate(GroupKFold(folds).split(blocks, groups=blocks)):
        fold[held] = number
    return fold


def training_rows(
    samples: Sequence[TrainingSection],
    genes: Sequence[str],
    recipe: Pixel2GeneReferenceRecipe,
    job: Job,
) -> Rows:
    """Choose the spots that are learned from, and gather what lies under them.

    Off the tissue there are no features, and a spot with any superpixel without features is left
    out, as published; so is one that reaches beyond the slide, where the published program fails.

    Raises
    ------
    InputError
        If no spot is left, or the sections have spots of different size.
    """
    pitch_um = samples[0].features.grid.pitch_um
    radii = {radius_of(s.spot_diameter_um, pitch_um) for s in samples}
    if len(radii) > 1:
        msg = (
            f"{', '.join(s.name for s in samples)}: spots of different size; the preset "
            f"{recipe.preset} learns from one size, use robust for several."
        )
        raise InputError(msg, option="preset")
    offsets = disc(radii.pop())
    inputs, under, counts, depth, section, blocks = [], [], [], [], [], []
    superpixels = numbered = 0
    for number, sample in enumerate(samples):
        grid = sample.features.grid
        at = superpixels_of(sample.xy_um, pitch_um, nearest=recipe.nearest)
        kept = np.flatnonzero(_passes(sample, at, offsets, recipe, job))
        covered = at[kept, None] + offsets
        flat = covered[..., 0] * grid.shape[1] + covered[..., 1]
        unique, place = np.unique(flat, return_inverse=True)
        row, column = np.divmod(unique, grid.shape[1])
        features = sample.features.superpixels(row, column, raw=True)
        inputs.append(features.astype(np.float16))
        under.append(place.reshape(flat.shape) + superpixels)
        counts.append(sample.counts_of(genes)[kept].toarray())
        depth.append(sample.library[kept])
        section.append(np.full(len(kept), number))
        ids = block_ids(at[kept], grid.shape, recipe.block, colliding=recipe.colliding)
        blocks.append(ids + numbered)
        superpixels += len(unique)
        numbered += int(ids.max(initial=0)) + 1
    if not sum(map(len, counts)):
        msg = (
            f"{', '.join(s.name for s in samples)}: no spot passes the published filter (whole on "
            "tissue, and enough counts for its kind of tissue); use the preset robust."
        )
        raise InputError(msg, option="preset")
    return Rows(
        inputs=np.concatenate(inputs),
        under=np.concatenate(under),
        counts=np.concatenate(counts),
        depth=np.concatenate(depth),
        section=np.concatenate(section),
        fold=spatial_folds(np.concatenate(blocks), recipe.folds),
    )


def _passes(
    sample: TrainingSection,
    at: NDArray[np.int64],
    offsets: NDArray[np.int64],
    recipe: Pixel2GeneReferenceRecipe,
    job: Job,
) -> NDArray[np.bool_]:
    """Tell which spots of a section are learned from, and note how many are not."""
    passes = _on_tissue(sample, at)
    if recipe.clusters and passes.any():
        # All that share a superpixel are left out; so is every one that is not on tissue.
        passes &= alone(at)
        here = np.flatnonzero(passes)
        features, name = sample.features, sample.name
        cluster = tissue_clusters(
            features, at[here], recipe.clusters, recipe.most_clustered, name, job
        )
        passes[here] = enough_counts(sample.library[here], cluster, recipe.percentile)
    few = len(passes) - int(passes.sum())
    passes &= _on_tissue(sample, at[:, None] + offsets).all(axis=1)
    cut = len(passes) - int(passes.sum()) - few
    if few or cut:
        job.note(
            f"{sample.name}: of {len(passes)} spots the published filter leaves out {few} with few "
            f"counts for their kind of tissue, or not alone on it, and {cut} that reach off it."
        )
    return passes


def _on_tissue(sample: TrainingSection, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which superpixels (…, 2) are tissue; beyond the raster none are."""
    tissue = sample.features.tissue
    row, column = at[..., 0], at[..., 1]
    rows, columns = tissue.shape
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    count: NDArray[np.bool_] = inside & tissue[row.clip(0, rows - 1), column.clip(0, columns - 1)]
    return count
