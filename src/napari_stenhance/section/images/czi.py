"""Zeiss CZI slides.

What a file says of its parts is checked before fastslide believes it: a part that claims to be
larger than the file would be allocated. How a file begins, lists its parts, and what each says of
itself is that of ZEISS's description of the format, as far as it is needed here.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.section.images.image import ImageFormat, ImageSource, has_suffix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIX = ".czi"
_HEADER = 32
"""Bytes before the data of a segment."""
_DIRECTORY_AT = _HEADER + 52
_ENTRIES_AT = _HEADER + 128
_ENTRY, _DIMENSION = struct.Struct("<2siqiiB5xi"), struct.Struct("<4siifi")
_SIZES = struct.Struct("<iiq")


class _Parts:
    """The parts of pixels of a CZI, and what each claims, read for those that are needed."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, path.stat().st_size
        self._checked: set[int] = set()

    def check(self, left: float, top: float, right: float, bottom: float, step: float) -> None:
        """Check the parts under a rectangle of full-resolution pixels, for a level of that step.

        Raises
        ------
        ValueError
            If one claims more than the file holds.
        """
        if not len(self._table):
            return
        at, x, y, width, height, shrunk = self._table.T
        x, y = x - x.min(), y - y.min()
        under = (x < right) & (x + width > left) & (y < bottom) & (y + height > top)
        new = set(at[under & (shrunk > step / 2)].astype(int).tolist()) - self._checked
        with self._path.open("rb") as file:
            for place in sorted(new):
                file.seek(place + _HEADER)
                sizes = _SIZES.unpack(file.read(_SIZES.size))
                if min(sizes) < 0 or place + _HEADER + sum(sizes) > self._size:
                    msg = f"a part claims {sum(sizes)} bytes, more than the file holds"
                    raise ValueError(msg)
        self._checked |= new

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        """Place in the file, left, top, width, height, and pixels for each that is stored."""
        import numpy as np

        rows = []
        with self._path.open("rb") as file:
            file.seek(_DIRECTORY_AT)
            (start,) = struct.unpack("<q", file.read(8))
            file.seek(start + _HEADER)
            (count,) = struct.unpack("<i", file.read(4))
            if not 0 <= count * _ENTRY.size <= self._size:
                msg = f"it claims {count} parts"
                raise ValueError(msg)
            file.seek(start + _ENTRIES_AT)
            for _ in range(count):
                *_, place, of_file, _, _, dimensions = _ENTRY.unpack(file.read(_ENTRY.size))
                sides = {}
                for _ in range(dimensions):
                    name, *side = _DIMENSION.unpack(file.read(_DIMENSION.size))
                    sides[name[:1]] = side
                (x, width, _, stored), (y, height, _, _) = sides[b"X"], sides[b"Y"]
                if of_file == 0:
                    rows.append((place, x, y, width, height, width / max(stored, 1)))
        return np.array(rows, np.float64).reshape(-1, 6)


def _open(path: Path) -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_fastslide

    kind, advice = "a Zeiss CZI", "export it from ZEN as OME-TIFF"
    return open_with_fastslide(path, kind, advice, check=_Parts(path).check)


FORMAT = ImageFormat(
    "Zeiss CZI",
    (_SUFFIX,),
    has_suffix(_SUFFIX),
    _open,
    order=20,
)
