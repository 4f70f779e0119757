"""JPEG 2000 files, through imagecodecs: the whole is decoded at once."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.section.images.image import (
    ON_WHITE,
    STRIP,
    SWELLS_MOST,
    ImageFormat,
    ImageSource,
    has_suffix,
)
from napari_stenhance.section.images.memory import need_memory
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BOXES, _STREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_END, _ZEROS = b"\xff\xd9", bytes(16)
_SUFFIXES = (".jp2", ".j2k", ".jpx")
_HEADER = 2**20
"""Of a file: where boxes that describe it lie, before its colours."""
_BYTES_DECODING = 6
"""Of a sample while it is decoded: 32 bits, and what is made of them."""


@dataclass(frozen=True)
class _Header:
    """What a file says of itself before its pixels."""

    height: int
    width: int
    depths: tuple[int, ...]
    profile: bytes | None
    alpha: bool

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as file:
            start = file.read(_HEADER)
        at = start.find(_STREAM)
        if at < 0 or len(start) < at + 42:
            msg = "it has no header of JPEG 2000"
            raise ValueError(msg)
        right, bottom, left, top = struct.unpack(">4I", start[at + 8 : at + 24])
        (samples,) = struct.unpack(">H", start[at + 40 : at + 42])
        about = start[at + 42 : at + 42 + 3 * samples]
        if not 1 <= samples <= 4 or len(about) < 3 * samples:
            msg = f"it has {samples} samples a pixel, not grey or RGB"
            raise ValueError(msg)
        if any(one & 0x80 for one in about[::3]):
            msg = "its samples have a sign"
            raise ValueError(msg)
        boxes = start[:at]
        return cls(bottom - top, right - left, tuple(one + 1 for one in about[::3]),
                   _profile(boxes), _has_alpha(boxes))  # fmt: skip


def _box(boxes: bytes, name: bytes) -> bytes:
    """Return the content of a box; empty if it is not there."""
    at = boxes.find(name)
    if at < 4:
        return b""
    (length,) = struct.unpack(">I", boxes[at - 4 : at])
    return boxes[at + 4 : at - 4 + length]


def _profile(boxes: bytes) -> bytes | None:
    colr = _box(boxes, b"colr")
    return colr[3:] if colr[:1] in (b"\2", b"\3") else None


def _has_alpha(boxes: bytes) -> bool:
    """Tell whether the last channel is said to be the opacity of all others."""
    channels = _box(boxes, b"cdef")[2:]
    kinds = [channels[n + 2 : n + 4] for n in range(0, len(channels) - 5, 6)]
    return bool(kinds) and kinds[-1] == b"\0\1"


def _open(path: Path) -> ImageSource:
    with reading(path, "this JPEG 2000", "copy it again, or export it as tiled TIFF"):
        header = _Header.read(path)
        _check(path, header)
    deep = max(header.depths) > 8
    return ImageSource(
        path,
        (header.height, header.width),
        lambda: _strips(path, header),
        profile=header.profile,
        grey=len(header.depths) <= 2,
        conversions=(
            *(("samples of more than 8 bits to 8, by the range in use",) if deep else ()),
            *((ON_WHITE,) if header.alpha else ()),
        ),
    )


def _check(path: Path, header: _Header) -> None:
    """Refuse what is no slide, or claims more than the file or the memory can hold.

    Raises
    ------
    ValueError
        If its header cannot be.
    InputError
        If decoding it takes too much memory.
    """
    size = f"{header.width} × {header.height} px"
    if min(header.width, header.height) < 1 or len(set(header.depths)) > 1:
        msg = f"its size, {size} of {header.depths} bits, cannot be"
        raise ValueError(msg)
    if header.depths[0] > 16:
        msg = f"its samples have {header.depths[0]} bits, not 8 or 16"
        raise ValueError(msg)
    samples = len(header.depths)
    if samples not in ((2, 4) if header.alpha else (1, 3)):
        msg = f"it has {samples} samples a pixel, not grey or RGB"
        raise ValueError(msg)
    pixels = header.width * header.height * samples
    if pixels > SWELLS_MOST * path.stat().st_size:
        msg = f"it claims {size}, more than the file can hold"
        raise ValueError(msg)
    advice = "export it as tiled TIFF"
    need_memory(path, pixels * _BYTES_DECODING, "one JPEG 2000", advice)


def _strips(path: Path, header: _Header) -> Iterator[NDArray[np.uint8]]:
    import imagecodecs
    import numpy as np

    from napari_stenhance.section.images.decoded.samples import Scaling, lay_on_white, scaling_of

    with reading(path, "this JPEG 2000", "copy it again, or export it as tiled TIFF"):
        # Colours of the kind sYCC come as RGB.
        data = path.read_bytes()
        # The decoder takes zeros for parts without detail.
        if data.endswith(_ZEROS) and not data.rstrip(b"\0").endswith(_END):
            msg = "it ends early"
            raise ValueError(msg)
        pixels = np.asarray(imagecodecs.jpeg2k_decode(data))
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        expected = (header.height, header.width, len(header.depths))
        if pixels.shape != expected:
            msg = f"it holds {math.prod(pixels.shape)} samples instead of {math.prod(expected)}"
            raise ValueError(msg)
    bits = header.depths[0]
    top = 2.0**bits - 1
    if bits > 8 and not header.alpha:
        top = min(top, scaling_of(pixels.dtype, 16, iter([pixels]), None).top)
    scaling = Scaling(top, f"{bits}-bit", exact=bits == 8)
    for row in range(0, header.height, STRIP):
        eight = scaling.apply(pixels[row : row + STRIP])
        alpha = eight[..., -1] if header.alpha else None
        colours = eight[..., :-1] if header.alpha else eight
        rgb = np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours
        yield np.ascontiguousarray(rgb) if alpha is None else lay_on_white(rgb, alpha)


FORMAT = ImageFormat(
    "JPEG 2000",
    _SUFFIXES,
    lambda path, start: start.startswith((_BOXES, _STREAM)) or has_suffix(*_SUFFIXES)(path, start),
    _open,
)
