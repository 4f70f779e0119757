"""What is not saved, or not done, is said where napari's window is closed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from napari._qt.dialogs.confirm_close_dialog import ConfirmCloseDialog
from napari.utils.task_status import Status
from qtpy.QtCore import QEvent, QObject

if TYPE_CHECKING:
    from napari.viewer import Viewer


class ClosingNotes:
    """Sentences among those of tasks that are at work, which napari lists where it asks.

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


class ClosingQuestion(QObject):
    """Lists these sentences where a menu or a key closes the window, as its frame's button does.

    napari itself asks there, if at all, without them. A script that closes the viewer is not asked.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._window = getattr(viewer, "__wrapped__", viewer).window
        super().__init__(self._window._qt_window)
        self._window._qt_window.installEventFilter(self)

    def eventFilter(self, window: QObject, event: QEvent) -> bool:
        """Keep the window open if the user wants that."""
        if event.type() != QEvent.Type.Close or event.spontaneous():
            return False
        said = self._window._task_status_manager.get_status()
        # Where a script closes the viewer, the canvas is closed first.
        if not said or self._window._qt_viewer.isHidden():
            return False
        question = ConfirmCloseDialog(window, extra_info="\n".join(said), display_checkbox=False)
        if question.exec() == ConfirmCloseDialog.DialogCode.Accepted:
            return False
        event.ignore()
        return True
