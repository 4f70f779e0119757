"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_stenhance.errors import InputError


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """Give a path beside `out` to write to; it gets that name only if the block ends well.

    Raises
    ------
    InputError
        If something lies at `out`, or it cannot be written.
    """
    if out.exists():
        msg = f"{out}: something lies here already; choose another name, nothing was touched."
        raise InputError(msg)
    aside = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            aside.rename(out)
        finally:
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{out}: this cannot be written here ({error}); choose another place."
        raise InputError(msg) from error
