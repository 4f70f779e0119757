"""How tables leave a result: in one of the formats that are registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.running.extensions import extensions

if TYPE_CHECKING:
    import anndata as ad


@dataclass(frozen=True)
class ExportFormat:
    """A format of files that hold a table.

    Attributes
    ----------
    name : str
        As one asks for it.
    title : str
        What people call it.
    save : callable
        `save(table, path)` writes an AnnData where nothing lies; what it writes gets its name only
        when it is whole. `X` is log1p CP10k where genes were predicted from a slide, and counts
        where they were imputed, whose log1p CP10k is a layer.
    """

    name: str
    title: str
    save: Callable[[ad.AnnData, Path], None]


def export_formats() -> dict[str, ExportFormat]:
    """List the formats there are, by name: of `results.exports`, and of other packages."""
    found: tuple[ExportFormat, ...] = extensions("napari_stenhance.results.exports", "EXPORT")
    return {each.name: each for each in found}


def export_titles() -> dict[str, str]:
    """List what the formats are called, by name."""
    return {name: each.title for name, each in export_formats().items()}


def export_table(table: ad.AnnData, out: Path, to: str = "h5ad") -> None:
    """Write a table into a file, whole or not at all.

    Raises
    ------
    InputError
        If there is no such format, something lies at `out`, or its folder cannot be written.
    """
    from napari_stenhance.storage.atomic import atomic_path

    formats = export_formats()
    if to not in formats:
        msg = f"{to}: there is no such format; there are {', '.join(formats)}."
        raise InputError(msg, option="to")
    with atomic_path(out) as aside:
        formats[to].save(table, aside)
