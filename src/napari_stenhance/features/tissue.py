"""The tissue mask: thresholded stain density with morphology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import morphology
from skimage.filters import threshold_otsu

from napari_stenhance.features.bands import bands, by_label, gaussian_reach, without_specks
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide

VERSION = 1
BLACK_BELOW = 40
GLASS_PERCENTILE = 95
SMOOTH_UM = 16.0
OTSU_SHARE = 0.5
GREY_BELOW = 0.2
OPEN_UM = 16.0
CLOSE_UM = 24.0
SMALLEST_UM2 = 25_000.0
_BAND = 256
_LIT_MOST, _DIM_BELOW = 0.8, 140


def tissue_mask(slide: Slide, grid: Grid, job: Job) -> NDArray[np.bool_]:
    """Tell which superpixels of a slide are tissue, as `tissue_in` does."""
    return tissue_in(thumbnail(slide, grid, f"Finding tissue on {slide.name}", job), grid)


def tissue_in(pixels: NDArray[np.uint8], grid: Grid) -> NDArray[np.bool_]:
    """Tell which superpixels are tissue.

    Stain density is the mean optical density against the slide's own glass (the 95th percentile of
    each channel), smoothed over 16 µm. Tissue is denser than half of Otsu's threshold: Otsu's own
    value would cut off pale stroma. Painted black background and its rim are not tissue, nor is
    grey dust. Specks and holes below 0.025 mm² are removed.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns, 3)
        One for each superpixel.
    grid : Grid

    Returns
    -------
    ndarray of bool, shape `grid.shape`

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9:62-66 (1979).
    """
    ink = pixels.max(axis=2) < BLACK_BELOW
    if ink.any():
        ink = ndimage.binary_dilation(ink, iterations=2)
    if ink.all():
        return np.zeros(grid.shape, dtype=bool)
    lit = ~ink
    glass = glass_colour(pixels, lit)
    density = _smoothed_density(pixels, glass, lit, SMOOTH_UM / grid.pitch_um)
    if np.ptp(density[lit]) == 0:
        return np.zeros(grid.shape, dtype=bool)
    mask = (density > OTSU_SHARE * threshold_otsu(density[lit])) & lit
    del density
    return _stained(_in_pieces(mask, lit, grid), pixels, glass)


def is_fluorescence(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a picture is light on a dark ground: not tissue whose ground is painted black.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns, 3)
    """
    light = pixels.max(axis=2)
    lit = light >= BLACK_BELOW
    return bool(lit.any() and lit.mean() < _LIT_MOST and np.median(light[lit]) < _DIM_BELOW)


def glowing_tissue_in(pixels: NDArray[np.uint8], grid: Grid) -> NDArray[np.bool_]:
    """Tell which superpixels of a picture of fluorescence are tissue: as `tissue_in`, by light.

    Of the logarithm: nuclei are many times as light as what lies between them.
    """
    light = ndimage.gaussian_filter(
        pixels.mean(axis=2, dtype=np.float32), SMOOTH_UM / grid.pitch_um
    )
    light = np.log1p(light)
    if np.ptp(light) == 0:
        return np.zeros(grid.shape, dtype=bool)
    everywhere = np.ones(grid.shape, dtype=bool)
    return _in_pieces(light > threshold_otsu(light), everywhere, grid)


def _in_pieces(mask: NDArray[np.bool_], lit: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Close what is frayed, and leave out specks and holes."""
    mask = ndimage.binary_opening(mask, _disk(OPEN_UM, grid))
    # Padded, because closing erodes what touches the edge of the slide.
    reach = _disk(CLOSE_UM, grid)
    margin = reach.shape[0]
    mask = ndimage.binary_closing(np.pad(mask, margin, mode="edge"), reach)
    mask = mask[margin:-margin, margin:-margin] & lit
    smallest = max(int(SMALLEST_UM2 / grid.pitch_um**2), 1)
    mask = without_specks(mask, smallest)
    whole: NDArray[np.bool_] = ~without_specks(~mask, smallest) & lit
    return whole


def glass_colour(pixels: NDArray[np.uint8], lit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the colour of a slide's glass: the 95th percentile of each channel of what is lit."""
    number = np.zeros((3, 256), np.int64)
    for band in bands(len(pixels)):
        shown = pixels[band.rows][lit[band.rows]]
        number += [np.bincount(shown[:, channel], minlength=256) for channel in range(3)]
    # Between the two that are next to it, as `np.percentile` does, which sorts a copy of all.
    at = (int(number[0].sum()) - 1) * (GLASS_PERCENTILE / 100)
    below, above = (
        np.argmax(number.cumsum(axis=1) > place, axis=1) for place in (int(at), int(np.ceil(at)))
    )
    return (below + (above - below) * (at - int(at))).astype(np.float32)


def optical_density(
    pixels: NDArray[np.uint8], glass: NDArray[np.float32], channel: int
) -> NDArray[np.float32]:
    """Optical density of one channel against glass, not below 0."""
    of_value = np.log10((glass[channel] + 1) / np.arange(1, 257, dtype=np.float32))
    density: NDArray[np.float32] = np.maximum(of_value, 0).astype(np.float32)[pixels[..., channel]]
    return density


def _smoothed_density(
    pixels: NDArray[np.uint8], glass: NDArray[np.float32], lit: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Average the density of what is lit, so that ink does not thin the tissue beside it."""
    smooth = np.empty(lit.shape, np.float32)
    for band in bands(len(lit), gaussian_reach(sigma)):
        density = np.zeros(lit[band.around].shape, np.float32)
        for channel in range(3):
            density += optical_density(pixels[band.around], glass, channel) / 3
        density[~lit[band.around]] = 0
        weight = ndimage.gaussian_filter(lit[band.around].astype(np.float32), sigma)
        found = ndimage.gaussian_filter(density, sigma) / np.maximum(weight, 1e-3)
        smooth[band.rows] = found[band.inner]
    return smooth


def _stained(
    mask: NDArray[np.bool_], pixels: NDArray[np.uint8], glass: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Drop pieces that are grey: dust and air, unlike stains, absorb all colours alike."""
    label = np.empty(mask.shape, np.int32)
    pieces = ndimage.label(mask, output=label)
    size, total = np.zeros(pieces + 1), np.zeros((3, pieces + 1))
    for band in bands(len(mask)):
        here = mask[band.rows]
        piece = label[band.rows][here]
        size += np.bincount(piece, minlength=pieces + 1)
        for channel in range(3):
            density = optical_density(pixels[band.rows][here], glass, channel)
            # Value by value, as one sum over the whole slide would be.
            np.add.at(total[channel], piece, density.astype(np.float64))
    mean = total / np.maximum(size, 1)
    keep = np.ptp(mean, axis=0) >= GREY_BELOW * mean.mean(axis=0)
    keep[0] = False
    return by_label(keep, label)


def _disk(radius_um: float, grid: Grid) -> NDArray[np.bool_]:
    disk: NDArray[np.bool_] = morphology.disk(max(round(radius_um / grid.pitch_um), 1)).astype(bool)
    return disk


def thumbnail(slide: Slide, grid: Grid, doing: str, job: Job) -> NDArray[np.uint8]:
    """Read the slide with one pixel for each superpixel, in bands."""
    rows, columns = grid.shape
    pixels = np.empty((rows, columns, 3), dtype=np.uint8)
    tops = range(0, rows, _BAND)
    with job.stage(doing, len(tops)) as stage:
        for top in tops:
            band = slice(top, min(top + _BAND, rows))
            pixels[band] = slide.read(grid.box_um(band, slice(0, columns)), grid.pitch_um)
            stage.advance()
    return pixels
