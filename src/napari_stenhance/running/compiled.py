"""Loops compiled to machine code. Import what uses this only where it is called: numba is heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and numbers; it runs without Python's lock.

    The machine code is kept beside the module or in the user's cache folder. Arithmetic is IEEE's,
    in the order written, so that a value does not depend on how a loop was vectorised.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # Neither folder can be written: each process compiles anew.
        return numba.njit(nogil=True)(function)


def is_ready(function: Callable[..., object]) -> bool:
    """Tell whether a function of `compiled` has been called in this process: it is fast now."""
    return bool(getattr(function, "signatures", ()))
