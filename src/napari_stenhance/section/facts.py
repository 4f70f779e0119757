"""What is worked out about the spots of a section, beside what they state: places, scale, size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.registration import STATED, Registration
from napari_stenhance.section.spots import UNS_KEY, SpotGeometry, attach, geometry_of, positions_px
from napari_stenhance.section.stated import array_doubts, array_put_right, find_geometry, find_mpp

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


@dataclass(frozen=True, eq=False)
class SpotFacts:
    """What was worked out about spots.

    Attributes
    ----------
    mpp : float or None
        Micrometres per pixel.
    mpp_source : str
        Where that was found; empty if it was known.
    xy : ndarray of float64, shape (spots, 2)
        In pixels, where they are placed.
    obs : DataFrame
        With the columns of the array called what they are.
    obsm : mapping
        With spots where they are registered, if they are.
    geometry : SpotGeometry
    doubts : tuple of str
    """

    mpp: float | None
    mpp_source: str
    xy: NDArray[np.float64]
    obs: pd.DataFrame
    obsm: Mapping[str, Any]
    geometry: SpotGeometry
    doubts: tuple[str, ...]

    @classmethod
    def of_spots(
        cls, spots: ad.AnnData, mpp: float | None, registration: Registration | None, where: str
    ) -> SpotFacts:
        """Place spots, and work out what they do not state.

        Raises
        ------
        InputError
            If what they state cannot be right.
        """
        stated = placed = positions_px(spots, where)
        obsm, source, doubts = dict(spots.obsm), "", []
        if registration is not None:
            stated, obsm = registration.place(obsm, stated)
            placed = np.asarray(obsm["spatial"], dtype=np.float64)[:, :2]
        obs, turned = array_put_right(spots.obs, stated)
        if mpp is None:
            # A registration changes no scale: that is the slide's.
            mpp, source = find_mpp(obs, spots.uns, stated, where)
            if source.startswith("inferred"):
                doubts.append(f"The scale, {mpp:.4g} µm per pixel, is {source}.")
        if registration is not None:
            doubts.append(registration.doubt(stated, mpp))
        geometry, more = find_geometry(obs, spots.uns, placed, mpp, where)
        doubts += [*_shared(placed), *turned, *array_doubts(obs, placed), *more]
        return cls(mpp, source, placed, obs, obsm, geometry, tuple(doubts))


def without_facts(
    spots: ad.AnnData, mpp: float | None, registration: Registration | None, where: str
) -> tuple[ad.AnnData, set[str]]:
    """Return the spots of a section where they are stated, without what was worked out.

    Returns
    -------
    spots : AnnData
        Matrices are shared.
    doubts : set of str
        What was said of them where they were placed.
    """
    bare = attach(spots, geometry_of(spots))
    del bare.uns[UNS_KEY]
    found = SpotFacts.of_spots(bare, mpp, registration, where)
    said = {*found.doubts, *SpotFacts.of_spots(spots, mpp, registration, where).doubts}
    if found.geometry != geometry_of(spots):
        bare.uns[UNS_KEY] = spots.uns[UNS_KEY]
    if registration is not None:
        bare.obsm["spatial"] = bare.obsm.pop(STATED)
    return bare, said


def _shared(xy: NDArray[np.float64]) -> tuple[str, ...]:
    """Say how many observations share a position."""
    places = DistinctPositions.among(xy)
    if places.all_differ:
        return ()
    again = len(xy) - len(places.first)
    doubt = (
        f"{counted(again, 'spot', len(xy))} {agree(again, 'lies', 'lie')} at the very position of "
        "another: what learns from positions sums their counts; tables keep every spot."
    )
    return (doubt,)
