"""Names of prefix files, the input of the published Pixel2Gene and iStar.

A section is whatever begins with the same prefix, often none: `cnts.tsv`, or `sample-cnts.tsv`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in
from napari_stenhance.storage.reading import reading

COUNTS = ("cnts.parquet", "cnts.tsv", "cnts.tsv.gz", "cnts.csv", "cnts.csv.gz")
LOCATIONS = ("locs-raw.tsv", "locs-raw.parquet", "locs-raw.csv")
IMAGES = tuple(
    f"he-raw{suffix}"
    for suffix in (".jpg", ".png", ".tiff", ".tif", ".btf", ".ome.tiff", ".ome.tif")
)
RADIUS = "radius-raw.txt"
PIXEL_SIZE = "pixel-size-raw.txt"
TARGET_PIXEL_SIZE = "pixel-size.txt"
_NUMBER_MOST = 1000
MASK = "mask-raw.png"
"""Where several files could play a part, the published programs take the one named first."""


def prefixes(names: Collection[str]) -> list[str]:
    """Return the prefixes whose counts lie beside locations or an image, sorted."""
    found = set()
    for part in COUNTS:
        # Names that begin with a dot are other systems' shadows of files.
        starts = (n.removesuffix(part) for n in names if n.endswith(part) and n[0] != ".")
        found |= {s for s in starts if any(s + other in names for other in (*LOCATIONS, *IMAGES))}
    return sorted(found)


def slides_alone(names: Collection[str]) -> list[str]:
    """Return the prefixes that have an image and no counts, sorted."""
    starts = {
        n.removesuffix(part) for part in IMAGES for n in names if n.endswith(part) and n[0] != "."
    }
    return sorted(starts.difference(prefixes(names))) if starts else []


def named_by(
    path: Path, find: Callable[[Collection[str]], list[str]]
) -> tuple[Path, list[str], list[str]]:
    """Find the prefixes that a folder means, or `folder/prefix` where no file has just that name.

    Parameters
    ----------
    path : Path
    find : callable
        `prefixes` or `slides_alone`.

    Returns
    -------
    folder : Path
    names : list of str
        All that lie there.
    found : list of str
        The prefixes.
    """
    folder, wanted = (path, None) if path.is_dir() else (path.parent, path.name)
    names = [] if path.is_file() else names_in(folder)
    return folder, names, [prefix for prefix in find(names) if wanted in (None, prefix)]


def name_of(prefix: str, folder: Path) -> str:
    """Call a section as its prefix, or else as its folder."""
    return prefix.rstrip("-_. ") or folder.resolve().name


def number_in(path: Path) -> float | None:
    """Read a file that holds one number; None if there is no such file.

    Raises
    ------
    InputError
        If it holds none that is finite.
    """
    if not path.is_file():
        return None
    with reading(path, advice="write one number there"):
        with path.open(encoding="utf-8-sig") as file:
            value = float(file.read(_NUMBER_MOST))
    if not math.isfinite(value):
        msg = f"{path}: the file must hold one finite number, not {value:g}; write it there."
        raise InputError(msg)
    return value
