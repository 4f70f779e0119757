"""Where an AnnData keeps its positions, and in which unit: by names that others write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.spots import ARRAY_COLUMNS, array_columns, nearest_distance
from napari_stenhance.section.tables.counts import check_sparse

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("spatial", "X_spatial")
"""Keys of `obsm` that hold positions, in pixels of the full-resolution image."""
PIXELS = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("imagecol", "imagerow"),
    ("x", "y"),
)
MICROMETRES = (
    ("x_centroid", "y_centroid"),
    ("center_x", "center_y"),
    ("x_um", "y_um"),
)
# Some write the row as x: nothing tells whose names these are.
EITHER = (("pixel_x", "pixel_y"), ("x_pixel", "y_pixel"))
_LIKELY = re.compile(
    r"(^|[^a-z])(x|y|row|col|column|pixel|px|pxl|coord|coords|centroid|spatial|pos|position"
    r"|imagerow|imagecol)([^a-z]|$)"
)
_AS_PIXELS, _IN_UM = "as full-resolution pixels", "in µm"
_WIDEST = 16
_STEP_MOST = 2.0
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
    """

    xy: NDArray[np.float64]
    in_um: bool = False
    doubts: tuple[str, ...] = ()


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
            said = () if key == PLACES[0] else (_said(f'obsm["{key}"]', _AS_PIXELS),)
            return FoundPositions(_matrix(obsm[key], f'{where}: obsm["{key}"]'), doubts=said)
    for pairs, unit in ((PIXELS, _AS_PIXELS), (MICROMETRES, _IN_UM)):
        for pair in pairs:
            xy = _columns(obs, pair, where)
            if xy is None:
                continue
            if pair == ("x", "y"):
                _refuse_numbers(obs, xy, where)
            how = f'obs["{pair[0]}"] and obs["{pair[1]}"]'
            return FoundPositions(xy, unit == _IN_UM, (_said(how, unit),))
    for pair in EITHER:
        if set(pair) <= set(obs.columns):
            msg = (
                f'{where}: obs["{pair[0]}"] and obs["{pair[1]}"] look like positions, but some '
                f"programs call the row x, and nothing says which is meant; {_ADVICE}."
            )
            raise InputError(msg)
    likely = [f'obs["{c}"]' for c in obs.columns if _LIKELY.search(str(c).lower())]
    likely += [f'obsm["{key}"]' for key in obsm]
    there = f"; there are {', '.join(likely[:_NAMED_MOST])}" if likely else ""
    msg = f'{where}: obsm["spatial"] is missing{there}; {_ADVICE}.'
    raise InputError(msg)


def _said(how: str, unit: str) -> str:
    return f'Positions are {how}, {unit}, as there is no obsm["spatial"].'


def _matrix(part: Any, where: str) -> NDArray[np.float64]:
    """Return (x, y) of whatever holds them; a table may name which is which."""
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        for pair in PIXELS:
            if set(pair) <= set(part.columns):
                part = part[list(pair)]
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


def _columns(obs: pd.DataFrame, pair: tuple[str, str], where: str) -> NDArray[np.float64] | None:
    """Return the numbers of two columns; None where they are missing."""
    import pandas as pd

    if not set(pair) <= set(obs.columns):
        return None
    try:
        numbers = [pd.to_numeric(obs[name].astype(object)).to_numpy(np.float64) for name in pair]
    except (TypeError, ValueError) as error:
        msg = f'{where}: obs["{pair[0]}"] and obs["{pair[1]}"] are no numbers; {_ADVICE}.'
        raise InputError(msg) from error
    return np.column_stack(numbers)


def _refuse_numbers(obs: pd.DataFrame, xy: NDArray[np.float64], where: str) -> None:
    """Refuse `x` and `y` that number the array that spots were printed on."""
    finite = xy[np.isfinite(xy).all(axis=1)]
    known = [array_columns(obs, names) for names in ARRAY_COLUMNS]
    same = any(n is not None and (np.abs(np.rint(n) - xy) < 0.5).all() for n in known)
    # One or two apart, as nothing in pixels of a slide is.
    whole = len(finite) > 2 and bool((finite == np.rint(finite)).all())
    if same or (whole and 0 < nearest_distance(finite) <= _STEP_MOST):
        msg = (
            f'{where}: obs["x"] and obs["y"] number the array, from {finite.min():g} to '
            f"{finite.max():g}, and are no pixels of the slide; {_ADVICE}."
        )
        raise InputError(msg)
