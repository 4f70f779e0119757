"""`napari-stenhance view`: the only command that needs napari and a display."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_stenhance.cli.command import exit_codes
from napari_stenhance.errors import InputError

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


def look(paths: list[Path], mpp: float | None = None, image: Path | None = None) -> None:
    """Open sections, slides and results in napari, until it is closed.

    Raises
    ------
    InputError
        If no Qt binding is installed.
    """
    try:
        from napari_stenhance.plugin.view import view
    except ImportError as error:
        msg = f"No Qt binding is installed ({error}); pip install 'napari-stenhance[pyqt6]'."
        raise InputError(msg) from error
    view(paths, mpp, image)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("view")
    def view(
        path: Annotated[
            list[Path], typer.Argument(help="Sections, slides or results.", show_default=False)
        ],
        mpp: Annotated[
            float | None,
            typer.Option(help="Scale of the slides, where files do not say. [µm per pixel]"),
        ] = None,
        image: Annotated[
            Path | None,
            typer.Option(help="The slide, where it does not lie beside the counts."),
        ] = None,
    ) -> None:
        """Open sections, slides and results in napari."""
        with exit_codes():
            for one in path:
                if not one.exists():
                    msg = f"{one}: there is no such file or folder."
                    raise InputError(msg)
            if image is not None and len(path) > 1:
                msg = "--image is the slide of one section; give it with one path."
                raise InputError(msg)
            need_display()
            look(path, mpp, image)
