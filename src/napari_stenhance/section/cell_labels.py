"""Cells of a label image, in which each has a number, as polygons along the edges of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.images.label_image import read_labels
from napari_stenhance.section.named_regions import NamedRegions

_JSON = {".geojson", ".json"}
_AT_ONCE = 1000


def cells_of_file(path: Path, shape: tuple[int, int] | None, mpp: float, job: Job) -> NamedRegions:
    """Read cells of a slide: outlines as GeoJSON, or labels of the whole slide at any scale.

    Parameters
    ----------
    path : Path
        Labels are a PNG, a TIFF or a label image of an OME-Zarr, 0 where there is no cell.
    shape : tuple of int, or None
        Rows and columns of the slide; None where there is none.
    mpp : float
        Its micrometres per pixel.
    job : Job

    Raises
    ------
    InputError
        If it cannot be read, holds no cell, or labels are not of the whole slide.
    """
    if path.suffix.lower() in _JSON and not path.is_dir():
        return NamedRegions.read_cells(path, mpp, shape)
    image = read_labels(path)
    if shape is None:
        msg = f"{path}: labels are laid over a slide, and this result has none; give outlines."
        raise InputError(msg, option="cells")
    (rows, columns), (height, width) = image.values.shape, (n * mpp for n in shape)
    sides = image.pixel_um or (height / rows, width / columns)
    off = abs(rows * sides[0] - height), abs(columns * sides[1] - width)
    # The last row or column may be begun, or left out.
    square = abs(sides[0] / sides[1] - 1) <= 1 / min(rows, columns)
    if not square or off[0] > sides[0] or off[1] > sides[1]:
        msg = (
            f"{path}: it has {columns} × {rows} px, which is no size of this slide, {shape[1]} × "
            f"{shape[0]} px; give labels of the whole slide, at any scale."
        )
        raise InputError(msg, option="cells")
    return cells_of_labels(image.values, sides, (-mpp / 2, -mpp / 2), str(path), job)


def cells_of_labels(
    values: NDArray[Any],
    sides: tuple[float, float],
    corner: tuple[float, float],
    where: str,
    job: Job,
) -> NamedRegions:
    """Outline the cells of labels; one that lies in several pieces is one cell.

    Parameters
    ----------
    values : ndarray of int, shape (y, x)
        0 where there is none.
    sides : tuple of float
        Of a pixel, along y and x, in micrometres.
    corner : tuple of float
        The (y, x) of the outer corner of the first pixel, in micrometres.
    where : str
        What errors name.
    job : Job

    Raises
    ------
    InputError
        If there is no cell.
    """
    # Each row falls into runs of one label, which are boxes.
    new = np.ones(values.shape, bool)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    row, start = np.nonzero(new)
    stop = np.append(start[1:], 0)
    stop[np.append(row[1:] != row[:-1], True)] = values.shape[1]
    label = values[row, start]
    kept = np.flatnonzero(label > 0)
    kept = kept[np.argsort(label[kept], kind="stable")]
    if not len(kept):
        msg = f"{where}: no pixel of it has a label; give labels with a number for each cell."
        raise InputError(msg, option="cells")
    y, x = corner
    boxes = shapely.box(
        x + start[kept] * sides[1],
        y + row[kept] * sides[0],
        x + stop[kept] * sides[1],
        y + (row[kept] + 1) * sides[0],
    )
    numbers, first = np.unique(label[kept], return_index=True)
    ends = np.append(first[1:], len(kept))
    areas = np.empty(len(numbers), dtype=object)
    with job.stage("Outlining cells", len(numbers)) as stage:
        for n, (begin, end) in enumerate(zip(first, ends, strict=True), 1):
            areas[n - 1] = shapely.union_all(boxes[begin:end])
            if n % _AT_ONCE == 0:
                stage.advance(_AT_ONCE)
    return NamedRegions(tuple(f"Cell {n}" for n in numbers), areas)
