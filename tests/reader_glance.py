"""What napari's question, whether a path is ours, takes: in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
import sys
from napari_stenhance.plugin.reader import get_reader
seen = []
sys.addaudithook(lambda event, given: seen.append(str(given[0]))
                 if event in {"open", "os.scandir", "os.listdir"} else None)
ours = get_reader(sys.argv[1]) is not None
print(ours, sum(path.startswith(sys.argv[1]) for path in seen))
print(*(name for name in ("numpy", "zarr", "scipy") if name in sys.modules))
"""


@dataclass(frozen=True)
class Glance:
    """The answer, how often something at the path was opened or listed, and what was imported."""

    ours: bool
    looked: int
    heavy: tuple[str, ...]


def glance(path: Path) -> Glance:
    """Ask as napari does, once."""
    command = [sys.executable, "-c", _SCRIPT, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, heavy = done.stdout.splitlines()
    ours, looked = first.split()
    return Glance(ours == "True", int(looked), tuple(heavy.split()))
