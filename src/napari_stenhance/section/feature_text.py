"""The text of a GeoJSON file, feature by feature: corners are lists for a moment only."""

from __future__ import annotations

import gc
import json
from typing import Any

import numpy as np

_DECODER = json.JSONDecoder()


def read_feature_text(text: str) -> Any:
    """Read JSON, of an object or a list one by one what it holds, and corners as arrays.

    Of millions of lists, that corners are, none is left to be looked for as garbage; and other
    threads have their turn, which they have not while json reads all at once.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        begin = _skipped(text, 0)
        content: Any
        if text[begin : begin + 1] == "[":
            content, end = _list_at(text, begin)
        elif text[begin : begin + 1] == "{":
            content, end = _object_at(text, begin)
        else:
            content, end = _DECODER.raw_decode(text, begin)
        if _skipped(text, end) != len(text):
            msg = "Extra data"
            raise json.JSONDecodeError(msg, text, end)
        return content
    finally:
        if was:
            gc.enable()


def _skipped(text: str, at: int) -> int:
    """Go on to what is no space."""
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


def _list_at(text: str, at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _skipped(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        one, at = _DECODER.raw_decode(text, at)
        found.append(_with_arrays(one))
        at, more = _after(text, at, "]")
        if not more:
            return found, at


def _object_at(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skipped(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        key, at = _DECODER.raw_decode(text, at)
        at = _skipped(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            msg = "Expecting a name and ':'"
            raise json.JSONDecodeError(msg, text, at)
        at = _skipped(text, at + 1)
        is_list = text[at : at + 1] == "["
        found[key], at = _list_at(text, at) if is_list else _DECODER.raw_decode(text, at)
        at, more = _after(text, at, "}")
        if not more:
            return found, at


def _after(text: str, at: int, end: str) -> tuple[int, bool]:
    """Go on behind what follows a member, and tell whether there is another."""
    at = _skipped(text, at)
    if text[at : at + 1] not in {",", end}:
        msg = f"Expecting ',' or {end!r}"
        raise json.JSONDecodeError(msg, text, at)
    more = text[at] == ","
    return _skipped(text, at + 1) if more else at + 1, more


def _with_arrays(feature: Any) -> Any:
    """Turn the rings of a polygon, or several, into arrays."""
    drawn = feature.get("geometry", feature) if isinstance(feature, dict) else None
    if isinstance(drawn, dict):
        kind, rings = drawn.get("type"), drawn.get("coordinates")
        if kind == "Polygon" and rings is not None:
            drawn["coordinates"] = [np.asarray(ring, np.float64) for ring in rings]
        elif kind == "MultiPolygon" and rings is not None:
            drawn["coordinates"] = [[np.asarray(ring, np.float64) for ring in one] for one in rings]
    return feature
