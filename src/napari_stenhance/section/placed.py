"""A table of spots, placed: which of its rows are the section's, where they lie, at which scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import left_out
from napari_stenhance.section.positions import FoundPositions, find_positions
from napari_stenhance.section.samples import (
    choose_sample,
    library_doubts,
    one_sample,
)
from napari_stenhance.section.spots import finite_positions
from napari_stenhance.section.stated import array_put_right

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_ON_TISSUE = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), True),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), False),
}
_VALUES_MOST = 4


@dataclass(frozen=True)
class PlacedTable:
    """Which rows of an AnnData are the section's, and what is known of them before counts are read.

    Attributes
    ----------
    obs : DataFrame
        Of those rows.
    uns : mapping
        With the library of the one sample alone.
    xy : ndarray of float64, shape (rows, 2)
        As they are stored.
    in_um : bool
        They are in micrometres.
    rows : ndarray of bool, shape (observations,), or None
        None for all.
    sample : str or None
    doubts : tuple of str
    no_pixels : str
        As `FoundPositions` has it.
    """

    obs: pd.DataFrame
    uns: Mapping[str, Any]
    xy: NDArray[np.float64]
    in_um: bool
    rows: NDArray[np.bool_] | None
    sample: str | None
    doubts: tuple[str, ...]
    no_pixels: str = ""

    @classmethod
    def among(
        cls,
        obs: pd.DataFrame,
        uns: Mapping[str, Any],
        obsm: Mapping[str, Any],
        where: str,
        sample: str | None = None,
    ) -> PlacedTable:
        """Find the rows of the one sample that is meant, on tissue, and their positions.

        Raises
        ------
        InputError
            If there are no positions, or several samples of which none is named.
        """
        found = find_positions(obs, obsm, where)
        if len(found.xy) != len(obs):
            number = f"{len(found.xy)} positions for {len(obs)} spots"
            msg = f"{where}: there are {number}; write it again."
            raise InputError(msg)
        return cls.at(obs, uns, found, where, sample)

    @classmethod
    def at(
        cls,
        obs: pd.DataFrame,
        uns: Mapping[str, Any],
        found: FoundPositions,
        where: str,
        sample: str | None = None,
    ) -> PlacedTable:
        """Find the rows of the one sample that is meant, on tissue, at positions that are known.

        Raises
        ------
        InputError
            If a position is not finite, or there are several samples of which none is named.
        """
        rows, tissue = _on_tissue(obs)
        finite_positions(found.xy[rows], list(obs.index[rows]), where)
        chosen = choose_sample(obs[rows], uns, found.xy[rows], where, sample)
        if chosen is not None:
            rows[rows] = chosen
        obs, xy = obs[rows], found.xy[rows]
        obs, _ = array_put_right(obs, xy)
        uns = one_sample(obs, uns, sample)
        doubts = (*found.doubts, *tissue, *library_doubts(uns))
        some = None if rows.all() else rows
        return cls(obs, uns, xy, found.in_um, some, sample, doubts, found.no_pixels)

    def take(self, spots: ad.AnnData) -> ad.AnnData:
        """Return the section's rows of the whole table, with their positions in place."""
        if self.rows is not None:
            spots = spots[self.rows].copy()
            spots.uns = dict(self.uns)
        spots.obsm["spatial"] = self.xy
        return spots


def _on_tissue(obs: pd.DataFrame) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Tell which spots lie on tissue, by `in_tissue`, and what there is to say of it.

    All do where it says nothing that can be understood, or that none does.
    """
    import pandas as pd

    every = np.ones(len(obs), bool)
    if "in_tissue" not in obs:
        return every, ()
    codes, values = pd.factorize(obs["in_tissue"].astype(object), use_na_sentinel=False)
    said = [_ON_TISSUE.get(str(value).strip().lower()) for value in values]
    if None in said:
        some = ", ".join(map(str, values[:_VALUES_MOST]))
        doubt = f"in_tissue holds {some}, and not 1 and 0 alone: spots off the tissue are kept."
        return every, (doubt,)
    on = np.array(said, dtype=bool)[codes]
    if not on.any():
        return every, ("By in_tissue no spot lies on tissue: all are kept.",)
    off = int((~on).sum())
    left = (left_out(off, "spot", "off the tissue (in_tissue = 0)"),) if off else ()
    return on, left
