"""The folder of a phantom: its spots or its bins, with the slide that both share."""

from __future__ import annotations

from pathlib import Path

from napari_stenhance.section.formats import h5ad
from napari_stenhance.section.formats.section_files import SectionFiles
from napari_stenhance.section.phantom.phantom import BINS, MANIFEST, SLIDE, SPOTS


def recognise(path: Path) -> SectionFiles | None:
    """Recognise a phantom's folder, which means its spots, or its table of spots or bins."""
    table = path / SPOTS if path.is_dir() else path
    if table.name not in (SPOTS, BINS) or not (table.parent / MANIFEST).is_file():
        return None
    name = table.parent.name if table.name == SPOTS else f"{table.parent.name}-bins"
    return h5ad.found(table, name, (table.parent / SLIDE,))
