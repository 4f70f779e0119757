"""Pictures that their files say are stored turned or mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.section.images.slicing import SlicedLevel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.images.image import Pixels

_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By orientation, as TIFF and EXIF number it: rows become columns; then rows, columns reversed."""


def turn(level: Pixels, orientation: int) -> Pixels:
    """Return a level as its orientation says that it is to be seen; 1 is as it is stored."""
    return _Turned(level, *_TURNS[orientation]) if orientation in _TURNS else level


def said_of_turn(orientation: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say what turning does.

    Returns
    -------
    conversions, doubts : tuple of str
        Empty if it does nothing.
    """
    if orientation not in _TURNS:
        return (), ()
    doubt = (
        f"The file says that its picture is stored turned (orientation {orientation}); it is shown "
        "upright, which positions that were measured on it as stored do not fit."
    )
    return (f"turned, from orientation {orientation}",), (doubt,)


class _Turned(SlicedLevel):
    """A level of which rows and columns are exchanged or reversed where it is sliced."""

    def __init__(self, level: Pixels, exchanged: bool, down: bool, across: bool) -> None:
        self._level, self._exchanged, self._reversed = level, exchanged, (down, across)
        order = slice(1, None, -1) if exchanged else slice(2)
        super().__init__(level.shape[:2][order], level.chunks[:2][order])

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        rows, columns = (
            slice(size - end, size - start) if back else slice(start, end)
            for start, end, size, back in zip(
                (top, left), (bottom, right), self.shape, self._reversed, strict=False
            )
        )
        if self._exchanged:
            pixels = self._level[columns, rows].swapaxes(0, 1)
        else:
            pixels = self._level[rows, columns]
        down, across = (slice(None, None, -1 if back else 1) for back in self._reversed)
        return pixels[down, across]
