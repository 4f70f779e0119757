"""Levels of a TIFF, read tile by tile; nothing is decoded that the file cannot hold."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.images.image import STRIP, SWELLS_MOST, Pixels
from napari_stenhance.section.images.slicing import SlicedLevel
from napari_stenhance.section.images.tiff.channels import (
    check_channels,
    doubts_of_channel,
    doubts_of_pages,
    pages_of,
    significant_bits,
)
from napari_stenhance.section.images.tiff.codecs import DECODED_TO_RGB, decoder_of
from napari_stenhance.section.images.tiff.colours import ColourConversion, choose_colours
from napari_stenhance.section.images.tiff.headers import check_pages
from napari_stenhance.section.images.tiff.holes import Filling, TileGrid, holes_of
from napari_stenhance.section.images.turning import said_of_turn, turn
from napari_stenhance.storage.reading import reading

_LARGEST = 2**29
"""Bytes of a decoded tile or strip."""
_KEPT = 2**24
"""A strip of more bytes is kept until another is read: an image may consist of a single one."""
_SWELLS = {1: 1, 5: 4096, 6: 1100, 7: 1100, 8: 1100, 32773: 64, 32946: 1100}
"""The most bytes that a byte can become, by codec: of deflate, for one, 1032."""
_YCBCR, _ORIENTATION = 6, 274
_SHAPE_OFF = 0.05
"""By how much the sides of a level may be longer or shorter, to each other, than the image's."""
_PEEKED, _PARTS = 2**24, 16
"""Samples that are looked at where headers do not say what they mean, in so many parts at least."""


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


class TiffSamples:
    """What a level of an image of a TIFF holds: tiles or strips of samples.

    Making one reads no pixels.

    Attributes
    ----------
    path : Path
    page : tifffile.TiffPage
        What says how they are stored.
    shape : tuple of int
        Height and width.
    chunks : tuple of int
        Rows and columns that are best read at once.
    samples : int
        Values of a pixel.
    tiles : TileGrid
        Which of its tiles the file holds.

    Raises
    ------
    ValueError
        If it is no image in colours or grey, or claims what the file cannot hold.
    """

    def __init__(self, file: TiffReader, level: Any) -> None:
        self.path, self.page = file.path, level.keyframe
        self._file, self._page = file, level.keyframe
        page = self._page
        self._pages = pages_of(file, level)
        several = len(self._pages) > 1
        self.samples = int(page.samplesperpixel) * len(self._pages)
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
            and page.photometric != _YCBCR
        )
        self._grid = (-(-down // self._tile[0]), -(-across // self._tile[1]))
        self.shape = (height, width)
        rows = min(self._tile[0], STRIP) if self._plain else min(self._tile[0], height)
        self.chunks = (rows, min(self._tile[1], width))
        self._last: tuple[tuple[int, int], NDArray[Any]] | None = None
        self._check()
        self._decode = decoder_of(page, self._tile)

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
        planes = self._planes // len(self._pages)
        needed = math.prod(self._grid) * planes
        every = []
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
            every.append(stored.reshape(planes, *self._grid).all(axis=0))
        self.tiles = TileGrid(self.shape, self._tile, np.logical_and.reduce(every))

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
        # Chroma of which each is shared by up to 16 pixels.
        shared = 3 if self._page.photometric == _YCBCR else 1
        return shared * _SWELLS.get(int(self._page.compression), SWELLS_MOST)

    def read(
        self, rows: range, columns: range
    ) -> Iterator[tuple[tuple[slice, slice], NDArray[Any]]]:
        """Read what is stored of rows and columns, at least one of each.

        Yields
        ------
        place : tuple of slice
            Of these rows and columns.
        values : ndarray, shape (y, x, samples)
        """
        top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
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
            place = slice(first - top, last - top), slice(x0 - left, x1 - left)
            yield place, values[:, x0 - j * wide : x1 - j * wide]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What the meaning of its samples follows from."""
        page = self.page
        raw = page.photometric == _YCBCR and page.compression not in DECODED_TO_RGB
        stored = (page.bitspersample, page.sampleformat, page.photometric, raw)
        return self.samples, *stored, tuple(page.extrasamples)

    def peek(self) -> Iterator[NDArray[Any]]:
        """Read parts that lie evenly over the image, (rows, width, samples); all, if it is small.

        Which they are follows from its size alone.
        """
        high, wide = self.chunks
        if self._plain:
            # Of such strips any rows are read.
            high = min(high, max(1, _PEEKED // (_PARTS * wide * self.samples)))
        chunks = high, wide
        parts = [-(-n // chunk) for n, chunk in zip(self.shape, chunks, strict=True)]
        count = math.prod(parts)
        most = max(1, _PEEKED // (math.prod(chunks) * self.samples))
        for n in sorted({k * count // min(count, most) for k in range(min(count, most))}):
            i, j = divmod(n, parts[1])
            rows, columns = (
                range(k * chunk, min((k + 1) * chunk, size))
                for k, chunk, size in zip((i, j), chunks, self.shape, strict=True)
            )
            for _, values in self.read(rows, columns):
                yield values

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
        tile = self._decode(self._file.bytes_at(offset, count), index, page)
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


class TiffLevel(SlicedLevel):
    """A level of an image of a TIFF, (y, x, 3) uint8.

    Tiles that the file leaves out are made from the next finer level, or white where none is.
    """

    def __init__(
        self, samples: TiffSamples, colours: ColourConversion, filling: Filling | None = None
    ) -> None:
        self._samples, self._colours, self._filling = samples, colours, filling
        super().__init__(samples.shape, samples.chunks)

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        out = np.full((bottom - top, right - left, 3), 255, np.uint8)
        with reading(self._samples.path, "a tile of the image"):
            for place, values in self._samples.read(range(top, bottom), range(left, right)):
                out[place] = self._colours.convert(values)
        if self._filling is not None:
            self._filling.fill(out, top, left)
        return out


def levels_of(
    file: TiffReader, series: Sequence[Any]
) -> tuple[tuple[Pixels, ...], ColourConversion]:
    """Open the levels of an image, whose samples all mean the same.

    Parameters
    ----------
    file : TiffReader
    series : sequence of tifffile.TiffPageSeries
        From full resolution down.

    Raises
    ------
    ValueError
        If they are no image in colours or grey, or claim what the file cannot hold.
    """
    with reading(file.path, "this image", "give the H&E slide, in brightfield"):
        check_channels(file.tif, series[0])
    samples = [TiffSamples(file, level) for level in series]
    if len(samples) == 1:
        samples[0].check_whole()
    # Philips pads its levels.
    _check_shapes([one.shape for one in samples], 1.0 if file.tif.is_philips else _SHAPE_OFF)
    bits = significant_bits(file.tif)
    grids = [one.tiles for one in samples]
    holes = holes_of(grids)
    # Of levels that are stored alike the coarsest that is whole tells the range of all.
    coarsest = {
        one.kind: one
        for kept in (
            samples,
            [one for one, hole in zip(samples, holes, strict=True) if not hole.any()],
        )
        for one in kept
    }
    chosen = {
        kind: choose_colours(one.page, one.samples, one.peek, bits)
        for kind, one in coarsest.items()
    }
    colours = chosen[samples[0].kind]
    orientation = _orientation(file.tif, samples[0].page)
    turned, doubts = said_of_turn(orientation)
    levels: list[TiffLevel] = []
    for n, (one, hole) in enumerate(zip(samples, holes, strict=True)):
        filling = None
        if hole.any():
            filling = Filling(grids[n], hole, levels[-1], grids[n - 1].step_to(grids[n]))
        levels.append(TiffLevel(one, chosen[one.kind], filling))
    conversions = (*colours.conversions, *turned)
    pages = (*doubts_of_pages(series[0]), *doubts_of_channel(file.tif, series[0]))
    doubts = (*pages, *colours.doubts, *doubts, *_doubts_of_holes(file.tif, grids, holes))
    said = replace(colours, conversions=conversions, doubts=doubts)
    return tuple(turn(level, orientation) for level in levels), said


def _doubts_of_holes(
    tif: Any, grids: Sequence[TileGrid], holes: Sequence[NDArray[np.bool_]]
) -> Iterator[str]:
    """Say how many tiles the file leaves out; Philips does so where nothing was scanned."""
    missing = int((~grids[0].stored).sum())
    if missing and not tif.is_philips:
        yield (
            f"The file leaves out {counted(missing, 'tile', grids[0].stored.size)}; "
            f"{agree(missing, 'it is', 'they are')} white."
        )
    if filled := sum(int(hole.sum()) for hole in holes):
        yield (
            f"The file leaves out {counted(filled, 'tile')} of coarser levels; "
            f"{agree(filled, 'it is', 'they are')} made from finer ones."
        )


def _check_shapes(shapes: list[tuple[int, int]], most: float) -> None:
    """Refuse levels that are larger than the image, or narrower or wider than it."""
    height, width = shapes[0]
    for high, wide in shapes[1:]:
        off = abs(height * wide / (high * width) - 1) - 2 / min(high, wide)
        if high > height or wide > width or off > most:
            msg = f"a level of {wide} × {high} px is no smaller one of {width} × {height} px"
            raise ValueError(msg)


def _orientation(tif: Any, page: Any) -> int:
    """Read how an image is to be turned; those of scanners are not, whatever their tag says."""
    if any(getattr(tif, f"is_{kind}") for kind in ("svs", "ndpi", "scn", "bif", "philips", "qpi")):
        return 1
    return int(page.tags.valueof(_ORIENTATION, 1))
