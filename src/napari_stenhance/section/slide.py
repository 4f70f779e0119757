"""One H&E image, opened lazily as a pyramid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.images.image import Pixels, open_image
from napari_stenhance.section.pyramids import cached_pyramid
from napari_stenhance.section.resample import area_average, area_weights
from napari_stenhance.section.scale import check_mpp
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hashing import file_hash

if TYPE_CHECKING:
    import dask.array as da

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in micrometres of the world, where 0 is the centre of the first pixel."""

WHITE = 255
_GLASS_MM = 76.0


@dataclass(frozen=True)
class Slide:
    """One H&E image as a pyramid of lazy arrays.

    Attributes
    ----------
    path : Path
        The image file.
    name : str
        By default the file's name without its suffix.
    pixels : tuple of Pixels
        (y, x, 3) uint8, from full resolution down; each is read where it is sliced.
    downsamples : tuple of float
        Full-resolution pixels for each pixel of a level.
    sha256 : str
        Of the file's content.
    mpp : float or None
        Micrometres per pixel of the full-resolution level; None if nobody knows.
    mpp_source : str
        Where `mpp` comes from, in words; "inferred …" where it was not stated.
    doubts : tuple of str
        What the file states about the image and was not believed, or was guessed.
    """

    path: Path
    name: str
    pixels: tuple[Pixels, ...]
    downsamples: tuple[float, ...]
    sha256: str
    mpp: float | None
    mpp_source: str
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a scale that cannot be right."""
        if self.mpp is not None:
            object.__setattr__(self, "mpp", check_mpp(self.mpp, str(self.path)))

    def __repr__(self) -> str:
        height, width = self.shape
        scale = "scale unknown" if self.mpp is None else f"{self.mpp:.4g} µm per pixel"
        return f"<Slide {str(self.path)!r}: {width} × {height} px, {scale}>"

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        mpp: float | None = None,
        name: str | None = None,
        cache: Cache | None = None,
        job: Job | None = None,
    ) -> Slide:
        """Open a JPEG, PNG or TIFF; one without a pyramid gets it, once, in the cache.

        Parameters
        ----------
        path : str or Path
            The image file.
        mpp : float, optional
            Micrometres per pixel, if the file does not say or is wrong.
        name : str, optional
            What to call the slide; by default the file's name without its suffix.
        cache : Cache, optional
            Where pyramids lie; by default the user's.
        job : Job, optional
            Receives the progress of reading a file that was not seen before, and of building a
            pyramid.

        Raises
        ------
        InputError
            If the file is missing, is no image that can be read, or `mpp` is absurd.
        Cancelled
            If the job was cancelled.
        """
        cache, job = cache or Cache.default(), job or Job()
        image = open_image(Path(path))
        sha256 = file_hash(image.path, cache, job)
        pixels, downsamples = image.levels, image.downsamples
        if not pixels:
            pixels, downsamples = cached_pyramid(image, sha256, cache, job)
        name = name or image.path.stem
        slide = cls(
            image.path, name, pixels, downsamples, sha256, None, "unknown", doubts=image.doubts
        )
        if mpp is not None:
            return slide.with_mpp(mpp, "given")
        return slide if image.mpp is None else slide.with_mpp(image.mpp, image.mpp_source)

    @cached_property
    def levels(self) -> tuple[da.Array, ...]:
        """The pyramid as dask arrays, for what computes lazily."""
        import dask.array as da

        return tuple(
            da.from_array(level, chunks=level.chunks, name=f"{self.sha256}-{n}", asarray=False)
            for n, level in enumerate(self.pixels)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the full-resolution level in pixels."""
        height, width = self.pixels[0].shape[:2]
        return int(height), int(width)

    def with_mpp(self, mpp: float, source: str) -> Slide:
        """Return the slide with its scale set.

        Raises
        ------
        InputError
            If `mpp` lies outside 0.05 … 20 µm per pixel, or was inferred from spots and makes the
            slide larger than the glass that arrays are printed on.
        """
        if source.startswith("inferred") and (side_mm := max(self.shape) * mpp / 1000) > _GLASS_MM:
            msg = (
                f"{self.path}: at {mpp:.3g} µm per pixel, {source}, the slide would be "
                f"{side_mm:.0f} mm long, and glass is {_GLASS_MM:g}; the spots' coordinates belong "
                "to a smaller picture, and must be in full-resolution pixels of this one."
            )
            raise InputError(msg)
        return replace(self, mpp=mpp, mpp_source=source)

    def scale(self) -> float:
        """Return `mpp`.

        Raises
        ------
        InputError
            If the scale is unknown.
        """
        if self.mpp is None:
            msg = f"{self.path}: the slide's scale is unknown; give it in µm per pixel."
            raise InputError(msg, option="mpp")
        return self.mpp

    def extent_um(self) -> Box:
        """Return the world box that the slide covers, in micrometres."""
        mpp = self.scale()
        height, width = self.shape
        return -mpp / 2, -mpp / 2, (width - 0.5) * mpp, (height - 0.5) * mpp

    def read(self, region_um: Box, mpp: float) -> NDArray[np.uint8]:
        """Read any region at any resolution, averaged over area, white outside the slide.

        Parameters
        ----------
        region_um : tuple of float
            (x0, y0, x1, y1) in micrometres of the world.
        mpp : float
            Micrometres per pixel of what is returned.

        Returns
        -------
        ndarray of uint8, shape (round((y1 − y0) / mpp), round((x1 − x0) / mpp), 3)

        Raises
        ------
        InputError
            If the image is damaged there.
        """
        full_um = self.scale()
        x0, y0, x1, y1 = region_um
        level = max(
            i
            for i, down in enumerate(self.downsamples)
            if i == 0 or full_um * down <= mpp * 1.000001
        )
        pixel_um = full_um * self.downsamples[level]
        step = mpp / pixel_um
        weights, spans = [], []
        for low, high, size in (
            (y0, y1, self.pixels[level].shape[0]),
            (x0, x1, self.pixels[level].shape[1]),
        ):
            count = round((high - low) / mpp)
            start = (low + full_um / 2) / pixel_um
            first = min(max(int(np.floor(start)), 0), size)
            last = min(max(int(np.ceil(start + count * step)), first), size)
            weights.append(area_weights(start, step, count, first, last))
            spans.append(slice(first, last))
        if any(span.start == span.stop for span in spans):
            return np.full((len(weights[0].first), len(weights[1].first), 3), WHITE, np.uint8)
        pixels = self.pixels[level][spans[0], spans[1]]
        return area_average(pixels, weights[0], weights[1], WHITE)
