"""Programs that begin in a moment: forks of a server that has imported what takes long.

The server has run nothing: a fork of the tests' own process would take the locks of its threads
along.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COMMAND = "from napari_stenhance.cli import main; main()"
"""What the console script does."""

_SECONDS = 60.0


def context(*more: str) -> Any:
    """Return what starts processes: forks where the system has them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    # Python 3.11 forgets sys.path there.
    paths = [str(Path(__file__).parent), *sys.path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
    forking.set_forkserver_preload(["__main__", "forked_imports", *more])
    return forking


class Program:
    """A program beside the tests, as `python -c CODE ARGUMENTS` would be; it is killed at the end.

    Parameters
    ----------
    code : str
    *arguments : object
    words : Path
        Where what it says goes: this path with the suffixes .out and .err.
    largest_file : int, optional
        In bytes; what is beyond fails, as it does on a full disk.
    environment : Mapping, optional
        What differs from that of the tests.
    """

    def __init__(
        self,
        code: str,
        *arguments: object,
        words: Path,
        largest_file: int | None = None,
        environment: Mapping[str, str] = {},
    ) -> None:
        self._paths = words.with_suffix(".out"), words.with_suffix(".err")
        for path in self._paths:
            path.write_bytes(b"")
        given = (code, list(map(str, arguments)), self._paths, largest_file)
        process = context().Process(
            target=_be, args=(*given, {**os.environ, **environment}), daemon=True
        )
        process.start()
        self._process = process

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def lives(self) -> bool:
        return bool(self._process.is_alive())

    @property
    def stdout(self) -> str:
        return self._paths[0].read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._paths[1].read_text("utf-8")

    def wait(self, seconds: float = 300.0) -> int:
        """Wait for its end, and return its exit code."""
        self._process.join(seconds)
        assert not self.lives, f"it did not end: {self.stderr}"
        return int(self._process.exitcode)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def wait_until_said(self, words: str) -> None:
        """Wait until it has said these words on either stream; each line follows a line feed."""
        started = time.monotonic()
        while words not in f"\n{self.stdout}\n{self.stderr}":
            assert self.lives, f"it ended without {words!r}: {self.stderr}"
            assert time.monotonic() - started < _SECONDS, f"not in a minute: {words!r}"
            time.sleep(0.005)


def _be(
    code: str,
    arguments: list[str],
    paths: tuple[Path, Path],
    largest_file: int | None,
    environment: dict[str, str],
) -> None:
    """Be the program that a fork was made for."""
    ended = 1
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    for number, path in enumerate(paths, 1):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    try:
        with no_file_beyond(largest_file):
            exec(code, {"__name__": "__main__"})
        ended = 0
    except SystemExit as end:
        ended = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)


@contextlib.contextmanager
def no_file_beyond(size: int | None) -> Iterator[None]:
    """Let writes beyond so many bytes fail: the failure is the system's own.

    Meanwhile Python keeps nothing that it compiles: it takes half a write for a whole one, and what
    imports that later would fail.
    """
    if size is None:
        yield
        return
    import resource

    limits, compiled = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = compiled
