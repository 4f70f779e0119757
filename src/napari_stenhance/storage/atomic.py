"""Files and folders that are written whole or not at all, and the scratch that this takes.

Scratch lies beside what it becomes, under a name that says which process made it: whoever writes
there next removes what a dead process left, and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.storage.owner import Owner
from napari_stenhance.storage.writing import writing

_NAME = re.compile(
    r"\.stenhance-(?P<host>.+)-(?P<pid>\d+)-(?P<started>[0-9a-f]{12})-[0-9a-f]{12}\Z"
)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9+._-]")
_HOST_LONGEST = 100


@contextmanager
def atomic_path(out: Path, *, folder: bool = False, replace: bool = False) -> Iterator[Path]:
    """Give a path beside `out` to write to; it gets that name only if the block ends well.

    Whatever appears at `out` meanwhile stays as it is.

    Parameters
    ----------
    out : Path
        Where nothing lies; a folder may be there already if it is empty.
    folder : bool
        Make a folder: the block is given an empty one.
    replace : bool
        Take the place of a file that lies there.

    Raises
    ------
    InputError
        If something lies at `out`, also when the block has ended, or it cannot be written.
    """
    with writing(out, "choose another place"):
        if not replace:
            need_free(out, folder=folder)
        was_there = out.is_dir()
    if was_there:
        # Where a link to an empty folder leads.
        out = out.resolve()
    aside = scratch_in(out.parent)
    with writing(out, "free some space, or choose another place", scratch=aside):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            if folder:
                aside.mkdir()
            yield aside
            try:
                if replace:
                    aside.replace(out)
                else:
                    _claim_folder(aside, out, was_there) if folder else claim_file(aside, out)
            except FileExistsError as error:
                raise _taken(out) from error
        finally:
            remove(aside)


def need_free(out: Path, *, folder: bool = False) -> None:
    """Refuse a place where something lies; scratch of the dead beside it is removed.

    Parameters
    ----------
    out : Path
    folder : bool
        An empty folder is free too.

    Raises
    ------
    InputError
        If something lies there: a link that leads nowhere is something.
    """
    sweep(out.parent)
    if not is_free(out, folder=folder):
        raise _taken(out)


def is_free(out: Path, *, folder: bool = False) -> bool:
    """Tell whether nothing lies at a place, or for a folder at most an empty one."""
    if not os.path.lexists(out):
        return True
    return folder and out.is_dir() and not any(out.iterdir())


def _taken(out: Path) -> InputError:
    msg = f"{out}: something lies here already; choose another place, nothing was touched."
    return InputError(msg, option="out")


def scratch_in(folder: Path) -> Path:
    """Name something new in a folder that only this process writes, until it is given its name."""
    owner = Owner.current()
    return folder / f".stenhance-{_host_in_names(owner)}-{owner.pid}-{owner.started}-{_unique()}"


def sweep(folder: Path) -> None:
    """Remove what dead processes left in a folder; what a living one writes stays."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if is_left_behind(entry.name):
                remove(entry)


def is_left_behind(name: str) -> bool:
    """Tell from the name of a file or folder whether it is scratch of ours, of a dead process."""
    made = _NAME.match(name)
    if made is None:
        return False
    here = Owner.current()
    if made["host"] != _host_in_names(here):
        return False
    return Owner(here.host, int(made["pid"]), made["started"]).is_dead


def claim_file(aside: Path, out: Path) -> None:
    """Give a file its name, unless something has it.

    Raises
    ------
    FileExistsError
        If something does.
    """
    try:
        os.link(aside, out)
    except FileExistsError:
        raise
    except OSError:
        # A disk without hard links: claim the name with an empty file, which is ours to replace.
        out.touch(exist_ok=False)
        aside.replace(out)
    else:
        aside.unlink()


def _claim_folder(aside: Path, out: Path, was_there: bool) -> None:
    if not was_there:
        out.mkdir()
    elif any(out.iterdir()):
        raise FileExistsError
    if os.name == "nt":
        # Only there a folder cannot take the place of an empty one.
        out.rmdir()
    try:
        aside.rename(out)
    except OSError:
        # Not empty any more, if there is something in it.
        if out.is_dir() and any(out.iterdir()):
            raise FileExistsError from None
        if not was_there:
            out.rmdir()
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _host_in_names(owner: Owner) -> str:
    return _NOT_IN_NAMES.sub("_", owner.host)[:_HOST_LONGEST]


def _unique() -> str:
    return uuid.uuid4().hex[:12]
