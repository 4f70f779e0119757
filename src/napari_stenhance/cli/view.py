"""`napari-stenhance view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_stenhance.cli.command import exit_codes
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.desktop import look, need_display


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
        with exit_codes({"mpp": "--mpp", "image": "--image"}):
            for one in path:
                if not one.exists():
                    msg = f"{one}: there is no such file or folder."
                    raise InputError(msg)
            if image is not None and len(path) > 1:
                msg = "One image is the slide of one section; give it with one path."
                raise InputError(msg, option="image")
            need_display()
            look(path, mpp, image)
