"""What headers inside a TIFF say, read before a decoder believes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_JPEG_XR_IMAGE = (0xBCC0, 0xBCC1)
"""Tags of where it lies, and how long it is."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_pages(path: Path) -> None:
    """Refuse pages that follow each other in a circle: tifffile finds only small ones.

    Raises
    ------
    ValueError
        If they do.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
        big = int.from_bytes(head[2:4], order) == 43
        # NDPI has offsets of 64 bits in what else is a small TIFF; tifffile goes by the name, too.
        ndpi = path.suffix.lower() == ".ndpi" and head[:4] == b"II*\0"
        width, count, tag = (8, 8, 20) if big else (8, 2, 12) if ndpi else (4, 2, 12)
        first = 8 if big else 4
        page = int.from_bytes(head[first : first + width], order)
        seen = set()
        while page:
            if page in seen:
                msg = "its pages follow each other in a circle"
                raise ValueError(msg)
            seen.add(page)
            file.seek(page)
            tags = int.from_bytes(file.read(count), order)
            file.seek(page + count + tag * tags)
            page = int.from_bytes(file.read(width), order)


def size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Read (height, width) from a JPEG's frame header; None if it has none that can be read."""
    at = _frame_of_jpeg(data)
    if at is None:
        return None
    return (
        int.from_bytes(data[at + 5 : at + 7], "big"),
        int.from_bytes(data[at + 7 : at + 9], "big"),
    )


def _frame_of_jpeg(data: bytes) -> int | None:
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return None
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            return at
        else:
            alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
            at += 2 if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def channels_of_jpeg(data: bytes) -> tuple[int, ...]:
    """Read how each channel of a JPEG is sampled; empty if its header cannot be read."""
    at = _frame_of_jpeg(data)
    if at is None or at + 10 > len(data):
        return ()
    count = data[at + 9]
    return tuple(data[at + 11 + 3 * n] for n in range(count) if at + 11 + 3 * n < len(data))


def size_of_jpeg_2000(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Read a JPEG 2000's header.

    Returns
    -------
    size : tuple of int or None
        (height, width); None if it has no header.
    subsampled : bool
        Some of its components are coarser than others.
    """
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        return None, False
    right, bottom, left, top = (
        int.from_bytes(data[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4)
    )
    count = int.from_bytes(data[at + 40 : at + 42], "big")
    steps = {data[at + 43 + 3 * n : at + 45 + 3 * n] for n in range(count)}
    return (bottom - top, right - left), len(steps) > 1


def length_of_jpeg_xr(data: bytes) -> int:
    """Read where the image of a JPEG XR ends, from its container, which is much like a TIFF."""
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    ends = 0
    for at in range(first + 2, first + 2 + 12 * count, 12):
        if int.from_bytes(data[at : at + 2], "little") in _JPEG_XR_IMAGE:
            ends += int.from_bytes(data[at + 8 : at + 12], "little")
    return ends
