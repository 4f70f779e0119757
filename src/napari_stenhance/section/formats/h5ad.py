"""An `.h5ad` of spots, with the one image beside it that shares its stem."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from napari_stenhance.errors import InputError
from napari_stenhance.section.formats.found import IMAGE_SUFFIXES, Found, shares_stem
from napari_stenhance.section.spots import are_whole, positions_px
from napari_stenhance.section.stated import find_mpp

if TYPE_CHECKING:
    import anndata as ad

PUBLISHED_SPOTS, PUBLISHED_CELLS = "Spatial_count.h5ad", "scRNA_count_cluster.h5ad"
"""What a folder of the published SINCA-Net holds: spots, and the cells that go with them."""


def _images_beside(path: Path) -> tuple[Path, ...]:
    """List the images whose stem is the file's, or begins with it and a separator."""
    return tuple(
        f
        for f in sorted(path.parent.iterdir())
        if f.suffix.lower() in IMAGE_SUFFIXES and shares_stem(f.name, path.stem)
    )


def recognise(path: Path) -> Found | None:
    """Recognise an `.h5ad`, or a folder that holds just one, or spots and their cells.

    Raises
    ------
    InputError
        If a folder holds several, or the file cannot be read.
    """
    if (path / PUBLISHED_SPOTS).is_file():
        return found(path / PUBLISHED_SPOTS, path.name, ())
    if path.is_dir():
        inside = sorted(path.glob("*.h5ad"))
        if len(inside) > 1:
            names = ", ".join(f.name for f in inside)
            msg = f"{path}: the folder holds several sections: {names}; name the one you mean."
            raise InputError(msg)
        if not inside:
            return None
        (path,) = inside
    if path.suffix.lower() != ".h5ad":
        return None
    return found(path, path.stem, _images_beside(path))


def found(path: Path, name: str, images: tuple[Path, ...]) -> Found:
    """Read what is needed to place the spots of an `.h5ad` on its slide.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no positions.
    """
    import anndata as ad

    try:
        with h5py.File(path, "r") as file, ids_as_they_are():
            spots = ad.AnnData(
                obs=ad.io.read_elem(file["obs"]),
                uns=ad.io.read_elem(file["uns"]) if "uns" in file else {},
                obsm={"spatial": np.asarray(file["obsm/spatial"])}
                if "obsm/spatial" in file
                else {},
            )
            doubts = _place_by_columns(spots)
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = f"{path}: this is no AnnData file that can be read ({error}); write it again."
        raise InputError(msg) from error
    xy = positions_px(spots, str(path))
    mpp, source, no_scale = None, "unknown", ""
    try:
        mpp, source = find_mpp(spots, xy, str(path))
    except InputError as error:
        # The user may give another.
        no_scale = str(error)
    return Found(
        name, path, images, xy, mpp, source, partial(_read, path), doubts, no_scale=no_scale
    )


def _read(path: Path) -> tuple[ad.AnnData, tuple[str, ...]]:
    import anndata as ad

    with ids_as_they_are():
        spots = ad.read_h5ad(path)
        _place_by_columns(spots)
        return _with_raw_counts(spots)


def _place_by_columns(spots: ad.AnnData) -> tuple[str, ...]:
    """Take positions from `obs["x"]` and `obs["y"]` where they are nowhere else; say so."""
    if "spatial" in spots.obsm or not {"x", "y"} <= set(spots.obs.columns):
        return ()
    spots.obsm["spatial"] = spots.obs[["x", "y"]].to_numpy(np.float64)
    return ('Positions are obs["x"] and obs["y"], as there is no obsm["spatial"].',)


def _with_raw_counts(spots: ad.AnnData) -> tuple[ad.AnnData, tuple[str, ...]]:
    """Put raw counts into X, if it has none and they lie where others keep them; say so."""
    import anndata as ad

    if spots.X is None or are_whole(spots.X):
        return spots, ()
    said = "X holds no whole numbers: the raw counts of {} are used."
    if "counts" in spots.layers and are_whole(spots.layers["counts"]):
        spots.X = spots.layers["counts"]
        return spots, (said.format('layers["counts"]'),)
    if spots.raw is not None and are_whole(spots.raw.X):
        kept = {"obs": spots.obs, "obsm": dict(spots.obsm), "obsp": dict(spots.obsp)}
        raw = ad.AnnData(X=spots.raw.X, var=spots.raw.var, uns=spots.uns, **kept)
        return raw, (said.format("raw"),)
    return spots, ()


@contextmanager
def ids_as_they_are() -> Iterator[None]:
    """Keep anndata's advice on ids that are not unique from the user, who is told in a sentence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Observation|Variable) names are not unique")
        yield
