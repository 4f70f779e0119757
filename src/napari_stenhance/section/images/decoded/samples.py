"""Samples of any depth as 8-bit colours on white, by the range that is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.section.images.image import DEPTHS

_OVER = 1.05
"""By how much floating-point numbers may exceed their range: interpolation overshoots."""

Peek = Callable[[], Iterator[NDArray[Any]]]
"""Gives blocks of samples, (rows, width, samples), that stand for the whole image."""


@dataclass(frozen=True)
class Scaling:
    """How samples become 8 bits.

    Attributes
    ----------
    top : float
        What becomes 255; 0 stays 0.
    kind : str
        What they are, in words.
    exact : bool
        They are 8 bits already.
    """

    top: float
    kind: str
    exact: bool = False

    @property
    def said(self) -> tuple[str, ...]:
        """The conversion in words; empty if there is none."""
        return () if self.exact else (f"{self.kind} samples, 0 to {self.top:g}, to 8 bits",)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        steps = np.arange(2**16, dtype=np.float64) * (255 / self.top)
        return np.minimum(np.rint(steps), 255).astype(np.uint8)

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale samples; what lies beyond the range is its end, and what is no number is 255."""
        if self.exact:
            return values.astype(np.uint8, copy=False)
        if values.dtype.kind in "bu" and values.dtype.itemsize <= 2:
            return np.take(self._table, values)
        numbers = np.where(np.isfinite(values), values, self.top) * (255 / self.top)
        return np.clip(np.rint(numbers), 0, 255).astype(np.uint8)


EXACT = Scaling(255, "8-bit", exact=True)


def scaling_of(
    dtype: np.dtype[Any], bits: int, values: Iterator[NDArray[Any]], stated: float | None
) -> Scaling:
    """Choose the range of samples: what is stated, or else the depth that those in use need.

    Parameters
    ----------
    dtype : dtype
    bits : int
        Of a sample.
    values : iterator of ndarray
        Samples that stand for all; asked only where the type does not say.
    stated : float or None
        The largest sample that the file says there can be.

    Raises
    ------
    ValueError
        If they have no range that is known.
    """
    if dtype.kind in "bu" and bits <= 16 and bits != 16:
        return Scaling(2.0**bits - 1, f"{bits}-bit", exact=bits == 8)
    kind = "floating-point" if dtype.kind == "f" else f"{bits}-bit"
    low, high = _ends(values)
    own = bits - (dtype.kind == "i")
    if stated is not None and dtype.kind != "f" and high <= stated < 2.0**own - 1:
        return Scaling(stated, kind)
    if dtype.kind == "f":
        tops = [1.0, *(2.0**depth - 1 for depth in DEPTHS)]
        top = next(
            (top for top in tops if high <= top * _OVER and -low <= high * (_OVER - 1)), None
        )
    else:
        depths = [depth for depth in DEPTHS if depth <= own]
        # Of more bits, all or no more than 16 are in use, or nobody knows.
        if own < 16 or high >= 2.0 ** (own - 2):
            depths = sorted({*depths, own})
        top = next((2.0**depth - 1 for depth in depths if high < 2.0**depth), None)
        top = None if low < 0 else top
    if top is None:
        msg = (
            f"the image has {kind} samples from {low:g} to {high:g}, and nothing says which are "
            "black and white"
        )
        raise ValueError(msg)
    return Scaling(top, kind)


def _ends(values: Iterator[NDArray[Any]]) -> tuple[float, float]:
    """Find the smallest and the largest finite value, 0 included."""
    low = high = 0.0
    for block in values:
        finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def lay_on_white(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], *, premultiplied: bool = False
) -> NDArray[np.uint8]:
    """Lay colours (y, x, 3) of an opacity (y, x) on white."""
    opaque = alpha[..., None].astype(np.uint16)
    front = rgb.astype(np.uint16) * (255 if premultiplied else opaque)
    return np.minimum((front + (255 - opaque) * np.uint16(255) + 127) // 255, 255).astype(np.uint8)
