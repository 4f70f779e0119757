"""Slides and gene images as tiled, pyramidal OME-TIFF, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.results.export_format import ExportFormat, ExportImage
from napari_stenhance.running.job import Job, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TILE = 256
_QUALITY = 95
"""Of the JPEG of slides, whose colours are not subsampled; genes are stored without loss."""


def _save(image: ExportImage, path: Path, job: Job) -> None:
    import tifffile

    channels = len(image.channels) or 1
    tiles = sum(-(-h // _TILE) * -(-w // _TILE) for h, w in image.shapes) * channels
    # BigTIFF always: how large it becomes is known only at its end.
    with (
        tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif,
        job.stage("Writing the OME-TIFF", tiles) as stage,
    ):
        for level, shape in enumerate(image.shapes):
            down = image.shapes[0][1] / shape[1]
            tif.write(
                _tiles(image, level, stage),
                shape=(channels, *shape) if image.channels else (*shape, 3),
                dtype="float32" if image.channels else "uint8",
                tile=(_TILE, _TILE),
                photometric="minisblack" if image.channels else "rgb",
                # The levels of all channels follow each other.
                subifds=0 if level else len(image.shapes) - 1,
                subfiletype=1 if level else 0,
                # What OpenSlide and others read, which know no OME.
                resolution=None if image.um is None else (1e4 / image.um / down,) * 2,
                resolutionunit=None if image.um is None else "CENTIMETER",
                metadata=None if level else _metadata(image),
                software=None if level else "napari-stenhance",
                **_compression(image),
            )


def _compression(image: ExportImage) -> dict[str, Any]:
    if image.channels:
        return {"compression": "zlib"}
    args = {"level": _QUALITY}
    return {"compression": "jpeg", "subsampling": (1, 1), "compressionargs": args}


def _metadata(image: ExportImage) -> dict[str, Any]:
    said: dict[str, Any] = {
        "axes": "CYX" if image.channels else "YXS",
        "Name": image.name,
        "Description": image.about,
    }
    if image.channels:
        said["Channel"] = {"Name": list(image.channels)}
    if image.um is not None:
        said |= {f"PhysicalSize{axis}": image.um for axis in "XY"}
        said |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    if any(image.origin_um):
        count = len(image.channels) or 1
        said["Plane"] = {
            **{f"Position{a}": [at] * count for a, at in zip("XY", image.origin_um, strict=True)},
            **{f"Position{axis}Unit": ["µm"] * count for axis in "XY"},
        }
    return said


def _tiles(image: ExportImage, level: int, stage: Stage) -> Iterator[NDArray[Any]]:
    """Read whole tiles, row by row, of one channel after the other; edges are continued."""
    import numpy as np

    height, width = image.shapes[level]
    for channel in range(len(image.channels) or 1):
        for top in range(0, height, _TILE):
            for left in range(0, width, _TILE):
                rows = slice(top, min(top + _TILE, height))
                columns = slice(left, min(left + _TILE, width))
                part = image.read(level, channel, rows, columns)
                short = [(0, _TILE - part.shape[0]), (0, _TILE - part.shape[1])]
                yield np.pad(part, [*short, *[(0, 0)] * (part.ndim - 2)], mode="edge")
                stage.advance()


EXPORT = ExportFormat(
    "ome-tiff", "OME-TIFF of genes or a slide", save_image=_save, suffixes=(".tif", ".tiff")
)
