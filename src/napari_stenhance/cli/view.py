"""`napari-stenhance view`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from napari_stenhance.cli.command import Verb
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.desktop import look, need_display
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.options import Help, Image, SlideOptions


@dataclass(frozen=True)
class ViewOptions(SlideOptions):
    """Options of `view`."""

    path: Annotated[tuple[Path, ...], Help("Sections, slides or results.", positional=True)]
    image: Image = None


def view(options: ViewOptions, _job: Job) -> ViewOptions:
    """Open sections, slides and results in napari."""
    for one in options.path:
        if not one.exists():
            msg = f"{one}: there is no such file or folder."
            raise InputError(msg)
    options.check_alone(options.path, options.image)
    need_display()
    return options


def _show(options: ViewOptions) -> None:
    look(list(options.path), options, options.image)


VERB = Verb(ViewOptions, view, _show)
