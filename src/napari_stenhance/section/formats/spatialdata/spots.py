"""The spots or cells of a SpatialData store, placed on an image of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.running.numbers import lacking
from napari_stenhance.section.formats.format import SectionFiles, names_in
from napari_stenhance.section.formats.spatialdata.placing import Way, ways_of
from napari_stenhance.section.formats.spatialdata.shapes import Shapes, read_shapes
from napari_stenhance.section.images.opening import image_size
from napari_stenhance.section.raw import with_raw_counts
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.section.spots import (
    BIN_PITCH_MOST_UM,
    UNS_KEY,
    SpotGeometry,
    are_bins,
    finite_positions,
    nearest_distance,
    visium_pitch_px,
)
from napari_stenhance.section.stated import find_mpp
from napari_stenhance.section.tables.zarr_table import read_zarr_table, zarr_attributes
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad

_ADVICE = "write it again with spatialdata"
_CORNER = 0.5


@dataclass(frozen=True, eq=False)
class _Region:
    """The rows of a table that annotate one element."""

    table: Path
    name: str
    region_key: str
    instance_key: str


def open_spatialdata(path: Path, sample: str | None = None) -> SectionFiles:
    """Find the table, the shapes that it annotates, and the image that they lie on.

    Parameters
    ----------
    path : Path
    sample : str, optional
        The element that is annotated, where there are several.

    Raises
    ------
    InputError
        If a part is missing or damaged, or several elements are annotated and none is named.
    """
    regions = _regions(path)
    names = sorted(regions)
    if not names:
        msg = f"{path}: none of its tables annotates shapes or labels; give one of its images."
        raise InputError(msg)
    if sample not in {None, *names} or (sample is None and len(names) > 1):
        raise SeveralSamples.named(
            str(path), "by the element that a table annotates", names, sample
        )
    region = regions[names[0] if sample is None else sample]
    with reading(region.table, "this table", _ADVICE):
        table = read_zarr_table(region.table)
        of = table.obs[region.region_key].astype(str) == region.name
        if not of.all():
            table = table[of.to_numpy()].copy()
        instances = table.obs[region.instance_key].astype(str).to_numpy()
    shapes, doubts = _element(path, region, table)
    images, own = _image(path, shapes)
    name = path.resolve().name.removesuffix(".zarr").removesuffix(".sdata")
    place = _place(table, shapes, instances, path)
    known, xy = place
    if not known.all():
        lost = lacking(int((~known).sum()), "row", len(known), "shape")
        doubts = (*doubts, lost)
        table, instances = table[known].copy(), instances[known]
    polygons = shapes.polygons
    if polygons is not None:
        polygons = replace(polygons.of(list(instances)), ids=list(table.obs_names))
    mpp, source = find_mpp(table.obs, table.uns, xy, str(path))
    way: Any = own if own is not None else (lambda at: at)
    if own is not None:
        if mpp is not None:
            mpp = mpp / own.scale
        elif own.unit_um is not None:
            mpp, source = own.unit_um, "stated by the store's coordinate system"
    placed = finite_positions(way(xy) - _CORNER, list(table.obs_names), str(region.table))
    return SectionFiles(
        name=name if sample is None else f"{name}-{sample}",
        origin=region.table,
        images=images,
        xy=placed,
        mpp=mpp,
        mpp_source=source,
        read=partial(_read, table, placed, str(region.table)),
        doubts=doubts,
        without="None of the store's images is a slide that lies in the spots' coordinate system.",
        geometry=_geometry_of(table, shapes, placed, own),
        outlines=None if polygons is None else lambda: polygons.moved(lambda at: way(at) - _CORNER),
    )


def _regions(path: Path) -> dict[str, _Region]:
    """List what tables annotate, by the name of the element; very old stores have `table/table`."""
    found: dict[str, _Region] = {}
    for above in ("tables", "table"):
        for name in sorted(names_in(path / above)):
            said = zarr_attributes(path / above / name)
            keys = said.get("region_key"), said.get("instance_key")
            listed = said.get("region")
            listed = [listed] if isinstance(listed, str) else listed
            if not all(isinstance(key, str) for key in keys) or not isinstance(listed, list):
                continue
            for one in map(str, listed):
                key = one if one not in found else f"{one}/{name}"
                found[key] = _Region(path / above / name, one, str(keys[0]), str(keys[1]))
    return found


def _element(path: Path, region: _Region, table: ad.AnnData) -> tuple[Shapes, tuple[str, ...]]:
    """Read the shapes that are annotated; of labels, where the table says that they lie."""
    folder = path / "shapes" / region.name
    if folder.is_dir():
        with reading(folder, "these shapes", _ADVICE):
            return read_shapes(folder), ()
    labels = path / "labels" / region.name
    if not labels.is_dir():
        msg = f"{path}: the table annotates {region.name}, which is not there; copy it again."
        raise InputError(msg)
    if "spatial" not in table.obsm:
        msg = (
            f"{path}: the table annotates the labels {region.name}, and does not say where they "
            'lie; write their centres in its pixels as obsm["spatial"], or annotate shapes.'
        )
        raise InputError(msg)
    with reading(labels, "these labels", _ADVICE):
        ways = _ways_of_raster(labels)
        xy = np.asarray(table.obsm["spatial"], dtype=np.float64)[:, :2]
    ids = [str(one) for one in table.obs[region.instance_key]]
    doubt = (
        f'Cells are the labels {region.name}: their positions are obsm["spatial"], taken for '
        "pixels of these."
    )
    return Shapes(ids, xy + _CORNER, 0.0, 0.0, ways), (doubt,)


def _ways_of_raster(folder: Path) -> dict[str, Way]:
    """Read how an image lies: in its first multiscale."""
    said = zarr_attributes(folder)
    one = (said.get("ome") or said)["multiscales"][0]
    axes = [str(axis["name"]) for axis in one["axes"]]
    return ways_of(one.get("coordinateTransformations"), axes)


def _image(path: Path, shapes: Shapes) -> tuple[tuple[Path, ...], Way | None]:
    """Choose the largest image that is a slide and lies where the shapes do.

    Returns
    -------
    images : tuple of Path
    way : Way or None
        From the shapes to its pixels; its `unit_um` is of a pixel.
    """
    best: tuple[int, Path, Way] | None = None
    for name in sorted(names_in(path / "images")):
        folder = path / "images" / name
        if not folder.is_dir():
            continue
        try:
            with reading(folder, "this image", _ADVICE):
                height, width = image_size(folder)
                ways = _ways_of_raster(folder)
        except InputError:
            # Stains are no slide; whoever asks for that image is told.
            continue
        shared = sorted(set(ways) & set(shapes.ways), key=lambda system: system != "global")
        if shared and (best is None or height * width > best[0]):
            there, own = shapes.ways[shared[0]], ways[shared[0]]
            unit = None if own.unit_um is None else own.unit_um * own.scale
            best = height * width, folder, Way(there.then_back(own).matrix, unit)
    return ((), None) if best is None else ((best[1],), best[2])


def _place(
    table: ad.AnnData, shapes: Shapes, instances: NDArray[Any], path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find the shape of each row.

    Returns
    -------
    known : ndarray of bool, shape (rows,)
    xy : ndarray of float64
        Of those that are known.
    """
    import pandas as pd

    index = pd.Index(shapes.ids)
    if not index.is_unique:
        msg = f"{path}: the shape {index[index.duplicated()][0]} occurs more than once."
        raise InputError(msg)
    if not np.isfinite(shapes.xy).any():
        msg = (
            f"{path}: the element that the table annotates holds no shapes; write the store again."
        )
        raise InputError(msg)
    at = index.get_indexer(pd.Index(instances))
    known = (at >= 0) & np.isfinite(shapes.xy[np.maximum(at, 0)]).all(axis=1)
    if not known.any():
        some = ", ".join(map(str, instances[:2]))
        msg = (
            f"{path}: none of the table's instances (such as {some}) is among the shapes (such as "
            f"{', '.join(shapes.ids[:2])}); write the store again."
        )
        raise InputError(msg)
    return known, shapes.xy[at[known]]


def _geometry_of(
    table: ad.AnnData, shapes: Shapes, xy: NDArray[np.float64], way: Way | None
) -> Any:
    """Say how large the shapes are, unless the table or the lattice of Visium does."""
    scale = 1.0 if way is None else way.scale
    if UNS_KEY in table.uns or not shapes.width or visium_pitch_px(table.obs, xy) is not None:
        return None

    def geometry(mpp: float | None) -> tuple[SpotGeometry, str]:
        factor, short = (1.0, "px") if mpp is None else (mpp, "µm")
        unit: Literal["pixel", "micrometer"] = "pixel" if mpp is None else "micrometer"
        pitch = nearest_distance(xy)
        square = (
            shapes.side > 0
            and (mpp is None or pitch * mpp <= BIN_PITCH_MOST_UM)
            and are_bins(xy, pitch)
        )
        width = (shapes.side if square else shapes.width) * scale * factor
        what = "squares" if square else "discs"
        said = f"The table's shapes count as {what} of {width:.4g} {short}."
        return SpotGeometry(width, "square" if square else "disc", pitch * factor, unit), said

    return geometry


def _read(
    table: ad.AnnData, xy: NDArray[np.float64], where: str
) -> tuple[ad.AnnData, tuple[str, ...]]:
    spots, doubts = with_raw_counts(table, where)
    spots.obsm["spatial"] = xy
    return spots, doubts
