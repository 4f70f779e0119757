"""How much memory this process took."""

from __future__ import annotations

import sys

import psutil


def peak_gb() -> float:
    """Return the most memory that this process has held, in GB of 1024³ bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1024**3
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**3 if sys.platform == "darwin" else peak / 1024**2
