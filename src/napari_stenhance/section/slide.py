"""One H&E image, opened lazily as a pyramid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.job import Job
from napari_stenhance.section.images.image import OtherImage, Pixels
from napari_stenhance.section.images.kept import KeptLevel
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.pyramids import cached_pyramid
from napari_stenhance.section.resample import area_average, area_weights
from napari_stenhance.section.scale import check_mpp, scale_doubts
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hashing import FileState
from napari_stenhance.storage.tile_cache import TileCache

if TYPE_CHECKING:
    import dask.array as da

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in micrometres of the world, where 0 is the centre of the first pixel."""

WHITE = 255
_GLASS_MM = 76.0
_FAR = 0.1
"""By how much a scale that is given may differ from what the slide's file says without doubt."""


class GivenTissue(Protocol):
    """A mask of tissue, as `tissue_mask.TissueMask` is: it knows grids, which know slides."""

    @property
    def values(self) -> NDArray[np.bool_]: ...
    @property
    def grid(self) -> Any: ...
    @property
    def sha256(self) -> str: ...
    @property
    def name(self) -> str: ...
    def on(self, grid: Any) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Slide:
    """One H&E image as a pyramid of lazy arrays.

    Attributes
    ----------
    path : Path
        The image file, or folder.
    name : str
        By default the file's name without its suffix.
    pixels : tuple of Pixels
        (y, x, 3) uint8, from full resolution down; each is read where it is sliced.
    downsamples : tuple of float
        Full-resolution pixels for each pixel of a level.
    state : FileState
        Of the file when it was opened; what its content's hash is asked of.
    mpp : float or None
        Micrometres per pixel of the full-resolution level; None if nobody knows.
    mpp_source : str
        Where `mpp` comes from, in words; "inferred …" where it was not stated.
    doubts : tuple of str
        What the file states about the image and was not believed, or was guessed.
    series : str, optional
        Which image of the file was chosen; None if it is the file's slide.
    called : str
        What the file calls it.
    icc : bool
        Colours were to be converted to sRGB.
    conversions : tuple of str
        What was done to samples that are no 8-bit RGB on white, in words.
    others : tuple of OtherImage
        What else the file holds: label, macro, other scans; its slide, where another was chosen.
    tissue : GivenTissue, optional
        What of it is tissue, where somebody said so; else it is found.
    """

    path: Path
    name: str
    pixels: tuple[Pixels, ...]
    downsamples: tuple[float, ...]
    state: FileState
    mpp: float | None
    mpp_source: str
    doubts: tuple[str, ...] = ()
    series: str | None = None
    called: str = "slide"
    icc: bool = True
    conversions: tuple[str, ...] = ()
    others: tuple[OtherImage, ...] = ()
    tissue: GivenTissue | None = None

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
        series: str | None = None,
        icc: bool = True,
        cache: Cache | None = None,
        job: Job | None = None,
    ) -> Slide:
        """Open an image; one without a pyramid gets it, once, in the cache.

        Of a file with a pyramid only headers are read: its content's hash waits until it is asked.

        Parameters
        ----------
        path : str or Path
            The image file.
        mpp : float, optional
            Micrometres per pixel, if the file does not say or is wrong.
        name : str, optional
            What to call the slide; by default the file's name without its suffix.
        series : str, optional
            The name of an image of the file; by default its slide is opened.
        icc : bool
            Convert colours to sRGB by the profile that the file holds.
        cache : Cache, optional
            Where pyramids and hashes lie; by default the user's.
        job : Job, optional
            Receives the progress of building a pyramid.

        Raises
        ------
        InputError
            If the file is missing, is no image that can be read, holds no such series, or `mpp` is
            absurd.
        Cancelled
            If the job was cancelled.
        """
        cache, job = cache or Cache.default(), job or Job()
        image = open_image(Path(path), series, icc=icc)
        state = FileState.of(image.path, cache, image.beside)
        pixels, downsamples = image.levels, image.downsamples
        if not pixels:
            pixels, downsamples = cached_pyramid(image, state, cache, job)
        slide = cls(
            image.path,
            name or image.path.stem,
            pixels,
            downsamples,
            state,
            None,
            "unknown",
            doubts=image.doubts,
            series=None if image.is_slide else image.name,
            called=image.name,
            icc=icc,
            conversions=image.conversions,
            others=image.others,
        )
        if mpp is not None:
            slide = slide.with_mpp(mpp, "given")
            more = scale_doubts(image.mpp, image.mpp_source, slide.scale(), "given", _FAR)
            return replace(slide, doubts=(*slide.doubts, *more))
        return slide if image.mpp is None else slide.with_mpp(image.mpp, image.mpp_source)

    @property
    def sha256(self) -> str:
        """Of the file's content; read when it is first asked for, unless the cache knows it.

        Raises
        ------
        InputError
            If the file is gone, or is no longer what was opened.
        """
        return self.state.sha256()

    @property
    def key(self) -> str:
        """What the pixels are known by in the cache."""
        chosen = [self.series or "", *self.conversions]
        more = hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8] if any(chosen) else ""
        return "-".join(filter(None, (self.sha256[:32], more)))

    @property
    def token(self) -> str:
        """What the pixels are known by where nothing is read: by the file's state."""
        parts = (self.state.key, self.series or "", *self.conversions)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def identity(self) -> dict[str, Any]:
        """Return what decides the pixels: the hash, and what was chosen or converted."""
        return {
            "slide_sha256": self.sha256,
            **({"slide_series": self.series} if self.series is not None else {}),
            **({"slide_conversions": list(self.conversions)} if self.conversions else {}),
        }

    def same_as(self, other: Slide) -> bool:
        """Tell whether another slide shows the same image at the same scale, without reading it."""
        return (self.token, self.mpp) == (other.token, other.mpp)

    @cached_property
    def levels(self) -> tuple[da.Array, ...]:
        """The pyramid as dask arrays, for what computes lazily."""
        import dask.array as da

        return tuple(
            da.from_array(level, chunks=level.chunks, name=f"{self.token}-{n}", asarray=False)
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

    def keeping_tiles(self, most_bytes: int) -> Slide:
        """Return the slide, decoding a tile once for regions that are read one after the other.

        Parameters
        ----------
        most_bytes : int
            What tiles take at most; they are kept as long as what is returned.
        """
        cache = TileCache(most_bytes)
        return replace(self, pixels=tuple(KeptLevel(level, cache) for level in self.pixels))

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
