"""`napari-stenhance edit-domains`."""

from __future__ import annotations

from typing import Any

import typer

from napari_stenhance.cli.command import register_task
from napari_stenhance.cli.domains import show_runs
from napari_stenhance.tasks.edit_domains import EditDomainsOptions, edit_domains


def _show(run: Any) -> None:
    show_runs([run])


def register(app: typer.Typer) -> None:
    """Add the command."""
    register_task(app, "edit-domains", EditDomainsOptions, edit_domains, _show)
