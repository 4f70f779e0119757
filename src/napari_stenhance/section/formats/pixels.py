"""What a file format gives for one level of a pyramid."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Pixels(Protocol):
    """A level of a pyramid, (y, x, 3) uint8, read where it is sliced; any thread may do so."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[np.uint8]
    ndim: int

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]: ...
