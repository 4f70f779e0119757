"""Faults of a slide that its colours give away: marks of pens, folds, air bubbles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure, morphology

from napari_stenhance.features.bands import Band, bands, by_label, gaussian_reach, without_specks
from napari_stenhance.features.tissue import BLACK_BELOW, optical_density

_SMOOTH_UM = 8.0
_STROKE_UM = 48.0
_SOFT_EDGE_UM = 16.0
_SMALLEST_MM2 = 0.01
# In stained tissue red light is absorbed about as much as green or less, blue far less than green.
_INK_DENSITY = 0.2
_COOL_BY = 0.12
_RED_INK_DENSITY = 0.4
_RED_BLUE = 0.76
_RED_MOST = 0.3
_DENSE_RED_BLUE = 0.5
_DENSE_RED_MOST = 0.25
_DENSE_RED_DENSITY = 0.57
_BLUE_MOST = 0.14
_BLUE_RED = 0.36
_BLUE_INK_DENSITY = 0.3
_YELLOW_BY = 1.8
_GREY = 0.75
_GREY_DENSITY = 0.7
_PAINTED = 0.5

_FOLD_DENSITY = 1.2
_FOLD_HALVES_UM = (32.0, 56.0, 88.0)
_FOLD_CREST = 1.7
_FOLD_BORDER = 1.5
_FOLD_SHORTEST_UM = 280.0
_FOLD_DARK = 1.7
_FOLD_RANK = 0.97
_FOLD_FLANK = 0.75

_RING_DENSITY = 0.2
_RING_GREY = 0.04
_RING_RED = 0.26
_RING_WIDEST_UM = 60.0
_RING_ROUND = 0.15
_RING_CLOSED = 0.75
_SECTORS = 24
_BUBBLE_LEAST_UM = 120.0


def pen_marks(
    pixels: NDArray[np.uint8], glass: NDArray[np.float32], pitch_um: float
) -> NDArray[np.bool_]:
    """Tell where a slide was written on, by colours that haematoxylin and eosin never make.

    Green, blue and cyan ink absorb more red than green light; red ink as much blue as green and
    next to no red; yellow little but blue; black all three alike. What is narrower than 48 µm is no
    stroke of a pen. A background that was painted one black is none either.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns, 3)
        One for each superpixel.
    glass : ndarray of float32, shape (3,)
        The colour of the slide's glass.
    pitch_um : float
        Side of a superpixel.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    ink, painted = np.zeros(pixels.shape[:2], bool), _painted_black(pixels)
    for band, smooth in _smooth_densities(pixels, glass, _SMOOTH_UM / pitch_um):
        coloured, grey = _ink_coloured(smooth)
        ink[band.rows] = coloured | (grey & ~painted[band.rows])
    ink = morphology.opening(ink, _disk(_STROKE_UM / 2, pitch_um))
    ink = without_specks(ink, _number(_SMALLEST_MM2, pitch_um))
    return _grown(ink, _SOFT_EDGE_UM, pitch_um)


def _ink_coloured(smooth: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell from densities, (rows, columns, 3), what has a colour of ink, and what is as grey."""
    red, green, blue = np.moveaxis(smooth, -1, 0)
    total = red + green + blue
    coloured = (red - green > _COOL_BY * total) & (total > 3 * _INK_DENSITY)
    coloured |= (
        (blue > _RED_BLUE * green) & (red < _RED_MOST * green) & (total > 3 * _RED_INK_DENSITY)
    )
    # Blue ink on eosin absorbs red and green alike, as haematoxylin does, but next to no blue.
    coloured |= (
        (blue < _BLUE_MOST * total) & (red > _BLUE_RED * total) & (total > 3 * _BLUE_INK_DENSITY)
    )
    # On tissue, red ink gains its green.
    coloured |= (
        (blue > _DENSE_RED_BLUE * green)
        & (red < _DENSE_RED_MOST * green)
        & (total > 3 * _DENSE_RED_DENSITY)
    )
    coloured |= (
        (blue > _YELLOW_BY * np.maximum(red, green))
        & (red < _RED_MOST * blue)
        & (total > 3 * _INK_DENSITY)
    )
    grey = (smooth.min(axis=-1) > _GREY * smooth.max(axis=-1)) & (total > 3 * _GREY_DENSITY)
    return coloured, grey


def _painted_black(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell what is black because a program cut the tissue out: one value, where ink has many."""
    black = pixels.max(axis=2) < BLACK_BELOW
    if not black.any():
        return black
    label = np.empty(black.shape, np.int32)
    size, same = np.zeros((2, ndimage.label(black, output=label) + 1), np.int64)
    for band in bands(len(black)):
        here = pixels[band.rows]
        still = (here == np.roll(here, 1, axis=1)).all(axis=2)
        size += np.bincount(label[band.rows].ravel(), minlength=len(size))
        same += np.bincount(label[band.rows][still], minlength=len(size))
    share = same / np.maximum(size, 1)
    share[0] = 0
    painted = by_label(share > _PAINTED, label)
    # The tissue's rim is mixed with it.
    return ndimage.binary_dilation(painted, iterations=2) if painted.any() else painted


def folds(
    pixels: NDArray[np.uint8],
    glass: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    pitch_um: float,
) -> NDArray[np.bool_]:
    """Tell where tissue lies on itself: long ridges, as thick as twice what lies at both sides.

    All colours are absorbed 1.7 times as much along 240 µm as beside them. Dense cells are patchy
    along such a line; and where haematoxylin gains on eosin, as in an epithelium, blue and green
    rise less than red. A fold is at least 280 µm long and at most 200 wide, and darker than nearly
    all other tissue: layers of cells, such as those of a cortex, are not.

    Parameters
    ----------
    pixels, glass
        As of `pen_marks`.
    tissue : ndarray of bool, shape (rows, columns)
    pitch_um : float

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    # numba is heavy: loaded where it is used.
    from napari_stenhance.features.ridges import ridge_factor, ridge_reach

    if not tissue.any():
        return np.zeros(tissue.shape, bool)
    sigma = _SMOOTH_UM / pitch_um
    total = np.empty(tissue.shape, np.float32)
    for band, smooth in _smooth_densities(pixels, glass, sigma):
        total[band.rows] = smooth.mean(axis=-1)
    usual = float(np.median(total[tissue], overwrite_input=True))
    dense = tissue & (total > _FOLD_DENSITY * usual)
    halves = tuple(um / pitch_um for um in _FOLD_HALVES_UM)
    factor = np.empty(tissue.shape, np.float32)
    for band, smooth in _smooth_densities(pixels, glass, sigma, ridge_reach(halves)):
        factor[band.rows] = ridge_factor(smooth, band, tissue, dense, halves)
    # What belongs to a ridge rises less at its borders than on its crest.
    label = measure.label(factor > _FOLD_BORDER, connectivity=2)
    folded, reach = np.zeros(tissue.shape, bool), round(_FOLD_HALVES_UM[0] / pitch_um)
    flat = total[tissue & (factor <= _FOLD_BORDER)]
    rank = float(np.quantile(flat, _FOLD_RANK, overwrite_input=True)) if flat.size else 0
    del flat
    darkest = max(_FOLD_DARK * usual, rank)
    for ridge in measure.regionprops(label):
        values = np.stack([factor[ridge.slice], total[ridge.slice]], axis=-1)[ridge.image]
        steepest, darkness = float(values[:, 0].max()), values.mean(axis=0)[1]
        long_enough = np.hypot(*ridge.image.shape) * pitch_um >= _FOLD_SHORTEST_UM
        steep, dark = steepest > _FOLD_CREST, darkness > darkest
        if long_enough and steep and dark:
            # The flanks of a wide fold are as dark as its crest.
            box = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in ridge.slice)
            crest = label[box] == ridge.label
            flank = dense[box] & (total[box] > _FOLD_FLANK * darkness)
            folded[box] |= ndimage.binary_dilation(crest, iterations=reach, mask=flank | crest)
    return folded


def bubbles(
    pixels: NDArray[np.uint8], glass: NDArray[np.float32], pitch_um: float
) -> NDArray[np.bool_]:
    """Tell where air lies under the cover glass: inside thin grey rings.

    At its rim light is refracted away, all colours alike, where stains absorb blue far less. A ring
    is round and goes at least three quarters of the way around.

    Parameters
    ----------
    pixels, glass
        As of `pen_marks`.
    pitch_um : float

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    rim = np.empty(pixels.shape[:2], bool)
    for band in bands(len(rim)):
        density = _densities(pixels[band.rows], glass)
        red, green, blue = np.moveaxis(density, -1, 0)
        total = density.sum(axis=-1)
        grey = blue - np.maximum(0.65 * red, 0.55 * green) > _RING_GREY
        rim[band.rows] = grey & (total > 3 * _RING_DENSITY) & (red > _RING_RED * total)
    rim = morphology.closing(rim, _disk(2 * pitch_um, pitch_um))
    label = measure.label(rim, connectivity=2)
    found = np.zeros(rim.shape, bool)
    side = _BUBBLE_LEAST_UM / pitch_um
    for ring in measure.regionprops(label):
        box = ring.slice
        if min(ring.image.shape) < side:
            continue
        # Next to it nothing else is rim: all would be one.
        half = float(ndimage.distance_transform_edt(np.pad(ring.image, 1)).max())
        if (2 * half - 1) * pitch_um > _RING_WIDEST_UM:
            continue
        around = ring.coords - (np.array(ring.bbox[:2]) + ring.bbox[2:]) / 2 + 0.5
        radius = np.hypot(*around.T)
        angle = np.arctan2(*around.T) / (2 * np.pi) + 0.5
        turns = np.bincount((angle * _SECTORS).astype(int) % _SECTORS, minlength=_SECTORS) > 0
        if radius.std() < _RING_ROUND * radius.mean() and turns.mean() >= _RING_CLOSED:
            found[box] |= ring.image_convex
    return found


def _densities(pixels: NDArray[np.uint8], glass: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([optical_density(pixels, glass, c) for c in range(3)], axis=-1)


def _smooth_densities(
    pixels: NDArray[np.uint8], glass: NDArray[np.float32], sigma: float, halo: int = 0
) -> Iterator[tuple[Band, NDArray[np.float32]]]:
    """Yield bands, and the optical densities around them after a Gaussian, (rows, columns, 3)."""
    reach = gaussian_reach(sigma)
    for band in bands(len(pixels), halo):
        first, stop = band.around.start, band.around.stop
        wider = slice(max(first - reach, 0), stop + reach)
        density = _densities(pixels[wider], glass)
        smooth: NDArray[np.float32] = ndimage.gaussian_filter(density, (sigma, sigma, 0))
        yield band, smooth[first - wider.start :][: stop - first]


def _disk(radius_um: float, pitch_um: float) -> NDArray[np.uint8]:
    disk: NDArray[np.uint8] = morphology.disk(max(round(radius_um / pitch_um), 1))
    return disk


def _grown(mask: NDArray[np.bool_], by_um: float, pitch_um: float) -> NDArray[np.bool_]:
    steps = max(round(by_um / pitch_um), 1)
    grown: NDArray[np.bool_] = ndimage.binary_dilation(mask, iterations=steps)
    return grown


def _number(area_mm2: float, pitch_um: float) -> int:
    """Return of how many superpixels an area is."""
    return max(int(area_mm2 * 1e6 / pitch_um**2), 1)
