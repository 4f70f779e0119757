"""How much a file can hold, so that what it claims is doubted before memory is taken for it."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from napari_stenhance.errors import InputError

DEFLATE_MOST = 1032
"""Bytes that deflate makes of one at most: what zeros become in HDF5."""
SMALL = 2**20
"""Bytes that may be claimed without anything behind them: a fill value is a value, too."""
TEXT_MOST = 250
"""Bytes of text that gzip makes of one: 15 are common, tables with a hundredth of counts reach
100, and a file that swells a thousandfold is made to fill the memory."""
TEXT_ALWAYS = 2**24
LINE_MOST = 2**24
"""Bytes of a line: a count for each of a million genes."""
POSITIONS_MOST = 2**28
"""Bytes of a table of positions: five million spots."""
_DECODED_AT_ONCE = 2**16
COLUMNS_MOST = 10_000
"""Columns of a table of positions."""


class _Bounded(io.RawIOBase):
    """What comes out of a gzip file, as long as it is no more than texts become."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream, self.path = stream, path
        self.left = TEXT_ALWAYS + TEXT_MOST * path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        number = self.stream.readinto1(buffer)  # type: ignore[attr-defined]
        self.left -= number
        if self.left < 0:
            msg = (
                f"{self.path}: it unpacks to more than {TEXT_MOST} times its size, as no table "
                "does; export it anew."
            )
            raise InputError(msg)
        return int(number)


class _Utf8(io.RawIOBase):
    """A text of UTF-16, as Excel's "Unicode text" is, as one of UTF-8."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream, self.held = stream, b""
        self.decoder = codecs.getincrementaldecoder("utf-16")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self.held:
            block = self.stream.read(_DECODED_AT_ONCE)
            self.held = self.decoder.decode(block, final=not block).encode()
            if not block:
                break
        number = min(len(buffer), len(self.held))
        buffer[:number], self.held = self.held[:number], self.held[number:]
        return number


@contextmanager
def opened_text(path: Path) -> Iterator[BinaryIO]:
    """Open a text, gzipped by its name or not, as bytes; those of UTF-16 become UTF-8.

    Raises
    ------
    InputError
        While it is read, if it unpacks to more than a text can.
    """
    if path.suffix != ".gz":
        with path.open("rb") as file:
            yield _as_utf8(file)
        return
    with gzip.open(path) as stream, io.BufferedReader(_Bounded(stream, path)) as bounded:  # type: ignore[type-var,arg-type]
        yield _as_utf8(bounded)  # type: ignore[arg-type]


def _as_utf8(file: io.BufferedReader) -> BinaryIO:
    marked = file.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return io.BufferedReader(_Utf8(file)) if marked else file  # type: ignore[type-var]


def header_line(file: BinaryIO) -> bytes:
    """Read the line that names columns: after comments, and Excel's that names the separator."""
    before = (b"#", b"sep=", codecs.BOM_UTF8 + b"#", codecs.BOM_UTF8 + b"sep=")
    while (line := file.readline(LINE_MOST)).startswith(before):
        pass
    return line


def lines(file: BinaryIO) -> Iterator[str]:
    r"""Read the lines of a UTF-8 text without their ends; a mark before the first is no text.

    Raises
    ------
    ValueError
        If one is longer than any table's, or is no text.
    """
    encoding = "utf-8-sig"
    while line := file.readline(LINE_MOST + 1):
        if len(line) > LINE_MOST:
            msg = f"a line is longer than {LINE_MOST} bytes"
            raise ValueError(msg)
        yield line.decode(encoding).rstrip("\r\n")
        encoding = "utf-8"


def read_positions_text(path: Path, separator: bytes) -> io.BytesIO:
    """Read a table of positions whole, for a parser that would believe any width.

    Raises
    ------
    ValueError
        If it is larger or wider than such tables are.
    """
    with opened_text(path) as file:
        content = file.read(POSITIONS_MOST + 1)
    if len(content) > POSITIONS_MOST:
        msg = f"it is larger than {POSITIONS_MOST} bytes"
        raise ValueError(msg)
    if content.split(b"\n", 1)[0].count(separator) >= COLUMNS_MOST:
        msg = f"its first line has more than {COLUMNS_MOST} columns"
        raise ValueError(msg)
    return io.BytesIO(content)
