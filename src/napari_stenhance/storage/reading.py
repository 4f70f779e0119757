"""The wall around readers: whatever a library raises on a damaged file becomes one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_stenhance.errors import InputError, StenhanceError

_LONGEST = 200
_ERRNO = re.compile(r"^\[Errno -?\d+\] (?=.)")
"""What the system calls an error, before its words."""


@contextmanager
def reading(
    path: str | Path, part: str = "", advice: str = "copy it again, or export it anew"
) -> Iterator[None]:
    """Turn any foreign error of a block that reads into a sentence.

    Only what reads a user's file belongs inside, never what writes or computes: the sentence says
    that the file cannot be read.

    Parameters
    ----------
    path : str or Path
        What is read.
    part : str
        Which part of it, such as "the positions" or 'obsm["spatial"]'; by default all.
    advice : str
        What to do.

    Raises
    ------
    InputError
        From any exception but one of ours, `MemoryError` included.
    """
    try:
        yield
    except StenhanceError:
        raise
    except Exception as error:
        msg = f"{path}: {part or 'this'} cannot be read ({reason_of(error)}); {advice}."
        raise InputError(msg) from error


def reason_of(error: Exception) -> str:
    """Say in a few words what an exception means: its first line, or else its kind."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    short = _ERRNO.sub("", lines[0]) if lines else type(error).__name__
    short = f"there is no {short}" if isinstance(error, KeyError) else short
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 2]} …"


def zarr_has(folder: Path, *attributes: str) -> bool:
    """Tell, from one small file, whether a folder is a zarr group with any of the attributes."""
    try:
        content = json.loads((folder / "zarr.json").read_text("utf-8"))
        return not set(attributes).isdisjoint(content["attributes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
