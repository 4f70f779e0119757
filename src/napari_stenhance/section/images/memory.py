"""Images of which all is in memory while they are decoded."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.errors import InputError

_SHARE = 0.5
"""Of the memory that is free."""


def need_memory(path: Path, needed: int, what: str, advice: str) -> None:
    """Refuse an image that takes too much memory, before any is allocated.

    Parameters
    ----------
    path : Path
    needed : int
        Bytes at the same time.
    what : str
        Why all of it is decoded at once: "since it is …".
    advice : str
        What to do.

    Raises
    ------
    InputError
        If it takes more than half of what is free.
    """
    import psutil

    if needed > _SHARE * psutil.virtual_memory().available:
        msg = (
            f"{path}: decoding this image takes {needed / 2**30:.1f} GB at once, since it is "
            f"{what}; {advice}."
        )
        raise InputError(msg)
