"""Open napari with sections and results as they should look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.plugin.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_stenhance.tasks.options import SlideOptions


def run_napari(
    paths: Sequence[Path], options: SlideOptions | None = None, image: Path | None = None
) -> None:
    """Open sections, slides and results in a viewer, and run it until it is closed."""
    import napari

    section = workbench_of(napari.Viewer()).open("section")
    for path in paths:
        section.open(path, options, image)
    napari.run()
