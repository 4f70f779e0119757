"""The samples of a TIFF as 8-bit RGB on white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from napari_stenhance.section.images.decoded.samples import (
    EXACT,
    Peek,
    Scaling,
    lay_on_white,
    scaling_of,
)
from napari_stenhance.section.images.image import ON_WHITE
from napari_stenhance.section.images.profile import cmyk_to_srgb
from napari_stenhance.section.images.tiff.codecs import DECODED_TO_RGB
from napari_stenhance.section.images.tiff.ycbcr import YCbCr

_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_SAMPLES = {
    _WHITE_IS_0: 1,
    _BLACK_IS_0: 1,
    _RGB: 3,
    _PALETTE: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _LAB: 3,
    _ICC_LAB: 3,
}
_KINDS = {4: "a mask", 10: "ITULab", 32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv"}
_ALPHA, _PREMULTIPLIED = 2, 1
_INK_SET, _LARGEST_SAMPLE = 332, 281
_OFTEN_JFIF = (6, 7)
_NO_ALPHA_SHARE = 0.5
"""Transparency is mostly none or all; another measurement is not."""


@dataclass(frozen=True)
class ColourConversion:
    """How the samples of an image become 8-bit RGB.

    Attributes
    ----------
    convert : callable
        Takes (y, x, samples), returns (y, x, 3) uint8.
    conversions, doubts : tuple of str
        What it does, and what was guessed, in words.
    profile : bytes or None
        What is left to be applied.
    """

    convert: Callable[[NDArray[Any]], NDArray[np.uint8]]
    conversions: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    profile: bytes | None = None


def choose_colours(
    page: Any, samples: int, peek: Peek, significant: int | None
) -> ColourConversion:
    """Choose how the samples of an image become 8-bit RGB; transparency is laid on white.

    Parameters
    ----------
    page : tifffile.TiffPage
    samples : int
        How many values a pixel has, those of other pages of the same image included.
    peek : callable
        Gives samples of the image; asked only where headers do not say what they mean.
    significant : int or None
        Bits of a sample that are in use, where metadata says so.

    Raises
    ------
    ValueError
        If their meaning is not known.
    """
    kind = _kind_of(page, samples)
    number = _SAMPLES[kind]
    largest = _largest(page, significant)
    colour = (block[..., :number] for block in peek())
    scaling, base, more = _base_of(page, kind, colour, largest)
    more = _More(more.said, (*more.doubts, *_doubts_of_jpeg(page, kind)))
    profile = page.iccprofile if kind != _CMYK else None
    if samples == number:
        return ColourConversion(base, (*scaling.said, *more.said), more.doubts, profile)
    means, scaled, doubts = _alpha_of(page, number, peek)
    if means is None:
        said = (*scaling.said, *more.said)
        return ColourConversion(lambda values: base(values[..., :number]), said, doubts, profile)

    def on_white(values: NDArray[Any]) -> NDArray[np.uint8]:
        rgb, alpha = base(values[..., :number]), scaled.apply(values[..., number])
        return lay_on_white(rgb, alpha, premultiplied=means == _PREMULTIPLIED)

    said = (*scaling.said, *more.said, ON_WHITE)
    return ColourConversion(on_white, said, (*more.doubts, *doubts), profile)


def _kind_of(page: Any, samples: int) -> int:
    """Tell what the samples are.

    Raises
    ------
    ValueError
        If they are nothing that becomes colours.
    """
    # Three pages of grey are the three colours.
    several = page.samplesperpixel == 1 and samples == 3
    kind = _RGB if several else int(page.photometric)
    if kind not in _SAMPLES or samples not in (_SAMPLES[kind], _SAMPLES[kind] + 1):
        what = _KINDS.get(kind, f"the kind {kind}")
        msg = f"the image has {samples} samples of {what}, not RGB"
        raise ValueError(msg)
    if kind in (_WHITE_IS_0, _BLACK_IS_0) and page.samplesperpixel == 1 and samples == 2:
        msg = "the image has 2 channels, not the 3 of RGB"
        raise ValueError(msg)
    if isinstance(page.bitspersample, tuple) or page.dtype is None:
        msg = f"the image has samples of {page.bitspersample} bits"
        raise ValueError(msg)
    if page.dtype.kind not in "buif":
        msg = f"the image has samples of the type {page.dtype}"
        raise ValueError(msg)
    ink = page.tags.valueof(_INK_SET)
    if kind == _CMYK and ink not in (None, 1):
        msg = "the image has inks that are not CMYK"
        raise ValueError(msg)
    return kind


def _largest(page: Any, significant: int | None) -> float | None:
    if significant is not None:
        return 2.0**significant - 1
    stated = page.tags.valueof(_LARGEST_SAMPLE)
    values = stated if isinstance(stated, tuple) else (stated,)
    return float(max(values)) if stated is not None else None


@dataclass(frozen=True)
class _More:
    """What is said of a conversion of colours."""

    said: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def _doubts_of_jpeg(page: Any, kind: int) -> tuple[str, ...]:
    if kind == _RGB and page.compression in _OFTEN_JFIF and page.is_jfif:
        doubt = (
            "The TIFF says that its colours are RGB, and its tiles, as JFIF, that they are YCbCr; "
            "look whether they are right."
        )
        return (doubt,)
    return ()


_Base = Callable[[NDArray[Any]], NDArray[np.uint8]]


def _base_of(
    page: Any, kind: int, colour: Any, largest: float | None
) -> tuple[Scaling, _Base, _More]:
    """Choose how samples without transparency become RGB."""
    bits = int(page.bitspersample)
    if kind == _PALETTE:
        table = _palette(page, bits)
        return EXACT, lambda v: table[v[..., 0]], _More(("a palette to RGB",))
    if kind in (_LAB, _ICC_LAB):
        if bits not in (8, 16):
            msg = f"the image is Lab of {bits} bits"
            raise ValueError(msg)
        return EXACT, lambda v: _from_lab(v, kind, bits), _More(("Lab to sRGB",))
    scaling = scaling_of(page.dtype, bits, colour, largest)
    if kind == _YCBCR and page.compression not in DECODED_TO_RGB:
        if bits != 8:
            msg = f"the image is YCbCr of {bits} bits"
            raise ValueError(msg)
        ycbcr = YCbCr.from_page(page)
        return scaling, ycbcr.to_rgb, _More(("YCbCr to RGB",))
    if kind == _CMYK:
        convert, said, doubts = cmyk_to_srgb(page.iccprofile)
        return scaling, lambda v: convert(scaling.apply(v)), _More((said,), doubts)
    if kind == _WHITE_IS_0:
        return scaling, lambda v: _grey(255 - scaling.apply(v)), _More(("white is 0",))
    if kind == _BLACK_IS_0:
        return scaling, lambda v: _grey(scaling.apply(v)), _More()
    if page.dtype.kind == "f":
        return scaling, lambda v: _without_nan(scaling.apply(v), v), _More()
    return scaling, scaling.apply, _More()


def _grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(values, 3, axis=-1)


def _without_nan(rgb: NDArray[np.uint8], values: NDArray[Any]) -> NDArray[np.uint8]:
    """Make pixels white of which any colour is no number."""
    rgb[~np.isfinite(values).all(axis=-1)] = 255
    return rgb


def _palette(page: Any, bits: int) -> NDArray[np.uint8]:
    if page.colormap is None or page.colormap.shape != (3, 2**bits) or page.dtype.kind not in "bu":
        msg = "the image has a palette that is not of its samples"
        raise ValueError(msg)
    # Some write palettes of 8 bits, where TIFF has 16; some 256, others 257 times what they mean.
    shift = 8 if page.colormap.max() > 255 else 0
    return (page.colormap.T >> shift).astype(np.uint8)


def _from_lab(values: NDArray[Any], kind: int, bits: int) -> NDArray[np.uint8]:
    """Convert Lab, relative to white, as TIFF (signed) or ICC (moved by 128) packs it."""
    steps = 2 ** (bits - 8)
    # Some say that all samples have a sign; lightness has none.
    values = values.astype(f"u{bits // 8}", copy=False)
    lab = np.empty(values.shape, np.float32)
    if kind == _LAB:
        lab[..., 0] = values[..., 0] * np.float32(100 / (2**bits - 1))
        lab[..., 1:] = values[..., 1:].astype(f"i{bits // 8}") / np.float32(steps)
    else:
        lab[..., 0] = values[..., 0] * np.float32(100 / (255 * steps))
        lab[..., 1:] = values[..., 1:] / np.float32(steps) - 128
    height, width, bands = values.shape
    image = pyvips.Image.new_from_memory(lab.tobytes(), width, height, bands, "float")
    return image.copy(interpretation="lab").colourspace("srgb").numpy()


def _alpha_of(page: Any, number: int, peek: Peek) -> tuple[int | None, Scaling, tuple[str, ...]]:
    """Tell what the sample beyond the colours means: the kind of transparency, or None."""
    bits = int(page.bitspersample)
    stated = next(iter(page.extrasamples), 0)
    values = [block[..., number] for block in peek()]
    scaling = scaling_of(page.dtype, bits, iter(values), None)
    scaled = [scaling.apply(block) for block in values]
    count = sum(block.size for block in scaled)
    opaque, clear = (sum(int((block == v).sum()) for block in scaled) for v in (255, 0))
    if count and clear == count:
        return None, scaling, ("It says that all of it is transparent, which is not believed.",)
    if stated in (_ALPHA, _PREMULTIPLIED):
        return int(stated), scaling, ()
    if opaque and opaque + clear >= _NO_ALPHA_SHARE * count:
        return _ALPHA, scaling, ()
    doubt = "Beside its colours it has a sample of unknown meaning, which is left out."
    return None, scaling, (doubt,)
