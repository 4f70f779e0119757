"""What STAMGC sees of a section, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.running.job import Job

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class Slice:
    """The positions of one section, all different, with counts or latents of a gene field.

    Attributes
    ----------
    name : str
    xy : ndarray of float64, shape (n, 2)
        Positions in any unit, the y axis pointing down.
    pitch : float
        Median distance of neighbours, in the unit of `xy`.
    genes : tuple of str
        The same in every slice of a run, without control features.
    counts : csr_array of float32, shape (n, genes), or None
        Raw.
    latent : ndarray of float32, shape (n, channels), or None
        Instead of counts: what a field predicts there.
    fiducial : float or None
        Diameter of Visium's fiducials, in the unit of `xy`: the published unit of smoothing.
    place : ndarray of int64, shape (observations,), or None
        Which position each observation has, where several share one: their counts are summed.
    """

    name: str
    xy: NDArray[np.float64]
    pitch: float
    genes: tuple[str, ...] = ()
    counts: sp.csr_array[np.float32] | None = None
    latent: NDArray[np.float32] | None = None
    fiducial: float | None = None
    place: NDArray[np.int64] | None = None

    def of_observations(self, values: NDArray[_T]) -> NDArray[_T]:
        """Return what was found of positions for each observation, in the order of the input."""
        return values if self.place is None else values[self.place]


@dataclass(frozen=True)
class Domains:
    """Domains of one or more slices, found together.

    Attributes
    ----------
    labels : tuple of ndarray of int64, each of shape (n,)
        1 … `n_domains`, for each slice.
    confidence : tuple of ndarray of float32, each of shape (n,)
        Share of the runs that agree with the label.
    embedding : tuple of ndarray of float32, each of shape (n, width)
        What was clustered.
    n_domains : int
    criterion : str
        What the number of domains was chosen by; empty if it was given.
    scores : tuple of (int, float)
        The criterion for each number that was tried; more is better, and the fewest domains that
        are about as good are taken.
    """

    labels: tuple[NDArray[np.int64], ...]
    confidence: tuple[NDArray[np.float32], ...]
    embedding: tuple[NDArray[np.float32], ...]
    n_domains: int
    criterion: str = ""
    scores: tuple[tuple[int, float], ...] = ()

    def of_observations(self, slices: Sequence[Slice]) -> Domains:
        """Return them for each observation: those that share a position share its domain."""

        def each(parts: tuple[NDArray[_T], ...]) -> tuple[NDArray[_T], ...]:
            return tuple(s.of_observations(p) for s, p in zip(slices, parts, strict=True))

        return replace(
            self,
            labels=each(self.labels),
            confidence=each(self.confidence),
            embedding=each(self.embedding),
        )


class DomainMethod(Protocol):
    """STAMGC with its options."""

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        ...

    def find(self, slices: Sequence[Slice], n_domains: int | None, job: Job) -> Domains:
        """Find domains of all slices together; None estimates how many."""
        ...
