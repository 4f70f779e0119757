"""What someone is asked for with a window that lists files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_stenhance.section.formats.format import section_formats
from napari_stenhance.section.images.opening import image_suffixes

_NO_QUESTION = QFileDialog.Option.DontConfirmOverwrite
"""Nothing is ever overwritten: the writer says so."""


def ask_for_folder(parent: QWidget) -> Path | None:
    """Ask for the folder of a section, or a result; None where nothing was chosen."""
    return _path(QFileDialog.getExistingDirectory(parent, "Open a section or a result"))


def ask_for_section(parent: QWidget) -> Path | None:
    """Ask for the file of a section, or a slide."""
    of_sections = (suffix for one in section_formats() for suffix in one.suffixes)
    files = _filter("Sections and slides", *of_sections, *image_suffixes())
    return _path(QFileDialog.getOpenFileName(parent, "Open a section or a slide", "", files)[0])


def ask_for_slide(parent: QWidget) -> Path | None:
    """Ask for a slide."""
    files = _filter("Slides", *image_suffixes())
    return _path(QFileDialog.getOpenFileName(parent, "Choose the slide", "", files)[0])


def ask_where_to_save(parent: QWidget) -> Path | None:
    """Ask where all layers are to be saved."""
    title, files = "Save all layers", "Layers (*.zarr)"
    return _path(QFileDialog.getSaveFileName(parent, title, "", files, options=_NO_QUESTION)[0])


def ask_for_regions(parent: QWidget) -> Path | None:
    """Ask for a file of regions."""
    files = "Regions (*.geojson *.json)"
    return _path(QFileDialog.getOpenFileName(parent, "Open regions", "", files)[0])


def ask_for_registration(parent: QWidget) -> Path | None:
    """Ask for landmarks, or a registration that was saved."""
    files = "Landmarks and registrations (*.csv *.tsv *.json)"
    return _path(QFileDialog.getOpenFileName(parent, "Place spots as a file says", "", files)[0])


def ask_where_to_save_registration(parent: QWidget) -> Path | None:
    """Ask where a registration is to be saved; one whose name has no suffix is JSON."""
    title, files = "Save where spots are placed", "Registrations (*.json)"
    path = _path(QFileDialog.getSaveFileName(parent, title, "", files, options=_NO_QUESTION)[0])
    return path if path is None or path.suffix else path.with_suffix(".json")


def ask_for_cells(parent: QWidget) -> Path | None:
    """Ask for a file of outlines of cells."""
    files = _filter("Cells", ".geojson", ".json", ".png", ".tif", ".tiff")
    return _path(QFileDialog.getOpenFileName(parent, "Open cells", "", files)[0])


def ask_where_to_save_regions(parent: QWidget) -> tuple[Path, bool] | None:
    """Ask where regions are to be saved, and whether for QuPath."""
    kinds = "Regions in µm (*.geojson)", "For QuPath, in pixels (*.geojson)"
    chosen, kind = QFileDialog.getSaveFileName(
        parent, "Save regions", "", ";;".join(kinds), options=_NO_QUESTION
    )
    return (Path(chosen), kind == kinds[1]) if chosen else None


def ask_where_to_save_table(parent: QWidget) -> Path | None:
    """Ask where a table is to be saved."""
    title, files = "Save the numbers", "Tables (*.csv)"
    return _path(QFileDialog.getSaveFileName(parent, title, "", files, options=_NO_QUESTION)[0])


def ask_for_figure(parent: QWidget) -> Path | None:
    """Ask where a figure is to be drawn; one whose name has no suffix is a PNG."""
    title, files = "Draw a figure", "Figures (*.png *.svg *.pdf)"
    path = _path(QFileDialog.getSaveFileName(parent, title, "", files, options=_NO_QUESTION)[0])
    return path if path is None or path.suffix else path.with_suffix(".png")


def _path(chosen: str) -> Path | None:
    return Path(chosen) if chosen else None


def _filter(name: str, *suffixes: str) -> str:
    """Say to a dialog which files to list."""
    return f"{name} ({' '.join(f'*{suffix}' for suffix in suffixes)})"
