"""What every model must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

_NEIGHBOURS = 12


class Interpolation:
    """Inverse-distance weighting over the nearest spots: no image, no model.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (spots, 2)
        Where was measured.
    values : ndarray, shape (spots, genes)
        What was measured.
    neighbours : int
        By default twelve; one takes what the nearest spot has.

    References
    ----------
    Shepard, Proc. 23rd ACM National Conference, 517-524 (1968).
    """

    def __init__(
        self,
        xy_um: NDArray[np.float64],
        values: NDArray[np.floating],
        neighbours: int = _NEIGHBOURS,
    ) -> None:
        most = min(neighbours, len(xy_um))
        self._model = KNeighborsRegressor(most, weights="distance").fit(xy_um, values)

    def __call__(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate at other positions, (n, 2): (n, genes). Beyond the spots, extrapolate."""
        values: NDArray[np.float64] = self._model.predict(xy_um)
        return values
