"""What may be done to positions, so that they lie elsewhere: an affine map in micrometres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Displacement:
    """What may be done to positions, so that they lie where they belong.

    Attributes
    ----------
    name : str
        What is done, as "mirrored left to right".
    matrix : ndarray of float64, shape (2, 3)
        New (x, y) of old (x, y, 1), in micrometres.
    """

    name: str
    matrix: NDArray[np.float64]

    def __call__(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Place positions, (n, 2)."""
        return xy_um @ self.matrix[:, :2].T + self.matrix[:, 2]

    @property
    def moved_um(self) -> float:
        """How far it moves, if it does nothing else; else infinite."""
        alone = np.array_equal(self.matrix[:, :2], np.eye(2))
        return float(np.hypot(*self.matrix[:, 2])) if alone else np.inf

    def in_pixels(self, mpp: float, onto_mpp: float) -> list[list[float]]:
        """Return new (x, y) of old (x, y, 1), in full-resolution pixels of two scales."""
        matrix = self.matrix.copy()
        matrix[:, :2] *= mpp / onto_mpp
        matrix[:, 2] /= onto_mpp
        return [[float(v) for v in row] for row in matrix]
