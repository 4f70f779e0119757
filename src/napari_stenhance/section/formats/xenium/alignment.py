"""How an H&E image lies on the morphology image, as Xenium Explorer writes it beside the H&E."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.format import names_in
from napari_stenhance.section.images.opening import image_size, image_suffixes
from napari_stenhance.storage.reading import reading

_HE = re.compile(r"(?:.*[_.\- ])?(?:he|h&e)(?:[_.\- ]?image)?(?:[_.\- ].*)?", re.IGNORECASE)
_POINTS = ("fixedx", "fixedy", "alignmentx", "alignmenty")
_MOST = 2**20


@dataclass(frozen=True, eq=False)
class HePlace:
    """An H&E image, and where it lies.

    Attributes
    ----------
    image : Path
    to_morphology : ndarray of float64, shape (3, 3)
        Takes (x, y, 1) in pixels of the H&E to pixels of the morphology image.
    said_by : str
        The file that says so; "" for an image that is taken to lie there as it is.
    """

    image: Path
    to_morphology: NDArray[np.float64]
    said_by: str = ""

    def place(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions in pixels of the H&E, given those of the morphology image."""
        inverse = np.linalg.inv(self.to_morphology)
        return np.asarray(xy @ inverse[:2, :2].T + inverse[:2, 2])

    @property
    def pixel(self) -> float:
        """Pixels of the morphology image along one of the H&E."""
        return float(np.sqrt(abs(np.linalg.det(self.to_morphology[:2, :2]))))


def find_he(*folders: Path) -> tuple[HePlace | None, str]:
    """Find the one H&E image of a bundle, and how it lies; and what to say if there are several.

    Raises
    ------
    InputError
        If its alignment cannot be used.
    """
    images = [
        folder / name
        for folder in dict.fromkeys(folders)
        for name in sorted(names_in(folder))
        if name.lower().endswith(image_suffixes()) and _HE.fullmatch(_stem(name))
    ]
    if len(images) == 1:
        return he_place(images[0]), ""
    if not images:
        return None, "No H&E image (…_he_image.ome.tif) was found in the bundle: give it."
    return None, f"Several images could be the H&E: {', '.join(i.name for i in images)}; name it."


def he_place(image: Path) -> HePlace:
    """Read how an image lies on the morphology image.

    Raises
    ------
    InputError
        If the file that says so cannot be used.
    """
    stem = _stem(image.name)
    wanted = {f"{stem}alignment.csv", f"{stem}_alignment.csv"}
    wanted |= {f"{stem.removesuffix('image')}alignment.csv", f"{stem}_keypoints.csv"}
    wanted = {name.lower() for name in wanted}
    there = [n for n in sorted(names_in(image.parent)) if n.lower() in wanted]
    if not there:
        return HePlace(image, np.eye(3))
    path = image.parent / there[0]
    with reading(path, "the alignment", "export it again from Xenium Explorer"):
        with path.open("rb") as file:
            text = file.read(_MOST).decode("utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
        rows = list(csv.reader(lines))
        head = [cell.strip().lower() for cell in rows[0]] if rows else []
        matrix = _from_points(head, rows[1:]) if set(_POINTS) <= set(head) else _matrix(rows)
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:2, :2])) < 1e-9:
            msg = "it takes an image to a line, or nowhere"
            raise ValueError(msg)
    return HePlace(image, matrix, path.name)


def _stem(name: str) -> str:
    """Cut the ending of an image off, `.ome.tif` whole."""
    return re.sub(r"(?:\.ome)?\.\w+$", "", name, flags=re.IGNORECASE)


def _matrix(rows: list[list[str]]) -> NDArray[np.float64]:
    matrix = np.array([[float(cell) for cell in row if cell.strip()] for row in rows])
    if matrix.shape != (3, 3) or not np.allclose(matrix[2], (0, 0, 1)):
        msg = "it is neither a matrix of 3 × 3 that ends in 0, 0, 1 nor a table of points"
        raise ValueError(msg)
    return matrix


def _from_points(head: list[str], rows: list[list[str]]) -> NDArray[np.float64]:
    """Fit a matrix to pairs of points."""
    columns = [head.index(name) for name in _POINTS]
    points = np.array([[float(row[at]) for at in columns] for row in rows])
    design = np.column_stack([points[:, 2:], np.ones(len(points))])
    if len(points) < 3 or np.linalg.matrix_rank(design - design.mean(axis=0)) < 2:
        msg = f"{len(points)} points, or points on a line, do not say how an image lies: 3 do"
        raise ValueError(msg)
    fit = np.linalg.lstsq(design, points[:, :2], rcond=None)[0]
    return np.vstack([fit.T, (0.0, 0.0, 1.0)])


def check_direction(place: HePlace, xy: NDArray[np.float64]) -> None:
    """Refuse a matrix that was written the other way round.

    Parameters
    ----------
    place : HePlace
    xy : ndarray of float64, shape (n, 2)
        Cells, in pixels of the morphology image.

    Raises
    ------
    InputError
        If most lie inside the H&E only by the inverse of its matrix, or it cannot be read.
    """
    most = np.array(image_size(place.image)[::-1])
    other = HePlace(place.image, np.linalg.inv(place.to_morphology).astype(np.float64))
    both = (place.place(xy), other.place(xy))
    inside = [float(((at >= 0) & (at < most)).all(axis=1).mean()) for at in both]
    if inside[0] < 0.5 and inside[1] > 0.9:
        msg = (
            f"{place.image.parent / place.said_by}: by this matrix cells lie outside the H&E, but "
            "by its inverse inside; it must take pixels of the H&E to those of the morphology "
            "image: export it again from Xenium Explorer."
        )
        raise InputError(msg)
