"""What an encoder is, and the tiles of features that methods see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Encoder(Protocol):
    """Turns whole windows of pixels into feature vectors of superpixels."""

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

    @property
    def halo_px(self) -> int:
        """A value depends on nothing outside its window and this many pixels around it."""
        ...

    def fingerprint(self) -> str:
        """Identify weights and settings: the key of the cache."""
        ...

    def doubts(self) -> tuple[str, ...]:
        """Say what about this slide makes the features less trustworthy, one sentence each."""
        ...

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode whole windows with their halo, (y, x, 3), into (rows, columns, dim).

        Several threads call it at once.
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


def window_rows(encoder: Encoder) -> int:
    """Return how many superpixels a window spans along an axis."""
    return round(encoder.window_px * encoder.mpp / encoder.pitch_um)
