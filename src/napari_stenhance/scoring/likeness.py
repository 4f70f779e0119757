"""How alike the spots of two sections are that lie nearest to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_stenhance.errors import InputError
from napari_stenhance.scoring.placement import some_spots
from napari_stenhance.section.spots import log1p_cp10k

if TYPE_CHECKING:
    from napari_stenhance.scoring.displacement import Displacement
    from napari_stenhance.section.section import Section

_GENES, _NEAREST, _REACH = 500, 4, 1.5


@dataclass(frozen=True)
class SpotLikeness:
    """How alike nearest spots are.

    Attributes
    ----------
    r : float
        The mean over spots of the Pearson r of their profile and the mean profile of the nearest
        spots of the other section.
    spots : int
        Of how many: those that have others near.
    """

    r: float
    spots: int


class SpotPair:
    """The spots of two sections, whose expression is compared where one is laid over the other.

    Profiles are log1p CP10k of the 500 shared genes that are seen in most spots, each gene less
    its mean over the section.

    Parameters
    ----------
    reference, section : Section
        With spots and scale.

    Raises
    ------
    InputError
        If they have no spots, or no gene in common.
    """

    def __init__(self, reference: Section, section: Section) -> None:
        spots = [one.need_spots() for one in (reference, section)]
        shared = spots[0].var_names.intersection(spots[1].var_names, sort=False)
        if not len(shared):
            msg = f"{reference.name} and {section.name}: they have no gene in common."
            raise InputError(msg)
        genes = [one.var_names.get_indexer(shared) for one in spots]
        seen = sum(_seen(one.X)[some] for one, some in zip(spots, genes, strict=True))
        often = np.argsort(-seen, kind="stable")[:_GENES]
        self._sections, self._genes = (reference, section), [some[often] for some in genes]
        self._chosen = [some_spots(one.n_obs) for one in spots]
        self._means = [self._log(n, self._chosen[n]).mean(axis=0) for n in range(2)]
        self._reach = _REACH * max(one.positions()[1] for one in self._sections)

    def likeness(self, way: Displacement | None = None) -> SpotLikeness:
        """Compare each spot with those of the reference that lie nearest.

        Of very many spots, 4000 that were drawn.

        Parameters
        ----------
        way : Displacement, optional
            Lays the section over the reference; without it, each lies where its own slide has it.
        """
        fixed, moving = (one.positions()[0] for one in self._sections)
        at = moving[self._chosen[1]] if way is None else way(moving[self._chosen[1]])
        apart, near = KDTree(fixed).query(at, k=_NEAREST, distance_upper_bound=self._reach)
        has = np.isfinite(apart[:, 0])
        if not has.any():
            return SpotLikeness(float("nan"), 0)
        near, is_near = near[has], np.isfinite(apart[has])
        rows, place = np.unique(near[is_near], return_inverse=True)
        weights = np.zeros(is_near.shape)
        weights[is_near] = 1
        weights /= is_near.sum(axis=1, keepdims=True)
        of = np.broadcast_to(np.arange(len(near))[:, None], is_near.shape)[is_near]
        nearest = sp.csr_array((weights[is_near], (of, place)), shape=(len(near), len(rows)))
        r = _row_r(
            nearest @ (self._log(0, rows) - self._means[0]),
            self._log(1, self._chosen[1][has]) - self._means[1],
        )
        known = np.isfinite(r)
        return SpotLikeness(float(r[known].mean()) if known.any() else float("nan"), len(near))

    def nearest(self, way: Displacement | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return pairs: rows of the reference, each the nearest of one of the section, and these.

        Parameters
        ----------
        way : Displacement, optional
            As of `likeness`.
        """
        fixed, moving = (one.positions()[0] for one in self._sections)
        rows = self._chosen[1]
        at = moving[rows] if way is None else way(moving[rows])
        apart, near = KDTree(fixed).query(at, distance_upper_bound=self._reach)
        has = np.isfinite(apart)
        return near[has], rows[has]

    def _log(self, which: int, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return log1p CP10k of some spots, (rows, genes)."""
        section = self._sections[which]
        counts = sp.csr_array(section.need_spots().X[rows], dtype=np.float32)
        library = section.library
        total = counts.sum(axis=1, dtype=np.float64) if library is None else library[rows]
        some = sp.csr_array(counts[:, self._genes[which]])
        values: NDArray[np.float64] = (
            log1p_cp10k(some, np.asarray(total).ravel()).toarray().astype(np.float64)
        )
        return values


def _seen(counts: Any) -> NDArray[np.int64]:
    """Count in how many spots each gene is seen."""
    matrix = sp.csr_array(counts)
    return np.bincount(matrix.indices, minlength=matrix.shape[1])


def _row_r(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    one = one - one.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    r: NDArray[np.float64] = (one * other).sum(axis=1) / np.where(size > 0, size, np.nan)
    return r
