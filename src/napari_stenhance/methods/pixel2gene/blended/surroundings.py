"""What was counted around each superpixel, as a blend keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.methods.pixel2gene.blended.counted import (
    Depths,
    Raster,
    SpotWindow,
    spread_by,
    telling_width,
)


@dataclass(frozen=True)
class Surroundings:
    """Scores of what was counted around each superpixel of a window.

    Attributes
    ----------
    origin : tuple of int
        Row and column of the first superpixel on the grid.
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
        chosen: NDArray[np.int64],
        noise: NDArray[np.float32],
        pitch_um: float,
    ) -> Surroundings:
        """Smooth what spots counted, each axis with its own Gaussian.

        Parameters
        ----------
        window : SpotWindow
        masses : ndarray of float32, shape (spots, axes)
            Sum of the scores of a spot's transcripts.
        library : ndarray of float64, shape (spots,)
        chosen : ndarray of int64, shape (axes,)
            Which Gaussian of `WIDTHS_UM`.
        noise : ndarray of float32, shape (axes,)
        pitch_um : float
        """
        transcripts = window.raster(library)
        depths = Depths.of(transcripts, pitch_um)
        used, width = np.unique(chosen, return_inverse=True)
        scores = np.zeros((*window.shape, masses.shape[1]), np.float16)
        for axis, which in enumerate(chosen):
            around = depths.around[which]
            total = spread_by(window.raster(masses[:, axis]), depths.kernels[which])
            scores[..., axis] = np.divide(total, around, out=np.zeros_like(total), where=around > 0)
        crowd = [spread_by(transcripts, depths.kernels[which] ** 2) for which in used]
        return cls(
            (window.row, window.column),
            scores,
            np.stack([depths.around[which] for which in used], axis=-1),
            np.stack(crowd, axis=-1),
            np.array([depths.least[which] for which in used], np.float32),
            width,
            noise,
        )

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
        mean, variance : ndarray of float32, shape (n, axes)
            What the image says, which holds where nothing was counted.
        """
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


def choose_widths(
    window: SpotWindow,
    masses: NDArray[np.float32],
    libraries: NDArray[np.float64],
    pitch_um: float,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose the Gaussian of each axis by what is hidden.

    Parameters
    ----------
    window : SpotWindow
    masses : ndarray of float32, shape (2, spots, axes)
        Sums of the scores of a spot's transcripts that are seen, and hidden.
    libraries : ndarray of float64, shape (2, spots)
        Their number.
    pitch_um : float

    Returns
    -------
    chosen : ndarray of int64, shape (axes,)
    noise : ndarray of float32, shape (axes,)
        Variance of a single transcript's score about what its surroundings say.
    """
    seen_depth, hidden_depth = (window.raster(library) for library in libraries)
    depths = Depths.of(seen_depth, pitch_um)
    counted = hidden_depth > 0
    chosen, noise = [], []
    for ours, theirs in zip(*masses.transpose(0, 2, 1), strict=True):
        seen_here, hidden_here = window.raster(ours), window.raster(theirs)
        which = telling_width(seen_here, hidden_here, hidden_depth, depths)
        around = depths.around[which] + np.float32(depths.least[which])
        guess = spread_by(seen_here, depths.kernels[which])[counted] / around[counted]
        number = hidden_depth[counted]
        # The variance of a mean of n transcripts is that of one over n.
        noise.append(float((number * (hidden_here[counted] / number - guess) ** 2).mean()))
        chosen.append(which)
    return np.array(chosen, np.int64), np.array(noise, np.float32)
