"""`napari-stenhance edit-domains`."""

from __future__ import annotations

from typing import Any

from napari_stenhance.cli.command import Verb
from napari_stenhance.cli.domains import show_runs
from napari_stenhance.tasks.edit_domains import EditDomainsOptions, edit_domains


def _show(run: Any) -> None:
    show_runs([run])


VERB = Verb(EditDomainsOptions, edit_domains, _show)
