"""Where a gene is above a value: cuts on predictions that mark few wrong places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import binom

Scale = Literal["spot", "8 spots", "region"]
WRONG = 0.1
"""The share of what is marked that may be wrong."""
_RISK = 0.1
REGION_UM = 1000.0
"""Across a region, in micrometres."""
_NEAREST = 8
LEAST = math.ceil(math.log(_RISK) / math.log(1 - WRONG))
"""Places that share no spots, of which at least as many must be marked to promise anything."""


@dataclass(frozen=True)
class Cut:
    """From which prediction on places are marked, and what came of it on held-out places.

    Attributes
    ----------
    at : float
        Infinite where no cut marks few enough wrong ones.
    marked, wrong : int
        Held-out places at or above it, and those of them that were not above the value.
    places : int
        Held-out places in all.
    above : int
        Those of them where more than the value was measured.
    apart : int
        How many places it is that share no spots.
    """

    at: float
    marked: int
    wrong: int
    places: int
    above: int
    apart: int

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return bool(np.isfinite(self.at))


def find_cut(
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
    above: float,
    overlap: float = 1.0,
) -> Cut:
    """Find the lowest cut at which at most one in ten of the marked places is wrong.

    Cuts are tested from the highest prediction down, each with an exact binomial test that more
    than one in ten is wrong, until one is not refused at the level of one in ten: Learn then Test,
    with a fixed sequence. It takes spots to be independent; those that lie near are not quite.

    Parameters
    ----------
    predicted, measured : ndarray, shape (places,)
        Of held-out places, in one unit.
    above : float
        A marked place is right where more was measured.
    overlap : float
        In how many places each spot has a part: so many count as one, or the means of spots around
        spots, which share most of these, would be taken for many.

    References
    ----------
    Angelopoulos, Bates, Candès, Jordan and Lei, Learn then Test: calibrating predictive algorithms
    to achieve risk control, Annals of Applied Statistics 19:1641-1662 (2025).
    """
    order = np.argsort(-np.asarray(predicted), kind="stable")
    ranked, wrong = predicted[order], np.cumsum(~(measured[order] > above))
    marked = np.arange(1, len(order) + 1)
    # Of equal predictions all are marked, or none.
    last = np.append(ranked[1:] != ranked[:-1], True)
    # Of fewer, even if all are right, nothing can be said.
    tested = np.flatnonzero(last & (marked // overlap >= LEAST))
    counted = np.ceil(wrong[tested] / overlap), marked[tested] // overlap
    refused = binom.cdf(*counted, WRONG) <= _RISK
    number = len(refused) if refused.all() else int(refused.argmin())
    high = int((measured > above).sum())
    rest = len(order), high, int(len(order) // overlap)
    if not number:
        return Cut(float("inf"), 0, 0, *rest)
    at = tested[number - 1]
    return Cut(float(ranked[at]), int(marked[at]), int(wrong[at]), *rest)


def averaged(
    values: NDArray[np.floating],
    xy_um: NDArray[np.float64],
    section: NDArray[np.integer],
    scale: Scale,
) -> NDArray[np.floating]:
    """Average values of spots around each spot: its 8 nearest, or all within half a millimetre.

    Parameters
    ----------
    values : ndarray, shape (spots, …)
    xy_um : ndarray of float64, shape (spots, 2)
    section : ndarray of int, shape (spots,)
        Spots of other sections are not near.
    scale : {"spot", "8 spots", "region"}
    """
    if scale == "spot":
        return values
    means = np.empty_like(values)
    for one in np.unique(section):
        here = np.flatnonzero(section == one)
        tree = cKDTree(xy_um[here])
        if scale == "region":
            near = tree.query_ball_point(xy_um[here], REGION_UM / 2)
        else:
            near = tree.query(xy_um[here], k=np.arange(1, min(_NEAREST, len(here)) + 1))[1]
        for spot, others in zip(here, near, strict=True):
            means[spot] = values[here[others]].mean(axis=0)
    return means


def overlap_of(xy_um: NDArray[np.float64], section: NDArray[np.integer], scale: Scale) -> float:
    """Return how many spots `averaged` takes together, in the mean."""
    if scale == "spot":
        return 1.0
    sizes = []
    for one in np.unique(section):
        here = xy_um[section == one]
        if scale == "region":
            near = cKDTree(here).query_ball_point(here, REGION_UM / 2, return_length=True)
        else:
            near = np.full(len(here), min(_NEAREST, len(here)))
        sizes.append(near)
    return float(np.concatenate(sizes).mean())


def radius_um(
    xy_um: NDArray[np.float64], section: NDArray[np.integer], diameter_um: float, scale: Scale
) -> float:
    """Return the radius of the disc that is averaged around a superpixel, in micrometres.

    That of a spot; that of a region; or the median distance of the last of 8 nearest spots.
    """
    if scale == "spot":
        return diameter_um / 2
    if scale == "region":
        return REGION_UM / 2
    far = []
    for one in np.unique(section):
        here = xy_um[section == one]
        far.append(cKDTree(here).query(here, k=[min(_NEAREST, len(here))])[0].ravel())
    return float(np.median(np.concatenate(far))) + diameter_um / 2
