"""Levels of a TIFF, read tile by tile; nothing is decoded that the file cannot hold."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_stenhance.section.images.image import STRIP
from napari_stenhance.section.images.tiff.colours import colours_of
from napari_stenhance.section.images.tiff.headers import (
    check_pages,
    size_of_jpeg,
    size_of_jpeg_2000,
)
from napari_stenhance.storage.reading import reading

_LARGEST = 2**29
"""Bytes of a decoded tile or strip."""
_KEPT = 2**24
"""A strip of more bytes is kept until another is read: an image may consist of a single one."""
_SWELLS = {1: 1, 5: 4096, 6: 1100, 7: 1100, 8: 1100, 32773: 64, 32946: 1100}
"""The most bytes that a byte can become, by codec: of deflate, for one, 1032."""
_SWELLS_MOST = 50_000
_JPEG = (6, 7, 34892, 33007)
_JPEG_2000 = (33003, 33004, 33005, 34712)


class TiffReader:
    """An open TIFF that many threads read; it closes when nothing holds it any more.

    Raises
    ------
    ValueError
        If its pages follow each other in a circle; whatever tifffile raises, if it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        check_pages(path)
        self.tif = tifffile.TiffFile(path)
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, self.tif.close)

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Read a part of the file.

        Raises
        ------
        EOFError
            If the file ends before it.
        """
        with self._lock:
            self.tif.filehandle.seek(offset)
            data = self.tif.filehandle.read(count)
        if len(data) != count:
            msg = "the file ends before it"
            raise EOFError(msg)
        return data


class TiffLevel:
    """A level of an image of a TIFF, (y, x, 3) uint8; tiles that the file leaves out are white.

    Making one reads no pixels.

    Raises
    ------
    ValueError
        If it is no image in colours or grey, or claims what the file cannot hold.
    """

    def __init__(self, file: TiffReader, level: Any) -> None:
        self._file, self._page = file, level.keyframe
        page = self._page
        self._pages = _pages_of(file, level)
        several = len(self._pages) > 1
        self._to_rgb = colours_of(page, page.samplesperpixel * len(self._pages))
        self._planes = (
            len(self._pages) if several else page.samplesperpixel if page.planarconfig == 2 else 1
        )
        self._samples = 1 if self._planes > 1 else page.samplesperpixel
        height, width = (int(level.shape[level.axes.index(axis)]) for axis in "YX")
        # A level may be shorter than its page, which is padded.
        across, down = page.imagewidth, page.imagelength
        if page.is_tiled:
            self._tile = (page.tilelength, page.tilewidth)
        else:
            self._tile = (min(page.rowsperstrip, down), across)
        if min(*self._tile, height, width) < 1 or height > down or width > across:
            msg = f"its size, {width} × {height} px in tiles of {self._tile[::-1]}, cannot be"
            raise ValueError(msg)
        self._plain = (
            not page.is_tiled
            and (page.compression, page.predictor, page.fillorder) == (1, 1, 1)
            and page.bitspersample in (8, 16)
        )
        self._grid = (-(-down // self._tile[0]), -(-across // self._tile[1]))
        self.shape: tuple[int, ...] = (height, width, 3)
        rows = min(self._tile[0], STRIP) if self._plain else min(self._tile[0], height)
        self.chunks: tuple[int, ...] = (rows, min(self._tile[1], width), 3)
        self.dtype: np.dtype[np.uint8] = np.dtype(np.uint8)
        self.ndim = 3
        self._last: tuple[tuple[int, int], NDArray[Any]] | None = None
        self._check()
        page.decode  # noqa: B018  made here, not by several threads at the same time

    @property
    def _bytes(self) -> int:
        """Of a decoded tile."""
        return math.prod(self._tile) * self._samples * int(self._page.dtype.itemsize)

    def _check(self) -> None:
        if self._page.imagedepth != 1:
            msg = "it has several depths"
            raise ValueError(msg)
        if self._bytes > _LARGEST and not self._plain:
            msg = f"tiles of {self._tile[1]} × {self._tile[0]} px are too large"
            raise ValueError(msg)
        needed = math.prod(self._grid) * (self._planes // len(self._pages))
        for page in self._pages:
            if min(len(page.dataoffsets), len(page.databytecounts)) < needed:
                msg = f"it has {len(page.dataoffsets)} of its {needed} tiles"
                raise ValueError(msg)
            offsets, counts = (
                np.array(values[:needed], np.int64)
                for values in (page.dataoffsets, page.databytecounts)
            )
            stored = (offsets != 0) & (counts != 0)
            if (np.minimum(offsets, counts) < 0).any():
                msg = "its tiles lie nowhere"
                raise ValueError(msg)
            if (offsets[stored] > self._file.size - counts[stored]).any():
                msg = "the file ends before its tiles do"
                raise ValueError(msg)

    def check_whole(self) -> None:
        """Refuse an image that claims more than its tiles can hold, before all are decoded.

        Raises
        ------
        ValueError
            If it does.
        """
        tiles = math.prod(self._grid)
        claimed = counted = 0
        for page in self._pages:
            for index, count in enumerate(page.databytecounts):
                if count and page.dataoffsets[index]:
                    claimed += self._stored(index % tiles // self._grid[1])
                    counted += count
        if claimed > self._swells() * min(counted, self._file.size):
            msg = "it claims more pixels than the file can hold"
            raise ValueError(msg)

    def _stored(self, i: int) -> int:
        """Count the bytes of a tile in a row of tiles, as the file packs them."""
        high, wide = self._tile
        # The last strip is shorter, where the last tile is padded.
        rows = high if self._page.is_tiled else min(high, self._page.imagelength - i * high)
        return rows * -(-wide * self._samples * int(self._page.bitspersample) // 8)

    def _swells(self) -> int:
        return _SWELLS.get(int(self._page.compression), _SWELLS_MOST)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        keys = (*key, *(slice(None),) * (3 - len(key)))
        rows, columns = (
            range(n)[k] if isinstance(k, slice) else range(n)[k : k + 1 or None]
            for k, n in zip(keys[:2], self.shape, strict=False)
        )
        with reading(self._file.path, "a tile of the image"):
            pixels = self._read(rows, columns)
        # What is left of the key: steps, and axes of which one place is taken.
        inner = (slice(None, None, r.step) if isinstance(k, slice) else 0
                 for k, r in zip(keys, (rows, columns), strict=False))  # fmt: skip
        return pixels[(*inner, keys[2])]

    def _read(self, rows: range, columns: range) -> NDArray[np.uint8]:
        """Read all pixels between the first and the last of rows and columns."""
        top, left = rows.start, columns.start
        bottom, right = max(rows.stop, top), max(columns.stop, left)
        out = np.full((bottom - top, right - left, 3), 255, np.uint8)
        high, wide = self._tile
        for i, j in itertools.product(
            range(top // high, -(-bottom // high)), range(left // wide, -(-right // wide))
        ):
            first, last = max(top, i * high), min(bottom, (i + 1) * high)
            planes = [
                self._rows(plane, i, j, slice(first - i * high, last - i * high))
                for plane in range(self._planes)
            ]
            present = [plane for plane in planes if plane is not None]
            if len(present) < len(planes):
                continue
            x0, x1 = max(left, j * wide), min(right, (j + 1) * wide)
            values = np.concatenate(present, axis=-1) if len(present) > 1 else present[0]
            values = values[:, x0 - j * wide : x1 - j * wide]
            out[first - top : last - top, x0 - left : x1 - left] = self._to_rgb(values)
        return out

    def _rows(self, plane: int, i: int, j: int, rows: slice) -> NDArray[Any] | None:
        """Read rows of a tile, (rows, width, samples); None if the file leaves it out."""
        index = i * self._grid[1] + j
        page = self._pages[0]
        if len(self._pages) > 1:
            page = self._pages[plane]
        else:
            index += plane * math.prod(self._grid)
        offset, count = int(page.dataoffsets[index]), int(page.databytecounts[index])
        if not offset or not count:
            return None
        if self._plain:
            return self._plain_rows(offset, count, rows)
        last = self._last
        if last is not None and last[0] == (plane, index):
            return last[1][rows]
        if self._stored(i) > self._swells() * count:
            msg = "it claims more pixels than it can hold"
            raise ValueError(msg)
        tile = self._decoded(page, index, self._file.bytes_at(offset, count))
        if tile.nbytes > _KEPT:
            self._last = ((plane, index), tile)
        return tile[rows]

    def _plain_rows(self, offset: int, count: int, rows: slice) -> NDArray[Any]:
        dtype = np.dtype(self._file.tif.byteorder + self._page.dtype.char)
        row = self._tile[1] * self._samples * dtype.itemsize
        if rows.stop * row > count:
            msg = "it is shorter than its rows"
            raise ValueError(msg)
        data = self._file.bytes_at(offset + rows.start * row, (rows.stop - rows.start) * row)
        return np.frombuffer(data, dtype).reshape(-1, self._tile[1], self._samples)

    def _decoded(self, page: Any, index: int, data: bytes) -> NDArray[Any]:
        codec = int(self._page.compression)
        more = {}
        if codec in _JPEG:
            more = {"jpegtables": page.jpegtables, "jpegheader": self._page.jpegheader}
        # A header of the whole level, in NDPI, is cut to the tile by the decoder.
        claimed = size_of_jpeg(data) if codec in _JPEG and not more["jpegheader"] else None
        if codec in _JPEG_2000:
            claimed = size_of_jpeg_2000(data)
        if claimed is not None and math.prod(claimed) > 2 * math.prod(self._tile):
            msg = f"it holds {claimed} px instead of {self._tile}"
            raise ValueError(msg)
        tile, _, _ = self._page.decode(data, index, **more)
        # (depth, rows, width, samples)
        return tile[0]


def _pages_of(file: TiffReader, level: Any) -> list[Any]:
    """List the pages that hold the colours of a level; one, if it holds them all."""
    lengths = dict(zip(level.axes, level.shape, strict=True))
    axes = "".join(axis for axis in level.axes if axis not in "IQ")
    if axes not in ("YX", "YXS", "SYX", "CYX"):
        msg = f"it has axes {level.axes} {level.shape}, not RGB"
        raise ValueError(msg)
    # Of several pages that are all alike, the first.
    needed = int(lengths.get("C", 1))
    pages = [page for page in level.pages[:needed] if page is not None]
    if len(pages) < needed or any(page.parent is not file.tif for page in pages):
        msg = "its pages are not all in this file"
        raise ValueError(msg)
    return pages
