"""Samples of any depth as 8-bit colours on white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEPTHS = (8, 10, 12, 14, 16)


def depth_in_use(highest: int) -> int:
    """Return the bits that a camera's samples have whose highest value is so much."""
    return next(bits for bits in _DEPTHS if highest < 2**bits or bits == _DEPTHS[-1])


def to_eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Take whole numbers of so many bits to 8; what lies above is white."""
    if values.dtype == np.uint8 and bits == 8:
        return values
    return (np.minimum(values, 2**bits - 1).astype(np.uint32) * 255 // (2**bits - 1)).astype("u1")


def fraction_to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Take values from 0 to 1 to 8 bits; what is no number is black."""
    whole = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return (np.clip(whole, 0, 1) * 255 + 0.5).astype(np.uint8)


def lay_on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay colours (y, x, 3) of an opacity (y, x) on white."""
    opaque = alpha[..., None].astype(np.uint16)
    return ((rgb * opaque + (255 - opaque) * np.uint16(255) + 127) // 255).astype(np.uint8)
