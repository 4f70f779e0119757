"""What spots state of their scale and their size, and what their lattice says where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.scale import as_number, check_length, check_mpp
from napari_stenhance.section.spots import (
    ARRAY_COLUMNS,
    BIN_PITCH_MOST_UM,
    UNS_KEY,
    VISIUM_DIAMETER_UM,
    VISIUM_PITCH_UM,
    SpotGeometry,
    are_bins,
    array_columns,
    lie_anyhow,
    nearest_distance,
    off_their_array,
    visium_pitch_px,
)

if TYPE_CHECKING:
    import pandas as pd

_VISIUM_OFF_MOST = 0.1
# Of a bin's pitch: what is narrower does not touch its neighbours.
_TOUCHING_LEAST = 0.9
# How far apart spots lie, in stated pitches: farther where places are empty.
_APART = (0.5, 3.0)
# Of the distance to the nearest: discs of spots do not overlap, those of cells a little.
_OVERLAP_MOST = 2.0
_EXCHANGED = {"array_row": "array_col", "array_col": "array_row"}
_SCALES = ("microns_per_pixel", "microns_per_fullres_pixel")
# In `scalefactors`: pixels that the rest of them count in, for each one of the published image.
_COUNTED_IN = "stenhance_factor"
_DEFAULTS = {"spot_shape": "disc", "unit": "micrometer"}


def scale_factors(uns: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return where the scale factors of the one library in `uns["spatial"]` lie, and what they say.

    Empty where there is none, or several.
    """
    where, library = one_library(uns)
    factors = library.get("scalefactors")
    return (f'{where}["scalefactors"]', factors) if isinstance(factors, Mapping) else ("", {})


def one_library(uns: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return where the one library of `uns["spatial"]` lies, and what it holds.

    Empty where there is none, or several.
    """
    libraries = uns.get("spatial")
    if isinstance(libraries, Mapping) and len(libraries) == 1:
        ((name, library),) = libraries.items()
        if isinstance(library, Mapping):
            return f'uns["spatial"]["{name}"]', library
    return "", {}


def stated_mpp(uns: Mapping[str, Any], where: str) -> tuple[float | None, str]:
    """Find the scale that an AnnData states, and say where, in words.

    Raises
    ------
    InputError
        If what it states cannot be a scale.
    """
    at, factors = scale_factors(uns)
    for field, among, key in (
        (f'uns["{_SCALES[0]}"]', uns, _SCALES[0]),
        (f'uns["{_SCALES[1]}"]', uns, _SCALES[1]),
        (f'{at}["{_SCALES[0]}"]', factors, _SCALES[0]),
    ):
        if among.get(key) is not None:
            return check_mpp(among[key], f"{where}: {field}"), "stated in uns"
    return None, "unknown"


def find_mpp(
    obs: pd.DataFrame, uns: Mapping[str, Any], xy: NDArray[np.float64], where: str
) -> tuple[float | None, str]:
    """Find the scale that an AnnData states, or that its Visium lattice implies.

    Returns
    -------
    mpp : float or None
        Micrometres per full-resolution pixel.
    source : str
        In words.

    Raises
    ------
    InputError
        If what it states cannot be a scale.
    """
    mpp, source = stated_mpp(uns, where)
    if mpp is not None:
        return mpp, source
    pitch = visium_pitch_px(obs, xy)
    if pitch is not None:
        source = f"inferred from the Visium lattice: {pitch:.1f} px = {VISIUM_PITCH_UM:g} µm"
        return VISIUM_PITCH_UM / pitch, source
    return None, "unknown"


def array_put_right(
    obs: pd.DataFrame, xy: NDArray[np.float64]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Call rows and columns of Visium's array what they are, where a converter exchanged them."""
    if visium_pitch_px(obs, xy) is None:
        right = obs.rename(columns=_EXCHANGED)
        if visium_pitch_px(right, xy) is not None:
            doubt = (
                "array_row and array_col are exchanged, as spots lie nearer to each other than "
                "their numbers say: each is taken for the other."
            )
            return right, (doubt,)
    return obs, ()


def array_doubts(obs: pd.DataFrame, xy: NDArray[np.float64]) -> tuple[str, ...]:
    """Say which columns that should number the spots' array do not, or put spots elsewhere."""
    doubts = []
    for names in ARRAY_COLUMNS:
        if not set(names) <= set(obs.columns):
            continue
        numbers = array_columns(obs, names)
        if numbers is not None:
            if off_their_array(numbers, xy):
                doubts.append(
                    f"{names[1]} and {names[0]} put spots elsewhere than their positions: one of "
                    "them may be of other spots, as where tables are joined by the order of rows."
                )
            continue
        some = array_columns(obs, names, whole=False)
        for_what = "and are not used"
        if some is not None:
            lost = int(np.isnan(some).any(axis=1).sum())
            for_what = f"but for all but {lost}: those tell the scale, and nothing else"
        doubts.append(f"{names[1]} and {names[0]} are not numbers for every spot, {for_what}.")
    return tuple(doubts)


def find_geometry(
    obs: pd.DataFrame,
    uns: Mapping[str, Any],
    xy: NDArray[np.float64],
    mpp: float | None,
    where: str,
) -> tuple[SpotGeometry, tuple[str, ...]]:
    """Work out diameter, shape and pitch from what the spots state, else from their lattice.

    Returns
    -------
    geometry : SpotGeometry
    doubts : tuple of str
        What was guessed, or does not fit.

    Raises
    ------
    InputError
        If what they state cannot be right.
    """
    nearest = nearest_distance(xy)
    try:
        geometry, doubts = _known(uns, mpp, nearest)
        if geometry is None:
            geometry, more = _worked_out(obs, uns, xy, mpp, nearest)
            doubts = (*doubts, *more)
    except InputError as error:
        msg = f"{where}: {error}"
        raise InputError(msg) from error
    return geometry, (*doubts, *_unlike(geometry, nearest, mpp))


def _known(
    uns: Mapping[str, Any], mpp: float | None, nearest: float
) -> tuple[SpotGeometry | None, tuple[str, ...]]:
    """Take `uns["stenhance"]`, if it says enough."""
    known = uns.get(UNS_KEY)
    if known is None:
        return None, ()
    names = [field.name for field in fields(SpotGeometry)]
    given = {n: known[n] for n in names if n in known} if isinstance(known, Mapping) else {}
    lost = [name for name in names if name not in given]
    if not set(lost) <= set(_DEFAULTS):
        return None, (f'uns["{UNS_KEY}"] lacks {", ".join(lost)}, and is not used.',)
    geometry = SpotGeometry(**{**_DEFAULTS, **given}).in_um(mpp)
    if nearest and not geometry.pitch_um:
        return None, (f'uns["{UNS_KEY}"]["pitch_um"] is 0, and is not used.',)
    taken = " and ".join(_DEFAULTS[name] for name in lost)
    said = f'uns["{UNS_KEY}"] lacks {" and ".join(lost)}: {taken} is taken.'
    return geometry, (said,) if lost else ()


def _worked_out(
    obs: pd.DataFrame,
    uns: Mapping[str, Any],
    xy: NDArray[np.float64],
    mpp: float | None,
    nearest: float,
) -> tuple[SpotGeometry, tuple[str, ...]]:
    """Take what is stated elsewhere, else the assay's, else a guess."""
    at, factors = scale_factors(uns)
    full = factors.get("spot_diameter_fullres")
    full = 0.0 if full is None else check_length(full, f'{at}["spot_diameter_fullres"]')
    stated = {
        key: check_length(uns[key], f'uns["{key}"]') if uns.get(key) is not None else 0.0
        for key in ("spot_pitch_um", "spot_diameter_um")
    }
    if mpp is None:
        if full or not nearest:
            return SpotGeometry(full, "disc", nearest, "pixel"), ()
        if lie_anyhow(obs, xy):
            return SpotGeometry(nearest, "disc", nearest, "pixel"), (_anyhow(nearest, "px"),)
        return SpotGeometry(nearest / 2, "disc", nearest, "pixel"), (_guessed(nearest, "px"),)
    pitch = stated["spot_pitch_um"] or nearest * mpp
    diameter, doubts = stated["spot_diameter_um"] or full * mpp, []
    visium = None if stated["spot_diameter_um"] else visium_pitch_px(obs, xy)
    if visium is not None and abs(visium * mpp / VISIUM_PITCH_UM - 1) <= _VISIUM_OFF_MOST:
        # What Space Ranger calls the diameter is 60 to 70 µm, wider than what is printed.
        said = f"{diameter:.4g}"
        differs = full and said != f"{VISIUM_DIAMETER_UM:g}"
        other = f"; spot_diameter_fullres, {said} µm, is not" if differs else ""
        doubt = (
            f"The spots' diameter is taken from the assay, Visium by their lattice: it is "
            f"{VISIUM_DIAMETER_UM:g} µm{other}."
        )
        return SpotGeometry(VISIUM_DIAMETER_UM, "disc", VISIUM_PITCH_UM, "micrometer"), (doubt,)
    if visium is not None:
        doubts.append(
            f"The spots are numbered as those of Visium, which lie {VISIUM_PITCH_UM:g} µm apart, "
            f"but at {mpp:.4g} µm per pixel these lie {visium * mpp:.4g} µm apart: check the scale."
        )
    bins = 0 < pitch <= BIN_PITCH_MOST_UM and are_bins(xy, pitch / mpp)
    if diameter:
        square = bins and diameter >= _TOUCHING_LEAST * pitch
        shape = "square" if square else "disc"
    elif bins:
        diameter, shape = pitch, "square"
        doubts.append(
            f"The size of the bins is not stated: squares of their pitch, {pitch:.4g} µm, are "
            "taken."
        )
    elif 0 < pitch <= BIN_PITCH_MOST_UM or (pitch and lie_anyhow(obs, xy)):
        diameter, shape = pitch, "disc"
        doubts.append(_anyhow(pitch, "µm"))
    else:
        diameter, shape = pitch / 2, "disc"
        doubts += [_guessed(pitch, "µm")] if pitch else []
    return SpotGeometry(diameter, shape, pitch, "micrometer"), tuple(doubts)  # type: ignore[arg-type]


def _anyhow(apart: float, unit: str) -> str:
    return (
        "The size of the spots is not stated, and they lie on no square lattice, as cells do: "
        f"discs as wide as the distance to the nearest, {apart:.4g} {unit}, are taken."
    )


def _guessed(pitch: float, unit: str) -> str:
    return (
        f"The spots' diameter is not stated: half of their pitch, {pitch / 2:.4g} {unit}, is taken."
    )


def _unlike(geometry: SpotGeometry, nearest: float, mpp: float | None) -> tuple[str, ...]:
    """Say if spots lie much nearer or farther apart than the pitch that they state."""
    in_um = geometry.unit == "micrometer"
    if (in_um and mpp is None) or not nearest or not geometry.pitch_um:
        return ()
    apart = nearest * (mpp or 1.0) if in_um else nearest
    unit = "µm" if in_um else "px"
    if _APART[0] <= apart / geometry.pitch_um <= _APART[1]:
        if geometry.spot_diameter_um > _OVERLAP_MOST * apart:
            doubt = (
                f"The spots are stated to be {geometry.spot_diameter_um:.4g} {unit} wide, but lie "
                f"{apart:.4g} {unit} apart: their positions may be pixels of a smaller picture."
            )
            return (doubt,)
        return ()
    doubt = (
        f"The spots' pitch should be {geometry.pitch_um:.4g} {unit}, but the nearest of them lie "
        f"{apart:.4g} {unit} apart: check the scale."
    )
    return (doubt,)


def on_picture(uns: Mapping[str, Any], factor: float, mpp: float | None) -> dict[str, Any]:
    """Restate sizes in full-resolution pixels in those of a picture that serves as the slide.

    Parameters
    ----------
    uns : mapping
    factor : float
        Pixels of the picture for each full-resolution pixel.
    mpp : float or None
        Micrometres per pixel of the picture, to be stated instead of what is.

    Returns
    -------
    dict
        As of a table whose full-resolution image is the picture.
    """
    changed = {key: value for key, value in uns.items() if key not in _SCALES}
    if mpp is not None:
        changed[_SCALES[0]] = mpp
    _, factors = scale_factors(uns)
    if factors:
        ((name, library),) = uns["spatial"].items()
        said: dict[str, Any] = {_COUNTED_IN: factor * _counted_in(factors)}
        for key, value in factors.items():
            number = as_number(value)
            if number is None or key in {*_SCALES, _COUNTED_IN}:
                continue
            by = factor if key.endswith("_fullres") else 1 / factor
            said[key] = number * by if key.endswith(("_fullres", "_scalef")) else value
        changed["spatial"] = {name: {**library, "scalefactors": said}}
    return changed


def _counted_in(factors: Mapping[str, Any]) -> float:
    return as_number(factors.get(_COUNTED_IN)) or 1.0


def fiducial_px(uns: Mapping[str, Any]) -> float | None:
    """Return the diameter of Visium's fiducials in pixels, as it is published: a whole number.

    Where a picture serves as the slide, it is that number in pixels of the picture.
    """
    _, factors = scale_factors(uns)
    pixels, counted_in = as_number(factors.get("fiducial_diameter_fullres")), _counted_in(factors)
    whole = 0 if pixels is None else int(round(pixels / counted_in, 9))
    return whole * counted_in if whole else None
