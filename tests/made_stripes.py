"""Spots in stripes, each a domain."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from napari_stenhance.methods.stamgc.protocol import Slice


def stripes(
    side: int = 20, domains: int = 3, genes: int = 60, depth: float = 1.0, seed: int = 0
) -> tuple[Slice, np.ndarray]:
    """A square of spots in stripes; each stripe has marker genes, each gene its own level."""
    rng = np.random.default_rng(seed)
    row, column = (a.ravel() for a in np.indices((side, side)))
    truth = column * domains // side
    level = rng.gamma(1.0, 1.0, genes) * depth
    marker = np.arange(genes) % domains
    rate = level * np.where(marker == truth[:, None], 4.0, 1.0)
    counts = sp.csr_array(rng.poisson(rate).astype(np.float32))
    xy = np.column_stack([column, row]) * 100.0
    names = tuple(f"G{n}" for n in range(genes))
    return Slice("stripes", xy, 100.0, names, counts=counts), truth
