"""OME-Zarr slides, described by hand as the specification of 0.4 and 0.5 does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
SHAPE = (300, 420)


def make_pixels(shape: tuple[int, int] = SHAPE, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(1, 256, (*shape, 3), dtype=np.uint8)


def write_ome_zarr(
    path: Path,
    pixels: NDArray[Any],
    *,
    version: str = "0.5",
    axes: str = "cyx",
    steps: Sequence[tuple[int, int]] = ((1, 1), (2, 2), (4, 4)),
    mpp: tuple[float, float] = (0.5, 0.5),
    unit: str | None = "micrometer",
    omero: dict[str, Any] | None = None,
    split: bool = False,
    change: Callable[[dict[str, Any]], None] = lambda said: None,
    **options: Any,
) -> Path:
    """Write (y, x, c) levels of every n-th pixel as zarr, and describe them by hand."""
    options = {"chunks": (64, 64), "fill_value": 0, **options}
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    kinds = {"t": "time", "c": "channel"}
    datasets = []
    for n, (down, across) in enumerate(steps):
        level = pixels[::down, ::across]
        order = [axis for axis in axes if axis in "cyx"]
        moved = np.transpose(level, ["yxc".index(axis) for axis in order])
        full = moved[tuple(slice(None) if axis in "cyx" else None for axis in axes)]
        by_axis = {**dict(zip("yx", options["chunks"], strict=True)), **({"c": 1} if split else {})}
        chunks = tuple(
            by_axis.get(axis, size) if "shards" in options else min(by_axis.get(axis, size), size)
            for axis, size in zip(axes, full.shape, strict=True)
        )
        more = {k: v for k, v in options.items() if k != "chunks"}
        if "shards" in more:
            sizes = dict(zip("yx", more["shards"], strict=True))
            more["shards"] = tuple(sizes.get(a, c) for a, c in zip(axes, chunks, strict=True))
        if zarr_format == 3:
            more["dimension_names"] = list(axes)
        else:
            more["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        array = group.create_array(
            str(n), shape=full.shape, chunks=chunks, dtype=full.dtype, **more
        )
        array[...] = full
        by_axis = {"y": mpp[0] * down, "x": mpp[1] * across}
        scale = [by_axis.get(axis, 1.0) for axis in axes]
        datasets.append(
            {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    said: dict[str, Any] = {
        "multiscales": [
            {
                "name": "he",
                "axes": [
                    {
                        "name": axis,
                        "type": kinds.get(axis, "space"),
                        **({"unit": unit} if unit and axis in "yx" else {}),
                    }
                    for axis in axes
                ],
                "datasets": datasets,
            }
        ]
    }
    if omero is not None:
        said["omero"] = omero
    if version == "0.4":
        said["multiscales"][0]["version"] = "0.4"
    else:
        said["version"] = version
    change(said)
    group.attrs.update(said if version == "0.4" else {"ome": said})
    return path


def omero_of(*channels: tuple[str, str]) -> dict[str, Any]:
    return {"channels": [{"label": label, "color": colour} for label, colour in channels]}
