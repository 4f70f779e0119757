"""How large a tile says that it is, by the codec's own header, before a decoder believes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_JXL_BITS = (9, 13, 18, 30)
Size = tuple[int, int] | None
"""(height, width); None if the header cannot be read."""


def claims_of(codec: int, data: bytes) -> Iterator[tuple[int, int]]:
    """List the sizes, (height, width), that a tile of a codec says it has."""
    for read in _READERS.get(codec, ()):
        if (size := read(data)) is not None:
            yield size


def _of_png(data: bytes) -> Size:
    return _number(data, 20, 4, "big"), _number(data, 16, 4, "big")


def _of_jpeg_xr(data: bytes) -> Size:
    at = data.find(b"WMPHOTO\0")
    if at < 0:
        return None
    size = 2 if data[at + 10] & 0x80 else 4
    width, height = (_number(data, at + 12 + n * size, size, "big") + 1 for n in range(2))
    return height, width


def _of_jpeg_xr_container(data: bytes) -> Size:
    first = _number(data, 4, 4)
    tags = {
        _number(data, at, 2): _number(data, at + 8, 4)
        for at in range(first + 2, first + 2 + 12 * _number(data, first, 2), 12)
    }
    return tags.get(0xBC81, 0), tags.get(0xBC80, 0)


def _of_webp(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8 ":
        return _number(data, 28, 2) & 0x3FFF, _number(data, 26, 2) & 0x3FFF
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    return _number(data, 27, 3) + 1, _number(data, 24, 3) + 1


def _of_lerc(data: bytes) -> Size:
    at = 14 if _number(data, 6, 4) >= 3 else 10
    return _number(data, at, 4), _number(data, at + 4, 4)


def _of_jpeg_xl(data: bytes) -> Size:
    if data[:2] != b"\xff\x0a":
        at = data.find(b"\xff\x0a", data.find(b"jxlc"))
        data = data[at:] if at >= 0 else b""
    bits = int.from_bytes(data[2:14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take(_JXL_BITS[take(2)]) + 1

    height, ratio = side(), take(3)
    if ratio == 0:
        return height, side()
    across, down = _JXL_RATIOS[ratio - 1]
    return height, height * across // down


def _number(data: bytes, at: int, size: int, order: str = "little") -> int:
    return int.from_bytes(data[at : at + size], "big" if order == "big" else "little")


_READERS: dict[int, tuple[Callable[[bytes], Size], ...]] = {
    22610: (_of_jpeg_xr, _of_jpeg_xr_container),
    34934: (_of_jpeg_xr, _of_jpeg_xr_container),
    34887: (_of_lerc,),
    34933: (_of_png,),
    50001: (_of_webp,),
    50002: (_of_jpeg_xl,),
    52546: (_of_jpeg_xl,),
}
