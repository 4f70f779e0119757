"""Numbers that files and users state: one check, whatever door they come in by."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from napari_stenhance.errors import InputError

PLAUSIBLE_MPP = (0.05, 20.0)
_LONGEST = 40
_SQUARE = 0.01
_IN_UM = re.compile(
    r"\s*([0-9]*[.,]?[0-9]+(?:e[+-]?\d+)?)\s*(?:(?:[µμu]m|microns?|micromet(?:er|re)s?)"
    r"(?:\s*(?:/|per|\^-1)?\s*(?:px|pixels?))?)?\s*",
    re.IGNORECASE,
)


def as_number(value: object) -> float | None:
    """Return the one finite number that a value is, be it in an array of one or as text."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        # A ragged list is no array, and an array of several no number.
        number = float(np.asarray(value).reshape(-1).tolist()[0])
        alone = np.size(np.asarray(value)) == 1
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return number if alone and math.isfinite(number) else None


def _plain_mpp(mpp: Any) -> float | None:
    """Return a scale that is stated as a number, as text with its unit, or once for each side."""
    if isinstance(mpp, (bytes, np.bytes_)):
        mpp = mpp.decode("utf-8", "replace")
    if isinstance(mpp, str) and (match := _IN_UM.fullmatch(mpp)):
        return as_number(match[1].replace(",", "."))
    if isinstance(mpp, (list, tuple, np.ndarray)) and np.shape(mpp)[:1] == (2,):
        first, second = map(_plain_mpp, mpp)
        same = first is not None and second is not None and abs(first - second) <= _SQUARE * first
        return first if same else None
    return as_number(mpp)


def check_mpp(mpp: Any, where: str) -> float:
    """Return a scale that can be right, in micrometres per pixel.

    Parameters
    ----------
    mpp : object
        What was given or stated: a number, also as text ("0.5 µm/px") or twice, for both sides.
    where : str
        The file, the field or the section that errors name.

    Raises
    ------
    InputError
        If it is not one number from 0.05 to 20.
    """
    low, high = PLAUSIBLE_MPP
    number = _plain_mpp(mpp)
    if number is None:
        msg = (
            f"{where}: a scale of {quoted(mpp)} is no number; it must be one, in µm per pixel "
            f"({low:g} to {high:g}): give the true one."
        )
        raise InputError(msg, option="mpp")
    if not low <= number <= high:
        msg = (
            f"{where}: a scale of {number:g} µm per pixel cannot be right for a slide "
            f"({low:g} to {high:g}); give the true one."
        )
        raise InputError(msg, option="mpp")
    return number


def believed_mpp(
    x: float, y: float, source: str, hint: str = ""
) -> tuple[float | None, tuple[str, ...]]:
    """Take what an image states of its pixels' sides, in micrometres, if it can be true.

    Parameters
    ----------
    x, y : float
    source : str
        Where it states it, in words.
    hint : str
        What else may be meant, for the doubt.

    Returns
    -------
    mpp : float or None
        None where it cannot.
    doubts : tuple of str
        What was stated and not believed.
    """
    low, high = PLAUSIBLE_MPP
    wrong = [size for size in (x, y) if not low <= size <= high]
    if wrong:
        size = (
            "a scale that is no number" if math.isnan(wrong[0]) else f"{wrong[0]:.4g} µm per pixel"
        )
        doubt = (
            f"By {source} the image has {size}, which cannot be right for a "
            f"slide ({low:g} to {high:g}); it is not used.{hint}"
        )
        return None, (doubt,)
    if abs(x / y - 1) > _SQUARE:
        doubt = (
            f"By {source} the image has pixels of {x:.4g} × {y:.4g} µm, which are not square; this "
            "is not used."
        )
        return None, (doubt,)
    return x, ()


def scale_doubts(
    stated: float | None, where: str, used: float, source: str, most: float
) -> tuple[str, ...]:
    """Say that an image states another scale than the one that is used, if it lies far from it.

    Parameters
    ----------
    stated, used : float
        In micrometres per pixel; None if the image states none.
    where, source : str
        Where each comes from, in words.
    most : float
        By how much the one may differ, as a share of the other.
    """
    if stated is None or abs(stated / used - 1) <= most:
        return ()
    doubt = f"The image states {stated:.4g} µm per pixel ({where}); {used:.4g} ({source}) is used."
    return (doubt,)


def check_length(value: Any, where: str) -> float:
    """Return a length that can be right: a finite number, not negative.

    Raises
    ------
    InputError
        If it is none; names `where`.
    """
    number = as_number(value)
    if number is None or number < 0:
        msg = (
            f"{where} is {quoted(value)}; it must be a finite number that is not negative: correct "
            "it, or take it out, and it is worked out from the positions."
        )
        raise InputError(msg)
    return number


def quoted(value: object) -> str:
    """Quote a value, shortened."""
    text = " ".join(str(value).split())
    text = f"{text[:_LONGEST]} …" if len(text) > _LONGEST else text
    return repr(text) if isinstance(value, (str, bytes)) else text
