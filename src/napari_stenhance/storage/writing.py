"""The wall around writers: a full disk, or a place where none may write, becomes one sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.storage.reading import reason_of

# Only writing fails so, whichever file it is: what `write` raises names none.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# What reading raises too, of a file that is gone or on a broken disk.
_READING = {errno.ENOENT, errno.EIO}


@contextmanager
def writing(
    place: Path,
    advice: str = "free some space, or choose another folder; what was finished is kept",
    *,
    scratch: Path | None = None,
) -> Iterator[None]:
    """Turn what writing at a place raises into a sentence; errors of reading pass as they are.

    Parameters
    ----------
    place : Path
        A file, or a folder in which the block writes.
    advice : str
        What to do.
    scratch : Path, optional
        Where the block writes what is then given the name of the place.

    Raises
    ------
    InputError
        From an OSError that says that something cannot be written: no space, too large a file, a
        read-only disk; or that names what is written, or a folder above it, and is none that a
        file raises which is gone or cannot be read.
    """
    try:
        yield
    except OSError as error:
        named = [Path(str(n)) for n in (error.filename, error.filename2) if n is not None]
        inside = [name for name in named if _is_at(name, place)]
        # What is not there yet can only be written: a folder where nobody can make one says ENOENT.
        aside = scratch is not None and any(_is_at(name, scratch) for name in named)
        if error.errno not in _FULL and not aside and (not inside or error.errno in _READING):
            raise
        where = inside[0] if inside else place
        msg = f"{where}: this cannot be written ({reason_of(error)}); {advice}."
        raise InputError(msg) from error


def need_writable(place: Path, option: str = "out") -> None:
    """Refuse, before anything is computed, a place where nobody may write; nothing is written.

    Parameters
    ----------
    place : Path
        A folder, or where one is to be made.
    option : str
        Which option names it.

    Raises
    ------
    InputError
        If the folder, or the nearest above it that there is, cannot be written.
    """
    place = place.absolute()
    there = next((one for one in (place, *place.parents) if os.path.lexists(one)), place)
    if not there.is_dir():
        why = "it is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        why = "permission denied"
    else:
        return
    msg = f"{there}: this cannot be written ({why}); choose another place."
    raise InputError(msg, option=option)


def _is_at(name: Path, place: Path) -> bool:
    name, place = name.absolute(), place.absolute()
    return name.is_relative_to(place) or place.is_relative_to(name)
