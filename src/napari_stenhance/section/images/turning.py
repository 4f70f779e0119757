"""Pictures that their files say are stored turned or mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_stenhance.section.images.slicing import split_key

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


class _Turned:
    """A level of which rows and columns are exchanged or reversed where it is sliced."""

    def __init__(self, level: Pixels, exchanged: bool, down: bool, across: bool) -> None:
        self._level, self._exchanged, self._reversed = level, exchanged, (down, across)
        order = (1, 0, 2) if exchanged else (0, 1, 2)
        self.shape = tuple(level.shape[n] for n in order)
        self.chunks = tuple(level.chunks[n] for n in order)
        self.dtype, self.ndim = level.dtype, level.ndim

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        rows, columns, inner = split_key(key, self.shape)
        spans = [
            slice(size - max(span.stop, span.start), size - span.start)
            if back
            else slice(span.start, max(span.stop, span.start))
            for span, size, back in zip((rows, columns), self.shape, self._reversed, strict=False)
        ]
        if self._exchanged:
            pixels = self._level[spans[1], spans[0]].swapaxes(0, 1)
        else:
            pixels = self._level[spans[0], spans[1]]
        down, across = (slice(None, None, -1 if back else 1) for back in self._reversed)
        return pixels[down, across][inner]
