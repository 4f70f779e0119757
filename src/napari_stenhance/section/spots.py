"""Spots: the measured positions, as an AnnData of raw counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.scale import check_length, quoted
from napari_stenhance.section.tables.layers import named_layers

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

UNS_KEY = "stenhance"
VISIUM_PITCH_UM = 100.0
VISIUM_DIAMETER_UM = 55.0
ST_PITCH_UM = 200.0
ST_DIAMETER_UM = 100.0
BIN_PITCH_MOST_UM = 20.0
"""Spots this close are bins, squares that touch, if they lie on a square lattice."""
ARRAY_COLUMNS = (("array_col", "array_row"), ("array_x", "array_y"))
"""Columns of `obs` that number the array that spots were printed on: Visium's, legacy ST's."""
Shape = Literal["disc", "square"]
Unit = Literal["micrometer", "pixel"]
_AT_ONCE, _HASHED_AT_ONCE = 2**22, 2**20
# Pixels, or micrometres; the squares of what lies far beyond are no numbers.
_FARTHEST = 1e9
# log(1 + 10,000) is 9.2: no logarithm of counts comes near.
_LOG_MOST = 20.0
# Of the pitch: spots of a Visium lattice lie no nearer, however it was bent or rounded.
_NEAREST_LEAST = 0.8
# Of the spots: a few may have lost their numbers.
_NUMBERED_LEAST = 0.9
# Of a step of the array, half of the spots lie no farther from where their numbers put them.
_OFF_ARRAY_MOST = 0.5
# Of the distance to the nearest: as much may it differ, for that share of spots of a lattice.
_ALIKE, _ALIKE_LEAST = 0.15, 0.5
# Mean of unit vectors along rows: 1 on a lattice, 0.9 of printed spots, 0.4 at most of 30 cells.
_ALIGNED_LEAST = 0.6
_ANYHOW_LEAST = 30
_LATTICE_SPOTS, _LATTICE_NEIGHBOURS = 2000, 8
_NEAREST_SPOTS = 50_000
_ROWS_AT_ONCE = 2**14
# Of a pitch, along each axis: 0 on a square lattice, 0.25 anywhere.
_OFF_LATTICE_MOST = 0.15


@dataclass(frozen=True)
class SpotGeometry:
    """What `uns["stenhance"]` holds.

    Attributes
    ----------
    spot_diameter_um, pitch_um : float
        In micrometres, or in pixels where `unit` is "pixel"; 0 for a spot that is alone.
    spot_shape : {"disc", "square"}
    unit : {"micrometer", "pixel"}
        "pixel" where no scale is known.

    Raises
    ------
    InputError
        If a length is no finite number or negative, or a word is another.
    """

    spot_diameter_um: float
    spot_shape: Shape
    pitch_um: float
    unit: Unit

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        for name in ("spot_diameter_um", "pitch_um"):
            length = check_length(getattr(self, name), f'uns["{UNS_KEY}"]["{name}"]')
            object.__setattr__(self, name, length)
        for name, words in (("spot_shape", get_args(Shape)), ("unit", get_args(Unit))):
            word = getattr(self, name)
            if not isinstance(word, str) or word not in words:
                msg = (
                    f'uns["{UNS_KEY}"]["{name}"] is {quoted(word)}; it must be '
                    f'{" or ".join(words)}: correct it, or take uns["{UNS_KEY}"] out.'
                )
                raise InputError(msg)
            object.__setattr__(self, name, str(word))

    def in_um(self, mpp: float | None) -> SpotGeometry:
        """Return it in micrometres, given those of a pixel; as it is without a scale."""
        if self.unit == "micrometer" or mpp is None:
            return self
        return SpotGeometry(
            self.spot_diameter_um * mpp, self.spot_shape, self.pitch_um * mpp, "micrometer"
        )


def geometry_of(spots: ad.AnnData) -> SpotGeometry:
    """Read `uns["stenhance"]` of spots that belong to a section, or of a table of a result.

    Raises
    ------
    InputError
        If it is not there, not whole, or cannot be right.
    """
    known = spots.uns.get(UNS_KEY)
    names = [field.name for field in fields(SpotGeometry)]
    lost = names if not isinstance(known, Mapping) else [n for n in names if n not in known]
    if lost:
        msg = f'uns["{UNS_KEY}"] of the spots lacks {", ".join(lost)}; write the table again.'
        raise InputError(msg)
    return SpotGeometry(**{name: known[name] for name in names})


def positions_px(spots: ad.AnnData, where: str) -> NDArray[np.float64]:
    """Return (x, y) in full-resolution pixels, shape (n, 2).

    Raises
    ------
    InputError
        If `obsm["spatial"]` is missing, not of that shape, or not finite.
    """
    if "spatial" not in spots.obsm:
        msg = f'{where}: obsm["spatial"] is missing; it must hold (x, y) in full-resolution pixels.'
        raise InputError(msg)
    xy = np.asarray(spots.obsm["spatial"], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        msg = f'{where}: obsm["spatial"] has shape {xy.shape}; it must be spots × 2 (x, y).'
        raise InputError(msg)
    return finite_positions(xy[:, :2], spots.obs_names, where)


def finite_positions(
    xy: NDArray[np.float64], names: Sequence[str], where: str
) -> NDArray[np.float64]:
    """Return positions that are all finite, and of which squares are.

    Raises
    ------
    InputError
        If one is not; names its spot.
    """
    lost = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    far = np.flatnonzero((np.abs(xy) > _FARTHEST).any(axis=1))
    if len(lost):
        msg = (
            f"{where}: the position of spot {names[lost[0]]} (and {len(lost) - 1} others) is not a "
            "number; remove these spots."
        )
        raise InputError(msg)
    if len(far):
        x, y = xy[far[0]]
        msg = (
            f"{where}: spot {names[far[0]]} lies at ({x:.3g}, {y:.3g}), and no image reaches there"
            "; remove it, or correct its position."
        )
        raise InputError(msg)
    return xy


def check_counts(spots: ad.AnnData, where: str) -> None:
    """Refuse counts that cannot be counts, and ids that are not unique.

    Raises
    ------
    InputError
        If a count is negative or not a finite number, a spot or gene id occurs twice, or there are
        no spots.
    """
    if spots.n_obs == 0 or spots.n_vars == 0:
        found = f"{counted(spots.n_obs, 'spot')} and {counted(spots.n_vars, 'gene')}"
        msg = f"{where}: there are {found}; nothing to learn."
        raise InputError(msg)
    for ids, what in ((spots.obs_names, "spot"), (spots.var_names, "gene")):
        if not ids.is_unique:
            twice = ids[ids.duplicated()][0]
            msg = f"{where}: {what} id {twice!r} occurs more than once; make the ids unique."
            raise InputError(msg)
    counts = spots.X
    if counts is None:
        layers = ", ".join(f'layers["{name}"]' for name in named_layers(spots))
        others = f"; there are none in {layers} either" if layers else ""
        msg = f"{where}: X is empty; it must hold the raw counts{others}."
        raise InputError(msg)
    values = counts.data if sp.issparse(counts) else np.asarray(counts)
    # Not a number is neither; masks as long as the counts of a million bins are made only then.
    good = not values.size or (values.min() >= 0 and values.max() < np.inf)
    if not good:
        bad = ~np.isfinite(values) | (values < 0)
        if sp.issparse(counts):
            entry = sp.coo_array(counts)
            bad = ~np.isfinite(entry.data) | (entry.data < 0)
            first = int(np.flatnonzero(bad)[0])
            row, column, value = entry.row[first], entry.col[first], entry.data[first]
        else:
            row, column = np.argwhere(bad)[0]
            value = values[row, column]
        msg = (
            f"{where}: the count of gene {spots.var_names[column]} in spot {spots.obs_names[row]} "
            f"is {value:g}; counts must be finite and not negative: export the raw counts."
        )
        raise InputError(msg)


def are_whole(counts: Any) -> bool:
    """Tell whether all counts, sparse or not, are whole numbers."""
    values = (counts.data if sp.issparse(counts) else np.asarray(counts)).reshape(-1)
    # Of many bins a copy of all would be large.
    parts = (values[first : first + _AT_ONCE] for first in range(0, len(values), _AT_ONCE))
    return all(bool((part == np.rint(part)).all()) for part in parts)


def check_raw(spots: ad.AnnData, where: str) -> None:
    """Refuse counts that are not whole numbers: what learns from them needs them raw.

    Raises
    ------
    InputError
        If a count is not a whole number.
    """
    counts = spots.X
    if are_whole(counts):
        return
    values = counts.data if sp.issparse(counts) else np.asarray(counts).ravel()
    entry = sp.coo_array(counts)
    first = int(np.flatnonzero(entry.data != np.rint(entry.data))[0])
    row, column, value = entry.row[first], entry.col[first], entry.data[first]
    kind = "log-transformed" if values.max() < _LOG_MOST else "normalised"
    msg = (
        f"{where}: the count of gene {spots.var_names[column]} in spot {spots.obs_names[row]} is "
        f"{value:g}; raw counts are whole numbers, these look {kind}: give the raw counts in X."
    )
    raise InputError(msg)


def array_columns(
    obs: pd.DataFrame, names: Sequence[str], *, whole: bool = True
) -> NDArray[np.float64] | None:
    """Return columns that number an array, (spots, columns).

    None where they are missing, or not finite numbers for every spot: text such as "NA" is none.
    What is not `whole` may lack numbers, which are NaN, for a few.
    """
    import pandas as pd

    if not set(names) <= set(obs.columns):
        return None
    try:
        numbers = np.column_stack(
            [
                obs[name].to_numpy(np.float64)
                if pd.api.types.is_numeric_dtype(obs[name])
                else pd.to_numeric(obs[name].astype(object), errors="coerce").to_numpy(np.float64)
                for name in names
            ]
        )
    except (TypeError, ValueError):
        # Such as lists, or missing values among whole numbers.
        return None
    known = np.isfinite(numbers).all(axis=1)
    if known.all():
        return numbers
    numbers[~known] = np.nan
    return None if whole or known.mean() < _NUMBERED_LEAST else numbers


def visium_pitch_px(obs: pd.DataFrame, xy: NDArray[np.float64]) -> float | None:
    """Measure the pitch of a Visium lattice in pixels; None if the spots lie on none.

    Visium numbers its hexagonal lattice so that `array_row + array_col` is even; neighbours in a
    row lie two columns and 100 µm apart. Only that direction is measured: rows lie 0.87 pitches
    apart in files of Space Ranger 3, not √3 / 2. Numbers that put spots farther apart than they lie
    are not Visium's: their rows and columns may be exchanged.
    """
    numbers = array_columns(obs, ("array_row", "array_col"), whole=False)
    if numbers is None:
        return None
    known = np.isfinite(numbers).all(axis=1)
    numbers, xy = numbers[known], xy[known]
    row, column = numbers.T
    if ((row + column) % 2).any() or len(set(row % 2)) < 2:
        return None
    affine = _lattice_affine(np.column_stack([column / 2, row]), xy)
    pitch = 0.0 if affine is None else float(np.hypot(*affine[0]))
    # No two spots lie nearer than the pitch, unless rows and columns were exchanged.
    return pitch if pitch and nearest_distance(xy) >= _NEAREST_LEAST * pitch else None


def square_pitch_px(array_xy: NDArray[np.float64], xy: NDArray[np.float64]) -> float | None:
    """Measure the pitch of a square lattice, numbered along x and y, in pixels.

    Fitted over all spots, because printed spots lie beside their lattice points.
    """
    affine = _lattice_affine(array_xy, xy)
    return None if affine is None else float(np.sqrt(abs(np.linalg.det(affine)))) or None


def _lattice_affine(
    lattice: NDArray[np.float64], xy: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Fit positions to a lattice; return the steps (x, y) along its two directions.

    None where they do not lie on it, or nothing can be fitted.
    """
    steps, off = _fitted(lattice, xy)
    return steps if off <= _OFF_ARRAY_MOST else None


def off_their_array(numbers: NDArray[np.float64], xy: NDArray[np.float64]) -> bool:
    """Tell whether spots lie elsewhere than their numbers on an array, (spots, 2), put them.

    Of very many, some are asked; those without numbers are not.
    """
    known = np.flatnonzero(np.isfinite(numbers).all(axis=1))
    some = known[:: max(len(known) // _NEAREST_SPOTS, 1)]
    return _fitted(numbers[some], xy[some])[1] > _OFF_ARRAY_MOST


def numbered_across(obs: pd.DataFrame, xy: NDArray[np.float64]) -> tuple[str, ...]:
    """Name the columns that number the array, if its columns grow along y, and its rows along x.

    So they do where x and y were exchanged, and on slides that are turned and mirrored.
    """
    for names in ARRAY_COLUMNS:
        numbers = array_columns(obs, names)
        if numbers is not None:
            steps, off = _fitted(numbers, xy)
            if steps is None or off > _OFF_ARRAY_MOST:
                return ()
            (column_x, column_y), (row_x, row_y) = steps
            across = column_y > 2 * abs(column_x) and row_x > 2 * abs(row_y)
            return names if across else ()
    return ()


def _fitted(
    lattice: NDArray[np.float64], xy: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, float]:
    """Fit positions to a lattice: its two steps, and how many of them positions lie off it."""
    if len(xy) < 4 or np.linalg.matrix_rank(lattice - lattice.mean(axis=0)) < 2:
        return None, 0.0
    design = np.column_stack([lattice, np.ones(len(lattice))])
    fit = np.asarray(np.linalg.lstsq(design, xy, rcond=None)[0], dtype=np.float64)
    off = float(np.median(np.hypot(*(xy - design @ fit).T)))
    step = float(np.hypot(*fit[:2].T).min())
    return fit[:2], off / step if step else 0.0


def nearest_distance(xy: NDArray[np.float64]) -> float:
    """Median distance to the nearest other position, in the unit of `xy`; 0 where all are one.

    Observations that share a position count once: their distance of 0 is no pitch. Of more than
    100,000 positions, every second, third … is asked.
    """
    places = xy[DistinctPositions.among(xy).first]
    if len(places) < 2:
        return 0.0
    some = places[:: max(len(places) // _NEAREST_SPOTS, 1)]
    return float(np.median(cKDTree(places).query(some, k=2)[0][:, 1]))


def are_bins(xy: NDArray[np.float64], pitch: float) -> bool:
    """Tell whether positions lie on a square lattice, turned or not, of which places may be empty.

    Cells, which lie anyhow, and hexagonal lattices do not.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
    pitch : float
        In the unit of `xy`.
    """
    places = xy[DistinctPositions.among(xy).first]
    if len(places) < 3 or not pitch > 0:
        return False
    some = places[:: -(-len(places) // _LATTICE_SPOTS)]
    number = min(_LATTICE_NEIGHBOURS + 1, len(places))
    near = cKDTree(places).query(some, k=number)[1][:, 1:]
    step = (places[near] - some[:, None]) / pitch
    # Turned so that the nearest lies along x, where it is a neighbour in a row or column.
    turned = step[..., 0] + 1j * step[..., 1]
    ahead = np.abs(turned[:, 0])
    turned = (turned[:, 1:] * (turned[:, :1].conj() / ahead[:, None]))[ahead < 1.25]
    off = [np.abs(part - np.rint(part)) for part in (turned.real, turned.imag)]
    return bool(np.size(off) and np.mean(off) <= _OFF_LATTICE_MOST)


def lie_anyhow(obs: pd.DataFrame, xy: NDArray[np.float64]) -> bool:
    """Tell whether observations lie on no lattice, as cells and beads do.

    On a lattice, printed or with empty places, most are as far from the nearest as most others, and
    in the same directions, all over the section: cells may keep their distance, but have no rows.
    Of few nothing is concluded, nor of those that an array numbers.
    """
    if any(array_columns(obs, names) is not None for names in ARRAY_COLUMNS):
        return False
    places = xy[DistinctPositions.among(xy).first]
    if len(places) < _ANYHOW_LEAST:
        return False
    some = places[:: max(len(places) // _NEAREST_SPOTS, 1)]
    apart, near = (found[:, 1] for found in cKDTree(places).query(some, k=2))
    alike = np.abs(apart / np.median(apart) - 1) < _ALIKE
    if float(alike.mean()) < _ALIKE_LEAST:
        return True
    x, y = (places[near] - some)[alike].T
    turn = np.arctan2(y, x)
    # Of a square lattice a quarter of a turn changes nothing, of a hexagonal one a sixth.
    return all(abs(np.exp(1j * fold * turn).mean()) < _ALIGNED_LEAST for fold in (4, 6))


def attach(
    spots: ad.AnnData,
    geometry: SpotGeometry,
    obs: pd.DataFrame | None = None,
    obsm: Mapping[str, Any] | None = None,
) -> ad.AnnData:
    """Return the spots with `uns["stenhance"]` set, `obs` and `obsm`; matrices are not copied."""
    import anndata as ad

    return ad.AnnData(
        X=spots.X,
        obs=spots.obs if obs is None else obs,
        var=spots.var,
        obsm=dict(spots.obsm if obsm is None else obsm),
        varm=dict(spots.varm),
        obsp=dict(spots.obsp),
        varp=dict(spots.varp),
        layers=named_layers(spots),
        uns={**spots.uns, UNS_KEY: asdict(geometry)},
    )


def spots_sha256(spots: ad.AnnData, library: NDArray[np.float64] | None = None) -> str:
    """Return the SHA-256 of ids, counts and positions of spots, and of their libraries."""
    counts = sp.csr_array(spots.X)
    if not counts.has_canonical_format:
        counts = sp.csr_array(counts, dtype=np.float64, copy=True)
        counts.sum_duplicates()
    parts = [counts.data, counts.indices, counts.indptr, np.asarray(spots.obsm["spatial"])]
    if library is not None:
        parts.append(library)
    digest = hashlib.sha256("\n".join([*spots.obs_names, "", *spots.var_names]).encode())
    for part in parts:
        for low in range(0, len(part), _HASHED_AT_ONCE):
            some = part[low : low + _HASHED_AT_ONCE]
            digest.update(np.ascontiguousarray(some, dtype=np.float64).data)
    return digest.hexdigest()


def counts_of(spots: ad.AnnData, genes: Sequence[str]) -> sp.csr_array[np.float32]:
    """Return the counts of some genes, shape (spots, genes): of all genes those of the table."""
    columns = spots.var_names.get_indexer(list(genes))
    counts = spots.X
    if sp.issparse(counts) and counts.format == "csr" and counts.has_sorted_indices:
        # Of a million bins a copy is a gigabyte.
        if np.array_equal(columns, np.arange(spots.n_vars)):
            return sp.csr_array(counts, dtype=np.float32)
        if (np.diff(columns) > 0).all() and columns.min(initial=0) >= 0:
            return sp.csr_array(sp.csr_array(counts)[:, columns], dtype=np.float32)
    return sp.csr_array(sp.csc_array(counts)[:, columns], dtype=np.float32)


def log1p_cp10k(
    counts: sp.csr_array[np.float32], library: NDArray[np.float64]
) -> sp.csr_array[np.float32]:
    """Return log(1 + counts per 10,000 of the spot), sparse.

    Parameters
    ----------
    counts : sparse array, shape (spots, genes)
        Raw counts of some genes.
    library : ndarray, shape (spots,)
        Total count of each spot over all genes; a spot without counts stays 0.
    """
    counts = sp.csr_array(counts)
    per_count = 1e4 / np.maximum(library, 1)
    data = np.empty(len(counts.data), np.float32)
    # Of a million bins, a second copy in double precision would be the most that is held.
    for low in range(0, len(per_count), _ROWS_AT_ONCE):
        ends = counts.indptr[low : low + _ROWS_AT_ONCE + 1]
        some = slice(int(ends[0]), int(ends[-1]))
        each = np.repeat(per_count[low : low + _ROWS_AT_ONCE], np.diff(ends))
        data[some] = np.log1p(counts.data[some] * each)
    return sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)
