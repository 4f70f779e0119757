"""What encoders do, and the tiles of features that methods see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.cropping import Crops

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.grid import Grid
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.cache import Cache


class TileEncoder(Protocol):
    """Turns windows of a slide into feature vectors of superpixels.

    A window, `window_px` × `mpp`, holds a whole number of superpixels along each side.
    """

    @property
    def name(self) -> str:
        """As the option `encoder` takes it."""
        ...

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        ...

    @property
    def pitch_um(self) -> float:
        """Side of the superpixels that it makes, in micrometres."""
        ...

    @property
    def mpp(self) -> float:
        """Micrometres per pixel that it reads."""
        ...

    @property
    def window_px(self) -> int:
        """Side of a window; windows lie on one lattice anchored at the slide's pixel (0, 0)."""
        ...

    def fingerprint(self) -> str:
        """Identify weights and settings: the key of the cache."""
        ...

    def doubts(self) -> tuple[str, ...]:
        """Say what about this slide makes the features less trustworthy, one sentence each."""
        ...


class SuperpixelEncoder(TileEncoder, Protocol):
    """Turns whole windows of pixels into feature vectors of superpixels."""

    @property
    def halo_px(self) -> int:
        """A value depends on nothing outside its window and this many pixels around it."""
        ...

    @property
    def at_once(self) -> int | None:
        """How many threads may call `encode` at once; None for as many as compute."""
        ...

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode whole windows with their halo, (y, x, 3), into (rows, columns, dim).

        The halo lies around all of them together, and no superpixels are made of it. Values are
        kept as float16, so below 65,504.
        """
        ...


@dataclass(frozen=True)
class TileRequest:
    """Rectangles of a slide whose superpixels are asked for.

    Attributes
    ----------
    slide : Slide
    grid : Grid
        Of the encoder's pitch.
    tissue : ndarray of bool
        On the grid; of the rest nobody asks.
    boxes : sequence of (rows, columns)
        Slices of the grid, of whole windows; they may reach beyond it.
    workers : int
        Threads that may read.
    cache : Cache
    job : Job
        Looked at between batches.
    """

    slide: Slide
    grid: Grid
    tissue: NDArray[np.bool_]
    boxes: Sequence[tuple[slice, slice]]
    workers: int
    cache: Cache
    job: Job


@runtime_checkable
class SlideEncoder(TileEncoder, Protocol):
    """Reads a slide by itself: as it fills its batches, or sees more than what lies around."""

    def encode_tiles(self, request: TileRequest) -> Iterator[NDArray[np.float16]]:
        """Yield the superpixels of each rectangle, (rows, columns, dim); 0 without tissue."""
        ...


class CropEncoder(Protocol):
    """Turns crops into feature vectors, one each."""

    @property
    def name(self) -> str:
        """As the option `encoder` takes it."""
        ...

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        ...

    @property
    def side_px(self) -> int:
        """A crop of any size is resampled to so many pixels along each side."""
        ...

    @property
    def batch(self) -> int:
        """How many crops go through the network at a time; fewer take as long."""
        ...

    @property
    def at_once(self) -> int | None:
        """How many threads may call `encode` at once; None for as many as compute."""
        ...

    def fingerprint(self) -> str:
        """Identify weights and settings: the key of the cache."""
        ...

    def doubts(self, mpp: float, crop_um: float) -> tuple[str, ...]:
        """Say what makes features of crops of that size on such a slide less trustworthy."""
        ...

    def encode(self, crops: Crops) -> NDArray[np.float32]:
        """Encode crops into (n, dim).

        `numpy.asarray(crops)` is the array of them, (n, side_px, side_px, 3) of uint8.
        """
        ...


@dataclass(frozen=True)
class FeatureTile:
    """Features of a rectangle of superpixels, halo included.

    Attributes
    ----------
    values : ndarray of float32, shape (rows, columns, dim)
        Zero off the tissue. Standardised for each slide, unless raw ones were asked for.
    tissue : ndarray of bool, shape (rows, columns)
    centre_um : ndarray of float64, shape (rows, columns, 2)
        (x, y) of the centres in micrometres of the world.
    core : tuple of slice
        Rows and columns of the part that the caller wants back.
    """

    values: NDArray[np.float32]
    tissue: NDArray[np.bool_]
    centre_um: NDArray[np.float64]
    core: tuple[slice, slice]


def window_rows(encoder: TileEncoder) -> int:
    """Return how many superpixels a window spans along an axis."""
    return round(encoder.window_px * encoder.mpp / encoder.pitch_um)
