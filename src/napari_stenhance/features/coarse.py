"""A section seen coarsely: its slide, or its picture where it has none, and its tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.masks import find_tissue
from napari_stenhance.features.tissue import (
    glass_colour,
    glowing_tissue_in,
    is_fluorescence,
    optical_density,
    thumbnail,
    tissue_in,
)
from napari_stenhance.section.grid import Grid

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache


@dataclass(frozen=True, eq=False)
class CoarseView:
    """A slide, or a picture of the tissue, with one pixel for each superpixel of a grid.

    Attributes
    ----------
    grid : Grid
    pixels : ndarray of uint8, shape (rows, columns, 3)
    tissue : ndarray of bool, shape (rows, columns)
    extent_um : tuple of float
        How far the centres of the outer full-resolution pixels lie apart, along (x, y).
    glows : bool
        Whether it is fluorescence, light on a dark ground: the more of it, the more stain.
    """

    grid: Grid
    pixels: NDArray[np.uint8]
    tissue: NDArray[np.bool_]
    extent_um: tuple[float, float]
    glows: bool = False

    @classmethod
    def of_section(
        cls, section: Section, pitch_um: float, side_most: int, cache: Cache, job: Job
    ) -> CoarseView:
        """Read the slide of a section; where it has none its picture, as fine as that is.

        Parameters
        ----------
        section : Section
        pitch_um : float
            Side of a superpixel, where that makes no more of them than `side_most` a side.
        side_most : int
        cache : Cache
        job : Job

        Raises
        ------
        InputError
            If the section has neither, its scale is not known, or no tissue is found.
        """
        slide, picture = section.slide, section.picture
        if slide is None and picture is not None and section.mpp is not None:
            pixels = picture.read()
            height, width = pixels.shape[:2]
            grid = Grid(section.mpp / picture.factor, (height, width), section.mpp)
            tissue = tissue_in(pixels, grid)
            if not tissue.any():
                msg = f"{section.where}: no tissue was found on its picture {picture.name}."
                raise InputError(msg)
            along_x, along_y = (n * grid.pitch_um - section.mpp for n in (width, height))
            return cls(grid, pixels, tissue, (along_x, along_y))
        slide = section.need_slide()
        scale, (rows, columns) = slide.scale(), slide.shape
        grid = Grid.over(slide, max(pitch_um, max(rows, columns) * scale / side_most))
        extent = (columns - 1) * scale, (rows - 1) * scale
        pixels = thumbnail(slide, grid, f"Reading {slide.name}", job)
        if slide.tissue is None and is_fluorescence(pixels):
            tissue = glowing_tissue_in(pixels, grid)
            if not tissue.any():
                msg = f"{slide.path}: no tissue was found on this picture of fluorescence."
                raise InputError(msg)
            return cls(grid, pixels, tissue, extent, glows=True)
        return cls(grid, pixels, find_tissue(slide, grid, "density", cache, job), extent)

    def density(self, channel: int) -> NDArray[np.float32]:
        """Return the optical density, or the light, of red, green or blue; 0 outside tissue."""
        if self.glows:
            light: NDArray[np.float32] = np.where(self.tissue, self.pixels[..., channel], 0)
            return (light / 255).astype(np.float32)
        glass = glass_colour(self.pixels, np.ones(self.grid.shape, bool))
        return optical_density(self.pixels, glass, channel) * self.tissue
