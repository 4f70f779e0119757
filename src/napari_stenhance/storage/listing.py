"""What a folder that is one thing, such as a zarr store, holds; and what shows that it changed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

_FEW = 64
"""Files of one folder that are looked at one by one; a level of a zarr has thousands."""
_JUNK = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What looking at a folder leaves in it."""


def files_in(path: Path) -> list[tuple[Path, int, int]]:
    """List the files in a folder and in those within: path, size and time of the last change.

    Of a file, itself.
    """
    if not path.is_dir():
        stat = path.stat()
        return [(path, stat.st_size, stat.st_mtime_ns)]
    found = []
    for folder, files in _walked(path):
        for name in files:
            stat = (folder / name).stat()
            found.append((folder / name, stat.st_size, stat.st_mtime_ns))
    return found


def glance(folder: Path) -> tuple[int, int, int]:
    """Look at a folder without looking at thousands of chunks one by one.

    Seen are all names, the time of the last change of each folder, which adding, removing and
    renaming a file change, and size and time of files where a folder has few of them: metadata.

    Returns
    -------
    size : int
        Of those files, in bytes.
    mtime_ns : int
        The latest of the times.
    checksum : int
        Of all that is seen.
    """
    size, newest, checksum = 0, 0, 0
    for where, files in _walked(folder):
        looked = (where, *(where / name for name in files if len(files) <= _FEW))
        stats = [one.stat() for one in looked]
        size += sum(stat.st_size for stat in stats[1:])
        newest = max(newest, *(stat.st_mtime_ns for stat in stats))
        seen = [[stat.st_mtime_ns, stat.st_size] for stat in stats[1:]]
        line = [str(where.relative_to(folder)), files, stats[0].st_mtime_ns, seen]
        checksum = zlib.crc32(json.dumps(line).encode(), checksum)
    return size, newest, checksum


def _walked(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Walk a folder in the order of names; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        yield Path(where), sorted(n for n in files if n not in _JUNK and not n.startswith("._"))
