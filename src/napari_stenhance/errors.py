"""The errors that reach a user: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Self


class StenhanceError(Exception):
    """Base of every error that the package raises on purpose.

    Parameters
    ----------
    message : str
        One sentence: what is wrong, in which file or field, what to do.
    option : str
        The field of the options that mends it, such as "mpp": the command line adds its flag, a
        dock the label of its field. Empty where none does.
    """

    def __init__(self, message: str, *, option: str = "") -> None:
        super().__init__(message)
        self.option = option

    def naming(self, field: str) -> Self:
        """Return the error with the name, before its full stop, that the option has here.

        Parameters
        ----------
        field : str
            A flag or a field's label; if it is empty, nothing is added.
        """
        if not field:
            return self
        sentence = str(self)
        stop = "." if sentence.endswith(".") else ""
        return type(self)(f"{sentence.removesuffix('.')} ({field}){stop}", option=self.option)


class InputError(StenhanceError):
    """A file, a folder or an option cannot be used as it is; the command line exits with 2."""


class InferenceError(StenhanceError):
    """The computation failed on the device, for example because its memory was too small.

    Not a RuntimeError: Qt worker threads swallow those.
    """


class DeviceMemoryError(InferenceError):
    """The memory of the device is too small, even for the least that can be computed at a time."""


class Cancelled(StenhanceError):
    """The user cancelled the job; what was finished is kept."""
