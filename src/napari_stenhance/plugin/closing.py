"""What is not saved is said where napari asks whether to close its window."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from napari.utils.task_status import Status

if TYPE_CHECKING:
    from napari.viewer import Viewer


class ClosingNotes:
    """Sentences among those of tasks that are at work, which napari lists in that question.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._window = getattr(viewer, "__wrapped__", viewer).window
        self._said: dict[Hashable, tuple[UUID, str]] = {}

    def say(self, sentences: Mapping[Hashable, str]) -> None:
        """Say these, by what each is about, and nothing else that was said before."""
        for key in [key for key in self._said if key not in sentences]:
            self._window._update_task_status(self._said.pop(key)[0], Status.COMPLETED)
        for key, text in sentences.items():
            if key not in self._said:
                told = self._window._register_task_status("stenhance", Status.PENDING, text)
            elif self._said[key][1] != text:
                told = self._said[key][0]
                self._window._update_task_status(told, Status.PENDING, text)
            else:
                continue
            self._said[key] = told, text
