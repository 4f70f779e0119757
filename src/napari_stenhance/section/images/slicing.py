"""Keys of slices, taken apart into what is read and what is left to take of it."""

from __future__ import annotations

from typing import Any


def split_key(key: Any, shape: tuple[int, ...]) -> tuple[range, range, tuple[Any, ...]]:
    """Take the key of a level apart, as NumPy means it.

    Parameters
    ----------
    key : tuple of slice or int
        Of rows and columns, and perhaps of colours; slices may have steps.
    shape : tuple of int

    Returns
    -------
    rows, columns : range
        What is asked, whose pixels from start to stop are to be read.
    inner : tuple
        The key of what is asked, in what was read.
    """
    keys = (*key, *(slice(None),) * (3 - len(key)))
    rows, columns = (
        range(n)[k] if isinstance(k, slice) else range(n)[k : k + 1 or None]
        for k, n in zip(keys[:2], shape, strict=False)
    )
    inner = tuple(
        slice(None, None, asked.step) if isinstance(k, slice) else 0
        for k, asked in zip(keys[:2], (rows, columns), strict=True)
    )
    return rows, columns, (*inner, keys[2])
