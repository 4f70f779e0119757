"""Where a slide is out of focus, against the rest of its tissue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import morphology

from napari_stenhance.features.bands import bands, farther_than, gaussian_reach, without_specks
from napari_stenhance.running.job import Job
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.tiles import Tile, tiles_of

COARSEST_UM = 1.25
"""Pixels coarser than this do not show whether nuclei have sharp edges."""

_MPP = 1.0
_FINE_UM = 1.0
_COARSE_UM = (1.5, 4.0)
_HALO_UM = 16.0
_POOLED_UM = 24.0
_BLURRED = 0.3
_SHARP_LEAST, _KNOWN_UM = 0.06, 0.75
_SEEN = 0.02
_ABOVE_NOISE = 2.0
_FAR_UM = 80.0
_RIM_UM = 24.0
_WEIGHT = 0.1
_SMALLEST_MM2 = 0.02
_TILE = 128
_THREADS = 2

_Smoothed = tuple[slice, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Focus:
    """What of a slide is out of focus.

    Attributes
    ----------
    soft : ndarray of bool, shape `grid.shape`
        Tissue that is, against the rest.
    everywhere : bool
        The rest is, too.
    """

    soft: NDArray[np.bool_]
    everywhere: bool = False


def focus_of(slide: Slide, grid: Grid, tissue: NDArray[np.bool_], job: Job) -> Focus | None:
    """Tell which tissue is out of focus, and whether all of it is.

    What defocus takes is the finest detail: of brightness at 1 µm per pixel, the variance of what
    is finer than 1 µm, divided by that of what lies between 1.5 and 4 µm, both pooled over 24 µm.
    Staining does not change the quotient, and neither does smooth tissue, which has less of both.
    Blurred is less than 0.3 of the slide's median; in sharp tissue it is hardly ever below 0.4.
    What the noise of the camera would hide is not judged. Where pixels are 0.75 µm or finer, a
    median below 0.06 says that all of it is out of focus: sharp tissue has 0.2 to 0.32, and what
    is blurred by 1.5 µm at most 0.057.

    Returns
    -------
    Focus or None
        None if the slide's pixels are too coarse to tell.
    """
    if slide.scale() > COARSEST_UM or not tissue.any():
        return None
    judged = _judged(*_detail(slide, grid, tissue, job), tissue, grid.pitch_um)
    if judged is None:
        return Focus(np.zeros(grid.shape, bool))
    soft, low, usual = judged
    smallest = max(int(_SMALLEST_MM2 * 1e6 / grid.pitch_um**2), 1)
    soft = morphology.opening(soft, morphology.disk(round(_POOLED_UM / grid.pitch_um)))
    soft = without_specks(soft, smallest)
    # Sharp detail beside it, of which there is far more, has hidden its border.
    found: NDArray[np.bool_] = ndimage.binary_dilation(
        soft, iterations=round(_POOLED_UM / grid.pitch_um), mask=soft | (tissue & low)
    )
    return Focus(found, everywhere=slide.scale() <= _KNOWN_UM and usual < _SHARP_LEAST)


def _judged(
    fine: NDArray[np.float32],
    coarse: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    pitch_um: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float] | None:
    """Tell what is blurred when pooled, what is by itself, and the quotient that is usual.

    None where no tissue has enough detail to tell.
    """
    glass = farther_than(_FAR_UM, tissue, pitch_um) & (fine >= 0)
    noise = [_median(each[glass]) if glass.any() else 0.0 for each in (fine, coarse)]
    # Its outline against glass is detail of its own.
    inner = farther_than(_RIM_UM, ~tissue, pitch_um)

    def smoothed() -> Iterator[_Smoothed]:
        # Once more whenever it is needed: of a large slide it would be the most that is held.
        return _smoothed_detail(fine, coarse, inner, noise, _POOLED_UM / pitch_um)

    seen, some = np.zeros(tissue.shape, bool), np.empty(int(tissue.sum()), np.float32)
    filled = 0
    for rows, _, wide, known in smoothed():
        seen[rows] = tissue[rows] & known
        filled = _append(some, filled, wide[seen[rows]])
    if not filled:
        return None
    least = _SEEN * np.float32(_median(some[:filled]))
    filled = 0
    for rows, narrow, wide, _ in smoothed():
        seen[rows] &= wide > least
        filled = _append(some, filled, narrow[seen[rows]] / wide[seen[rows]])
    if not filled:
        return None
    usual = _median(some[:filled])
    soft, low = np.empty((2, *tissue.shape), bool)
    for rows, narrow, wide, _ in smoothed():
        shown = seen[rows] & (usual * wide > _ABOVE_NOISE * noise[0])
        soft[rows] = shown & (narrow < _BLURRED * usual * wide)
        here = [
            np.maximum(each[rows] - of, 0) for each, of in zip((fine, coarse), noise, strict=True)
        ]
        low[rows] = here[0] < _BLURRED * usual * np.maximum(here[1], 1e-3)
    return soft, low, usual


def _smoothed_detail(
    fine: NDArray[np.float32],
    coarse: NDArray[np.float32],
    inner: NDArray[np.bool_],
    noise: list[float],
    sigma: float,
) -> Iterator[_Smoothed]:
    """Average fine and coarse detail over inner tissue, without noise, and tell where it is.

    Yields the rows of a band, and all three in them.
    """
    for band in bands(len(inner), gaussian_reach(sigma)):
        here = inner[band.around]
        share = np.maximum(ndimage.gaussian_filter(here.astype(np.float32), sigma), 1e-3)
        narrow, wide = (
            np.maximum(
                ndimage.gaussian_filter(each[band.around] * here, sigma) / share - of_camera, 0
            )[band.inner]
            for each, of_camera in zip((fine, coarse), noise, strict=True)
        )
        yield band.rows, narrow, wide, share[band.inner] > _WEIGHT


def _append(values: NDArray[np.float32], filled: int, more: NDArray[np.float32]) -> int:
    """Write more values behind those that are there; return how many are."""
    values[filled : filled + len(more)] = more
    return filled + len(more)


def _median(values: NDArray[np.float32]) -> float:
    """Return the median of values that nobody needs in their order any more."""
    return float(np.median(values, overwrite_input=True))


def _detail(
    slide: Slide, grid: Grid, tissue: NDArray[np.bool_], job: Job
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measure the variance of fine and of coarser detail in superpixels; −1 where not read."""
    side = max(round(grid.pitch_um / _MPP), 1)
    mpp = grid.pitch_um / side
    halo = round(_HALO_UM / mpp)

    def measure(tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        x0, y0, x1, y1 = grid.box_um(tile.rows, tile.columns)
        reach = halo * mpp
        pixels = slide.read((x0 - reach, y0 - reach, x1 + reach, y1 + reach), mpp)
        bright = pixels.mean(axis=2, dtype=np.float32)
        finest = bright - ndimage.gaussian_filter(bright, _FINE_UM / mpp)
        low, high = (ndimage.gaussian_filter(bright, um / mpp) for um in _COARSE_UM)
        inner = slice(halo, -halo)
        return _pooled(finest[inner, inner], side), _pooled((low - high)[inner, inner], side)

    fine, coarse = (np.full(grid.shape, -1, np.float32) for _ in range(2))
    tiles = [t for t in tiles_of(grid.shape, _TILE) if tissue[t.rows, t.columns].any()]
    with job.stage(f"Judging the focus of {slide.name}", len(tiles)) as stage:
        for tile, found in zip(tiles, prefetch(measure, tiles, _THREADS), strict=True):
            fine[tile.rows, tile.columns], coarse[tile.rows, tile.columns] = found
            stage.advance()
    return fine, coarse


def _pooled(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    rows, columns = (n // side for n in values.shape)
    mean: NDArray[np.float32] = np.square(values).reshape(rows, side, columns, side).mean((1, 3))
    return mean
