"""What is drawn of more spots than learning needs: bins and cells come by the hundred thousand.

Below these numbers, which sections of spots do not reach, nothing is drawn and all is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEARNED_MOST = 200_000
"""Spots of all sections whose superpixels a network learns from."""
EPOCH_MOST = 25_000
"""Spots that an epoch goes through, drawn anew for each."""
HELD_OUT_MOST = 5_000
"""Spots, of those that a member holds out, that stop it and say how well it predicts."""
JUDGED_MOST = 25_000
"""Spots on which the rank of the gene basis is chosen, or an imputation is judged."""
WHOLE_MOST = 20_000
"""Spots that a network sees together to learn from them, of domains and imputation; of more, whole
windows of near ones are drawn, others for each network."""
WINDOW_MOST = 1_000
"""Spots of such a window."""


def some_of(
    number: int,
    most: int,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Draw at most so many of `number`, ascending; all, and nothing from `rng`, if they are few.

    With weights, those of more weight are drawn more often.
    """
    if number <= most:
        return np.arange(number)
    share = None if weights is None else weights / weights.sum()
    return np.sort(rng.choice(number, most, replace=False, p=share))


def of_each(drawn: NDArray[np.int64], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Split what was drawn of several sections together: which of each, numbered within it."""
    ends = np.cumsum(sizes)
    cuts = np.searchsorted(drawn, ends[:-1])
    return [
        part - (end - size)
        for part, end, size in zip(np.split(drawn, cuts), ends, sizes, strict=True)
    ]


def windows_of(xys: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.int64], ...]:
    """Cut the spots of several sections, numbered through, into what is drawn of them.

    Parameters
    ----------
    xys : sequence of ndarray, each of shape (n, 2)

    Returns
    -------
    tuple of ndarray of int64
        Windows, each of one section; a single one of all where there are few.
    """
    ends = np.cumsum([0, *map(len, xys)])
    if ends[-1] <= WHOLE_MOST:
        return (np.arange(ends[-1]),)
    return tuple(
        first + window
        for first, xy in zip(ends, xys, strict=False)
        for window in windows(xy, WINDOW_MOST)
    )


def said_of(name: str, spots: int) -> str:
    """Say that networks learn from windows of so many spots."""
    return (
        f"{name}: of {spots} spots each network learns from {WHOLE_MOST} at most, windows of near "
        "ones that are drawn for it."
    )


def some_windows(
    every: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Draw windows of as many spots as a network learns from; of few nothing is drawn."""
    if len(every) == 1:
        return list(every)
    order = rng.permutation(len(every))
    number = np.searchsorted(np.cumsum([len(every[n]) for n in order]), WHOLE_MOST, "right")
    return [every[n] for n in order[: max(int(number), 1)]]


def windows(xy: NDArray[np.float64], most: int) -> list[NDArray[np.int64]]:
    """Cut positions into windows of near ones, halving along the longer side until they are small.

    Returns
    -------
    list of ndarray of int64
        Indices of positions; near windows follow each other, and differ in size by one at most.
    """
    parts = [np.arange(len(xy))]
    while len(parts[0]) > most:
        halves = []
        for part in parts:
            axis = int(np.ptp(xy[part], axis=0).argmax())
            ordered = part[np.argsort(xy[part, axis], kind="stable")]
            halves += np.array_split(ordered, 2)
        parts = halves
    return parts
