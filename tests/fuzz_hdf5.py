"""HDF5 files are looked through in forks of one process, where starting Python takes most of the
time that `hdf5.py` needs for a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from napari_stenhance.section.tables import hdf5

_FORKING = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import hdf5_walk
for line in sys.stdin:
    child = os.fork()
    if not child:
        print("begun", flush=True)
        print(hdf5_walk.walk(*json.loads(line)).replace("\\n", " "), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("\\0", flush=True)
"""


class Forking:
    """Takes the place of `subprocess` in `hdf5.py`."""

    DEVNULL, PIPE, TimeoutExpired = subprocess.DEVNULL, subprocess.PIPE, subprocess.TimeoutExpired

    def __init__(self) -> None:
        folder = str(Path(hdf5.__file__).parent)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process: Any = subprocess.Popen(
            [sys.executable, "-P", "-c", _FORKING, folder], **pipes
        )

    def run(self, command: list[str], **_options: Any) -> SimpleNamespace:
        """Give what follows the program's name to a fork, and return what it prints."""
        self._process.stdin.write(json.dumps(command[3:]).encode() + b"\n")
        self._process.stdin.flush()
        return SimpleNamespace(stdout=b"".join(iter(self._process.stdout.readline, b"\0\n")))
