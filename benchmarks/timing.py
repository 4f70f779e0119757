"""Time a call in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(call: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def median_seconds(call: Callable[[], object], runs: int = 7) -> float:
    """Return the median wall time of several calls, after one that warms up."""
    call()
    return statistics.median(seconds(call) for _ in range(runs))
