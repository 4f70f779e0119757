"""A tissue mask that somebody gave: which of a slide's superpixels are tissue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.images.label_image import LabelImage, read_labels
from napari_stenhance.section.region import Region
from napari_stenhance.section.sums import running_sums

if TYPE_CHECKING:
    from napari_stenhance.section.slide import Slide

PITCH_UM = 8.0
"""Of the superpixels in which every given mask is kept."""
_COARSEST_UM = 32.0
_HALF = 0.5
_BAND = 256
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Which superpixels of a slide are tissue, whatever its pixels look like.

    Attributes
    ----------
    values : ndarray of bool, shape `grid.shape`
    grid : Grid
        Over the whole slide, of 8 µm.

    Raises
    ------
    InputError
        If nothing is tissue.
    """

    values: NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        """Refuse a mask that leaves nothing to learn from or to predict."""
        if not self.values.any():
            msg = "The tissue mask is empty: nothing of the slide is tissue; paint some, or leave "
            msg += "the mask out, and tissue is found."
            raise InputError(msg, option="tissue")

    @classmethod
    def given(cls, mask: Any, slide: Slide) -> TissueMask:
        """Take a mask of a slide: a file, an array or what this made.

        Parameters
        ----------
        mask : str, Path, ndarray or TissueMask
            A GeoJSON file of polygons, in micrometres or as QuPath writes them; or labels of the
            whole slide at any scale, where 0 is no tissue: a PNG, a TIFF, a label image of an
            OME-Zarr, or an array (y, x).
        slide : Slide

        Raises
        ------
        InputError
            If it cannot be read, is of another size, is empty, or the slide's scale is unknown.
        """
        grid = Grid.over(slide, PITCH_UM)
        if isinstance(mask, TissueMask):
            if mask.grid != grid:
                msg = f"{slide.name}: this tissue mask is of another slide, or another scale."
                raise InputError(msg, option="tissue")
            return mask
        if isinstance(mask, str | Path):
            path = Path(mask)
            if path.suffix.lower() in {".geojson", ".json"} and path.is_file():
                values = Region.read(path, grid.mpp, slide.shape).mask(grid)
                if not values.any():
                    msg = (
                        f"{path}: no superpixel of {slide.name} has its centre in these polygons; "
                        "draw them in micrometres, on the slide."
                    )
                    raise InputError(msg, option="tissue")
                return cls(values, grid)
            return cls(_laid_over(read_labels(path), slide, grid, str(path)), grid)
        values = np.asarray(mask)
        if values.ndim != 2 or not values.size or values.dtype.kind not in "bui":
            given = f"{values.ndim} axes of {values.dtype}" if values.size else "one of no pixel"
            msg = (
                f"{slide.name}: a tissue mask is an array (y, x) of whole numbers or bool, and not "
                f"{given}."
            )
            raise InputError(msg, option="tissue")
        return cls(_laid_over(LabelImage(values), slide, grid, "This tissue mask"), grid)

    @cached_property
    def sha256(self) -> str:
        """Of what is tissue, and of the grid."""
        digest = hashlib.sha256(self.grid.key().encode())
        digest.update(np.packbits(self.values).tobytes())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """What this mask is known by in caches and results."""
        return mask_name(self.sha256)

    def at_scale_of(self, slide: Slide) -> TissueMask:
        """Lay the mask over the same pixels of its slide, which is opened at another scale.

        Raises
        ------
        InputError
            If no superpixel is half covered there.
        """
        grid = Grid.over(slide, PITCH_UM)
        # How many of its superpixels, which have grown with the slide, one there spans.
        step = self.grid.mpp / grid.mpp
        return TissueMask(_half_covered(self.values, (step, step), grid.shape), grid)

    def on(self, grid: Grid) -> NDArray[np.bool_]:
        """Tell which superpixels of any grid over the slide are at least half tissue.

        Raises
        ------
        InputError
            If the grid is of another scale.
        """
        if grid == self.grid:
            return self.values
        if grid.mpp != self.grid.mpp:
            msg = "The tissue mask was given at another scale of the slide; give it again."
            raise InputError(msg, option="tissue")
        step = grid.pitch_um / self.grid.pitch_um
        return _half_covered(self.values, (step, step), grid.shape)


def mask_name(sha256: str) -> str:
    """Return what a mask of some hash is called."""
    return f"given-{sha256[:12]}"


def _laid_over(image: LabelImage, slide: Slide, grid: Grid, where: str) -> NDArray[np.bool_]:
    """Bring labels of a whole slide to a grid.

    Raises
    ------
    InputError
        If they are of another size.
    """
    tissue = image.values != 0
    y, x = _pixel_um(image, slide, grid, where)
    return _half_covered(tissue, (grid.pitch_um / y, grid.pitch_um / x), grid.shape)


def _pixel_um(image: LabelImage, slide: Slide, grid: Grid, where: str) -> tuple[float, float]:
    """Return the sides of a mask's pixel along y and x in micrometres.

    Raises
    ------
    InputError
        If the mask cannot be of the whole slide.
    """
    (height, width), mpp, shape = slide.shape, slide.scale(), image.values.shape
    if shape == grid.shape and image.pixel_um in (None, (grid.pitch_um, grid.pitch_um)):
        return grid.pitch_um, grid.pitch_um
    lengths = height * mpp, width * mpp
    if image.pixel_um is not None:
        fits = all(
            abs(n * side - length) <= side + _ROUNDING
            for n, side, length in zip(shape, image.pixel_um, lengths, strict=True)
        )
        sides = image.pixel_um
    else:
        # One step along both axes, of which the last may be begun or left out.
        low = max(length / (n + 1) for n, length in zip(shape, lengths, strict=True))
        high = min(
            length / (n - 1) if n > 1 else np.inf for n, length in zip(shape, lengths, strict=True)
        )
        fits = low < high
        sides = lengths[0] / shape[0], lengths[1] / shape[1]
    if not fits or max(sides) > _COARSEST_UM:
        why = "which is no size of that slide" if not fits else f"coarser than {_COARSEST_UM:g} µm"
        msg = (
            f"{where}: it has {shape[1]} × {shape[0]} px, {why}: {slide.name} has {width} × "
            f"{height} px; give a mask of the whole slide, at any scale."
        )
        raise InputError(msg, option="tissue")
    return sides


def _half_covered(
    tissue: NDArray[np.bool_], steps: tuple[float, float], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which superpixels are at least half tissue.

    Parameters
    ----------
    tissue : ndarray of bool
    steps : tuple of float
        How many of its rows and columns a superpixel spans.
    shape : tuple of int
        Of the superpixels.
    """
    if steps == (1.0, 1.0) and tissue.shape == shape:
        return tissue
    rows, columns = (
        np.minimum(np.arange(n + 1) * step, size)
        for n, step, size in zip(shape, steps, tissue.shape, strict=True)
    )
    wide = np.diff(columns)
    half = np.empty(shape, bool)
    for top in range(0, shape[0], _BAND):
        edges = rows[top : top + _BAND + 1]
        first = min(int(edges[0]), tissue.shape[0] - 1)
        last = min(int(np.ceil(edges[-1])) + 1, tissue.shape[0])
        covered = area_between(tissue[first:last], edges - first, axis=0)
        covered = area_between(covered, columns, axis=1)
        # Of what lies on the slide: the last row and column may reach beyond it.
        whole = np.diff(edges)[:, None] * wide
        half[top : top + len(edges) - 1] = (covered >= _HALF * whole - _ROUNDING) & (whole > 0)
    return half


def area_between(
    values: NDArray[Any], edges: NDArray[np.floating[Any]], axis: int
) -> NDArray[np.float64]:
    """Integrate piecewise constant values between edges along one axis; beyond them is nothing."""
    total = running_sums(values, axis)
    edges = np.minimum(edges, values.shape[axis])
    low = np.minimum(np.floor(edges).astype(np.int64), values.shape[axis] - 1)
    part = np.expand_dims(edges - low, tuple(n for n in range(values.ndim) if n != axis))
    below, above = np.take(total, low, axis), np.take(total, low + 1, axis)
    return np.diff(below + part * (above - below), axis=axis)
