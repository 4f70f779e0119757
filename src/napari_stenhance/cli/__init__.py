"""The command line: `napari-stenhance COMMAND …`."""

from __future__ import annotations

import atexit
import os
import signal
from typing import TYPE_CHECKING, Any

from napari_stenhance.cli.interrupt import leave

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    # Commands take a second to load, in which Ctrl-C is likely: it is seen to before they are.
    signal.signal(signal.SIGINT, leave)
    # The last thing done on leaving: when all is written and said, Ctrl-C changes nothing.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    # Idle OpenMP threads that spin starve every other process; must be set before torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from napari_stenhance.cli.commands import make_app

    make_app()()


def __getattr__(name: str) -> Any:
    if name == "app":
        from napari_stenhance.cli.commands import make_app

        return make_app()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
