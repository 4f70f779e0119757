"""What a recogniser looks for, and what it found before anything large is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.section.spots import SpotGeometry


@dataclass(frozen=True)
class SectionFiles:
    """A recognised section.

    Attributes
    ----------
    name : str
    origin : Path
        The file that holds the counts.
    images : tuple of Path
        Files that may be the slide, by their names.
    xy : ndarray of float64, shape (n, 2)
        Positions in full-resolution pixels, to see whether they fit the image.
    mpp : float or None
        Micrometres per full-resolution pixel.
    mpp_source : str
        Where the scale comes from, in words; "inferred …" where it was not stated.
    read : callable
        Reads the spots; returns them and what there is to doubt about them.
    doubts : tuple of str
    pictures : mapping of str to float
        Pictures that were made smaller than the slide, by the end of their names, with their
        pixels for each full-resolution pixel.
    sizes : mapping of str to tuple
        Height and width of those pictures that are there.
    no_scale : str
        What to say if no scale is given, because the one that the files state cannot be used.
    without : str
        What to say if none of the images is the slide, and none was given.
    geometry : callable, optional
        Works out the spots' size from the micrometres per pixel that are used in the end, or None;
        returns it and what there is to doubt about it. Without it, the spots say, or their lattice.
    """

    name: str
    origin: Path
    images: tuple[Path, ...]
    xy: NDArray[np.float64]
    mpp: float | None
    mpp_source: str
    read: Callable[[], tuple[ad.AnnData, tuple[str, ...]]]
    doubts: tuple[str, ...] = ()
    pictures: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    no_scale: str = ""
    without: str = ""
    geometry: Callable[[float | None], tuple[SpotGeometry, str]] | None = None


def shares_stem(name: str, stem: str) -> bool:
    """Tell whether a file's stem is the given one, or begins with it and a separator."""
    own = Path(name).stem
    return own == stem or (own.startswith(stem) and own[len(stem)] in "_-. ")
