"""Open what the writer saved: the same layers, names, places and looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stenhance.errors import InputError
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.storage.reading import reading, zarr_has

if TYPE_CHECKING:
    import zarr

FORMAT_VERSION = 2
"""Since 2, what files hold is linked, not copied."""
KEY = "stenhance_layers"
EACH_POINT = ("size", "symbol", "border_width", "shown")
"""What may differ from point to point beside colours and features."""
REGIONS_FOLDER = "files/regions"
"""Where regions lie that are an image of outlines, as GeoJSON."""


def is_saved(path: Path) -> bool:
    """Tell, from one small file, whether a folder is what the writer saved, and whole."""
    return zarr_has(path, KEY)


@dataclass(frozen=True)
class SavedLayer:
    """A layer as it was saved.

    Attributes
    ----------
    data : object
        As napari takes it; None of what is linked and has no picture; `NamedRegions` of outlines.
    attributes : dict
        What gives it name, place and look.
    kind : str
        Its type.
    shows : dict, or None
        What it shows, and the numbers of its links; None of what is not ours.
    is_picture : bool
        Whether the data are but a picture of what was shown.
    """

    data: Any
    attributes: dict[str, Any]
    kind: str
    shows: dict[str, Any] | None
    is_picture: bool


@dataclass(frozen=True)
class Saved:
    """A folder that the writer saved.

    Attributes
    ----------
    layers : list of SavedLayer
        Bottom to top; pixels stay on disk.
    sections, runs : list of dict
        Links.
    look : dict or None
        What was looked at, if that is saved.
    group : zarr group
        The folder.
    """

    layers: list[SavedLayer]
    sections: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    look: dict[str, Any] | None
    group: zarr.Group


def open_saved(path: Path) -> Saved:
    """Open a folder that the writer saved; what is linked is not looked for.

    Raises
    ------
    InputError
        If the folder is none of those, was written by a newer format, or lacks a part.
    """
    import zarr

    if not is_saved(path):
        msg = f"{path}: these are no layers that napari-stenhance saved; open another folder."
        raise InputError(msg)
    with reading(path, advice="save the layers again"):
        group = zarr.open_group(path, mode="r")
        saved: Any = group.attrs[KEY]
        version = saved["format_version"]
        newer = version > FORMAT_VERSION
    if newer:
        msg = f"{path}: saved in format {version}; update napari-stenhance to read it."
        raise InputError(msg)
    with reading(path, advice="save the layers again"):
        layers = [_open(path, group, entry) for entry in saved["layers"]]
        sections, runs = saved.get("sections", []), saved.get("runs", [])
        return Saved(layers, sections, runs, saved.get("look"), group)


def _open(path: Path, group: zarr.Group, entry: Mapping[str, Any]) -> SavedLayer:
    from napari_stenhance.plugin.display import attributes_of

    kind, where = entry["type"], entry["path"]
    attributes = {"name": entry["name"], **attributes_of(kind, entry["display"])}
    shows, picture = entry.get("shows"), entry.get("picture")
    if picture is not None:
        attributes |= {**picture, "multiscale": False}
    if where is None:
        return SavedLayer(None, attributes, kind, shows, is_picture=True)
    with reading(path, f"the layer {entry['name']!r} in {where}", "save it again"):
        if where.startswith(f"{REGIONS_FOLDER}/"):
            data = NamedRegions.read(path / where)
        elif kind == "points":
            data = _points(group, where, attributes)
        elif kind == "shapes":
            data = _shapes(path / where, attributes)
        else:
            data = _pixels(group, where, attributes)
    return SavedLayer(data, attributes, kind, shows, is_picture=picture is not None)


def _pixels(group: Any, where: str, attributes: dict[str, Any]) -> Any:
    import pandas as pd

    from napari_stenhance.plugin.pixels import lazy_levels

    if "features" in attributes:
        attributes["features"] = pd.DataFrame(attributes["features"])
    levels = lazy_levels(group[where], rgb=attributes.get("rgb", False))
    # As it was: napari can edit no multiscale labels, and shifts levels of odd sizes.
    return levels if attributes["multiscale"] else levels[0]


def _points(group: Any, where: str, attributes: dict[str, Any]) -> Any:
    from napari_stenhance.results.tables import read_table

    table = read_table(group, where)
    attributes["features"] = table.obs.set_axis(attributes["features"], axis=1).reset_index(
        drop=True
    )
    for key in ("face_color", "border_color"):
        if key in table.obsm:
            attributes[key] = table.obsm[key]
    for key, values in table.uns.get("napari", {}).items():
        attributes[key] = values.astype(object) if key == "symbol" else values
    return table.obsm["spatial"][:, ::-1]


def _shapes(file: Path, attributes: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    content = json.loads(file.read_text("utf-8"))
    rows = [dict(feature["properties"]) for feature in content["features"]]
    drawn = [row.pop(KEY) for row in rows]
    attributes["features"] = pd.DataFrame(rows, columns=content["columns"], index=range(len(rows)))
    if not drawn:
        attributes["ndim"] = 2
        return []
    for key in ("shape_type", "edge_width", "z_index"):
        attributes[key] = [one[key] for one in drawn]
    for key in ("edge_color", "face_color"):
        attributes[key] = np.array([one[key] for one in drawn])
    return [np.array(one["vertices"]) for one in drawn]
