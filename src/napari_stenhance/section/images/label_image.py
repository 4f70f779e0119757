"""One channel of labels, as it is stored: a PNG, a TIFF, or a label image of an OME-Zarr."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")
_MOST_PX = 64_000_000
_LOSSY = {6, 7, 33003, 33004, 33005, 34712, 34892, 22610, 34934, 50001, 50002, 52546}
"""Codecs of TIFF that may change a label."""
_ADVICE = "export the mask again, as an 8-bit PNG or TIFF"


@dataclass(frozen=True)
class LabelImage:
    """Labels, and how large a pixel is, where the file says.

    Attributes
    ----------
    values : ndarray, shape (y, x)
        Whole numbers, or bool.
    pixel_um : tuple of float or None
        Sides along y and x in micrometres.
    """

    values: NDArray[Any]
    pixel_um: tuple[float, float] | None = None


def read_labels(path: Path) -> LabelImage:
    """Read the labels of a file or a folder.

    Raises
    ------
    InputError
        If it is missing, damaged, too large, or holds no one channel of labels without loss.
    """
    if path.is_dir():
        return _of_ome_zarr(path)
    if not path.is_file():
        msg = f"{path}: there is no such mask."
        raise InputError(msg, option="tissue")
    with reading(path, "this mask", _ADVICE):
        with path.open("rb") as file:
            start = file.read(24)
        if start.startswith(_PNG):
            return LabelImage(_one_channel(_of_png(path, start)))
        if start.startswith(_TIFF):
            return LabelImage(_one_channel(_of_tiff(path)))
    msg = f"{path}: this is no mask that can be read; give a PNG, a TIFF, OME-Zarr or GeoJSON."
    raise InputError(msg, option="tissue")


def _of_png(path: Path, start: bytes) -> NDArray[Any]:
    import imagecodecs

    _check_size(int.from_bytes(start[20:24], "big"), int.from_bytes(start[16:20], "big"))
    decoded: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return decoded


def _of_tiff(path: Path) -> NDArray[Any]:
    import numpy as np
    import tifffile

    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        lengths = dict(zip(series.axes, series.shape, strict=True))
        _check_size(lengths.get("Y", 0), lengths.get("X", 0))
        others = math.prod(n for axis, n in lengths.items() if axis not in "YXS")
        if len(tif.series) > 1 or others != 1 or lengths.get("S", 1) > 4:
            msg = f"it holds several images, or axes {series.axes} of {series.shape}"
            raise ValueError(msg)
        if int(series.keyframe.compression) in _LOSSY:
            msg = f"its codec, {series.keyframe.compression!s}, may change labels"
            raise ValueError(msg)
        kept = tuple(slice(None) if axis in "YXS" else 0 for axis in series.axes)
        values: NDArray[Any] = np.asarray(series.asarray())[kept]
        at = [axis for axis in series.axes if axis in "YXS"]
        return np.moveaxis(values, at.index("S"), -1) if "S" in at else values


def _one_channel(values: NDArray[Any]) -> NDArray[Any]:
    """Take grey that is stored as colours for the one channel that it is.

    Raises
    ------
    ValueError
        If it has colours, is transparent anywhere, or holds no whole numbers.
    """
    import numpy as np

    if values.dtype.kind not in "bui":
        msg = f"its pixels are {values.dtype}, not whole numbers"
        raise ValueError(msg)
    if values.ndim == 2:
        return values
    grey = values[..., : 3 if values.shape[-1] > 2 else 1]
    alpha = values[..., grey.shape[-1] :]
    if (grey != grey[..., :1]).any() or (alpha != np.iinfo(values.dtype).max).any():
        msg = "it is in colours, or transparent; a mask has one channel, where 0 is no tissue"
        raise ValueError(msg)
    return grey[..., 0]


def _of_ome_zarr(path: Path) -> LabelImage:
    """Read the finest level that is not too large."""
    import numpy as np

    from napari_stenhance.section.images.ome_zarr.multiscale import read_multiscales
    from napari_stenhance.section.images.ome_zarr.node import group_attributes

    with reading(path, "this OME-Zarr", "give the folder of one label image"):
        image = read_multiscales(path, group_attributes(path), labels=True)[0]
        whole = dict(zip(image.axes, image.levels[0].shape, strict=True))
        if any(length > 1 for axis, length in whole.items() if axis not in "yx"):
            msg = f"a mask is one plane in one channel, and this has axes {whole}"
            raise ValueError(msg)
        y, x = image.axes.index("y"), image.axes.index("x")
        sizes = [(level.shape[y], level.shape[x]) for level in image.levels]
        n = next((n for n, size in enumerate(sizes) if math.prod(size) <= _MOST_PX), 0)
        _check_size(*sizes[n])
        at = tuple(slice(None) if axis in "yx" else 0 for axis in image.axes)
        values = np.asarray(image.levels[n].array[at])
        sides = image.micrometres() if n == 0 else None
    return LabelImage(values, sides)


def _check_size(height: int, width: int) -> None:
    """Refuse what claims too much, before it is allocated.

    Raises
    ------
    ValueError
        Saying how large it may be.
    """
    if not 0 < height * width <= _MOST_PX:
        msg = (
            f"it has {width} × {height} px, and a mask at most {_MOST_PX // 10**6} million: one of "
            "its pixels may be several of the slide's"
        )
        raise ValueError(msg)
