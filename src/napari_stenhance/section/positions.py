"""Where an AnnData keeps its positions, and in which unit: by names that others write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.spots import (
    ARRAY_COLUMNS,
    array_columns,
    nearest_distance,
    numbered_across,
)
from napari_stenhance.section.tables.counts import check_sparse

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("spatial", "X_spatial")
"""Keys of `obsm` that hold positions, in pixels of the full-resolution image."""
_PLAIN = ("x", "y")
PIXELS = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("imagecol", "imagerow"),
    ("centerx_global_px", "centery_global_px"),
    _PLAIN,
)
MICROMETRES = (
    ("x_centroid", "y_centroid"),
    ("center_x", "center_y"),
    ("x_um", "y_um"),
)
# Of a table of positions, where nothing else can be meant.
_OF_TABLE = (("col", "row"), ("column", "row"), ("x_coord", "y_coord"))
# Some write the row as x: nothing tells whose names these are.
EITHER = (("pixel_x", "pixel_y"), ("x_pixel", "y_pixel"))
_LIKELY = re.compile(
    r"^s?dim[xy]$|[xy]_?coord|spatial_?[12]$|(^|[^a-z])(x|y|row|col|column|pixel|px|pxl|coord|coords|centroid|spatial|pos|position"
    r"|imagerow|imagecol)([^a-z]|$)"
)
_AS_PIXELS, _IN_UM = "as full-resolution pixels", "in µm"
_WIDEST = 16
_STEP_MOST, _ARRAY_MOST = 2.0, 1000
_NAMED_MOST = 8
_ADVICE = 'write (x, y) in pixels of the full-resolution image as obsm["spatial"]'


@dataclass(frozen=True)
class FoundPositions:
    """Positions, in the unit in which they are stored.

    Attributes
    ----------
    xy : ndarray of float64, shape (spots, 2)
    in_um : bool
        In micrometres, and not in full-resolution pixels.
    doubts : tuple of str
    no_pixels : str
        What they are, if they have no place on a slide.
    """

    xy: NDArray[np.float64]
    in_um: bool = False
    doubts: tuple[str, ...] = ()
    no_pixels: str = ""


def find_positions(obs: pd.DataFrame, obsm: Mapping[str, Any], where: str) -> FoundPositions:
    """Find positions in `obsm`, else in columns of `obs`.

    Parameters
    ----------
    obs : DataFrame
    obsm : mapping
        Arrays, tables or sparse matrices.
    where : str
        What errors name.

    Raises
    ------
    InputError
        If there are none, they cannot be used, or what there is may be something else.
    """
    for key in PLACES:
        if key in obsm:
            found = _in_matrix(obs, obsm[key], key, where)
            others = [k for k in PLACES if k != key and k in obsm and _others(found, obsm[k])]
            more = (
                f'obsm["{k}"] holds other positions than obsm["{key}"]: it is not used.'
                for k in others
            )
            return replace(found, doubts=(*found.doubts, *more))
    for pairs, unit in ((PIXELS, _AS_PIXELS), (MICROMETRES, _IN_UM)):
        for pair in pairs:
            named = _named(obs, pair)
            if named is None:
                continue
            xy = _columns(obs, named, where)
            if pair == _PLAIN:
                _refuse_numbers(obs, xy, named, where)
            how = f'obs["{named[0]}"] and obs["{named[1]}"]'
            return FoundPositions(xy, unit == _IN_UM, (_said(how, unit),))
    for pair in EITHER:
        if (named := _named(obs, pair)) is not None:
            msg = (
                f'{where}: obs["{named[0]}"] and obs["{named[1]}"] look like positions, but some '
                f"programs call the row x, and nothing says which is meant; {_ADVICE}."
            )
            raise InputError(msg)
    likely = [f'obs["{c}"]' for c in obs.columns if _LIKELY.search(str(c).lower())]
    cells = "" if likely else "; single cells without positions are a reference for impute"
    likely += [f'obsm["{key}"]' for key in obsm]
    there = f"; there are {', '.join(likely[:_NAMED_MOST])}" if likely else ""
    msg = f'{where}: obsm["spatial"] is missing{there}; {_ADVICE}{cells}.'
    raise InputError(msg)


def says_exchanged(obs: pd.DataFrame, xy: NDArray[np.float64]) -> str:
    """Say what contradicts that positions are (x, y), and not (y, x); nothing if nothing does.

    Neither proves it: slides may be mirrored, and names of columns be exchanged.
    """
    if names := numbered_across(obs, xy):
        return f"{names[0]} grows along y and {names[1]} along x"
    from pandas.api.types import is_numeric_dtype

    for pair in (*PIXELS, *MICROMETRES):
        named = _named(obs, pair)
        if named is None or not all(map(is_numeric_dtype, (obs[name] for name in named))):
            continue
        known = obs[list(named)].to_numpy(np.float64)
        if np.array_equal(known, xy[:, ::-1]) and not np.array_equal(known, xy):
            return f'obs["{named[0]}"] is y and obs["{named[1]}"] x'
    return ""


def _said(how: str, unit: str) -> str:
    return f'Positions are {how}, {unit}, as there is no obsm["spatial"].'


def _in_matrix(obs: pd.DataFrame, part: Any, key: str, where: str) -> FoundPositions:
    """Take positions of `obsm`: in µm where its table, or columns with the same numbers, say so."""
    xy = _matrix(part, f'{where}: obsm["{key}"]')
    said: tuple[str, ...] = () if key == PLACES[0] else (_said(f'obsm["{key}"]', _AS_PIXELS),)
    if isinstance(part, np.ndarray) and part.shape[1] > 2 and (part[1:, 2] != part[:1, 2]).any():
        more = (
            f'obsm["{key}"] has {part.shape[1]} columns: the first two are x and y, and the third'
        )
        said = (*said, f"{more}, which varies, is not used.")
    for pair in MICROMETRES:
        named = _named(part, pair) if hasattr(part, "columns") else None
        same = _named(obs, pair)
        if named is None and same is not None and len(obs) == len(xy):
            named = same if np.array_equal(_columns(obs, same, where), xy) else None
        if named is not None:
            doubt = (
                f'Positions are obsm["{key}"], in µm, as {named[0]} and {named[1]} are: they are '
                "taken to begin at the corner of the slide."
            )
            return FoundPositions(xy, in_um=True, doubts=(doubt,))
    finite = xy[np.isfinite(xy).all(axis=1)]
    if len(finite) and finite.max() <= _ARRAY_MOST and _number_the_array(obs, xy):
        numbers = (
            f'obsm["{key}"] numbers the array, from {finite.min():g} to {finite.max():g}, and '
            "holds no pixels of a slide"
        )
        return FoundPositions(xy, doubts=(*said, f"{numbers}."), no_pixels=numbers)
    return FoundPositions(xy, doubts=said)


def _others(found: FoundPositions, part: Any) -> bool:
    """Tell whether a matrix holds other positions, not only these at another scale."""
    try:
        other = _matrix(part, "")
    except InputError:
        return True
    known: NDArray[np.bool_] = np.asarray(np.isfinite(found.xy).all(axis=1))
    if len(other) != len(known) or not np.isfinite(other[known]).all():
        return True
    xy, other = found.xy[known], other[known]
    from_middle = xy - xy.mean(axis=0) if len(xy) else xy
    size = float((from_middle**2).sum())
    scale = float((from_middle * other).sum()) / size if size else 1.0
    off = other - other.mean(axis=0) - scale * from_middle if len(xy) else other
    return bool(scale <= 0 or np.abs(off).max(initial=0) > scale * nearest_distance(xy) / 2)


def _named(table: pd.DataFrame, pair: tuple[str, str]) -> tuple[str, str] | None:
    """Return what two columns are called that have such names, in any letters."""
    names = {str(name).lower(): name for name in table.columns}
    return (names[pair[0]], names[pair[1]]) if set(pair) <= set(names) else None


def _matrix(part: Any, where: str) -> NDArray[np.float64]:
    """Return (x, y) of whatever holds them; a table may name which is which."""
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        for pair in (*PIXELS, *MICROMETRES, *_OF_TABLE):
            if (named := _named(part, pair)) is not None:
                part = part[list(named)]
                break
        if len({*part.columns[:2]} & {"row", "col", "imagerow", "imagecol"}) == 1:
            msg = f"{where} has the columns {', '.join(map(str, part.columns))}; call them x and y."
            raise InputError(msg)
        part = part.to_numpy()
    if len(getattr(part, "shape", ())) != 2 or not 2 <= part.shape[1] <= _WIDEST:
        msg = f"{where} has shape {getattr(part, 'shape', ())}; it must be spots × 2 (x, y)."
        raise InputError(msg)
    if sp.issparse(part):
        try:
            part = part if part.format in {"csr", "csc"} else sp.csr_matrix(part)
            check_sparse(part)
        except ValueError as error:
            msg = f"{where} cannot be read ({error}); write it again."
            raise InputError(msg) from error
        part = part.toarray()
    try:
        return np.asarray(part)[:, :2].astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{where} holds no numbers; it must be spots × 2 (x, y)."
        raise InputError(msg) from error


def _columns(obs: pd.DataFrame, pair: tuple[str, str], where: str) -> NDArray[np.float64]:
    """Return the numbers of two columns."""
    import pandas as pd

    try:
        numbers = [pd.to_numeric(obs[name].astype(object)).to_numpy(np.float64) for name in pair]
    except (TypeError, ValueError) as error:
        msg = f'{where}: obs["{pair[0]}"] and obs["{pair[1]}"] are no numbers; {_ADVICE}.'
        raise InputError(msg) from error
    return np.column_stack(numbers)


def _refuse_numbers(
    obs: pd.DataFrame, xy: NDArray[np.float64], named: tuple[str, str], where: str
) -> None:
    """Refuse `x` and `y` that number the array that spots were printed on."""
    if _number_the_array(obs, xy):
        finite = xy[np.isfinite(xy).all(axis=1)]
        msg = (
            f'{where}: obs["{named[0]}"] and obs["{named[1]}"] number the array, from '
            f"{finite.min():g} to {finite.max():g}, and are no pixels of the slide; {_ADVICE}."
        )
        raise InputError(msg)


def _number_the_array(obs: pd.DataFrame, xy: NDArray[np.float64]) -> bool:
    known = [array_columns(obs, names) for names in ARRAY_COLUMNS]
    if any(n is not None and (np.abs(np.rint(n) - xy) < 0.5).all() for n in known):
        return True
    finite = xy[np.isfinite(xy).all(axis=1)]
    # One or two apart, as nothing in pixels of a slide is.
    whole = len(finite) > 2 and bool((finite == np.rint(finite)).all())
    return whole and 0 < nearest_distance(finite) <= _STEP_MOST
