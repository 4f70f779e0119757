"""Moran's I: how much a value at one place is like those beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEAREST = 6
"""How many neighbours a spot has: on a hexagonal lattice, those around it."""


def raster_links(inside: NDArray[np.bool_]) -> sp.csr_array[np.float64]:
    """Link each pixel to those above, below, left and right of it.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
        Which pixels there are.

    Returns
    -------
    sparse array, shape (pixels, pixels)
        1 for each link, in both directions; pixels in the order of `inside[inside]`.
    """
    number = np.cumsum(inside.ravel()).reshape(inside.shape) - 1
    beside, below = inside[:, :-1] & inside[:, 1:], inside[:-1] & inside[1:]
    one = np.concatenate([number[:, :-1][beside], number[:-1][below]])
    other = np.concatenate([number[:, 1:][beside], number[1:][below]])
    return _links(one, other, int(inside.sum()))


def spot_links(xy: NDArray[np.floating]) -> sp.csr_array[np.float64]:
    """Link each spot to the nearest `NEAREST` others, and them to it.

    Parameters
    ----------
    xy : ndarray, shape (spots, 2)

    Returns
    -------
    sparse array, shape (spots, spots)
        1 for each link, in both directions.
    """
    spots = len(xy)
    nearest = min(NEAREST, spots - 1)
    if nearest < 1:
        return sp.csr_array((spots, spots))
    _, found = cKDTree(xy).query(xy, nearest + 1)
    one = np.repeat(np.arange(spots), nearest + 1)
    other = found.ravel()
    return _links(one[one != other], other[one != other], spots)


def morans_i(
    values: NDArray[np.floating] | sp.sparray, links: sp.csr_array[np.float64]
) -> NDArray[np.float64]:
    """Compute Moran's I of each column.

    Parameters
    ----------
    values : ndarray or sparse array, shape (places, columns)
        Sparse ones stay so.
    links : sparse array, shape (places, places)
        Symmetric weights, nothing on the diagonal.

    Returns
    -------
    ndarray of float64, shape (columns,)
        About 0 where values lie anyhow, towards 1 where like lies beside like; NaN where a column
        does not vary, or nothing lies beside anything.

    References
    ----------
    Moran, Notes on continuous stochastic phenomena, Biometrika 37:17-23 (1950).
    """
    values = values.astype(np.float64)
    places, degree = values.shape[0], np.asarray(links.sum(axis=1)).ravel()
    mean = np.asarray(values.sum(axis=0)).ravel() / max(places, 1)
    # Sums of products about the mean, from those about zero: what is sparse is never filled.
    squares = _dot(values, values) - places * mean**2
    products = _dot(values, links @ values)
    products = products - 2 * mean * np.asarray(values.T @ degree).ravel()
    products += mean**2 * degree.sum()
    varies = squares > 1e-9 * places * np.maximum(mean**2, 1e-12)
    return _ratio(products, squares, varies, places, float(degree.sum()))


def morans_i_of_latent(
    latent: NDArray[np.floating],
    weights: NDArray[np.floating],
    links: sp.csr_array[np.float64],
) -> NDArray[np.float64]:
    """Compute Moran's I of each column of `latent @ weights`, without that product.

    It is a ratio of two quadratic forms in the weights: of all columns at once, whatever there is.

    Parameters
    ----------
    latent : ndarray, shape (places, r)
    weights : ndarray, shape (r, columns)
    links : sparse array, shape (places, places)
        As in `morans_i`.

    Returns
    -------
    ndarray of float64, shape (columns,)
        As of `morans_i`.
    """
    about = latent.astype(np.float64)
    about -= about.mean(axis=0)
    weights = weights.astype(np.float64)
    squares = np.einsum("rg,rg->g", weights, (about.T @ about) @ weights)
    products = np.einsum("rg,rg->g", weights, (about.T @ (links @ about)) @ weights)
    return _ratio(products, squares, squares > 0, len(latent), float(links.sum()))


def _links(
    one: NDArray[np.integer], other: NDArray[np.integer], places: int
) -> sp.csr_array[np.float64]:
    ends = np.concatenate([one, other]), np.concatenate([other, one])
    links = sp.csr_array((np.ones(len(ends[0])), ends), shape=(places, places))
    links.data[:] = 1.0
    return links


def _dot(one: Any, other: Any) -> NDArray[np.float64]:
    product = one.multiply(other) if sp.issparse(one) else one * other
    return np.asarray(product.sum(axis=0)).ravel()


def _ratio(
    products: NDArray[np.float64],
    squares: NDArray[np.float64],
    varies: NDArray[np.bool_],
    places: int,
    total: float,
) -> NDArray[np.float64]:
    known = varies & (total > 0)
    found: NDArray[np.float64] = np.full(len(squares), np.nan)
    found[known] = places * products[known] / (total * squares[known])
    return found
