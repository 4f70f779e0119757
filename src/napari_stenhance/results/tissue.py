"""Tissue masks of a result, each a label image: found, or given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.results.attributes import ADVICE
from napari_stenhance.results.ome import describe_label, pitch_of
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import has_node, open_node, read_whole
from napari_stenhance.storage.pyramid import any_pool, coarsen_all, create_levels
from napari_stenhance.storage.reading import reading

FIRST = "tissue"
_TILE = 256
_USUAL = "density"


def write_tissue(
    group: zarr.Group, path: Path, tissue: NDArray[np.bool_], grid: Grid, kind: str
) -> None:
    """Write a mask into a result, once for each kind of mask and each grid.

    Parameters
    ----------
    group : Group
        Of the result.
    path : Path
    tissue : ndarray of bool, shape `grid.shape`
    grid : Grid
    kind : str
        How it was found; a mask that was given is a kind of its own, by its name.
    """
    name = tissue_name(group, path, kind, grid.pitch_um)
    if has_node(group, name) and _label(group, name).attrs.get("complete"):
        return
    label = group.create_group(name, overwrite=True)
    levels = create_levels(label, grid.shape, tile=_TILE, dtype="u1")
    levels[0][...] = tissue.astype("u1")
    coarsen_all(levels, any_pool)
    describe_label(label, levels, grid, {1: "tissue"})
    if kind != _USUAL:
        label.attrs["kind"] = kind
    label.attrs["complete"] = True


def tissue_name(group: zarr.Group, path: Path, kind: str, pitch_um: float) -> str:
    """Name a label image: `tissue` is the first run's; other masks and grids lie beside it."""
    if not has_node(group, FIRST):
        return FIRST
    first = _label(group, FIRST)
    if not first.attrs.get("complete"):
        return FIRST
    with reading(path / FIRST / "zarr.json", advice=ADVICE):
        first_kind, first_um = first.attrs.get("kind", _USUAL), pitch_of(first)
    other_kind = "" if kind == first_kind else f"-{kind}"
    return f"{FIRST}{other_kind}{'' if pitch_um == first_um else f'-{pitch_um:g}um'}"


def read_tissue(group: zarr.Group, name: str) -> NDArray[np.bool_]:
    """Read a mask, in the shape of its grid."""
    mask: NDArray[np.bool_] = read_whole(open_node(_label(group, name), "s0", zarr.Array)).astype(
        bool
    )
    return mask


def _label(group: zarr.Group, name: str) -> zarr.Group:
    return open_node(group, name, zarr.Group)
