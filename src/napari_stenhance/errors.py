"""The errors that reach a user: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations


class StenhanceError(Exception):
    """Base of every error that the package raises on purpose."""


class InputError(StenhanceError):
    """A file, a folder or an option cannot be used as it is; the command line exits with 2."""


class InferenceError(StenhanceError):
    """The computation failed on the device, for example because its memory was too small.

    Not a RuntimeError: Qt worker threads swallow those.
    """


class Cancelled(StenhanceError):
    """The user cancelled the job; what was finished is kept."""
