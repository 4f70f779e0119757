"""The two contrastive losses of STAMGC, in memory that grows with the spots and not their square.

Both are sums over all pairs of spots of a function of the cosine s between their embeddings. They
and their gradients are computed block by block, in one pass, to the same values as the dense
formulas; or estimated from randomly drawn spots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, softplus

_PAIRS = 2_000_000
"""Pairs in a block: 8 MB for each array of them."""
ANCHORS_MOST = 20_000
"""Spots that stand for all at one end of a pair, where those at the other end are drawn."""


@dataclass(frozen=True)
class Pairs:
    """What the losses know of the spots: the pruned graph, and pseudo-labels.

    Attributes
    ----------
    ends : Tensor of int64, shape (2, edges)
        Each edge in both directions.
    anchors : Tensor of int64, shape (anchors,)
        Spots with a neighbour; others have no positive.
    order : Tensor of int64, shape (n,)
        Spots sorted by pseudo-label.
    runs : tuple of (int, int)
        First and last + 1 of each pseudo-label in that order.
    """

    ends: Tensor
    anchors: Tensor
    order: Tensor
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def from_graph(
        cls, graph: sp.csr_array[np.float32], label: NDArray[np.int64], device: torch.device
    ) -> Pairs:
        """Prepare a symmetric 0/1 graph and a label for each spot, of at least two labels."""
        edges = sp.coo_array(graph)
        order = np.argsort(label, kind="stable")
        last = np.cumsum(np.unique(label, return_counts=True)[1]).tolist()
        return cls(
            ends=torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64)).to(device),
            anchors=torch.from_numpy(np.flatnonzero(np.diff(graph.indptr))).to(device),
            order=torch.from_numpy(order).to(device),
            runs=tuple(zip([0, *last[:-1]], last, strict=True)),
        )


def topological_loss(embedding: Tensor, pairs: Pairs, drawn: int | None = None) -> Tensor:
    """Return the mean over all ordered pairs of softplus(s) − A·s.

    Parameters
    ----------
    embedding : Tensor, shape (n, width)
    pairs : Pairs
    drawn : int, optional
        Estimate softplus over all pairs from so many spots drawn at random, without bias; by
        default exact. Of more than 20,000 spots, so many are drawn for the other end.
    """
    unit = normalize(embedding, dim=1)
    n = len(unit)
    first, second = pairs.ends
    on_edges = (_rows(unit, first) * _rows(unit, second)).sum() / n**2
    if drawn is None:
        return _MeanSoftplus.apply(unit) - on_edges
    columns = torch.randint(n, (drawn,), device=unit.device)
    anchors = unit if n <= ANCHORS_MOST else _rows(unit, _some(n, unit.device))
    return softplus(anchors @ _rows(unit, columns).T).mean() - on_edges


def regional_loss(embedding: Tensor, pairs: Pairs, drawn: int | None = None) -> Tensor:
    """Return the mean over anchors of −log(Σ neighbours exp(s) / Σ other pseudo-labels exp(s)).

    Parameters
    ----------
    embedding : Tensor, shape (n, width)
    pairs : Pairs
    drawn : int, optional
        Estimate the denominator of each anchor from so many spots of other pseudo-labels; by
        default exact. Its logarithm is then too small by cv² / (2 · drawn) on average, where cv,
        the coefficient of variation of exp(s), is below 0.5. Of more than 20,000 anchors, so many
        are drawn.
    """
    unit = normalize(embedding, dim=1)
    first, second = pairs.ends
    near = (_rows(unit, first) * _rows(unit, second)).sum(dim=1).exp()
    numerator = unit.new_zeros(len(unit)).index_add(0, first, near)
    order, anchors, ordered = pairs.order, pairs.anchors, _rows(unit, pairs.order)
    if drawn is None:
        denominator = _LogOthers.apply(ordered, pairs.runs)
    elif len(unit) <= ANCHORS_MOST:
        denominator = _log_others_drawn(ordered, ordered, pairs.runs, pairs.runs, drawn)
    else:
        at = _some(len(unit), unit.device)
        ends = torch.searchsorted(at, torch.tensor(pairs.runs, device=at.device)).tolist()
        denominator = _log_others_drawn(_rows(ordered, at), ordered, ends, pairs.runs, drawn)
        order = order[at]
        chosen = torch.zeros(len(unit), dtype=torch.bool, device=at.device)
        chosen[order] = True
        anchors = anchors[chosen[anchors]]
    in_order = unit.new_empty(len(unit)).index_copy(0, order, denominator)
    return (in_order[anchors] - numerator[anchors].log()).mean()


def _some(n: int, device: torch.device) -> Tensor:
    """Draw as many as may stand for n spots, ascending."""
    return torch.randperm(n, device=device)[:ANCHORS_MOST].sort().values


def _rows(unit: Tensor, at: Tensor) -> Tensor:
    """Return `unit[at]`, whose gradient is then summed in order: the same bits every time."""
    return unit.index_select(0, at)


class _MeanSoftplus(torch.autograd.Function):
    """Mean of softplus(u uᵀ) over all pairs."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor) -> Tensor:
        n = len(unit)
        total = unit.new_zeros((), dtype=torch.float64)
        gradient = torch.empty_like(unit)
        step = max(_PAIRS // n, 1)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            power = (unit[rows] @ unit.T).exp_()
            total += power.log1p().sum(dtype=torch.float64)
            # sigmoid(s) = e^s / (1 + e^s)
            gradient[rows] = power.div_(power + 1) @ unit
        ctx.save_for_backward(gradient.mul_(2 / n**2))
        return (total / n**2).to(unit.dtype)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        (gradient,) = ctx.saved_tensors
        return gradient * grad[0]


class _LogOthers(torch.autograd.Function):
    """log Σ exp(s) over the spots of other labels; spots sorted by label."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        ctx.save_for_backward(unit)
        ctx.runs = runs
        total = torch.empty_like(unit[:, 0])
        for rows, others in _blocks(unit, runs):
            total[rows] = sum((unit[rows] @ unit[o].T).exp_().sum(dim=1) for o in others)
        ctx.total = total
        return total.log()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        (unit,) = ctx.saved_tensors
        weight = grad[0] / ctx.total
        gradient = torch.zeros_like(unit)
        # A pair counts at both of its ends, and exp(s) is the same from either.
        for rows, others in _blocks(unit, ctx.runs):
            for other in others:
                power = (unit[rows] @ unit[other].T).exp_()
                power *= weight[rows, None] + weight[None, other]
                gradient[rows] += power @ unit[other]
        return gradient, None


def _blocks(
    unit: Tensor, runs: tuple[tuple[int, int], ...]
) -> list[tuple[slice, tuple[slice, ...]]]:
    """Cut the rows of each label into blocks; beside each, the spots of other labels."""
    n = len(unit)
    step = max(_PAIRS // n, 1)
    found = []
    for first, last in runs:
        others = tuple(s for s in (slice(0, first), slice(last, n)) if s.stop > s.start)
        found += [
            (slice(start, min(start + step, last)), others) for start in range(first, last, step)
        ]
    return found


def _log_others_drawn(
    anchors: Tensor,
    unit: Tensor,
    ends: Sequence[Sequence[int]],
    runs: Sequence[tuple[int, int]],
    drawn: int,
) -> Tensor:
    """Estimate `_LogOthers` from spots drawn anew, the same for all anchors of one label.

    Anchors are some or all of the spots, sorted by label as these; `ends` are to them what `runs`
    are to all.
    """
    n = len(unit)
    parts = []
    for (begin, end), (first, last) in zip(ends, runs, strict=True):
        others = n - (last - first)
        columns = torch.randint(others, (drawn,), device=unit.device)
        columns = torch.where(columns >= first, columns + (last - first), columns)
        mean = (anchors[begin:end] @ _rows(unit, columns).T).exp().mean(dim=1)
        parts.append(mean.log() + float(np.log(others)))
    return torch.cat(parts)
