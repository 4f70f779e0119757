"""Which genes `robust` learns from, and how spots and cells are brought to one scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import variance
from napari_stenhance.methods.sinca.metacells import Metacells
from napari_stenhance.methods.sinca.protocol import SpotCounts
from napari_stenhance.methods.sinca.training import Values
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.spots import log1p_cp10k

LEAST_SHARED = 10
_LEAST_SHARE = 0.05
_SMALL = np.float32(1e-6)


def counted_well(spots: SpotCounts) -> NDArray[np.bool_]:
    """Tell which spots have more than 5 % of the median count of the shared genes."""
    shared = np.asarray(spots.counts.sum(axis=1), np.float64).ravel()
    enough: NDArray[np.bool_] = shared > _LEAST_SHARE * np.median(shared)
    return enough


@dataclass(frozen=True)
class StandardGenes:
    """Genes that are learned from, standardised.

    CP10k of what is seen counts the shared genes alone, so that spots and cells are alike; targets
    count all that a spot has, as the result does.

    Attributes
    ----------
    chosen : ndarray of int64, shape (genes,)
        Among the shared genes, ascending.
    mean, deviation : ndarray of float32, shape (genes,)
        Of log1p CP10k, over spots with enough counts.
    clip : float
        In standard deviations.
    cells, source : Tensor, shape (units, genes)
        See `Values`.
    """

    chosen: NDArray[np.int64]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    clip: float
    cells: Tensor
    source: Tensor

    @classmethod
    def among(
        cls,
        spots: SpotCounts,
        with_counts: NDArray[np.bool_],
        units: Metacells,
        genes: int,
        clip: float,
        device: torch.device,
    ) -> StandardGenes:
        """Choose genes, and standardise them in the units.

        Parameters
        ----------
        spots : SpotCounts
            Those that are looked at.
        with_counts : ndarray of bool, shape (spots,)
            Which of them have enough counts.
        units : Metacells
        genes : int
            At most so many.
        clip : float
        device : torch.device

        Raises
        ------
        InputError
            If too few genes vary.
        """
        metacells = sp.csr_array(units.counts[:, spots.columns])
        seen = [_of_shared(spots.counts)[np.flatnonzero(with_counts)], _of_shared(metacells)]
        spread = [variance([sp.csr_array(one)]) for one in seen]
        varies = np.flatnonzero((spread[0] > 0) & (spread[1] > 0))
        if len(varies) < LEAST_SHARED:
            msg = (
                f"{spots.name}: only {counted(len(varies), 'gene')} that the cells have too "
                f"{agree(len(varies), 'differs', 'differ')} between "
                f"spots and between cells; at least {LEAST_SHARED} are needed to learn from."
            )
            raise InputError(msg)
        rank = sum(np.argsort(np.argsort(-s[varies], kind="stable")) for s in spread)
        chosen = np.sort(varies[np.argsort(rank, kind="stable")[:genes]])
        of_spots, of_cells = (one[:, chosen].toarray() for one in seen)
        # Rounding may give a constant gene a variance, but no standard deviation.
        mean, deviation = of_spots.mean(axis=0), np.maximum(of_spots.std(axis=0), _SMALL)
        cells = _standardised(
            of_cells, of_cells.mean(axis=0), np.maximum(of_cells.std(axis=0), _SMALL), clip
        )
        source = units.log1p_cp10k(spots.columns[chosen])
        on = (torch.tensor(part, dtype=torch.float32, device=device) for part in (cells, source))
        return cls(chosen, mean, deviation, clip, *on)

    def seen(self, spots: SpotCounts, with_counts: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the genes of spots as they are seen, (spots, genes), dense.

        A spot nearly without counts says nothing of its own; those around it do.
        """
        dense = _of_shared(spots.counts)[:, self.chosen].toarray()
        seen = _standardised(dense, self.mean, self.deviation, self.clip)
        seen[~with_counts] = 0
        return seen

    def values(self, spots: SpotCounts, with_counts: NDArray[np.bool_]) -> Values:
        """Return what training sees of spots and units."""
        target = log1p_cp10k(sp.csr_array(spots.counts[:, self.chosen]), spots.library).toarray()
        on = (
            torch.tensor(part, dtype=torch.float32, device=self.cells.device)
            for part in (self.seen(spots, with_counts), target)
        )
        seen, measured = on
        return Values(seen, self.cells, measured, self.source)


def _of_shared(counts: sp.csr_array[np.float32]) -> sp.csr_array[np.float32]:
    return log1p_cp10k(counts, np.asarray(counts.sum(axis=1), np.float64).ravel())


def _standardised(
    values: NDArray[np.float32],
    mean: NDArray[np.float32],
    deviation: NDArray[np.float32],
    clip: float,
) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.clip((values - mean) / deviation, -clip, clip)
    return found
