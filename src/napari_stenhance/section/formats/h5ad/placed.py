"""A table of spots, placed: which of its rows are the section's, where they lie, at which scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import SectionFiles
from napari_stenhance.section.picture import picture_in
from napari_stenhance.section.positions import find_positions
from napari_stenhance.section.samples import (
    choose_sample,
    file_name,
    library_doubts,
    one_sample,
)
from napari_stenhance.section.space_ranger import refuse_picture_pixels
from napari_stenhance.section.spots import finite_positions
from napari_stenhance.section.stated import (
    array_put_right,
    find_mpp,
    scale_factors,
    stated_mpp,
)

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

    def files(
        self,
        name: str,
        origin: Path,
        images: tuple[Path, ...],
        read: Callable[[], tuple[ad.AnnData, tuple[str, ...]]],
    ) -> SectionFiles:
        """Find the scale of the spots, of which the counts are read later."""
        mpp, source, no_scale = None, "unknown", ""
        where = str(origin)
        try:
            if self.in_um:
                mpp, source = stated_mpp(self.uns, where)
            else:
                refuse_picture_pixels(self.obs, self.xy, scale_factors(self.uns)[1], where)
                mpp, source = find_mpp(self.obs, self.uns, self.xy, where)
        except InputError as error:
            if error.option != "mpp":
                raise
            # The user may give another.
            no_scale = str(error)
        if self.sample is not None:
            name = f"{name}-{file_name(self.sample)}"
        return SectionFiles(
            name,
            origin,
            images,
            self.xy,
            mpp,
            source,
            read,
            self.doubts,
            no_scale=no_scale,
            no_pixels=self.no_pixels,
            in_um=self.in_um,
            picture=picture_in(self.uns),
        )

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
    left = (f"{off} spots off the tissue (in_tissue = 0) were left out.",) if off else ()
    return on, left
