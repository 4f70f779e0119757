"""Shallow spots, together in squares: of a single one, nearly all that is counted is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.methods.training_section import TrainingSection

SQUARE_UM = 64.0
"""Side of the squares over which shallow spots are judged."""


@dataclass(frozen=True)
class Squares:
    """Which spots lie in a square together, section by section.

    Attributes
    ----------
    shares : tuple of csr_array of float32, each (squares, spots)
        What each spot is of its square: as much as was counted in it. Rows sum to 1.
    depths : tuple of ndarray of float64, each (squares,)
        What was counted in all spots of a square.
    apart : ndarray of int64, shape (squares of all sections,)
        The number that all spots of a square have, of those that tell apart what lies in one.
    """

    shares: tuple[sp.csr_array[np.float32], ...]
    depths: tuple[NDArray[np.float64], ...]
    apart: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        samples: Sequence[TrainingSection],
        apart: NDArray[np.int64],
        kept: NDArray[np.bool_] | None = None,
    ) -> Squares:
        """Lay squares over sections.

        Parameters
        ----------
        samples : sequence of TrainingSection
        apart : ndarray of int64, shape (spots of all sections,)
            Spots with another number are another square.
        kept : ndarray of bool, shape (spots of all sections,), optional
            Others are in no square, as those that counted nothing.
        """
        cuts = np.cumsum([len(s.xy_um) for s in samples])[:-1]
        kept = np.ones(len(apart), bool) if kept is None else kept
        shares, depths, numbers = [], [], []
        for sample, number, wanted in zip(
            samples, np.split(apart, cuts), np.split(kept, cuts), strict=True
        ):
            seen = np.flatnonzero(wanted & (sample.library > 0))
            place = np.floor(sample.xy_um[seen] / SQUARE_UM).astype(np.int64)
            place = np.column_stack([place, number[seen]])
            found, square = np.unique(place, axis=0, return_inverse=True)
            square, library = square.ravel(), sample.library[seen]
            depth = np.bincount(square, library).astype(np.float64)
            share = (library / depth[square]).astype(np.float32)
            shape = (len(found), len(sample.xy_um))
            shares.append(sp.csr_array((share, (square, seen)), shape=shape))
            depths.append(depth)
            numbers.append(found[:, 2])
        return cls(tuple(shares), tuple(depths), np.concatenate(numbers))

    def mean_of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return means over the squares of what spots of all sections have, (spots, c)."""
        cuts = np.cumsum([share.shape[1] for share in self.shares])[:-1]
        parts = zip(self.shares, np.split(values, cuts), strict=True)
        return np.concatenate([share @ part for share, part in parts])

    def of_sections(
        self, expressions: Sequence[sp.csr_array[np.float32]]
    ) -> list[sp.csr_array[np.float32]]:
        """Return proportions of the squares of each section, given those of its spots."""
        parts = zip(self.shares, expressions, strict=True)
        return [sp.csr_array(share @ part) for share, part in parts]
