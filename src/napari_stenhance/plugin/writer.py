"""Save layers of napari: one zarr folder whose parts other programs can open too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.beside import BESIDE
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.display import display_attributes, plain, plain_columns, unit_names
from napari_stenhance.plugin.domains import PAINTING
from napari_stenhance.plugin.layer_info import LayerInfo, info_of
from napari_stenhance.plugin.links import LinksOut
from napari_stenhance.plugin.looks import SavedLook, look_of, look_to_json
from napari_stenhance.plugin.quality import QUALITY
from napari_stenhance.plugin.regions import outline
from napari_stenhance.plugin.registering import LANDMARKS
from napari_stenhance.plugin.saved import EACH_POINT, FORMAT_VERSION, KEY, REGIONS_FOLDER
from napari_stenhance.plugin.saved_edits import keep_edits, kept_edits, write_edits
from napari_stenhance.plugin.tissue import TISSUE
from napari_stenhance.results.tables import write_table
from napari_stenhance.storage.atomic import atomic_path

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    from napari.layers import Layer as NapariLayer

    from napari_stenhance.running.job import Job

Layer = tuple[Any, dict[str, Any], str]
"""(data, attributes, layer type), as npe2 hands them over."""

_FOLDERS = {"image": "images", "labels": "labels", "points": "tables", "shapes": "files/shapes"}


def write_viewer(path: str, layers: list[Layer]) -> list[str]:
    """Save layers of the current viewer, and what is looked at, for napari's *File* menu.

    A thread does, behind a window that shows its progress and can cancel.

    Raises
    ------
    Cancelled
        If the user did not want to wait: then nothing is written.
    InputError
        As `write_layers`.
    """
    from napari import current_viewer

    from napari_stenhance.plugin.session import session_of
    from napari_stenhance.plugin.waiting import waited_for

    viewer = current_viewer()
    if viewer is None:
        return write_layers(path, layers)
    session = session_of(viewer)
    look, kept = look_of(session), kept_edits(layers)

    def task(job: Job) -> list[str]:
        return write_layers(path, layers, job, look)

    # napari wants to know at once what was written.
    with waited_for(viewer, f"Saving {Path(path).name}", task) as written:
        keep_edits(session.viewer, kept)
        session.changed.emit()
    return written


def as_it_is(layer: NapariLayer) -> Layer:
    """Return what is saved of a layer; what may be painted in meanwhile, as it is now."""
    data, attributes, kind = layer.as_layer_data_tuple()
    is_painted = kind == "labels" and isinstance(data, np.ndarray)
    return data.copy() if is_painted else data, attributes, kind


def write_layers(
    path: str, layers: list[Layer], job: Job | None = None, look: SavedLook | None = None
) -> list[str]:
    """Save layers, bottom to top, as one new zarr folder that reopens as it was.

    What a file holds, of a section or a result, is not copied: a link says where it is and what
    tells it, and a picture of it is kept for when it is gone.

    Parameters
    ----------
    path : str
        Where nothing lies yet, or an empty folder.
    layers : list of tuple
        (data, attributes, layer type) of images, labels, points and shapes.
    job : Job, optional
        Of a thread that may take its time: receives progress, and slides are read for their hash.
    look : SavedLook, optional
        What is looked at, to be looked at again.

    Returns
    -------
    list of str
        What was written: `path`.

    Raises
    ------
    InputError
        If something lies at `path`, a layer is not flat, or the disk is full or not writable.
        Nothing is left at `path` then.
    """
    # Of steps that were not applied: opened again, these would be of nothing.
    layers = [one for one in layers if LANDMARKS not in one[1].get("metadata", {})]
    for _, attributes, kind in layers:
        _check_kind(attributes, kind)
    with atomic_path(Path(path), folder=True) as aside:
        _write(aside, layers, LinksOut(Path(path).absolute(), job), look)
    return [path]


def _check_kind(attributes: Mapping[str, Any], kind: str) -> None:
    if kind not in _FOLDERS:
        msg = f"Layer {attributes['name']!r} is a layer of {kind}, which cannot be saved here; "
        msg += "leave it out, or save it by itself in another format."
        raise InputError(msg)
    if COMPARED in attributes.get("metadata", {}):
        msg = "What is compared is not saved: press End in the panel Compare, and save then."
        raise InputError(msg)
    axes = len(attributes.get("scale", (1, 1)))
    if axes != 2:
        msg = (
            f"Layer {attributes['name']!r} has {axes} axes and only flat layers can be saved "
            f"here; leave it out, or save it by itself in another format."
        )
        raise InputError(msg)


def _write(
    folder: Path, layers: Sequence[Layer], links: LinksOut, looked_at: SavedLook | None
) -> None:
    import zarr

    from napari_stenhance.plugin.genes import whole_levels
    from napari_stenhance.plugin.pixels import picture_of, write_pixels

    root = zarr.create_group(folder)
    entries: list[dict[str, Any]] = []
    shown: list[tuple[LayerInfo, dict[str, Any]]] = []
    taken: set[str] = set()
    for data, attributes, kind in _counted(layers, links.job):
        name = str(attributes.get("name") or kind)
        path = _free_path(_FOLDERS[kind], name, taken)
        look = display_attributes(kind, attributes)
        entry: dict[str, Any] = {"name": name, "type": kind, "path": path, "display": look}
        info = info_of((data, attributes, kind))
        if info is not None:
            entry["shows"] = shows = links.shows(info)
            shown.append((info, shows))
            if "run" in shows and info.edits is not None and is_unsaved(info):
                run = links.runs[shows["run"]]
                if "edits" not in run:
                    run["edits"] = write_edits(root, f"edits/{shows['run']}", info.edits)
        if kind == "points":
            parent, key = path.split("/")
            write_table(root.require_group(parent), key, _points_table(data, attributes, look))
        elif info is not None and info.outlined is not None:
            entry["path"] = path = f"{_free_path(REGIONS_FOLDER, name, taken)}.geojson"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            info.outlined.regions.write(folder / path)
        elif kind == "shapes":
            entry["path"] = path = f"{path}.geojson"
            _write_shapes(folder / path, data, attributes, look)
        else:
            look["multiscale"] = isinstance(data, Sequence)
            if info is not None and _is_linked(info, entry):
                if info.over is not None:
                    # The picture has no hole where the run of a region was seen.
                    data = whole_levels(info)
                # Images beside the slide may name the patient: of these none is kept.
                picture = None if info.role is BESIDE else picture_of(data, attributes)
                if picture is None:
                    entry["path"] = None
                else:
                    data, attributes = picture
                    keys = ("scale", "translate")
                    entry["picture"] = {key: plain(attributes[key]) for key in keys}
            if entry["path"] is not None:
                write_pixels(root.create_group(path), name, data, kind, attributes)
            if kind == "labels" and attributes.get("features") is not None:
                look["features"] = plain_columns(attributes["features"])
        entries.append(entry)
    labels = [
        entry["path"].removeprefix("labels/")
        for entry in entries
        if entry["type"] == "labels" and str(entry["path"]).startswith("labels/")
    ]
    if labels:
        root["labels"].attrs["ome"] = {"version": "0.5", "labels": labels}
    # last: without it, a folder is no whole save
    root.attrs[KEY] = {
        "format_version": FORMAT_VERSION,
        "layers": entries,
        "sections": links.sections,
        "runs": links.runs,
        "look": None if looked_at is None else look_to_json(looked_at, shown),
    }


def _counted(layers: Sequence[Layer], job: Job | None) -> Iterator[Layer]:
    """Go through the layers; a job is told of each that is done."""
    if job is None:
        yield from layers
        return
    with job.stage("Saving layers", len(layers)) as stage:
        for layer in layers:
            yield layer
            stage.advance()


def is_unsaved(info: LayerInfo) -> bool:
    """Tell whether a layer shows what a person changed, and no file holds."""
    return info.role is PAINTING or (info.edits is not None and info.edits.changes > 0)


def _is_linked(info: LayerInfo, entry: Mapping[str, Any]) -> bool:
    """Tell whether a file holds the pixels of a layer."""
    shows = entry.get("shows", {})
    if is_unsaved(info):
        # All of it stays to be seen where its result is gone.
        return False
    return "run" in shows or ("section" in shows and info.role not in {QUALITY, TISSUE})


def _free_path(folder: str, name: str, taken: set[str]) -> str:
    """Return a path of its own for a layer, also on disks that know no upper and lower case."""
    from napari_stenhance.results.genes import gene_id

    stem = f"{folder}/{gene_id(name)}"
    # a group of this name would lie on the metadata of the group above it
    taken.add(f"{folder}/zarr.json")
    path, n = stem, 1
    while path.casefold() in taken:
        n += 1
        path = f"{stem}-{n}"
    taken.add(path.casefold())
    return path


# Points


def _points_table(
    data: NDArray[Any], attributes: Mapping[str, Any], look: dict[str, Any]
) -> ad.AnnData:
    """Make the table of points; what is the same for all of them goes into their look."""
    import anndata
    import pandas as pd

    number = len(data)
    features = attributes.get("features")
    if features is None:
        features = pd.DataFrame(index=range(number))
    look["features"] = [str(name) for name in features.columns]
    table = anndata.AnnData(obs=_storable(features), obsm={"spatial": np.asarray(data)[:, ::-1]})
    for key in ("face_color", "border_color"):
        if number and key in attributes:
            colours = np.asarray(attributes[key], dtype="f4")
            table.obsm[key] = np.broadcast_to(colours, (number, 4)).copy()
    each = {key: np.ravel(plain(attributes[key])) for key in EACH_POINT if key in attributes}
    look.update({key: plain(v[0]) for key, v in each.items() if len(np.unique(v)) == 1})
    table.uns["napari"] = {key: v for key, v in each.items() if len(v) and key not in look}
    return table


def _storable(features: pd.DataFrame) -> pd.DataFrame:
    """Return features as anndata can store them: text without gaps, or categories."""
    import pandas as pd

    columns = {}
    for name, column in features.items():
        if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
            text = column.map(str, na_action="ignore").astype(object)
            column = text.astype("category") if text.isna().any() else text
        key = "%5Findex" if name == "_index" else str(name).replace("/", "%2F")
        columns[key] = column.to_numpy() if column.dtype != "category" else column.array
    return pd.DataFrame(columns, index=[str(n) for n in range(len(features))])


# Shapes


def _write_shapes(
    file: Path, data: Sequence[Any], attributes: Mapping[str, Any], look: dict[str, Any]
) -> None:
    """Write shapes as GeoJSON in the units of the world, and beside it what napari drew."""
    from napari.utils.transforms import Affine, CompositeAffine

    space = {key: attributes[key] for key in ("rotate", "shear") if key in attributes}
    to_layer = CompositeAffine(
        attributes.get("scale", (1, 1)), attributes.get("translate", (0, 0)), ndim=2, **space
    )
    to_world = Affine(affine_matrix=np.asarray(attributes.get("affine", np.eye(3))))
    number = len(data)
    each = {
        key: plain(attributes[key])
        for key in ("shape_type", "edge_color", "face_color", "edge_width", "z_index")
    }
    if not number:
        look.update({key: each[key] for key in ("edge_color", "face_color")})
    columns = plain_columns(attributes["features"])
    features = []
    for n, vertices in enumerate(data):
        kind = each["shape_type"][n]
        world = to_world(to_layer(outline(kind, vertices)))
        napari = {"vertices": plain(np.asarray(vertices)), **{key: v[n] for key, v in each.items()}}
        properties = {**{key: values[n] for key, values in columns.items()}, KEY: napari}
        geometry = _geometry(kind, world[:, ::-1].tolist())
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    collection = {
        "type": "FeatureCollection",
        "units": unit_names(attributes),
        "columns": list(columns),
        "features": features,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(collection), "utf-8")


def _geometry(kind: str, xy: list[list[float]]) -> dict[str, Any]:
    if kind in {"line", "path"} or len(xy) < 3:
        return {"type": "LineString", "coordinates": xy}
    return {"type": "Polygon", "coordinates": [[*xy, xy[0]]]}
