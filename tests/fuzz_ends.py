"""Readers with one fault each, for the test of `fuzz.py`: never part of a campaign."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz_damage import Target
from napari_stenhance.errors import InputError


def _make(folder: Path) -> list[Path]:
    (folder / "number.json").write_text('{"number": 1}')
    return [folder / "number.json"]


def _where_damaged(end: Callable[[], Any]) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        path = folder / "number.json"
        if not path.exists() or path.read_bytes() != b'{"number": 1}':
            return end()
        return json.loads(path.read_bytes())

    return read


def _swell() -> None:
    held = []
    while True:
        held.append(np.ones(2**22))


def _raise(error: BaseException) -> Callable[[], None]:
    def end() -> None:
        raise error

    return end


_ENDS: dict[str, Callable[[], Any]] = {
    "crashes": lambda: ctypes.string_at(0),
    "hangs": lambda: time.sleep(60),
    "swells": _swell,
    "raises": _raise(KeyError("what a library says")),
    "differs": lambda: {"number": 2},
    "asserts": _raise(AssertionError()),
    "refuses": _raise(InputError("There is no such thing.")),
}
TARGETS = tuple(
    Target(name, _make, _where_damaged(end), lambda value, undamaged: False)
    for name, end in _ENDS.items()
)
