"""What a recogniser looks for, and what it found before anything large is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.formats import flat, tiff

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.spots import SpotGeometry

IMAGE_SUFFIXES = (*flat.SUFFIXES, *tiff.SUFFIXES)


@dataclass(frozen=True)
class Found:
    """A recognised section.

    Attributes
    ----------
    name : str
    origin : Path
        The file that holds the counts.
    image : Path or None
        The slide's file.
    xy : ndarray of float64, shape (n, 2)
        Positions in full-resolution pixels, to see whether they fit the image.
    mpp : float or None
        Micrometres per full-resolution pixel.
    mpp_source : str
        Where the scale comes from, in words; "inferred …" where it was not stated.
    read : callable
        Reads the spots; returns them and what there is to doubt about them.
    doubts : tuple of str
    geometry : callable, optional
        Works out the spots' size from the micrometres per pixel that are used in the end, or None;
        returns it and what there is to doubt about it. Without it, the spots say, or their lattice.
    """

    name: str
    origin: Path
    image: Path | None
    xy: NDArray[np.float64]
    mpp: float | None
    mpp_source: str
    read: Callable[[], tuple[ad.AnnData, tuple[str, ...]]]
    doubts: tuple[str, ...] = ()
    geometry: Callable[[float | None], tuple[SpotGeometry, str]] | None = None
