"""How much memory this process took, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import sys

import psutil


def give_back() -> None:
    """Give the system what was freed: glibc keeps arrays of a few megabytes for the next ones.

    Of a large slide there are many, in several threads, and what is kept grows with it.
    """
    if sys.platform == "linux":
        # Other libraries of C have no such function, and no need of one.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def peak_gb() -> float:
    """Return the most memory that this process has held, in GB of 1024³ bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1024**3
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**3 if sys.platform == "darwin" else peak / 1024**2
