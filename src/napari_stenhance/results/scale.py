"""On which scale a gene is shown, in windows and in figures: the 1st to 99th percentile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource

SAMPLED = 1024
"""Of how many pixels a side the values are, at most, that give a scale."""


def common_extent(shape: tuple[int, int], factors: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shape of each level when all cover the same extent, none less than its data."""
    rows, columns = (-(-n // max(factors)) * max(factors) for n in shape)
    return [(rows // factor, columns // factor) for factor in factors]


def sampled_level(shapes: Sequence[tuple[int, int]], most: int = SAMPLED) -> int:
    """Return the level whose values give a scale, of levels that each halve the one before."""
    targets = common_extent(shapes[0], [2**level for level in range(len(shapes))])
    fits = (level for level, shape in enumerate(targets) if max(shape) <= most)
    return next(fits, len(shapes) - 1)


def gene_limits(run: GeneSource, gene: str, what: What = "expression") -> tuple[float, float]:
    """Return the scale of a gene of a run, or of its spread, from its values over the tissue."""
    levels = run.levels(gene, what)
    values = levels.part(sampled_level(levels.shapes))
    return limits(values[np.isfinite(values)])


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the 1st and 99th percentile; a range that is never empty."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + max(abs(low) * 1e-3, 1e-3))


def said_ends(ends: tuple[float, float]) -> tuple[str, str]:
    """Write two numbers as exactly as tells them apart."""
    low, high = ends
    apart = high - low
    decimals = 2 if not 0 < apart < np.inf else int(np.clip(1 - np.floor(np.log10(apart)), 2, 8))
    return f"{low:.{decimals}f}", f"{high:.{decimals}f}"
