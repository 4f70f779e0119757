"""YCbCr that no codec of images converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_SUBSAMPLING, _COEFFICIENTS, _REFERENCE = 530, 529, 532
_BT_601 = (0.299, 0.587, 0.114)
_FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


@dataclass(frozen=True)
class YCbCr:
    """How YCbCr becomes RGB, as TIFF states it.

    Attributes
    ----------
    coefficients : tuple of float
        What red, green and blue weigh in the luma.
    reference : tuple of float
        The samples of black and white, for luma and each chroma.
    """

    coefficients: tuple[float, ...] = _BT_601
    reference: tuple[float, ...] = _FULL_RANGE

    @classmethod
    def from_page(cls, page: Any) -> YCbCr:
        """Take what a page states, and what holds if it states nothing.

        Raises
        ------
        ValueError
            If it makes no sense.
        """
        coefficients = _numbers(page.tags.valueof(_COEFFICIENTS), _BT_601)
        reference = _numbers(page.tags.valueof(_REFERENCE), _FULL_RANGE)
        ranges = [reference[n + 1] - reference[n] for n in (0, 2, 4)]
        if min(coefficients) <= 0 or max(coefficients) >= 1 or min(ranges) <= 0:
            msg = f"its YCbCr is of coefficients {coefficients} and range {reference}"
            raise ValueError(msg)
        return cls(coefficients, reference)

    def to_rgb(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert samples, (y, x, 3) uint8."""
        red, green, blue = self.coefficients
        luma, cb, cr = (
            (np.arange(256, dtype=np.float32) - low) * np.float32(span / (high - low))
            for low, high, span in zip(
                self.reference[::2], self.reference[1::2], (255, 127, 127), strict=True
            )
        )
        y = luma[values[..., 0]]
        r = y + (cr * np.float32(2 - 2 * red))[values[..., 2]]
        b = y + (cb * np.float32(2 - 2 * blue))[values[..., 1]]
        g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(green)
        rgb = np.stack([r, g, b], axis=-1)
        return np.clip(rgb + np.float32(0.5), 0, 255).astype(np.uint8)


def full_range_to_rgb(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert YCbCr of 8 bits as JPEG means it.

    Raises
    ------
    ValueError
        If it has more bits.
    """
    if values.dtype != np.uint8:
        msg = f"it is YCbCr of the type {values.dtype}"
        raise ValueError(msg)
    return YCbCr().to_rgb(values)


@dataclass(frozen=True)
class Subsampled:
    """Tiles of YCbCr in which several pixels share their chroma: each holds blocks, row by row.

    Attributes
    ----------
    page : tifffile.TiffPage
    tile : tuple of int
        Height and width.
    factors : tuple of int
        Columns and rows of pixels that share a chroma.
    """

    page: Any
    tile: tuple[int, int]
    factors: tuple[int, int]

    @classmethod
    def of(cls, page: Any, tile: tuple[int, int]) -> Subsampled:
        """Take the factors that a page states; 2 × 2 if it states none, as TIFF says.

        Raises
        ------
        ValueError
            If it cannot be decoded.
        """
        stated = page.tags.valueof(_SUBSAMPLING)
        across, down = (2, 2) if stated is None else (int(stated[0]), int(stated[1]))
        if across not in (1, 2, 4) or down not in (1, 2, 4):
            msg = f"its YCbCr is subsampled by {across} × {down}"
            raise ValueError(msg)
        if page.bitspersample != 8 or page.samplesperpixel != 3:
            msg = f"its YCbCr has {page.samplesperpixel} samples of {page.bitspersample} bits"
            raise ValueError(msg)
        if (across, down) != (1, 1) and (page.planarconfig != 1 or page.predictor != 1):
            msg = "its YCbCr is subsampled, and its samples lie apart or are predicted"
            raise ValueError(msg)
        return cls(page, tile, (across, down))

    def decode(self, data: bytes, index: int, _: Any) -> NDArray[np.uint8]:
        """Return (rows, width, 3), each pixel with the chroma of its block."""
        import imagecodecs

        codec = int(self.page.compression)
        if self.page.fillorder == 2:
            data = bytes(imagecodecs.bitorder_decode(data))
        if codec != 1:
            data = tifffile.TIFF.DECOMPRESSORS[codec](data)
        rows, width = self.tile
        if not self.page.is_tiled:
            rows = min(rows, self.page.imagelength - index * rows)
        across, down = self.factors
        high, wide = -(-rows // down), -(-width // across)
        size = high * wide * (across * down + 2)
        if len(data) < size:
            msg = "it is shorter than its rows"
            raise ValueError(msg)
        blocks = np.frombuffer(data, np.uint8, size).reshape(high, wide, across * down + 2)
        rows_of_blocks = blocks[..., :-2].reshape(high, wide, down, across).swapaxes(1, 2)
        chroma = np.repeat(np.repeat(blocks[..., -2:], down, axis=0), across, axis=1)
        luma = rows_of_blocks.reshape(high * down, wide * across, 1)
        return np.concatenate([luma, chroma], axis=-1)[:rows, :width]


def _numbers(values: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    """Read rationals, which tifffile gives as a flat tuple of numerators and denominators."""
    if values is None:
        return default
    flat = [float(v) for v in values]
    if len(flat) == 2 * len(default):
        flat = [n / d if d else 0.0 for n, d in zip(flat[::2], flat[1::2], strict=True)]
    return tuple(flat) if len(flat) == len(default) else default
