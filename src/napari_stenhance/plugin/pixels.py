"""Images and labels of any size as OME-Zarr 0.5, tile by tile, and back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stenhance.plugin.display import direct_colours, plain, plain_columns, unit_names

if TYPE_CHECKING:
    import dask.array as da
    import zarr

    from napari_stenhance.storage.ome import Place
    from napari_stenhance.storage.pyramid import Pool

TILE = 512
PICTURE = 512
_PICTURE_MOST = 2048
"""A picture of a layer is its finest level that is no larger, or its coarsest."""
LARGE = 1024
"""Single-scale layers beyond it get coarse levels, for whoever opens the file."""


def write_pixels(
    group: zarr.Group, name: str, data: Any, kind: str, attributes: Mapping[str, Any]
) -> None:
    """Write an image or labels into a group: every level of the layer, and what describes it.

    A single large level gets coarse ones: means, or of labels the most frequent.
    """
    from napari_stenhance.storage.ome import describe_labels, describe_levels
    from napari_stenhance.storage.pyramid import coarsen_all, create_levels, level_shapes
    from napari_stenhance.storage.tiles import missing_tiles, write_tile

    levels = data if isinstance(data, Sequence) else [data]
    shapes = [level.shape[:2] for level in levels]
    if len(levels) == 1:
        shapes = level_shapes(shapes[0], LARGE)
    rgb = bool(attributes.get("rgb"))
    dtype = np.dtype(levels[0].dtype).newbyteorder("=")
    channels = levels[0].shape[2] if rgb else None
    arrays = create_levels(
        group, shapes[0], tile=TILE, dtype=dtype.name, channels=channels, first=rgb, shapes=shapes
    )
    for level, array in zip(levels, arrays, strict=False):
        for tile in missing_tiles(array):
            write_tile(array, tile, np.asarray(level[tile.rows, tile.columns]))
    coarsen_all(arrays[len(levels) - 1 :], _pool(kind, dtype))
    describe_levels(group, arrays, _places(shapes, attributes), unit_names(attributes), name)
    if kind == "labels":
        describe_labels(group, *_labels(attributes))


def picture_of(data: Any, attributes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Return a coarse level of an image or labels, and where it lies: a picture of the layer.

    None where every level is so large that it would take a while to read it.
    """
    levels = list(data) if isinstance(data, Sequence) else [data]
    level = next((one for one in levels if max(one.shape[:2]) <= PICTURE), levels[-1])
    if max(level.shape[:2]) > _PICTURE_MOST:
        return None
    scale, translate = _places([levels[0].shape[:2], level.shape[:2]], attributes)[1]
    return np.asarray(level), {**attributes, "scale": scale, "translate": translate}


def _pool(kind: str, dtype: np.dtype[Any]) -> Pool:
    from napari_stenhance.storage.pyramid import majority_pool, mean_pool, round_pool

    if dtype.kind == "f":
        return mean_pool
    # The sum of four may be more than whole numbers of 8 bytes hold.
    return majority_pool if kind == "labels" or dtype.itemsize > 4 else round_pool


def _places(shapes: Sequence[tuple[int, int]], attributes: Mapping[str, Any]) -> list[Place]:
    """Give each level its exact scale, and the half pixels by which coarse centres lie inside."""
    scale = [float(s) for s in attributes.get("scale", (1, 1))]
    translate = [float(t) for t in attributes.get("translate", (0, 0))]
    places = []
    for shape in shapes:
        factors = [round(whole / part) for whole, part in zip(shapes[0], shape, strict=True)]
        coarse = [s * f for s, f in zip(scale, factors, strict=True)]
        shift = [t + s * (f - 1) / 2 for t, s, f in zip(translate, scale, factors, strict=True)]
        places.append((coarse, shift))
    return places


def _labels(
    attributes: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], dict[int, list[int]]]:
    """Return the features and the colours of labels, for other programs."""
    from napari.utils.colormaps.standardize_color import transform_color

    colours = direct_colours(attributes.get("colormap")) or {}
    rest = colours.pop(None, "transparent")
    columns = {}
    if (features := attributes.get("features")) is not None:
        columns = plain_columns(features)
    rows = {
        int(label): {key: values[n] for key, values in columns.items()}
        for n, label in enumerate(columns.pop("index", []))
    }
    # OME-Zarr wants the same labels in both lists
    known = sorted({*map(int, colours), *rows})
    rgba = {label: transform_color(colours.get(label, rest))[0] for label in known}
    return (
        [{"label-value": n, **rows.get(n, {})} for n in known] if rows else [],
        {n: plain(np.rint(c * 255).astype(int)) for n, c in rgba.items()} if colours else {},
    )


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
        levels.append(level.transpose(1, 2, 0) if rgb else level)
    return levels
