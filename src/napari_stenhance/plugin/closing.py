"""What is not saved, or not done, is said where napari's window is closed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from napari._qt.dialogs.confirm_close_dialog import ConfirmCloseDialog
from napari.settings import get_settings
from napari.utils.task_status import Status
from qtpy.QtCore import QEvent, QObject, QTimer

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
    """Asks once where a person closes the window and there are such sentences, and lists them.

    napari alone asks without them where a menu or a key closes it, if its preferences say so; where
    the frame's button does, it asks with them, and then once more. A script that closes the viewer
    is not asked.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._window = getattr(viewer, "__wrapped__", viewer).window
        self._agreed = False
        window = self._window._qt_window
        super().__init__(window)
        # napari asks before the window learns that it is to be closed.
        window.close = self._close
        window.installEventFilter(self)

    def eventFilter(self, window: QObject, event: QEvent) -> bool:
        """Keep the window open if the user wants that."""
        if event.type() != QEvent.Type.Close or self._agreed:
            return False
        by_frame = event.spontaneous()
        if not self._to_say() or (by_frame and not self._napari_asks()):
            return False
        agreed = self._ask()
        if agreed and not by_frame:
            return False
        event.ignore()
        if agreed:
            self._agreed = True
            # As a script does, which napari asks nothing.
            QTimer.singleShot(0, self._close)
        return True

    def _close(self, quit_app: bool = False, confirm_need: bool = False) -> bool | None:
        """Close the window as napari does; without its question where there is ours."""
        window = self._window._qt_window
        asks = confirm_need and not self._to_say()
        closed: bool | None = type(window).close(window, quit_app=quit_app, confirm_need=asks)
        if not closed:
            # What was refused is not to come with whatever closes this window later.
            window._quit_app = False
        return closed

    def _to_say(self) -> list[str]:
        # Where a script closes the viewer, the canvas is closed first.
        if self._window._qt_viewer.isHidden():
            return []
        said: list[str] = self._window._task_status_manager.get_status()
        return said

    def _napari_asks(self) -> bool:
        return bool(get_settings().application.confirm_close_window)

    def _ask(self) -> bool:
        window = self._window._qt_window
        question = ConfirmCloseDialog(
            window,
            close_app=window._quit_app,
            extra_info="\n".join(self._to_say()),
            display_checkbox=False,
        )
        return bool(question.exec() == ConfirmCloseDialog.DialogCode.Accepted)
