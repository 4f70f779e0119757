"""The samples of a TIFF as 8-bit RGB on white."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

Colours = Callable[[NDArray[Any]], NDArray[np.uint8]]

_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_SAMPLES = {_WHITE_IS_0: 1, _BLACK_IS_0: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_DECODED_TO_RGB = (6, 7, 33003, 33005, 34712, 34892, 50001, 34927)
"""Codecs of images, which give RGB whatever they hold inside."""
_ALPHA, _PREMULTIPLIED = 2, 1


def colours_of(page: Any, samples: int) -> Colours:
    """Choose how the samples of a page become 8-bit RGB; transparency is laid on white.

    Parameters
    ----------
    page : tifffile.TiffPage
    samples : int
        How many values a pixel has, those of other pages of the same image included.

    Raises
    ------
    ValueError
        If their meaning is not known.
    """
    # Three pages of grey are the three colours.
    kind = _RGB if samples == 3 and page.samplesperpixel == 1 else int(page.photometric)
    colours = _SAMPLES.get(kind, 0)
    extra = tuple(page.extrasamples)[:1] if samples == colours + 1 else ()
    if samples not in (colours, colours + 1) or not colours:
        msg = f"the image has {samples} samples of the kind {kind}, not RGB"
        raise ValueError(msg)
    if kind == _YCBCR and page.compression not in _DECODED_TO_RGB:
        msg = "the image is stored as YCbCr without JPEG"
        raise ValueError(msg)
    if page.dtype is None or page.dtype.kind not in "bu" or page.dtype.itemsize > 2:
        msg = f"the image has pixels of the type {page.dtype}, not 8 or 16 bits"
        raise ValueError(msg)
    if kind == _PALETTE and page.colormap is None:
        msg = "the image has a palette without colours"
        raise ValueError(msg)
    bits = int(page.bitspersample)

    def convert(values: NDArray[Any]) -> NDArray[np.uint8]:
        alpha = _eight_bits(values[..., colours], bits) if extra else None
        if kind == _PALETTE:
            table = (page.colormap.T >> 8).astype(np.uint8)
            rgb = table[values[..., 0]]
        else:
            rgb = _eight_bits(values[..., :colours], bits)
        if kind == _WHITE_IS_0:
            rgb = 255 - rgb
        if kind == _CMYK:
            rgb = _from_cmyk(rgb)
        if rgb.shape[-1] == 1:
            rgb = np.repeat(rgb, 3, axis=-1)
        if alpha is None or extra[0] not in (_ALPHA, _PREMULTIPLIED):
            return rgb
        return _on_white(rgb, alpha, premultiplied=extra[0] == _PREMULTIPLIED)

    return convert


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    if bits == 16:
        return (values >> 8).astype(np.uint8)
    return (values.astype(np.uint32) * 255 // (2**bits - 1)).astype(np.uint8)


def _from_cmyk(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, bands = values.shape
    data = np.ascontiguousarray(values).tobytes()
    image = pyvips.Image.new_from_memory(data, width, height, bands, "uchar")
    return image.copy(interpretation="cmyk").colourspace("srgb").numpy()


def _on_white(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], *, premultiplied: bool
) -> NDArray[np.uint8]:
    opaque = alpha[..., None].astype(np.uint16)
    front = rgb.astype(np.uint16) * (255 if premultiplied else opaque)
    return np.minimum((front + (255 - opaque) * np.uint16(255) + 127) // 255, 255).astype(np.uint8)
