"""What every model must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

_NEIGHBOURS = 12


class Interpolation:
    """Inverse-distance weighting over the twelve nearest spots: no image, no model.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (spots, 2)
        Where was measured.
    values : ndarray, shape (spots, genes)
        What was measured.

    References
    ----------
    Shepard, Proc. 23rd ACM National Conference, 517-524 (1968).
    """

    def __init__(self, xy_um: NDArray[np.float64], values: NDArray[np.floating]) -> None:
        neighbours = min(_NEIGHBOURS, len(xy_um))
        self._model = KNeighborsRegressor(neighbours, weights="distance").fit(xy_um, values)

    def __call__(self, xy_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate at other positions, (n, 2): (n, genes). Beyond the spots, extrapolate."""
        values: NDArray[np.float64] = self._model.predict(xy_um)
        return values
