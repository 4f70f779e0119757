"""Spots: the measured positions, as an AnnData of raw counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

UNS_KEY = "stenhance"
VISIUM_PITCH_UM = 100.0
VISIUM_DIAMETER_UM = 55.0
ST_PITCH_UM = 200.0
ST_DIAMETER_UM = 100.0
BIN_PITCH_MOST_UM = 20.0
"""Spots this close are bins: squares that touch."""
# log(1 + 10,000) is 9.2: no logarithm of counts comes near.
_LOG_MOST = 20.0


@dataclass(frozen=True)
class SpotGeometry:
    """What `uns["stenhance"]` holds.

    Attributes
    ----------
    spot_diameter_um, pitch_um : float
        In micrometres, or in pixels where `unit` is "pixel".
    spot_shape : {"disc", "square"}
    unit : {"micrometer", "pixel"}
        "pixel" where no scale is known.
    """

    spot_diameter_um: float
    spot_shape: Literal["disc", "square"]
    pitch_um: float
    unit: Literal["micrometer", "pixel"]


def geometry_of(spots: ad.AnnData) -> SpotGeometry:
    """Read `uns["stenhance"]` of spots that belong to a section."""
    return SpotGeometry(**spots.uns[UNS_KEY])


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
    xy = xy[:, :2]
    lost = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    if len(lost):
        msg = (
            f'{where}: obsm["spatial"] of spot {spots.obs_names[lost[0]]} (and {len(lost) - 1} '
            "others) is not a number; remove these spots."
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
        msg = f"{where}: there are {spots.n_obs} spots and {spots.n_vars} genes; nothing to learn."
        raise InputError(msg)
    for ids, what in ((spots.obs_names, "spot"), (spots.var_names, "gene")):
        if not ids.is_unique:
            twice = ids[ids.duplicated()][0]
            msg = f"{where}: {what} id {twice!r} occurs more than once; make the ids unique."
            raise InputError(msg)
    counts = spots.X
    if counts is None:
        msg = f"{where}: X is empty; it must hold the raw counts."
        raise InputError(msg)
    values = counts.data if sp.issparse(counts) else np.asarray(counts)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
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
    values = counts.data if sp.issparse(counts) else np.asarray(counts)
    return bool((values == np.rint(values)).all())


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


def sum_at_same_place(
    spots: ad.AnnData, xy: NDArray[np.float64]
) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Sum the counts of spots whose positions are equal: they are one spot, listed several times.

    Parameters
    ----------
    spots : AnnData
    xy : ndarray of float64, shape (n, 2)

    Returns
    -------
    AnnData
        `spots` itself where no two share a place; else the first spot of each place, without
        layers, which nobody can say how to sum.
    doubts : tuple of str
    """
    _, first, place = np.unique(xy[:, 0] + 1j * xy[:, 1], return_index=True, return_inverse=True)
    if len(first) == len(xy):
        return spots, ()
    order = np.argsort(first)
    row = np.argsort(order)[place]
    add = sp.csr_matrix(
        (np.ones(len(xy), np.float32), (row, np.arange(len(xy)))), (len(first), len(xy))
    )
    summed = spots[first[order]].copy()
    summed.layers.clear()
    summed.X = add @ spots.X
    doubt = (
        f"{len(xy) - len(first)} of {len(xy)} spots lie at the very position of another: their "
        "counts were summed, and the first id was kept."
    )
    return summed, (doubt,)


def visium_pitch_px(obs: pd.DataFrame, xy: NDArray[np.float64]) -> float | None:
    """Measure the pitch of a Visium lattice in pixels; None if the spots lie on none.

    Visium numbers its hexagonal lattice so that `array_row + array_col` is even; neighbours in a
    row lie two columns and 100 µm apart. Only that direction is measured: rows lie 0.87 pitches
    apart in files of Space Ranger 3, not √3 / 2.
    """
    if not {"array_row", "array_col"} <= set(obs.columns):
        return None
    row, column = (obs[c].to_numpy(dtype=np.float64) for c in ("array_row", "array_col"))
    if not (np.isfinite(row).all() and np.isfinite(column).all()):
        return None
    if ((row + column) % 2).any() or len(set(row % 2)) < 2:
        return None
    affine = _lattice_affine(np.column_stack([column / 2, row]), xy)
    return None if affine is None else float(np.hypot(*affine[0])) or None


def square_pitch_px(array_xy: NDArray[np.float64], xy: NDArray[np.float64]) -> float | None:
    """Measure the pitch of a square lattice, numbered along x and y, in pixels.

    Fitted over all spots, because printed spots lie beside their lattice points.
    """
    affine = _lattice_affine(array_xy, xy)
    return None if affine is None else float(np.sqrt(abs(np.linalg.det(affine)))) or None


def _lattice_affine(
    lattice: NDArray[np.float64], xy: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Fit positions to a lattice; return the steps (x, y) along its two directions."""
    if len(xy) < 4 or np.linalg.matrix_rank(lattice - lattice.mean(axis=0)) < 2:
        return None
    design = np.column_stack([lattice, np.ones(len(lattice))])
    return np.asarray(np.linalg.lstsq(design, xy, rcond=None)[0][:2], dtype=np.float64)


def nearest_distance(xy: NDArray[np.float64]) -> float:
    """Median distance to the nearest other spot, in the unit of `xy`; 0 for a single spot."""
    if len(xy) < 2:
        return 0.0
    return float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))


def _stated_mpp(uns: Mapping[str, Any]) -> float | None:
    """Find a scale, in µm per full-resolution pixel, that an AnnData states about itself."""
    for key in ("microns_per_pixel", "microns_per_fullres_pixel"):
        if key in uns:
            return float(uns[key])
    libraries = uns.get("spatial")
    if isinstance(libraries, Mapping) and len(libraries) == 1:
        (library,) = libraries.values()
        factors = library.get("scalefactors", {}) if isinstance(library, Mapping) else {}
        if "microns_per_pixel" in factors:
            return float(factors["microns_per_pixel"])
    return None


def find_mpp(spots: ad.AnnData, xy: NDArray[np.float64]) -> tuple[float | None, str]:
    """Find the scale that an AnnData states, or that its Visium lattice implies.

    Returns
    -------
    mpp : float or None
        Micrometres per full-resolution pixel.
    source : str
        In words.
    """
    stated = _stated_mpp(spots.uns)
    if stated is not None:
        return stated, "stated in uns"
    pitch = visium_pitch_px(spots.obs, xy)
    if pitch is not None:
        source = f"inferred from the Visium lattice: {pitch:.1f} px = {VISIUM_PITCH_UM:g} µm"
        return VISIUM_PITCH_UM / pitch, source
    return None, "unknown"


def find_geometry(spots: ad.AnnData, xy: NDArray[np.float64], mpp: float | None) -> SpotGeometry:
    """Work out diameter, shape and pitch from what the spots state, else from their lattice."""
    known = spots.uns.get(UNS_KEY)
    if isinstance(known, Mapping) and {"spot_diameter_um", "pitch_um"} <= set(known):
        fields = {k: known[k] for k in SpotGeometry.__dataclass_fields__ if k in known}
        return SpotGeometry(**{"spot_shape": "disc", "unit": "micrometer", **fields})
    nearest = nearest_distance(xy)
    if mpp is None:
        return SpotGeometry(nearest / 2, "disc", nearest, "pixel")
    pitch = float(spots.uns.get("spot_pitch_um", nearest * mpp))
    if "spot_diameter_um" in spots.uns:
        return SpotGeometry(float(spots.uns["spot_diameter_um"]), "disc", pitch, "micrometer")
    if visium_pitch_px(spots.obs, xy) is not None:
        return SpotGeometry(VISIUM_DIAMETER_UM, "disc", VISIUM_PITCH_UM, "micrometer")
    if pitch <= BIN_PITCH_MOST_UM:
        return SpotGeometry(pitch, "square", pitch, "micrometer")
    return SpotGeometry(pitch / 2, "disc", pitch, "micrometer")


def attach(spots: ad.AnnData, geometry: SpotGeometry) -> ad.AnnData:
    """Return the spots with `uns["stenhance"]` set; matrices are shared, not copied."""
    import anndata as ad

    return ad.AnnData(
        X=spots.X,
        obs=spots.obs,
        var=spots.var,
        obsm=dict(spots.obsm),
        varm=dict(spots.varm),
        obsp=dict(spots.obsp),
        varp=dict(spots.varp),
        layers=dict(spots.layers),
        uns={**spots.uns, UNS_KEY: asdict(geometry)},
    )


def counts_of(spots: ad.AnnData, genes: Sequence[str]) -> sp.csr_array[np.float32]:
    """Return the counts of some genes, shape (spots, genes)."""
    columns = spots.var_names.get_indexer(list(genes))
    return sp.csr_array(sp.csc_array(spots.X)[:, columns], dtype=np.float32)


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
    per_count = 1e4 / np.maximum(library, 1)
    return sp.csr_array(sp.csr_array(counts.multiply(per_count[:, None])).log1p(), dtype=np.float32)
