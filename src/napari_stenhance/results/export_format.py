"""How tables and images leave: in one of the formats that are registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions
from napari_stenhance.running.job import Job

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray

    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.section.slide import Slide
    from napari_stenhance.storage.levels import Levels


@dataclass(frozen=True)
class ExportImage:
    """A slide, or genes of a run, as an image with levels.

    Attributes
    ----------
    name : str
    about : str
        What the values are, in a sentence.
    channels : tuple of str
        Genes, or what else each shows; empty if it is in colours.
    shapes : tuple of tuple of int
        (rows, columns) of each level, from full resolution down.
    read : callable
        `read(level, channel, rows, columns)` returns a part, (rows, columns, 3) uint8 in colours,
        else (rows, columns) float32, NaN where there is nothing.
    um : float or None
        The side of a pixel of the first level in micrometres; None if nobody knows.
    origin_um : tuple of float
        (x, y) of the outer corner of the first pixel, from that of the slide.
    """

    name: str
    about: str
    channels: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    read: Callable[[int, int, slice, slice], NDArray[Any]]
    um: float | None
    origin_um: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def from_slide(cls, slide: Slide) -> ExportImage:
        """Take a slide as it is seen: 8-bit sRGB on white."""

        def read(level: int, _channel: int, rows: slice, columns: slice) -> NDArray[Any]:
            return slide.pixels[level][rows, columns]

        shapes = tuple((level.shape[0], level.shape[1]) for level in slide.pixels)
        about = f"{slide.path.name}, as napari-stenhance shows it: 8-bit sRGB on white"
        return cls(slide.name, about, (), shapes, read, slide.mpp)

    @classmethod
    def from_genes(cls, run: GeneSource, genes: Sequence[str]) -> ExportImage:
        """Take genes of a run.

        Raises
        ------
        InputError
            If one is not there.
        """
        about = f"{run.unit} of the run {run.name}; NaN where there is nothing"
        return cls.from_levels(run, {gene: run.levels(gene) for gene in genes}, about)

    @classmethod
    def from_levels(cls, run: GeneSource, levels: Mapping[str, Levels], about: str) -> ExportImage:
        """Take images on the grid of a run, each by the name of its channel."""
        grid, channels = run.grid, tuple(levels.values())
        um = grid.pitch_um if grid.unit == "micrometer" else None
        origin = grid.origin_um if um is not None else (0.0, 0.0)

        def read(level: int, channel: int, rows: slice, columns: slice) -> NDArray[Any]:
            return channels[channel].part(level, rows, columns)

        name = f"{run.result.name} {run.name}"
        return cls(name, about, tuple(levels), channels[0].shapes, read, um, origin)


WholeSaver = Callable[["ExportImage | None", "ad.AnnData | None", "float | None", Path, Job], None]


@dataclass(frozen=True)
class ExportFormat:
    """A format of files that hold a table, or images.

    Attributes
    ----------
    name : str
        As one asks for it.
    title : str
        What people call it.
    save : callable, optional
        `save(table, path)` writes an AnnData where nothing lies; what it writes gets its name only
        when it is whole. `X` is log1p CP10k where genes were predicted from a slide, and counts
        where they were imputed, whose log1p CP10k is a layer.
    save_image : callable, optional
        `save_image(image, path, job)` writes an `ExportImage`; a format has this or `save`.
    save_whole : callable, optional
        Instead of either: `save_whole(image, table, mpp, path, job)` writes a folder of both, or of
        the one that is not None; positions of the table are in pixels of `mpp` micrometres.
    suffixes : tuple of str
        Ends of names, in lower case, that nothing but this format has.
    """

    name: str
    title: str
    save: Callable[[ad.AnnData, Path], None] | None = None
    save_image: Callable[[ExportImage, Path, Job], None] | None = None
    save_whole: WholeSaver | None = None
    suffixes: tuple[str, ...] = ()


def export_formats() -> dict[str, ExportFormat]:
    """List the formats there are, by name: of `results.exports`, and of other packages."""
    found: tuple[ExportFormat, ...] = extensions("napari_stenhance.results.exports", "EXPORT")
    return {each.name: each for each in found}


def export_titles() -> dict[str, str]:
    """List what the formats are called, by name."""
    return {name: each.title for name, each in export_formats().items()}


def holds_images(to: str) -> bool:
    """Tell whether a format holds images, and not a table.

    Raises
    ------
    InputError
        If there is no such format.
    """
    formats = export_formats()
    if to not in formats:
        msg = f"{to}: there is no such format; there are {', '.join(formats)}."
        raise InputError(msg, option="to")
    return formats[to].save_image is not None


def holds_both(to: str) -> bool:
    """Tell whether a format holds an image and a table in a folder.

    Raises
    ------
    InputError
        If there is no such format.
    """
    return not holds_images(to) and export_formats()[to].save_whole is not None


def need_own_name(out: Path, to: str) -> None:
    """Raise if a file is called as those of another format are.

    Raises
    ------
    InputError
        If it is.
    """
    name = out.name.lower()
    of_name = [one.name for one in export_formats().values() if name.endswith(one.suffixes)]
    if of_name and to not in of_name:
        msg = f"{out}: {to} is to be written, and this is a name of {of_name[0]}: change either."
        raise InputError(msg, option="to")


def export_table(table: ad.AnnData, out: Path, to: str = "h5ad") -> None:
    """Write a table into a file, whole or not at all.

    Raises
    ------
    InputError
        If there is no such format of tables, something lies at `out`, or its folder cannot be
        written.
    """
    from napari_stenhance.storage.atomic import atomic_path

    save = None if holds_images(to) else export_formats()[to].save
    if save is None:
        msg = f"{to}: this format holds images, and no table."
        raise InputError(msg, option="to")
    with atomic_path(out) as aside:
        save(table, aside)


def export_image(image: ExportImage, out: Path, to: str, job: Job) -> None:
    """Write an image into a file, whole or not at all.

    Raises
    ------
    InputError
        If there is no such format of images, something lies at `out`, or its folder cannot be
        written.
    Cancelled
        If the job was cancelled; nothing is left behind.
    """
    from napari_stenhance.storage.atomic import atomic_path

    save = export_formats()[to].save_image if holds_images(to) else None
    if save is None:
        msg = f"{to}: this format holds a table, and no image."
        raise InputError(msg, option="to")
    with atomic_path(out) as aside:
        save(image, aside, job)


def export_whole(
    image: ExportImage | None,
    table: ad.AnnData | None,
    mpp: float | None,
    out: Path,
    to: str,
    job: Job,
) -> None:
    """Write an image and a table into a folder, whole or not at all; either may be missing.

    Raises
    ------
    InputError
        If there is no such format, something lies at `out`, or its folder cannot be written.
    Cancelled
        If the job was cancelled; nothing is left behind.
    """
    from napari_stenhance.storage.atomic import atomic_path

    save = export_formats()[to].save_whole if holds_both(to) else None
    if save is None:
        msg = f"{to}: this format does not hold an image and a table."
        raise InputError(msg, option="to")
    with atomic_path(out, folder=True) as aside:
        save(image, table, mpp, aside, job)
