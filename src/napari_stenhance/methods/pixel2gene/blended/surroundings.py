"""What was counted around each superpixel, as a blend keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.pixel2gene.blended.counted import (
    Depths,
    Raster,
    SpotWindow,
    spread_by,
    telling_width,
)

_DEVIATIONS = 4.0


class ToldAxes(NamedTuple):
    """Axes of the gene basis that what is counted tells something of.

    Attributes
    ----------
    axes : ndarray of int64, shape (k,)
        Of the basis, ascending.
    chosen : ndarray of int64, shape (k,)
        Which Gaussian of `WIDTHS_UM` tells most of each.
    noise : ndarray of float32, shape (k,)
        Variance of a single transcript's score about what its surroundings say.
    """

    axes: NDArray[np.int64]
    chosen: NDArray[np.int64]
    noise: NDArray[np.float32]


@dataclass(frozen=True)
class Surroundings:
    """Scores of what was counted around each superpixel of a window.

    Attributes
    ----------
    origin : tuple of int
        Row and column of the first superpixel on the grid.
    axes : ndarray of int64, shape (axes,)
        Of the gene basis.
    scores : ndarray of float16, shape (rows, columns, axes)
        0, the mean of all spots, where nothing was counted.
    depth : ndarray of float32, shape (rows, columns, axes that differ in width)
        Transcripts around, each weighted by the Gaussian.
    crowd : ndarray of float32, same shape
        The same with squared weights: what a single transcript adds to the noise.
    least : ndarray of float32, shape (widths,)
        Transcripts that what is said otherwise counts for.
    width : ndarray of int64, shape (axes,)
        Which of the widths each axis has.
    noise : ndarray of float32, shape (axes,)
        Variance of the score of a single transcript.
    """

    origin: tuple[int, int]
    axes: NDArray[np.int64]
    scores: NDArray[np.float16]
    depth: Raster
    crowd: Raster
    least: NDArray[np.float32]
    width: NDArray[np.int64]
    noise: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        window: SpotWindow,
        masses: NDArray[np.float32],
        library: NDArray[np.float64],
        told: ToldAxes,
        pitch_um: float,
    ) -> Surroundings:
        """Smooth what spots counted, each axis with its own Gaussian.

        Parameters
        ----------
        window : SpotWindow
        masses : ndarray of float32, shape (spots, axes of the basis)
            Sum of the scores of a spot's transcripts.
        library : ndarray of float64, shape (spots,)
        told : ToldAxes
        pitch_um : float
        """
        transcripts = window.raster(library)
        depths = Depths.of(transcripts, pitch_um)
        used, width = np.unique(told.chosen, return_inverse=True)
        scores = np.zeros((*window.shape, len(told.axes)), np.float16)
        for n, (axis, which) in enumerate(zip(told.axes, told.chosen, strict=True)):
            around = depths.around[which]
            total = spread_by(window.raster(masses[:, axis]), depths.kernels[which])
            scores[..., n] = np.divide(total, around, out=np.zeros_like(total), where=around > 0)
        crowd = [spread_by(transcripts, depths.kernels[which] ** 2) for which in used]
        return cls(
            (window.row, window.column),
            told.axes,
            scores,
            _stacked([depths.around[which] for which in used], window.shape),
            _stacked(crowd, window.shape),
            np.array([depths.least[which] for which in used], np.float32),
            width,
            told.noise,
        )

    def of_image(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the image says, (n, r), along these axes: 0 beyond the r that it predicts."""
        said = np.zeros((len(scores), len(self.axes)), np.float32)
        there = self.axes < scores.shape[1]
        said[:, there] = scores[:, self.axes[there]]
        return said

    def beside(
        self,
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        mean: NDArray[np.float32],
        variance: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and variance of the scores around some superpixels of the grid.

        Parameters
        ----------
        row, column : ndarray of int64, shape (n,)
        mean, variance : ndarray of float32, shape (n, r)
            What the image says, which holds where nothing was counted.
        """
        mean, variance = self.of_image(mean), self.of_image(variance)
        row, column = row - self.origin[0], column - self.origin[1]
        rows, columns, axes = self.scores.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        depth = np.zeros((len(row), axes), np.float32)
        crowd, scores = np.zeros_like(depth), np.zeros_like(depth)
        at = row[inside], column[inside]
        depth[inside], crowd[inside] = self.depth[at][:, self.width], self.crowd[at][:, self.width]
        scores[inside] = self.scores[at]
        least = self.least[self.width]
        share: NDArray[np.float32] = depth / (depth + least)
        of_both: NDArray[np.float32] = share * scores + (1 - share) * mean
        spread: NDArray[np.float32] = crowd * self.noise / (depth + least) ** 2
        return of_both, spread + (1 - share) ** 2 * variance


def _stacked(rasters: list[Raster], shape: tuple[int, int]) -> Raster:
    return np.stack(rasters, axis=-1) if rasters else np.zeros((*shape, 0), np.float32)


def told_axes(
    window: SpotWindow,
    masses: NDArray[np.float32],
    libraries: NDArray[np.float64],
    pitch_um: float,
) -> ToldAxes:
    """Find the axes of which what is seen tells what is hidden, and the Gaussian of each.

    Parameters
    ----------
    window : SpotWindow
    masses : ndarray of float32, shape (2, spots, axes)
        Sums of the scores of a spot's transcripts that are seen, and hidden.
    libraries : ndarray of float64, shape (2, spots)
        Their number.
    pitch_um : float
    """
    seen_depth, hidden_depth = (window.raster(library) for library in libraries)
    depths = Depths.of(seen_depth, pitch_um)
    counted = hidden_depth > 0
    number = hidden_depth[counted]
    kept, chosen, noise = [], [], []
    for axis, (ours, theirs) in enumerate(zip(*masses.transpose(0, 2, 1), strict=True)):
        hidden = window.raster(theirs)
        which, guess = telling_width(window.raster(ours), hidden, hidden_depth, depths)
        said, guess = hidden[counted], guess[counted]
        # The variance of a mean of n transcripts is that of one over n.
        variance = float((number * (said / number - guess) ** 2).mean(dtype=np.float64))
        together = float((said * guess).sum(dtype=np.float64))
        by_chance = variance * float((number * guess**2).sum(dtype=np.float64))
        if together > _DEVIATIONS * by_chance**0.5:
            kept.append(axis)
            chosen.append(which)
            noise.append(variance)
    return ToldAxes(
        np.array(kept, np.int64), np.array(chosen, np.int64), np.array(noise, np.float32)
    )
