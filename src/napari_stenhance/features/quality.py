"""What lies on a slide that is no fault of the tissue: pen marks, blur, folds, air bubbles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.features.bands import by_label
from napari_stenhance.features.faults import bubbles, folds, pen_marks
from napari_stenhance.features.focus import COARSEST_UM, focus_of
from napari_stenhance.features.masks import (
    TissueKind,
    cached_rasters,
    find_tissue,
    mask_version,
    read_rasters,
)
from napari_stenhance.features.tissue import (
    BLACK_BELOW,
    glass_colour,
    thumbnail,
)
from napari_stenhance.running.job import Job
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.cache import Cache

VERSION = "quality1"
"""Of the way faults are found, in cache keys and in what identifies a run."""

KINDS = ("pen", "blur", "fold", "bubble")
"""Of faults, in words; the first has label 1."""

_PEN, _BLUR, _FOLD, _BUBBLE = range(1, 5)
_KIND = "quality"
_PITCH_UM = 8.0
_SPOT_SHARE = 0.5
_DOUBT_SHARE = 0.01
_SOFT = (
    "All of the tissue looks out of focus, as if blurred by 1.5 µm or more: look at the slide, for "
    "nothing that is learned from it or predicted on it sees nuclei as they are."
)


@dataclass(frozen=True, eq=False)
class Quality:
    """The faults of one slide.

    Attributes
    ----------
    grid : Grid
        Of 8 µm.
    labels : ndarray of uint8, shape `grid.shape`
        0 where there is no fault, else 1 + its place in `KINDS`; marks and bubbles on the glass
        too.
    tissue : ndarray of bool, shape `grid.shape`
        The tissue, and where black ink hides it.
    soft : bool
        All of it looks out of focus: then nothing is labelled for what is no worse than the rest.
    """

    grid: Grid
    labels: NDArray[np.uint8]
    tissue: NDArray[np.bool_]
    soft: bool = False

    @property
    def focus_judged(self) -> bool:
        """Whether the slide's pixels are fine enough to tell what is out of focus."""
        return self.grid.mpp <= COARSEST_UM

    @property
    def area_mm2(self) -> float:
        """Of the tissue."""
        return float(self.tissue.sum() * self.grid.pitch_um**2 / 1e6)

    @property
    def shares(self) -> dict[str, float]:
        """Which share of the tissue each kind of fault covers; blur only where it was judged."""
        number = np.bincount(self.labels[self.tissue], minlength=len(KINDS) + 1)
        share = number / max(int(self.tissue.sum()), 1)
        return {
            kind: float(share[label])
            for label, kind in enumerate(KINDS, 1)
            if label != _BLUR or self.focus_judged
        }

    def describe(self) -> str:
        """Say in one line how much of the tissue each kind of fault covers."""
        found = ", ".join(f"{share:.1%} {kind}" for kind, share in self.shares.items())
        coarse = "" if self.focus_judged else f"; {self.grid.mpp:.3g} µm pixels do not show blur"
        soft = "; all of it looks out of focus" if self.soft else ""
        return f"Quality: of {self.area_mm2:.2f} mm² of tissue {found}{coarse}{soft}"

    def on_fault(self, xy_um: NDArray[np.float64], geometry: SpotGeometry) -> NDArray[np.bool_]:
        """Tell which spots lie on a fault: with at least half of the tissue under them.

        Parameters
        ----------
        xy_um : ndarray of float64, shape (spots, 2)
        geometry : SpotGeometry
        """
        under = Footprints.under(self.grid, xy_um, geometry, self.tissue)
        faulty = (self.labels[under.row, under.column] > 0).astype(np.float64)
        number = under.counts()
        on_fault = np.bincount(under.spot, faulty, minlength=len(xy_um))
        most: NDArray[np.bool_] = (number > 0) & (on_fault >= _SPOT_SHARE * number)
        return most

    def doubt(self, left_out: int, spots: int) -> str:
        """Say how much is faulty, if it is more than 1 % of the tissue or a spot lies there.

        If all of it looks out of focus, that is said too.

        Parameters
        ----------
        left_out, spots : int
            How many spots lie on a fault, of how many; of a slide without spots, 0.

        Returns
        -------
        str
            A sentence or two, or nothing.
        """
        whole = sum(self.shares.values())
        if whole <= _DOUBT_SHARE and not left_out:
            return _SOFT if self.soft else ""
        found = ", ".join(f"{share:.1%} {kind}" for kind, share in self.shares.items() if share)
        said = f"Faults of the slide cover {whole:.1%} of its tissue ({found or 'hardly any'})"
        if left_out:
            are = "spot on them is" if left_out == 1 else "spots on them are"
            said += f"; {left_out} of {spots} {are} not learned from"
        said += "; what is predicted there is not to be trusted."
        return f"{said} {_SOFT}" if self.soft else said


def find_quality(slide: Slide, kind: TissueKind, cache: Cache, job: Job) -> Quality:
    """Find the faults of a slide, or take them from the cache.

    Parameters
    ----------
    slide : Slide
    kind : {"density", "histosweep"}
        How tissue is told from glass.
    cache : Cache
    job : Job

    Raises
    ------
    InputError
        If no tissue is found, or there is no such kind of mask.
    Cancelled
        If the job was cancelled.
    """
    grid = Grid.over(slide, _PITCH_UM)
    tissue = find_tissue(slide, grid, kind, cache, job)
    key = _key(slide, grid, kind)

    def make() -> dict[str, NDArray[Any]]:
        labels, seen, soft = _look(slide, grid, tissue, job)
        return {"labels": labels, "tissue": seen, "soft": np.full((1, 1), soft)}

    return _of_rasters(grid, cached_rasters(cache, _KIND, key, make, job))


def known_quality(slide: Slide, kind: TissueKind, cache: Cache) -> Quality | None:
    """Return the faults of a slide if they were found before; nothing of it is read."""
    if slide.mpp is None:
        return None
    grid = Grid.over(slide, _PITCH_UM)
    key = _key(slide, grid, kind)
    if not cache.has(_KIND, key):
        return None
    return _of_rasters(grid, read_rasters(cache, _KIND, key))


def _key(slide: Slide, grid: Grid, kind: TissueKind) -> str:
    """Name an entry by the file's state, not its content: to look it up costs nothing."""
    # The mask is that of before; whether all is out of focus is known since.
    return f"{slide.token}-{VERSION}.1-{mask_version(slide, kind)}-{grid.key()}"


def _of_rasters(grid: Grid, rasters: dict[str, NDArray[np.uint8]]) -> Quality:
    soft = bool(rasters["soft"].any())
    return Quality(grid, rasters["labels"], rasters["tissue"].astype(bool), soft)


def _look(
    slide: Slide, grid: Grid, tissue: NDArray[np.bool_], job: Job
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], bool]:
    """Return faults, the tissue with what black ink hides of it, and if all is out of focus."""
    pixels = thumbnail(slide, grid, f"Looking for faults of {slide.name}", job)
    glass = glass_colour(pixels, pixels.max(axis=2) >= BLACK_BELOW)
    job.check()
    labels = np.zeros(grid.shape, np.uint8)
    focus = focus_of(slide, grid, tissue, job)
    if focus is not None:
        labels[focus.soft] = _BLUR
    job.check()
    labels[folds(pixels, glass, tissue, grid.pitch_um)] = _FOLD
    job.check()
    labels[bubbles(pixels, glass, grid.pitch_um)] = _BUBBLE
    ink = pen_marks(pixels, glass, grid.pitch_um)
    labels[ink] = _PEN
    # Black ink is no tissue to a mask: what touches tissue hides some.
    if not ink.any():
        return labels, tissue, focus is not None and focus.everywhere
    label = np.empty(grid.shape, np.int32)
    hides = np.zeros(ndimage.label(ink & ~tissue, output=label) + 1, bool)
    hides[np.unique(label[ndimage.binary_dilation(tissue, iterations=2)])] = True
    hides[0] = False
    return labels, tissue | by_label(hides, label), focus is not None and focus.everywhere
