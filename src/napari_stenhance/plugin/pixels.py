"""Images and labels of any size as OME-Zarr 0.5, tile by tile, and back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.plugin.display import AXES, direct_colours, plain, plain_columns, unit_names

if TYPE_CHECKING:
    import dask.array as da
    import zarr

    from napari_stenhance.storage.pyramid import Pool

TILE = 512
LARGE = 1024
"""Single-scale layers beyond it get coarse levels, for whoever opens the file."""


def write_pixels(
    group: zarr.Group, name: str, data: Any, kind: str, attributes: Mapping[str, Any]
) -> None:
    """Write an image or labels into a group: every level of the layer, and what describes it."""
    levels = data if isinstance(data, Sequence) else [data]
    arrays = _write_levels(group, levels, bool(attributes.get("rgb")), _POOLS[kind])
    _describe(group, name, arrays, attributes)
    if kind == "labels":
        group.attrs["ome"] = {**group.attrs["ome"], "image-label": _image_label(attributes)}


def _write_levels(
    group: zarr.Group, levels: Sequence[Any], rgb: bool, pool: Pool
) -> list[zarr.Array[Any]]:
    """Copy levels to s0, s1 …, colours first; a single large one gets coarse ones of its own."""
    from napari_stenhance.storage.pyramid import level_shapes
    from napari_stenhance.storage.tiles import create_array, tiles_of

    shapes = [level.shape[:2] for level in levels]
    if len(levels) == 1:
        shapes = level_shapes(shapes[0], LARGE)
    first = levels[0].shape[2:] if rgb else ()
    dtype = np.dtype(levels[0].dtype).newbyteorder("=")
    arrays: list[zarr.Array[Any]] = []
    for n, shape in enumerate(shapes):
        array = create_array(
            group,
            f"s{n}",
            shape=(*first, *shape),
            chunks=(*first, TILE, TILE),
            dtype=dtype.name,
            dimension_names=("c", *AXES) if rgb else AXES,
        )
        for tile in tiles_of(shape, TILE):
            if n < len(levels):
                values = np.asarray(levels[n][tile.rows, tile.columns])
            else:
                values = pool(_colours_last(_children(arrays[-1], tile.rows, tile.columns), rgb))
            array[..., tile.rows, tile.columns] = _colours_first(values, rgb).astype(dtype)
        arrays.append(array)
    return arrays


def lazy_levels(group: zarr.Group, *, rgb: bool) -> list[da.Array]:
    """Open the levels of an image or labels, colours last."""
    import dask.array as da
    import zarr

    from napari_stenhance.storage.checked import checked, open_node

    levels = []
    for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]:
        # napari keeps chunks by name: one of its own, for files that were replaced meanwhile
        array = checked(open_node(group, dataset["path"], zarr.Array))
        level = da.from_zarr(array, name=f"saved-{uuid.uuid4().hex}")
        levels.append(_colours_last(level, rgb))
    return levels


def _colours_last(values: Any, rgb: bool) -> Any:
    return values.transpose(1, 2, 0) if rgb else values


def _colours_first(values: NDArray[Any], rgb: bool) -> NDArray[Any]:
    return values.transpose(2, 0, 1) if rgb else values


def _children(array: Any, rows: slice, columns: slice) -> NDArray[Any]:
    return np.asarray(
        array[..., 2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
    )


def _mean(values: NDArray[Any]) -> NDArray[Any]:
    """Average 2 × 2 blocks; whole numbers too large for float32 are picked instead."""
    from napari_stenhance.storage.pyramid import mean_pool

    if values.dtype.kind == "f":
        return mean_pool(values)
    return np.rint(mean_pool(values)) if np.can_cast(values.dtype, "f4") else _pick(values)


def _pick(values: NDArray[Any]) -> NDArray[Any]:
    return values[::2, ::2]


_POOLS = {"image": _mean, "labels": _pick}


def _describe(
    group: zarr.Group,
    name: str,
    levels: Sequence[zarr.Array[Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Give each level its exact scale, and the half pixels by which coarse centres lie inside."""
    from napari_stenhance.results.ome import FormatV05, write_multiscales_metadata

    scale = [float(s) for s in attributes.get("scale", (1, 1))]
    translate = [float(t) for t in attributes.get("translate", (0, 0))]
    colours = levels[0].ndim - 2
    datasets = []
    for level in levels:
        ratios = zip(levels[0].shape[-2:], level.shape[-2:], strict=True)
        factors = [round(whole / part) for whole, part in ratios]
        coarse = [s * f for s, f in zip(scale, factors, strict=True)]
        shift = [t + s * (f - 1) / 2 for t, s, f in zip(translate, scale, factors, strict=True)]
        transforms = [
            {"type": "scale", "scale": [1.0] * colours + coarse},
            {"type": "translation", "translation": [0.0] * colours + shift},
        ]
        datasets.append({"path": level.basename, "coordinateTransformations": transforms})
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * colours
    for axis, unit in zip(AXES, unit_names(attributes), strict=True):
        axes.append({"name": axis, "type": "space", "unit": unit})
    write_multiscales_metadata(group, datasets, fmt=FormatV05(), axes=axes, name=name)


def _image_label(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Tell other programs the colours and the features of labels."""
    from napari.utils.colormaps.standardize_color import transform_color

    colours = direct_colours(attributes.get("colormap")) or {}
    rest = colours.pop(None, "transparent")
    columns = {}
    if (features := attributes.get("features")) is not None:
        columns = plain_columns(features)
    labels = columns.pop("index", [])
    rows = {
        int(label): {key: values[n] for key, values in columns.items()}
        for n, label in enumerate(labels)
    }
    # OME-Zarr wants the same labels in both lists
    known = sorted({*map(int, colours), *rows})
    about: dict[str, Any] = {}
    if colours:
        rgba = {label: transform_color(colours.get(label, rest))[0] for label in known}
        about["colors"] = [
            {"label-value": label, "rgba": plain(np.rint(c * 255).astype(int))}
            for label, c in rgba.items()
        ]
    if rows:
        about["properties"] = [{"label-value": n, **rows.get(n, {})} for n in known]
    return about
