"""Show things in napari where there is a desktop; imports napari only when something is shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    from napari_stenhance.tasks.options import SlideOptions

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def need_display() -> None:
    """Refuse to go on where nothing can be shown.

    Raises
    ------
    InputError
        If there is no display.
    """
    if sys.platform == "linux" and not any(map(os.environ.get, _DISPLAYS)):
        msg = "There is no display here; run it on a desktop, or under xvfb-run."
        raise InputError(msg)


def look(paths: list[Path], options: SlideOptions | None = None, image: Path | None = None) -> None:
    """Open sections, slides and results in napari, until it is closed.

    Parameters
    ----------
    paths : list of Path
    options : SlideOptions, optional
        How slides are opened.
    image : Path, optional
        The slide of a section, where it does not lie beside the counts.

    Raises
    ------
    InputError
        If no Qt binding is installed.
    """
    try:
        from napari_stenhance.plugin.view import run_napari
    except ImportError as error:
        msg = f"No Qt binding is installed ({error}); pip install 'napari-stenhance[pyqt6]'."
        raise InputError(msg) from error
    run_napari(paths, options, image)
