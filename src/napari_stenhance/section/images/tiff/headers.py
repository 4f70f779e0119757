"""What headers inside a TIFF say, read before a decoder believes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return None
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            return (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
        else:
            alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
            at += 2 if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def size_of_jpeg_2000(data: bytes) -> tuple[int, int] | None:
    """Read (height, width) from a JPEG 2000's header; None if it has none."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 24 > len(data):
        return None
    right, bottom, left, top = (
        int.from_bytes(data[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4)
    )
    return bottom - top, right - left
