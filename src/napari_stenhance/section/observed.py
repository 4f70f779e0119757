"""What the observations of a section are: spots, bins or cells, as their table tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_stenhance.section.spots import geometry_of, lie_anyhow, positions_px

if TYPE_CHECKING:
    import anndata as ad

Observed = Literal["spot", "bin", "cell", "cell or bead"]

_OF_CELLS = ("cell_area", "nucleus_area", "area_px", "Area.um2", "fov")
"""Columns that assays of cells write, and no others."""


def observed_in(spots: ad.AnnData, where: str) -> Observed:
    """Tell what one of the spots is.

    Parameters
    ----------
    spots : AnnData
        Of a section, or of a table of a result.
    where : str
        What errors name.

    Returns
    -------
    str
        "cell or bead" where all that is known is that they lie on no lattice.

    Raises
    ------
    InputError
        If size or positions cannot be read.
    """
    if any(column in spots.obs for column in _OF_CELLS):
        return "cell"
    if geometry_of(spots).spot_shape == "square":
        return "bin"
    return "cell or bead" if lie_anyhow(spots.obs, positions_px(spots, where)) else "spot"


def several(observed: Observed) -> str:
    """Return the word for several of them."""
    return " or ".join(f"{one}s" for one in observed.split(" or "))
