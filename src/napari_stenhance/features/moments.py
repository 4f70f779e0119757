"""Moments of filtered stain maps over superpixels, in one pass over the pixels.

Blocks of superpixels are small enough that all their maps stay in the processor's cache, and the
loops over x are such that the compiler vectorises them: one array is written, all offsets are
known when it compiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.compiled import compiled, is_ready

SIDE_PX = 8
REACH_PX = 36
STAINS = 4
_LEVELS = 3
# Superpixels of a block, along x and y: its maps stay in the processor's cache.
_COLUMNS = 64
_ROWS = 16
_EDGE = 2 * REACH_PX
# Rows of pixels begin at a multiple of 64 bytes.
_STRIDE = _COLUMNS * SIDE_PX + _EDGE + 8
_HELD = _ROWS * SIDE_PX + _EDGE
_TAPS = 9
Floats = NDArray[np.float32]


def superpixel_moments(
    pixels: NDArray[np.uint8], density_of: Floats, unmix: Floats, sigmas_um: tuple[float, ...]
) -> Floats:
    """Return mean and mean square of each map over each superpixel.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (y, x, 3)
        1 µm each; whole superpixels with 36 around them.
    density_of : ndarray of float32, shape (256,)
        Optical density of each 8-bit value.
    unmix : ndarray of float32, shape (3, 4)
        From density (RGB) to stain amounts.
    sigmas_um : tuple of float
        Some of 1, 2, 4, 8.

    Returns
    -------
    ndarray of float32, shape (2, rows, columns, scales, 3, 4)
        Moment, σ, filter (Gaussian, gradient magnitude, |Laplacian of Gaussian|), stain.
    """
    rows, columns = ((n - _EDGE) // SIDE_PX for n in pixels.shape[:2])
    # σ = 4 µm is computed at 2 µm per pixel, and 8 at 4: it spans one or two pixels.
    levels = np.array([max(round(np.log2(sigma)) - 1, 0) for sigma in sigmas_um])
    spans = (np.array(sigmas_um) / 2.0**levels).astype(np.float32)
    kernels = np.zeros((len(sigmas_um), _TAPS), np.float32)
    for kernel, span in zip(kernels, spans, strict=True):
        taps = np.exp(-0.5 * (np.arange(4 * span + 1) / span) ** 2)
        kernel[: len(taps)] = taps / (2 * taps.sum() - taps[0])
    moments = np.empty((2, rows, columns, len(sigmas_um), 3, STAINS), np.float32)
    for left in range(0, columns, _COLUMNS):
        right = min(left + _COLUMNS, columns)
        strip = pixels[:, left * SIDE_PX : right * SIDE_PX + _EDGE].reshape(len(pixels), -1)
        _strip_moments(strip, density_of, unmix, levels, kernels, spans, moments[:, :, left:right])
    return moments


def are_loops_ready() -> bool:
    """Tell whether this process has compiled the loops, or loaded what was compiled before."""
    return is_ready(_strip_moments)


@compiled
def _strip_moments(
    pixels: NDArray[np.uint8],
    density_of: Floats,
    unmix: Floats,
    levels: NDArray[np.int64],
    kernels: Floats,
    spans: Floats,
    moments: Floats,
) -> None:
    """Go down a strip, a few rows of superpixels at a time."""
    rows, columns = moments.shape[1:3]
    width = pixels.shape[1] // 3
    amounts = np.empty((_LEVELS, STAINS, _HELD * _STRIDE), np.float32)
    density = np.empty(3 * _STRIDE, np.float32)
    first = 0
    for top in range(0, rows, _ROWS):
        bottom = min(top + _ROWS, rows)
        stop = (bottom - top) * SIDE_PX + _EDGE
        if top:
            # The last rows of the block above are the first of this one.
            first = _EDGE
            for level in range(_LEVELS):
                kept = (_EDGE >> level) * _STRIDE
                moved = (_ROWS * SIDE_PX >> level) * _STRIDE
                for stain in range(STAINS):
                    plane = amounts[level, stain]
                    plane[:kept] = plane[moved : moved + kept].copy()
        for y in range(first, stop):
            _unmix(pixels[top * SIDE_PX + y], width, density_of, unmix, density, amounts[0], y)
        for level in range(1, _LEVELS):
            for stain in range(STAINS):
                for y in range(first >> level, stop >> level):
                    _halve(amounts[level - 1, stain], width >> level, y, amounts[level, stain])
        for scale in range(len(levels)):
            for stain in range(STAINS):
                _block_moments(
                    amounts[levels[scale], stain],
                    bottom - top,
                    columns,
                    levels[scale],
                    kernels[scale],
                    spans[scale],
                    moments[:, top:bottom, :, scale, :, stain],
                )


@compiled
def _unmix(
    line: NDArray[np.uint8],
    width: int,
    density_of: Floats,
    unmix: Floats,
    density: Floats,
    amounts: Floats,
    y: int,
) -> None:
    for i in range(3 * width):
        density[i] = density_of[line[i]]
    for stain in range(STAINS):
        r, g, b = unmix[0, stain], unmix[1, stain], unmix[2, stain]
        row = amounts[stain, y * _STRIDE : (y + 1) * _STRIDE]
        for x in range(width):
            row[x] = r * density[3 * x] + g * density[3 * x + 1] + b * density[3 * x + 2]


@compiled
def _halve(fine: Floats, width: int, y: int, coarse: Floats) -> None:
    upper, lower = fine[2 * y * _STRIDE :], fine[(2 * y + 1) * _STRIDE :]
    row = coarse[y * _STRIDE :]
    quarter = np.float32(0.25)
    for x in range(width):
        row[x] = quarter * ((upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1]))


@compiled
def _block_moments(
    amounts: Floats,
    rows: int,
    columns: int,
    level: int,
    kernel: Floats,
    sigma_px: np.float32,
    moments: Floats,
) -> None:
    """Filter one stain at one scale, and pool it."""
    side = SIDE_PX >> level
    width = columns * side
    reach = 8 if kernel[5] else 4
    # One pixel more on each side, for the differences.
    inset = (REACH_PX >> level) - reach - 1
    smooth = np.empty((3, _STRIDE), np.float32)
    down = np.empty(_STRIDE, np.float32)
    total = np.empty(6 * _STRIDE, np.float32)
    spare = np.empty_like(total)
    half, square = np.float32(0.5) * sigma_px, sigma_px * sigma_px
    for y in range(rows * side + 2):
        above = amounts[(inset + y) * _STRIDE + inset :]
        if reach == 8:
            _down8(above, width + 18, kernel, down)
            _along8(down, width + 2, kernel, smooth[y % 3])
        else:
            _down4(above, width + 10, kernel, down)
            _along4(down, width + 2, kernel, smooth[y % 3])
        if y < 2:
            continue
        if (y - 2) % side == 0:
            total[:] = 0
        _add_maps(
            smooth[(y - 2) % 3], smooth[(y - 1) % 3], smooth[y % 3], width, half, square, total
        )
        if (y - 1) % side == 0:
            _pool(total, spare, columns, side, moments[:, (y - 2) // side])


@compiled
def _down4(src: Floats, width: int, w: Floats, out: Floats) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    s = _STRIDE
    for x in range(width):
        out[x] = (
            w0 * src[x + 4 * s]
            + w1 * (src[x + 3 * s] + src[x + 5 * s])
            + w2 * (src[x + 2 * s] + src[x + 6 * s])
            + w3 * (src[x + s] + src[x + 7 * s])
            + w4 * (src[x] + src[x + 8 * s])
        )


@compiled
def _down8(src: Floats, width: int, w: Floats, out: Floats) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    w5, w6, w7, w8 = w[5], w[6], w[7], w[8]
    s = _STRIDE
    for x in range(width):
        out[x] = (
            w0 * src[x + 8 * s]
            + w1 * (src[x + 7 * s] + src[x + 9 * s])
            + w2 * (src[x + 6 * s] + src[x + 10 * s])
            + w3 * (src[x + 5 * s] + src[x + 11 * s])
            + w4 * (src[x + 4 * s] + src[x + 12 * s])
            + w5 * (src[x + 3 * s] + src[x + 13 * s])
            + w6 * (src[x + 2 * s] + src[x + 14 * s])
            + w7 * (src[x + s] + src[x + 15 * s])
            + w8 * (src[x] + src[x + 16 * s])
        )


@compiled
def _along4(src: Floats, width: int, w: Floats, out: Floats) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    for x in range(width):
        out[x] = (
            w0 * src[x + 4]
            + w1 * (src[x + 3] + src[x + 5])
            + w2 * (src[x + 2] + src[x + 6])
            + w3 * (src[x + 1] + src[x + 7])
            + w4 * (src[x] + src[x + 8])
        )


@compiled
def _along8(src: Floats, width: int, w: Floats, out: Floats) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    w5, w6, w7, w8 = w[5], w[6], w[7], w[8]
    for x in range(width):
        out[x] = (
            w0 * src[x + 8]
            + w1 * (src[x + 7] + src[x + 9])
            + w2 * (src[x + 6] + src[x + 10])
            + w3 * (src[x + 5] + src[x + 11])
            + w4 * (src[x + 4] + src[x + 12])
            + w5 * (src[x + 3] + src[x + 13])
            + w6 * (src[x + 2] + src[x + 14])
            + w7 * (src[x + 1] + src[x + 15])
            + w8 * (src[x] + src[x + 16])
        )


@compiled
def _add_maps(
    above: Floats,
    here: Floats,
    below: Floats,
    width: int,
    half: np.float32,
    square: np.float32,
    total: Floats,
) -> None:
    """Add first and second powers of the three maps of one row of pixels."""
    four = np.float32(4)
    for x in range(width):
        value = here[x + 1]
        left, right, up, low = here[x], here[x + 2], above[x + 1], below[x + 1]
        across, down = half * (right - left), half * (low - up)
        gradient2 = across * across + down * down
        laplacian = square * abs(left + right + up + low - four * value)
        total[x] += value
        total[x + _STRIDE] += np.sqrt(gradient2)
        total[x + 2 * _STRIDE] += laplacian
        total[x + 3 * _STRIDE] += value * value
        total[x + 4 * _STRIDE] += gradient2
        total[x + 5 * _STRIDE] += laplacian * laplacian


@compiled
def _pool(total: Floats, spare: Floats, columns: int, side: int, moments: Floats) -> None:
    """Add up the columns of pixels of each superpixel; what is in `total` is used up."""
    share = np.float32(1) / np.float32(side * side)
    _add_pairs(total, len(total) // 2, spare)
    stride = _STRIDE // side
    if side == 2:
        sums = spare
    elif side == 4:
        _add_pairs(spare, len(total) // 4, total)
        sums = total
    else:
        _add_pairs(spare, len(total) // 4, total)
        _add_pairs(total, len(total) // 8, spare)
        sums = spare
    for n in range(6):
        for column in range(columns):
            moments[n // 3, column, n % 3] = share * sums[n * stride + column]


@compiled
def _add_pairs(source: Floats, width: int, out: Floats) -> None:
    for x in range(width):
        out[x] = source[2 * x] + source[2 * x + 1]
