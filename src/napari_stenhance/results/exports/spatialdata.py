"""SpatialData stores of a section or of a run: image, shapes and table, as spatialdata reads them.

They are written without spatialdata, which needs Python 3.12 and much else. Pixels and shapes are
counted from a corner there; the system "global" is in micrometres, or in pixels where no scale is
known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.results.export_format import ExportFormat, ExportImage
from napari_stenhance.running.job import Job

if TYPE_CHECKING:
    import anndata as ad
    import zarr

_CONTAINER, _RASTER, _SHAPES, _TABLES = "0.2", "0.3", "0.3", "0.2"
_OME = "0.5-dev-spatialdata"
_REGION, _INSTANCE = "region", "instance_id"
_CHUNK = 1024
_CORNER = 0.5
_IMAGE, _SPOTS, _TABLE = "image", "spots", "table"


def _save(
    image: ExportImage | None,
    table: ad.AnnData | None,
    mpp: float | None,
    path: Path,
    job: Job,
) -> None:
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs["spatialdata_attrs"] = {"version": _CONTAINER}
    if image is not None:
        _write_image(root, image, job)
    if table is not None:
        _write_spots(root, table, mpp, path)


def _axes(names: str, unit: str) -> list[dict[str, str]]:
    return [
        {"name": n, "type": "channel"} if n == "c" else {"name": n, "type": "space", "unit": unit}
        for n in names
    ]


def _way(names: str, scale: float | None, shift: tuple[float, float] = (0.0, 0.0)) -> list[Any]:
    """Say how an element lies in "global", whose unit is micrometres where the scale is known."""
    ends = {
        "input": {"name": names, "axes": _axes(names, "unit")},
        "output": {
            "name": "global",
            "axes": _axes(names, "unit" if scale is None else "micrometer"),
        },
    }
    if scale is None:
        return [{"type": "identity", **ends}]
    by = {"x": scale, "y": scale, "c": 1.0}
    grown = {"type": "scale", "scale": [by[name] for name in names], **ends}
    if not any(shift):
        return [grown]
    to = {"x": shift[0], "y": shift[1], "c": 0.0}
    moved = {"type": "translation", "translation": [to[name] for name in names], **ends}
    return [{"type": "sequence", "transformations": [grown, moved], **ends}]


def _write_image(root: zarr.Group, image: ExportImage, job: Job) -> None:
    """Write levels c, y, x, some tiles at once."""
    import numpy as np

    group = root.create_group("images").create_group(_IMAGE)
    channels = len(image.channels) or 3
    datasets = []
    tiles = sum(-(-h // _CHUNK) * -(-w // _CHUNK) for h, w in image.shapes)
    with job.stage("Writing the image", tiles) as stage:
        for level, (height, width) in enumerate(image.shapes):
            array = group.create_array(
                f"s{level}",
                shape=(channels, height, width),
                chunks=(channels if not image.channels else 1, _CHUNK, _CHUNK),
                dtype="float32" if image.channels else "uint8",
                dimension_names=("c", "y", "x"),
                fill_value=np.nan if image.channels else 0,
            )
            for top in range(0, height, _CHUNK):
                for left in range(0, width, _CHUNK):
                    rows = slice(top, min(top + _CHUNK, height))
                    columns = slice(left, min(left + _CHUNK, width))
                    if image.channels:
                        for channel in range(channels):
                            array[channel, rows, columns] = image.read(
                                level, channel, rows, columns
                            )
                    else:
                        part = image.read(level, 0, rows, columns)
                        array[:, rows, columns] = np.moveaxis(part, -1, 0)
                    stage.advance()
            down = [image.shapes[0][n] / (height, width)[n] for n in range(2)]
            placed = [
                {"type": "scale", "scale": [1.0, *down]},
                {"type": "translation", "translation": [0.0, *((d - 1) / 2 for d in down)]},
            ]
            datasets.append({"path": f"s{level}", "coordinateTransformations": placed})
    names = image.channels or ("r", "g", "b")
    ome: dict[str, Any] = {
        "version": _OME,
        "multiscales": [
            {
                "name": f"/images/{_IMAGE}",
                "axes": [{"name": n, "type": "channel" if n == "c" else "space"} for n in "cyx"],
                "datasets": datasets,
                "coordinateTransformations": _way("cyx", image.um, image.origin_um),
            }
        ],
        "omero": {"channels": [{"label": name} for name in names]},
    }
    group.attrs.update({"ome": ome, "spatialdata_attrs": {"version": _RASTER}})


def _write_spots(root: zarr.Group, table: ad.AnnData, mpp: float | None, path: Path) -> None:
    """Write where spots lie as circles, or squares of bins, and the table that annotates them."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import shapely
    from pyarrow import parquet

    from napari_stenhance.results.tables import write_table
    from napari_stenhance.section.spots import geometry_of, positions_px

    geometry = geometry_of(table)
    xy = positions_px(table, str(path)) + _CORNER
    in_px = 1.0 if geometry.unit == "pixel" or mpp is None else 1 / mpp
    width = geometry.spot_diameter_um * in_px
    ids = np.arange(len(xy))
    columns: dict[str, Any] = {}
    shapes: Any
    if geometry.spot_shape == "square" and width > 0:
        half = width / 2
        shapes = shapely.box(*(xy - half).T, *(xy + half).T)
        kind = "Polygon"
    else:
        shapes, kind = shapely.points(xy), "Point"
        # Of a spot that is alone nothing says how wide it is, and none may be of no width.
        columns["radius"] = np.full(len(xy), width / 2 or 0.5)
    columns = {"geometry": shapely.to_wkb(shapes), **columns}
    group = root.create_group("shapes").create_group(_SPOTS)
    group.attrs.update(
        {
            "encoding-type": "ngff:shapes",
            "axes": ["x", "y"],
            "coordinateTransformations": _way("xy", mpp),
            "spatialdata_attrs": {"version": _SHAPES},
        }
    )
    frame = pa.Table.from_pandas(pd.DataFrame(columns, index=pd.Index(ids)), preserve_index=True)
    about = {"encoding": "WKB", "geometry_types": [kind], "crs": None}
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": about}}
    said = {**(frame.schema.metadata or {}), b"geo": json.dumps(geo).encode()}
    parquet.write_table(
        frame.replace_schema_metadata(said), path / "shapes" / _SPOTS / "shapes.parquet"
    )
    keys = {"region": _SPOTS, "region_key": _REGION, "instance_key": _INSTANCE}
    table = table.copy()
    table.obs[_REGION] = pd.Categorical([_SPOTS] * table.n_obs)
    table.obs[_INSTANCE] = ids
    table.uns["spatialdata_attrs"] = dict(keys)
    if mpp is not None:
        table.uns["microns_per_pixel"] = mpp
    tables = root.create_group("tables")
    write_table(tables, _TABLE, table)
    kind_of = {"spatialdata-encoding-type": "ngff:regions_table", "version": _TABLES}
    tables[_TABLE].attrs.update({**kind_of, **keys})


EXPORT = ExportFormat(
    "spatialdata", "SpatialData of a section or a run", save_whole=_save, suffixes=(".sdata.zarr",)
)
