"""What every model must beat."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_NEIGHBOURS = 12
_PENALTIES = np.logspace(0, 5, 11)
_LEARNED_MOST = 1000


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


def by_depth(
    depth: NDArray[np.floating], values: NDArray[np.floating], others: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Predict genes from the log of depth alone, which no image tells: a line for each.

    Parameters
    ----------
    depth : ndarray, shape (spots,)
        Total counts of the spots that are learned from.
    values : ndarray, shape (spots, genes)
    others : ndarray, shape (others,)
        Total counts of those that are predicted.
    """
    known, new = (np.log(np.maximum(v, 1.0)) for v in (depth, others))
    about = known - known.mean()
    slope = about @ (values - values.mean(axis=0)) / max(float(about @ about), 1e-12)
    predicted: NDArray[np.float64] = values.mean(axis=0) + np.outer(new - known.mean(), slope)
    return predicted


def by_place(
    xy_um: NDArray[np.float64],
    values: NDArray[np.floating],
    others_um: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """Predict genes by a Gaussian process over places: no image.

    One kernel for all genes, a Gaussian and noise, found on at most 1,000 spots, which are learned
    from, too.

    Parameters
    ----------
    xy_um : ndarray of float64, shape (spots, 2)
    values : ndarray, shape (spots, genes)
    others_um : ndarray of float64, shape (others, 2)
    seed : int
        Draws those spots.

    References
    ----------
    Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press (2006).
    """
    some = np.random.default_rng(seed).permutation(len(xy_um))[:_LEARNED_MOST]
    unit = np.maximum(np.ptp(xy_um, axis=0).max(), 1.0)
    kernel = ConstantKernel(0.3) * RBF(0.1, (1e-3, 10.0)) + WhiteKernel(0.7)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        # Of genes that are noise alone, or lie smoothly, a bound of the kernel is the answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = model.fit(xy_um[some] / unit, values[some])
    predicted: NDArray[np.float64] = fitted.predict(others_um / unit)
    return predicted.reshape(len(others_um), -1)


def ridge(
    features: NDArray[np.floating], values: NDArray[np.floating], others: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Predict genes from the features of spots by ridge regression.

    Its penalty, of 1 to 100,000, is chosen on spots that are left out one by one, of those that are
    learned from.

    Parameters
    ----------
    features : ndarray, shape (spots, dim)
    values : ndarray, shape (spots, genes)
    others : ndarray, shape (others, dim)
    """
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=_PENALTIES))
    predicted: NDArray[np.float64] = model.fit(features, values).predict(others)
    return predicted.reshape(len(others), -1)
