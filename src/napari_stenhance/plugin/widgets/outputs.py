"""Where docks suggest to write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_stenhance.section.section import Section


def suggest_out(section: Section) -> Path:
    """Name a result beside the section, or at home where that folder cannot be written."""
    file = Path(section.origin) if section.slide is None else section.slide.path
    beside = file.resolve().parent
    folder = beside if beside.is_dir() and os.access(beside, os.W_OK) else Path.home()
    return folder / f"{section.name}.stenhance.zarr"
