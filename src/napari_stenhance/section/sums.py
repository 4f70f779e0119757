"""Sums over windows and crops, as differences of running sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def running_sums(values: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return the sums of the first 0, 1, … values along an axis, which gets longer by one.

    They are those of `numpy.cumsum`, which walks along the axis for each of what lies across it:
    of features, several times slower.

    Parameters
    ----------
    values : ndarray of float or bool, shape (…, n, …)
    axis : int

    Returns
    -------
    ndarray of float64, shape (…, n + 1, …)

    Examples
    --------
    >>> running_sums(np.array([[1, 2], [3, 4]]), axis=0)
    array([[0., 0.],
           [1., 2.],
           [4., 6.]])
    """
    shape = list(values.shape)
    shape[axis] += 1
    sums = np.zeros(shape)
    along, steps = np.moveaxis(sums, axis, 0), np.moveaxis(values, axis, 0)
    for number, step in enumerate(steps):
        np.add(along[number], step, out=along[number + 1])
    return sums
