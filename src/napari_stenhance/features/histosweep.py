"""The tissue mask of HistoSweep: brightness, variation and texture of patches of 8 µm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import morphology
from skimage.color import rgb2gray
from skimage.filters import threshold_otsu

from napari_stenhance.running.job import Job
from napari_stenhance.running.prefetch import Done, prefetch
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.tiles import Tile, tiles_of

VERSION = 1
MPP = 0.5
BINS_PER_PATCH = 5e-5
BLUR_SHARE = 0.02
RARE_BELOW = 100
GREEN_BY = 20
GREY_BELOW = 10
BRIGHT_ABOVE = 230
GREY_LEVELS = 64
COMPONENTS = 4
TISSUE_COMPONENTS = 2
SEED = 45
OTSU_BELOW_PERCENTILE = 90
SMALLEST = 10
_TILE = 128
_THREADS = 2
_SLICE = 512


def histosweep_mask(slide: Slide, grid: Grid, job: Job) -> NDArray[np.bool_]:
    """Tell which superpixels are tissue, as Pixel2Gene does.

    A patch is a superpixel read at 0.5 µm per pixel, 16 × 16 pixels on the usual grid; beyond the
    slide it is white. Patches are not tissue if few others are as bright and as varied (but for
    those whose texture is that of tissue), or if they vary little for their brightness. Clumps of
    fewer than 10 superpixels are dropped; holes stay.

    The published histogram has no bins on slides of fewer than 20,000 patches. There no patch
    counts as rare, and variation for brightness alone decides. On a slide without any contrast
    there is no tissue. Unlike the default mask, this one is not made for painted black background,
    which upsets its thresholds. A slide coarser than 0.5 µm per pixel is read as if it were finer.

    Returns
    -------
    ndarray of bool, shape `grid.shape`

    References
    ----------
    Yao et al., bioRxiv 10.64898/2026.02.21.707168 (2026).
    """
    sd, mean = _patch_statistics(slide, grid, job)
    brightness = weighted_brightness(mean)
    rare = rare_patches(brightness, sd)
    doubtful = rare & ~glass_coloured(mean)
    # A mixture needs a patch for each component.
    if doubtful.sum() >= COMPONENTS:
        texture = _texture_of(slide, grid, doubtful, job)
        rare[doubtful] = ~tissue_texture(texture)
    ratio = _unit((1 + _unit(sd)) / (1 + _unit(brightness)))
    mask = ~(rare | flat_patches(ratio, rare))
    cleaned: NDArray[np.bool_] = morphology.remove_small_objects(
        mask, max_size=SMALLEST - 1, connectivity=2
    )
    return cleaned


# The steps, on arrays


def weighted_brightness(mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average the channels of patches, (…, 3), weighted with their variance over patches."""
    variance = mean.reshape(-1, 3).var(axis=0, dtype=np.float64)
    weight = variance / variance.sum() if variance.any() else np.full(3, 1 / 3)
    brightness: NDArray[np.float64] = mean @ weight
    return brightness


def rare_patches(brightness: NDArray[np.float64], sd: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which patches lie where the histogram of brightness and variation is thin.

    The histogram has int(5e-5 · patches) bins a side and is blurred over 2 % of them, at least
    one. Each bin holds its upper edge, so a patch at the lowest edge is in none, and rare.
    """
    bins = int(BINS_PER_PATCH * sd.size)
    if bins == 0:
        return np.zeros(sd.shape, bool)
    count, *edges = np.histogram2d(brightness.ravel(), sd.ravel(), bins=bins)
    density = ndimage.gaussian_filter(count, max(1, int(BLUR_SHARE * bins)))
    row, column = np.searchsorted(edges[0], brightness), np.searchsorted(edges[1], sd)
    rare: NDArray[np.bool_] = np.pad(density, ((1, 0), (1, 0)))[row, column] < RARE_BELOW
    return rare


def glass_coloured(mean: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which patches, by their mean colour (…, 3), are green, grey or bright."""
    red, green, blue = np.moveaxis(mean, -1, 0)
    coloured: NDArray[np.bool_] = (
        ((green > red + GREEN_BY) & (green > blue + GREEN_BY))
        | (mean.std(axis=-1) < GREY_BELOW)
        | (mean.min(axis=-1) > BRIGHT_ABOVE)
    )
    return coloured


def texture(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measure the texture of patches from their grey-level co-occurrence.

    Between each pixel and its neighbour to the right, both ways round, in 64 levels of grey.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, side, side, 3)

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Homogeneity, energy and entropy in bits.

    References
    ----------
    Haralick, Shanmugam and Dinstein, IEEE Trans. Syst. Man Cybern. 3:610-621 (1973).
    """
    grey = (rgb2gray(patches) * 255).astype(np.uint8)
    level = grey.astype(np.int64) * (GREY_LEVELS - 1) // 255
    left, right = level[:, :, :-1], level[:, :, 1:]
    homogeneity = (1 / (1 + (left - right) ** 2)).mean(axis=(1, 2))
    pair = np.stack([left * GREY_LEVELS + right, right * GREY_LEVELS + left]).reshape(
        2, len(patches), -1
    )
    count = np.bincount((pair + np.arange(len(patches))[:, None] * GREY_LEVELS**2).ravel())
    code = np.flatnonzero(count)
    share = count[code] / (2 * pair.shape[2])
    patch = code // GREY_LEVELS**2
    energy = np.sqrt(np.bincount(patch, share**2))
    entropy = np.bincount(patch, -share * np.log2(share))
    return np.column_stack([homogeneity, energy, entropy])


def tissue_texture(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which patches have the texture of tissue: irregular, where glass is even.

    A mixture of four Gaussians; of its components, the two of least energy + homogeneity − entropy
    are tissue. With fewer than four different textures, none is.

    Parameters
    ----------
    values : ndarray of float64, shape (n, 3)
        From `texture`.
    """
    from sklearn.mixture import GaussianMixture

    values = np.column_stack([_unit(column) for column in values.T])
    if len(np.unique(values, axis=0)) < COMPONENTS:
        return np.zeros(len(values), bool)
    # Enough steps to converge: the default of 100 may stop early, with a warning.
    mixture = GaussianMixture(COMPONENTS, random_state=SEED, max_iter=1000)
    component = mixture.fit_predict(values)
    members = np.bincount(component, minlength=COMPONENTS)
    total = np.bincount(component, values @ np.array([1, 1, -1]), COMPONENTS)
    score = np.where(members > 0, total / np.maximum(members, 1), np.inf)
    tissue: NDArray[np.bool_] = np.isin(component, np.argsort(score)[:TISSUE_COMPONENTS])
    return tissue


def flat_patches(ratio: NDArray[np.float64], rare: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which patches vary too little for their brightness: Otsu's threshold on the ratio.

    It is found on patches that are not rare and lie below their 90th percentile. If none does, as
    where nearly all is digital white, the percentile is the threshold. What equals it is flat.
    """
    kept = ratio[~rare]
    if not kept.size:
        return np.ones(ratio.shape, bool)
    threshold = np.percentile(kept, OTSU_BELOW_PERCENTILE)
    below = kept[kept < threshold]
    if below.size:
        threshold = threshold_otsu(below)
    flat: NDArray[np.bool_] = ratio <= threshold
    return flat


def _unit(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Stretch to 0 … 1; what does not vary becomes 0."""
    values = values.astype(np.float64)
    low, span = values.min(), np.ptp(values)
    return (values - low) / span if span > 0 else np.zeros(values.shape)


# Passes over the slide, tile by tile


def _patch_statistics(
    slide: Slide, grid: Grid, job: Job
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measure each patch: standard deviation over pixels and channels, and mean colour."""

    def measure(tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return patch_statistics(_patches(slide, grid, tile))

    sd = np.empty(grid.shape, np.float32)
    mean = np.empty((*grid.shape, 3), np.float32)
    tiles = list(tiles_of(grid.shape, _TILE))
    for tile, measured in _each(tiles, measure, f"Finding tissue on {slide.name}", job):
        sd[tile.rows, tile.columns], mean[tile.rows, tile.columns] = measured
    return sd, mean


def patch_statistics(
    patches: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return standard deviation (rows, columns) and mean colour (rows, columns, 3) of patches.

    Parameters
    ----------
    patches : ndarray of uint8, shape (rows, side, columns, side, 3)
    """
    rows, side, columns = patches.shape[:3]
    lines = patches.reshape(rows, side, columns, side * 3).astype(np.float32)
    # Sums of whole numbers below 2^24 are exact in float32.
    total = lines.sum(axis=1).astype(np.float64).reshape(rows, columns, side, 3).sum(axis=2)
    np.multiply(lines, lines, out=lines)
    square = lines.sum(axis=1).sum(axis=-1, dtype=np.float64) / (3 * side**2)
    mean = total / side**2
    return np.sqrt(np.maximum(square - mean.mean(axis=-1) ** 2, 0)), mean


def _texture_of(
    slide: Slide, grid: Grid, doubtful: NDArray[np.bool_], job: Job
) -> NDArray[np.float64]:
    """Measure the texture of some patches, in the order of the grid."""

    def measure(tile: Tile) -> NDArray[np.float64]:
        asked = doubtful[tile.rows, tile.columns]
        found = _patches(slide, grid, tile).transpose(0, 2, 1, 3, 4)[asked]
        slices = range(0, len(found), _SLICE)
        return np.concatenate([texture(found[low : low + _SLICE]) for low in slices])

    values = np.empty((*doubtful.shape, 3), np.float32)
    tiles = [t for t in tiles_of(grid.shape, _TILE) if doubtful[t.rows, t.columns].any()]
    for tile, measured in _each(tiles, measure, f"Judging doubtful tissue of {slide.name}", job):
        values[tile.rows, tile.columns][doubtful[tile.rows, tile.columns]] = measured
    return values[doubtful].astype(np.float64)


def _patches(slide: Slide, grid: Grid, tile: Tile) -> NDArray[np.uint8]:
    """Read the patches of a tile, (rows, side, columns, side, 3)."""
    side = max(round(grid.pitch_um / MPP), 2)
    pixels = slide.read(grid.box_um(tile.rows, tile.columns), grid.pitch_um / side)
    rows, columns = tile.shape
    return pixels.reshape(rows, side, columns, side, 3)


def _each(
    tiles: Sequence[Tile], work: Callable[[Tile], Done], name: str, job: Job
) -> Iterator[tuple[Tile, Done]]:
    """Do the work of tiles in threads, and return what comes of it in their order."""
    with job.stage(name, len(tiles)) as stage:
        for tile, done in zip(tiles, prefetch(work, tiles, _THREADS), strict=True):
            yield tile, done
            stage.advance()
