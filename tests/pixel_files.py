"""Files that no library at hand writes: TIFFs tag by tag, NDPI, and JPEG 2000 of YCbCr."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Tags = dict[int, tuple[str, Any]]
"""By code: the kind as `struct` names it, "2I" for rationals, "s" for text; and the values."""

_KINDS = {"B": 1, "s": 2, "H": 3, "I": 4, "2I": 5, "i": 9, "f": 11, "d": 12, "Q": 16}
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"


def gradient(height: int = 96, width: int = 128) -> Pixels:
    """Smooth colours, which a codec that loses something still gives to a level or two."""
    y, x = np.mgrid[:height, :width]
    rgb = [255 * x / (width - 1), 255 * y / (height - 1), 255 - 127 * (x / width + y / height)]
    return np.stack(rgb, axis=-1).astype(np.uint8)


def to_ycbcr(rgb: Pixels) -> Pixels:
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = [y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


# TIFF, tag by tag


def write_tiff(
    path: Path, tags: Tags, segments: Sequence[bytes], *, tiled: bool = False, order: str = "<"
) -> None:
    """Write a page of one TIFF; where its strips or tiles lie is added to the tags."""
    at, offsets = 8, []
    for segment in segments:
        offsets.append(at if segment else 0)
        at += len(segment)
    where = (324, 325) if tiled else (273, 279)
    tags = tags | {where[0]: ("I", offsets), where[1]: ("I", [len(s) for s in segments])}
    body, later = _directory(tags, order, at + at % 2, high=False)
    start = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, at + at % 2)
    path.write_bytes(start + b"".join(segments) + bytes(at % 2) + body + later)


def _directory(tags: Tags, order: str, at: int, *, high: bool) -> tuple[bytes, bytes]:
    """Pack a directory that lies at a place, as the last one, and what lies behind it."""
    entries, later = b"", b""
    behind = at + 2 + 12 * len(tags) + (8 + 4 * len(tags) if high else 4)
    for code, (kind, value) in sorted(tags.items()):
        values = value if isinstance(value, (list, tuple)) else [value]
        if kind == "s":
            packed, count = str(value).encode() + b"\0", len(str(value).encode()) + 1
        elif kind == "2I":
            pairs = [n for v in values for n in (round(v * 1000), 1000)]
            packed, count = struct.pack(f"{order}{len(pairs)}I", *pairs), len(values)
        else:
            packed, count = struct.pack(f"{order}{len(values)}{kind}", *values), len(values)
        if len(packed) > 4:
            where = struct.pack(order + "I", behind + len(later))
            later += packed + bytes(len(packed) % 2)
        else:
            where = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", code, _KINDS[kind], count) + where
    end = bytes(8 + 4 * len(tags)) if high else bytes(4)
    return struct.pack(order + "H", len(tags)) + entries + end, later


def image_tags(shape: tuple[int, int], photometric: int, codec: int, **more: Any) -> Tags:
    height, width = shape
    tags = {256: ("I", width), 257: ("I", height), 258: ("H", [8, 8, 8]), 259: ("H", codec)}
    tags |= {262: ("H", photometric), 277: ("H", 3), 284: ("H", 1)}
    tile = more.get("tile")
    where = {322: ("I", tile[1]), 323: ("I", tile[0])} if tile else {278: ("I", more["rows"])}
    return tags | where


def ycbcr_blocks(ycbcr: Pixels, across: int, down: int) -> bytes:
    """Pack a strip or tile of YCbCr as TIFF does: the lumas of a block, then its chroma."""
    height, width = ycbcr.shape[:2]
    padding = ((0, -height % down), (0, -width % across), (0, 0))
    padded = np.pad(ycbcr, padding, mode="edge")
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    blocks = padded.reshape(rows, down, columns, across, 3).swapaxes(1, 2)
    luma = blocks[..., 0].reshape(rows, columns, -1)
    return np.concatenate([luma, blocks[:, :, 0, 0, 1:]], axis=-1).tobytes()


# JPEG


def with_markers(jpeg: bytes, *, jfif: bool, adobe: int | None) -> bytes:
    """Exchange what a JPEG says of its colours: JFIF, and Adobe's transform."""
    out = _SOI
    if jfif:
        out += b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    if adobe is not None:
        out += b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe])
    at = 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] not in (0xE0, 0xEE):
            out += jpeg[at : at + length]
        at += length
    return out + jpeg[at:]


def without_tables(jpeg: bytes) -> tuple[bytes, bytes]:
    """Part a JPEG into its tables, as the tag JPEGTables holds them, and the rest."""
    tables, rest, at = _SOI, _SOI, 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] in (0xDB, 0xC4):
            tables += jpeg[at : at + length]
        else:
            rest += jpeg[at : at + length]
        at += length
    return tables + _EOI, rest + jpeg[at:]


# NDPI


def write_ndpi(path: Path, *levels: Pixels, interval: int = 8) -> list[int]:
    """Write pages of NDPI: each one JPEG with restart markers, and where those are.

    Returns
    -------
    list of int
        How long each part between two markers of the first page is.
    """
    content, ends = struct.pack("<2sHQ", b"II", 42, 0), [4]
    lengths: list[int] = []
    for n, pixels in enumerate(levels):
        height, width = pixels.shape[:2]
        jpeg, starts = _with_restarts(pixels, interval)
        lengths = lengths or np.diff([*starts, len(jpeg)]).tolist()
        about = image_tags((height, width), 6, 7, rows=height) | {530: ("H", [1, 1])}
        about |= {271: ("s", "Hamamatsu"), 272: ("s", "NanoZoomer"), 282: ("2I", 20000 / 2**n)}
        about |= {283: ("2I", 20000 / 2**n), 296: ("H", 3), 65420: ("I", 1)}
        about |= {65421: ("f", 20.0 / 2**n), 65422: ("i", 0), 65423: ("i", 0), 65424: ("i", 0)}
        about |= {65426: ("I", starts), 273: ("I", len(content)), 279: ("I", len(jpeg))}
        content += jpeg + bytes(len(jpeg) % 2)
        at = ends[-1]
        content = content[:at] + struct.pack("<Q", len(content)) + content[at + 8 :]
        ends.append(len(content) + 2 + 12 * len(about))
        content += b"".join(_directory(about, "<", len(content), high=True))
    path.write_bytes(content)
    return lengths


def _with_restarts(pixels: Pixels, interval: int) -> tuple[bytes, list[int]]:
    """Join JPEGs of 8 rows × `interval` blocks each, whose predictions start anew, as one."""
    height, width = pixels.shape[:2]
    head, body, starts = b"", b"", []
    parts = [(y, x) for y in range(0, height, 8) for x in range(0, width, 8 * interval)]
    for n, (y, x) in enumerate(parts):
        part = np.ascontiguousarray(pixels[y : y + 8, x : x + 8 * interval])
        jpeg = imagecodecs.jpeg8_encode(part, level=95, subsampling="444")
        scan = jpeg.index(b"\xff\xda")
        scan += 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")
        if not head:
            frame = jpeg.index(b"\xff\xc0")
            size = struct.pack(">HH", height, width)
            head = jpeg[: frame + 5] + size + jpeg[frame + 9 : scan]
            at = head.index(b"\xff\xda")
            head = head[:at] + struct.pack(">HHH", 0xFFDD, 4, interval) + head[at:]
        starts.append(len(head) + len(body))
        body += jpeg[scan:-2] + (_EOI if n == len(parts) - 1 else bytes([0xFF, 0xD0 + n % 8]))
    return head + body, starts


# JPEG 2000


def codestream(planes: Sequence[Pixels], steps: Sequence[tuple[int, int]]) -> bytes:
    """Join components, each as coarse as its steps say, to one JPEG 2000 without a transform.

    Component after component (CPRL) the packets are those of files of one component.
    """
    options = {"level": 0, "codecformat": "j2k", "resolutions": 2, "reversible": True, "mct": False}
    streams = [imagecodecs.jpeg2k_encode(np.ascontiguousarray(p), **options) for p in planes]
    tiles = [stream.index(b"\xff\x90") for stream in streams]
    body = b"".join(
        stream[stream.index(b"\xff\x93", at) + 2 : -2]
        for stream, at in zip(streams, tiles, strict=True)
    )
    head = bytearray(streams[0][: tiles[0]])
    rest = head[head.index(b"\xff\x52") :]
    rest[5] = 4
    height, width = planes[0].shape
    size = struct.pack(">H8IH", 0, width, height, 0, 0, width, height, 0, 0, len(planes))
    size += b"".join(bytes([7, *step]) for step in steps)
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14 + len(body), 0, 1)
    start = b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size
    return start + bytes(rest) + tile + b"\xff\x93" + body + _EOI
