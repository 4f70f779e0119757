"""HDF5 files are looked through in forks of one process, where starting Python takes most of the
time that `hdf5.py` needs for a small one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from napari_stenhance.section.tables import hdf5

_FORKING = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import hdf5_walk
hdf5_walk._SECONDS = float(sys.argv[2])
for line in sys.stdin:
    number, *arguments = json.loads(line)
    print(f"\\0{number}", flush=True)
    child = os.fork()
    if not child:
        print("begun", flush=True)
        print(hdf5_walk.walk(*arguments).replace("\\n", " "), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(f"\\0{number}", flush=True)
"""


class Forking:
    """Takes the place of `subprocess` in `hdf5.py`."""

    DEVNULL, PIPE, TimeoutExpired = subprocess.DEVNULL, subprocess.PIPE, subprocess.TimeoutExpired

    def __init__(self, seconds: float = 5.0) -> None:
        """Give each fork so much of the processor."""
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._number = threading.Lock(), 0

    def _begun(self) -> Any:
        """Return the process that forks, which most tests do not need."""
        if self._process is None:
            folder = str(Path(hdf5.__file__).parent)
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _FORKING, folder, str(self._seconds)],
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def run(self, command: list[str], **_options: Any) -> SimpleNamespace:
        """Give what follows the program's name to a fork, and return what it prints."""
        with self._lock:
            self._number += 1
            # That process stands where the tests began.
            asked = [self._number, str(Path(command[3]).absolute()), *command[4:]]
            process = self._begun()
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
            lines = iter(process.stdout.readline, b"")
            mark = b"\0%d\n" % self._number
            # An answer that an interrupt kept from being read comes before.
            while next(lines) != mark:
                pass
            return SimpleNamespace(stdout=b"".join(iter(process.stdout.readline, mark)))

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
