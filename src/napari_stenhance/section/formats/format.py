"""What a format of sections says of itself, and what one that is recognised holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.running.extensions import extensions

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    from numpy.typing import NDArray

    from napari_stenhance.section.outlines import CellOutlines
    from napari_stenhance.section.picture import Picture
    from napari_stenhance.section.spots import SpotGeometry

_LISTED: ContextVar[dict[Path, list[str]] | None] = ContextVar("listed", default=None)
"""What was listed while formats are asked one after another about the same folder."""
_MATRIX_PARTS = (("matrix.mtx",), ("features.tsv", "genes.tsv"), ("barcodes.tsv",))


@dataclass(frozen=True)
class SectionFiles:
    """A section with spots, before anything large of it is read.

    Attributes
    ----------
    name : str
    origin : Path
        The file that holds the counts.
    images : tuple of Path
        Files that may be the slide, by their names.
    xy : ndarray of float64, shape (n, 2)
        Positions in full-resolution pixels, to see whether they fit the image.
    mpp : float or None
        Micrometres per full-resolution pixel.
    mpp_source : str
        Where the scale comes from, in words; "inferred …" where it was not stated.
    read : callable
        Reads the spots; returns them and what there is to doubt about them.
    doubts : tuple of str
    pictures : mapping of str to float
        Pictures that were made smaller than the slide, by the end of their names, with their
        pixels for each full-resolution pixel.
    sizes : mapping of str to tuple
        Height and width of those pictures that are there.
    no_scale : str
        What to say if no scale is given, because the one that the files state cannot be used.
    no_pixels : str
        Why positions have no place on a slide, where they are no pixels of one.
    picture : Picture, optional
        The finest of them, to look at where there is no slide.
    on_image : callable, optional
        Places the spots on an image that the user gives, where files beside it say how.
    without : str
        What to say if none of the images is the slide, and none was given.
    outlines : callable, optional
        Reads the outlines of cells, by their ids, where positions lie.
    in_um : bool
        Positions, those that `read` returns too, are in micrometres from the corner of the slide.
    may_be_exchanged : str
        What says that x is y, and y x, unless the slide is mirrored.
    geometry : callable, optional
        Works out the spots' size from the micrometres per pixel that are used in the end, or None;
        returns it and what there is to doubt about it. Without it, the spots say, or their lattice.
    """

    name: str
    origin: Path
    images: tuple[Path, ...]
    xy: NDArray[np.float64]
    mpp: float | None
    mpp_source: str
    read: Callable[[], tuple[ad.AnnData, tuple[str, ...]]]
    doubts: tuple[str, ...] = ()
    pictures: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    no_scale: str = ""
    no_pixels: str = ""
    without: str = ""
    geometry: Callable[[float | None], tuple[SpotGeometry, str]] | None = None
    in_um: bool = False
    may_be_exchanged: str = ""
    picture: Picture | None = None
    on_image: Callable[[Path], SectionFiles] | None = None
    outlines: Callable[[], CellOutlines] | None = None

    def in_pixels(self, mpp: float, source: str) -> SectionFiles:
        """Return it with its positions in pixels of a scale, instead of micrometres."""

        def read() -> tuple[ad.AnnData, tuple[str, ...]]:
            table, doubts = self.read()
            table.obsm["spatial"] = table.obsm["spatial"] / mpp
            return table, doubts

        drawn = self.outlines
        return replace(
            self,
            xy=self.xy / mpp,
            read=read,
            mpp=mpp,
            mpp_source=source,
            in_um=False,
            outlines=None if drawn is None else lambda: drawn().moved(lambda xy: xy / mpp),
        )


@dataclass(frozen=True)
class SlideFile:
    """A section that is a slide alone.

    Attributes
    ----------
    path : Path
        The image.
    name : str
    mpp : float or None
        Micrometres per pixel, where a file beside the image says.
    """

    path: Path
    name: str
    mpp: float | None = None


@dataclass(frozen=True)
class SectionFormat:
    """A format of sections: the attribute `FORMAT` of a module here, or an entry point.

    Attributes
    ----------
    name : str
        What it is, with its article, as a sentence lists it.
    recognise : callable
        Tells whether a path is one. napari waits for it: it goes by names, or the first lines of
        small files, imports nothing heavy, and raises nothing.
    open : callable
        Finds the parts of what was recognised, and reads what is needed to place the spots; raises
        `InputError` if a part is missing or cannot be used.
    open_sample : callable, optional
        Opens the one sample of that name of what was recognised, where a path may hold several;
        `open` raises `SeveralSamples` there.
    suffixes : tuple of str
        What names of files end with that are such sections by themselves, for dialogs.
    image_alone : bool
        Such sections hold no spots.
    order : int
        Formats are asked in ascending order, of one order ours first: those that go by definite
        names (below 50), and last those that take whatever `.h5ad` or image lies in a folder.
    """

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path], SectionFiles | SlideFile]
    open_sample: Callable[[Path, str], SectionFiles] | None = None
    suffixes: tuple[str, ...] = ()
    image_alone: bool = False
    order: int = 50


def section_formats() -> tuple[SectionFormat, ...]:
    """List the formats of sections in the order in which they are asked."""
    found = extensions("napari_stenhance.section.formats", "FORMAT")
    return tuple(sorted(found, key=lambda one: one.order))


def format_of(path: Path) -> SectionFormat | None:
    """Find the format of what lies at a path; None if it is no section."""
    token = _LISTED.set({})
    try:
        return next((one for one in section_formats() if one.recognise(path)), None)
    finally:
        _LISTED.reset(token)


def holds_spots(path: Path) -> bool:
    """Tell whether what lies at a path is a section with spots."""
    found = format_of(path)
    return found is not None and not found.image_alone


def holds_samples(path: object) -> bool:
    """Tell whether what lies at a path, or a table in memory, may hold several samples."""
    if not isinstance(path, Path):
        return True
    found = format_of(path)
    return found is not None and found.open_sample is not None


def names_in(folder: Path) -> list[str]:
    """List the names in a folder but hidden ones; none if it cannot be listed."""
    listed = _LISTED.get()
    if listed is not None and folder in listed:
        return listed[folder]
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError:
        names = []
    if listed is not None:
        listed[folder] = names
    return names


def shares_stem(name: str, stem: str) -> bool:
    """Tell whether a file's stem is the given one, or begins with it and a separator."""
    file_stem = Path(name).stem
    return file_stem == stem or (file_stem.startswith(stem) and file_stem[len(stem)] in "_-. ")


def text_matrix_in(folder: Path) -> tuple[Path, ...]:
    """Return a folder's matrix, features and barcodes, plain or gzipped; none if one is missing."""
    names = set(names_in(folder))
    found = [
        next((n for one in part for n in (one, f"{one}.gz") if n in names), "")
        for part in _MATRIX_PARTS
    ]
    return tuple(folder / name for name in found) if all(found) else ()
