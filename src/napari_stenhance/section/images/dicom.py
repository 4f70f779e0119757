"""DICOM whole-slide images: the files of a series, given as one of them or as their folder."""

from __future__ import annotations

import itertools
import math
import re
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.image import (
    ImageFormat,
    ImageSource,
    OtherImage,
    SlideRefused,
)
from napari_stenhance.storage.reading import reading

_MAGIC = slice(128, 132)
_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
"""The class of whole-slide images."""
_SERIES = re.compile(rb"\x20\x00\x0e\x00UI..([0-9.]+)", re.DOTALL)
_CLASS_WITHIN, _SERIES_WITHIN = 2**10, 2**16
_LOOKED_AT = 4
_ENCAPSULATED = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0"
"""What pixels begin with if each frame is compressed; then comes the table of where they begin."""
_FRAMES_WITHIN = 2**20
_KIND, _ADVICE = "a DICOM slide", "copy all files of its series, or export it as tiled TIFF"


def _start(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        start = file.read(length)
    return start if start[_MAGIC] == b"DICM" else b""


def _recognise(path: Path, start: bytes) -> bool:
    """Take a file of DICOM, or one that is named so; and a folder of whole-slide images."""
    if not path.is_dir():
        return start[_MAGIC] == b"DICM" or (path.is_file() and path.suffix.lower() == ".dcm")
    try:
        first = (one for _, one in zip(range(_LOOKED_AT), path.iterdir(), strict=False))
        return any(one.is_file() and _SLIDE in _start(one, _CLASS_WITHIN) for one in first)
    except OSError:
        return False


def _by_series(folder: Path) -> dict[bytes, list[Path]]:
    """Group the whole-slide images of a folder by their series."""
    found = defaultdict(list)
    for path in sorted(one for one in folder.iterdir() if one.is_file()):
        start = _start(path, _SERIES_WITHIN)
        if _SLIDE in start[:_CLASS_WITHIN] and (series := _SERIES.search(start)):
            found[series[1]].append(path)
    return found


def _open(path: Path) -> ImageSource:
    with reading(path, f"this, {_KIND},", _ADVICE):
        every = _by_series(path if path.is_dir() else path.parent)
    if not path.is_dir():
        mine = next((files for files in every.values() if path in files), [path])
        return _open_series(path, mine)
    if not every:
        msg = f"{path}: this folder holds no {_KIND.split(' ', 1)[1]} that can be read; {_ADVICE}."
        raise InputError(msg)
    series = {files[0].stem: files for files in every.values()}
    opened, refused = {}, {}
    for name, files in series.items():
        try:
            opened[name] = _open_series(path, files)
        except InputError as error:
            refused[name] = error
    every_other = {
        name: OtherImage(name, image.shape, partial(_open_series, path, series[name], name))
        for name, image in opened.items()
    }
    # What cannot be read may be the largest.
    for name, why in refused.items():
        own = OtherImage(name, (0, 0), partial(_open_series, path, series[name]))
        raise SlideRefused.because(why, own, tuple(every_other.values()))
    name, slide = max(opened.items(), key=lambda one: math.prod(one[1].shape))
    more = [other for other in every_other.values() if other.name != name]
    for other in more:
        opened[other.name].close()
    return replace(slide, name=name, others=(*slide.others, *more))


def _open_series(path: Path, files: list[Path], part: str = "") -> ImageSource:
    from napari_stenhance.section.images.decoded.vendor import open_with_openslide

    with reading(path, f"this, {_KIND},", _ADVICE):
        for one in files:
            _check_offsets(one)
    file = path if path in files else files[0]
    beside = () if path.is_dir() else [one for one in files if one != path]
    opened = open_with_openslide(path, file, _KIND, _ADVICE, beside, _of_finest)
    return replace(opened, part=part)


def _check_offsets(path: Path) -> None:
    """Refuse frames that do not follow each other: reading those ends the program.

    Raises
    ------
    ValueError
        If the table of where they begin, which lies before them, is damaged.
    """
    start = _start(path, _FRAMES_WITHIN)
    at = start.find(_ENCAPSULATED) + len(_ENCAPSULATED)
    if at < len(_ENCAPSULATED) or len(start) < at + 4:
        return
    first = at + 4
    size = int.from_bytes(start[at:first], "little")
    offsets = struct.unpack_from(f"<{min(size, len(start) - first) // 4}I", start, first)
    follow = all(one < after for one, after in itertools.pairwise(offsets))
    if offsets and not (offsets[0] == 0 and follow and offsets[-1] < path.stat().st_size):
        msg = f"where its frames begin, as {path.name} says, cannot be"
        raise ValueError(msg)


def _of_finest(said: Mapping[str, str]) -> tuple[str, ...]:
    """Say if the finest level is a smaller copy of another, which is not there."""
    if said.get("dicom.ImageType[3]") != "RESAMPLED":
        return ()
    doubt = (
        "The finest level that can be read says that it is a smaller copy of another: files of the "
        "series may be missing or damaged."
    )
    return (doubt,)


FORMAT = ImageFormat("DICOM", (".dcm",), _recognise, _open, order=20)
