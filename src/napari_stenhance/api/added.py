"""Verbs that other packages add, as functions of the front door."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from napari_stenhance.api.keywords import keywords
from napari_stenhance.running.extensions import extensions
from napari_stenhance.running.job import Job
from napari_stenhance.storage.cache import Cache


def added_verb(name: str) -> Callable[..., Any] | None:
    """Return a verb by the name of its task, with the fields of its options as keywords."""
    # What commands are made of serves here too; typer and rich are loaded with it.
    for verb in extensions("napari_stenhance.cli", "VERB"):
        ours = verb.task.__module__.startswith("napari_stenhance.")
        if verb.task.__name__ == name and not ours:

            @functools.wraps(verb.task)
            def body(options: Any, job: Job, cache: Cache, task: Any = verb.task) -> Any:
                return task(options, job)

            return keywords(verb.options)(body)
    return None
