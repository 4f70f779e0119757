"""What the spots around a superpixel count: scores on the gene basis, smoothed on a raster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from napari_stenhance.methods.training_section import TrainingSection

WIDTHS_UM = (8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0)
"""σ of the Gaussians among which each axis finds its own."""
HIDDEN_SHARE = 0.25
"""Of the transcripts, those that judge what is made of the others."""
_REACH = 3.0
_LEAST = 0.05
_ROWS_AT_ONCE = 50_000

Raster = NDArray[np.float32]


def halves(
    counts: sp.csr_array[np.float32], seed: int
) -> Iterator[tuple[slice, sp.csr_array[np.float32], sp.csr_array[np.float32]]]:
    """Deal the transcripts of spots, some rows after others, to those that are seen and hidden.

    Each is hidden with the same chance, whatever becomes of the others, so that of the same
    expression either says as much without the other. The same seed deals them the same way.
    """
    rng = np.random.default_rng(seed)
    for low in range(0, counts.shape[0], _ROWS_AT_ONCE):
        rows = slice(low, min(low + _ROWS_AT_ONCE, counts.shape[0]))
        part = counts[rows]
        hidden = part.copy()
        hidden.data = rng.binomial(part.data.astype(np.int64), HIDDEN_SHARE).astype(np.float32)
        yield rows, part - hidden, hidden


@dataclass(frozen=True)
class SpotWindow:
    """The part of the grid that spots reach, and how each is spread over its superpixels.

    Attributes
    ----------
    row, column : int
        Of its first superpixel.
    shape : tuple of int
    share : csr_array of float32, shape (superpixels, spots)
        How much of a spot lies in each superpixel; the sum of each column is 1.
    """

    row: int
    column: int
    shape: tuple[int, int]
    share: sp.csr_array[np.float32]

    @classmethod
    def around(cls, sample: TrainingSection) -> SpotWindow:
        """Reach as far beyond the spots as the widest Gaussian does."""
        under, grid = sample.footprints, sample.features.grid
        beyond = int(np.ceil(_REACH * max(WIDTHS_UM) / grid.pitch_um))
        top, left = max(under.row.min() - beyond, 0), max(under.column.min() - beyond, 0)
        shape = (
            int(min(under.row.max() + beyond + 1, grid.shape[0]) - top),
            int(min(under.column.max() + beyond + 1, grid.shape[1]) - left),
        )
        pixel = (under.row - top) * shape[1] + under.column - left
        part = (1 / under.counts()[under.spot]).astype(np.float32)
        size = (shape[0] * shape[1], under.n_spots)
        return cls(int(top), int(left), shape, sp.csr_array((part, (pixel, under.spot)), size))

    def raster(self, values: NDArray[np.floating]) -> Raster:
        """Spread what spots have, (spots,), over their superpixels."""
        spread: Raster = (self.share @ values.astype(np.float32)).reshape(self.shape)
        return spread


def kernel(width: float) -> NDArray[np.float32]:
    """Return a Gaussian that sums to 1; its width in superpixels."""
    half = max(int(np.ceil(_REACH * width)), 1)
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) / width) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def spread_by(raster: Raster, weights: NDArray[np.float32]) -> Raster:
    """Correlate with the same weights along both axes; there is nothing beyond the border."""
    along = correlate1d(raster, weights, axis=0, mode="constant")
    smoothed: Raster = correlate1d(along, weights, axis=1, mode="constant")
    return smoothed


@dataclass(frozen=True)
class Depths:
    """How many transcripts lie around each superpixel, by the width of the Gaussian.

    Attributes
    ----------
    kernels : tuple of ndarray
        One a width.
    around : tuple of ndarray of float32, each (rows, columns)
        Their weighted sum.
    least : tuple of float
        As much of what is said otherwise, in transcripts, is mixed in: a twentieth of what lies
        around half of the spots. So where little is counted little is made of it.
    """

    kernels: tuple[NDArray[np.float32], ...]
    around: tuple[Raster, ...]
    least: tuple[float, ...]

    @classmethod
    def of(cls, library: Raster, pitch_um: float) -> Depths:
        """Smooth the transcripts in each superpixel."""
        kernels = tuple(kernel(width / pitch_um) for width in WIDTHS_UM)
        around = tuple(spread_by(library, weights) for weights in kernels)
        counted = library > 0
        least = tuple(float(_LEAST * np.median(depth[counted])) for depth in around)
        return cls(kernels, around, least)


def telling_width(
    seen: Raster, hidden: Raster, hidden_depth: Raster, depths: Depths
) -> tuple[int, Raster]:
    """Find the Gaussian that tells best what is hidden from what is seen; of one axis.

    Parameters
    ----------
    seen, hidden : ndarray of float32, shape (rows, columns)
        Sum of the scores of the transcripts in each superpixel, about the mean of all.
    hidden_depth : ndarray of float32, shape (rows, columns)
        Number of hidden transcripts.
    depths : Depths
        Of what is seen.

    Returns
    -------
    which : int
        Of `WIDTHS_UM`.
    guess : ndarray of float32, shape (rows, columns)
        What it says.
    """
    guesses = (
        spread_by(seen, weights) / (around + np.float32(least))
        for weights, around, least in zip(depths.kernels, depths.around, depths.least, strict=True)
    )
    # Σ depth (score − guess)², but for what is the same of all.
    missed = (
        (float((hidden_depth * guess**2 - 2 * hidden * guess).sum(dtype=np.float64)), n, guess)
        for n, guess in enumerate(guesses)
    )
    _, which, guess = min(missed, key=lambda one: one[0])
    return which, guess
