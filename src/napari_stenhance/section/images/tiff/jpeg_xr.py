"""JPEG XR, decoded by another process.

On damaged tiles the only free decoder writes where it must not, and takes its caller along, at once
or later: no look at a header can tell before. A process of its own does no harm when it dies.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PROGRAM = Path(__file__).with_name("jpeg_xr_program.py")
_PATIENCE_S = 30.0
"""For one tile, and for Python to start."""
_LENGTH = 8


class JpegXrDecoder:
    """Decodes tiles one after another in a process that begins with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> NDArray[Any]:
        """Decode a tile to (rows, width) or (rows, width, samples).

        Raises
        ------
        ValueError
            If it cannot be decoded, or whatever decodes it dies of it or does not end.
        """
        with self._lock:
            for _ in range(2):
                process, first = self._begun()
                watch = threading.Timer(_PATIENCE_S, process.kill)
                watch.start()
                try:
                    return _ask(process, data)
                except (OSError, EOFError):
                    process.kill()
                    self._process = None
                    if first:
                        break
                    # What it decoded before may be what it died of.
                finally:
                    watch.cancel()
            msg = "its decoder died of it"
            raise ValueError(msg)

    def _begun(self) -> tuple[subprocess.Popen[bytes], bool]:
        """Return the process, and whether it is a new one."""
        first = self._process is None
        if self._process is None:
            # -P: the modules beside that program may have names of the standard library's.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            weakref.finalize(self, _end, self._process)
        return self._process, first


def _ask(process: subprocess.Popen[bytes], data: bytes) -> NDArray[Any]:
    asked, answers = process.stdin, process.stdout
    if asked is None or answers is None:
        raise EOFError
    asked.write(len(data).to_bytes(_LENGTH, "little") + data)
    asked.flush()
    header = json.loads(_read(answers, int.from_bytes(_read(answers, _LENGTH), "little")))
    if "wrong" in header:
        raise ValueError(header["wrong"])
    dtype, shape = np.dtype(header["dtype"]), tuple(header["shape"])
    samples = _read(answers, dtype.itemsize * math.prod(shape))
    return np.frombuffer(samples, dtype).reshape(shape)


def _read(answers: Any, length: int) -> bytes:
    read: bytes = answers.read(length)
    if len(read) < length:
        raise EOFError
    return read


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process whose decoder is gone: there is nothing more that it could read."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    process.kill()
    process.wait()
