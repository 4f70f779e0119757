"""One finished part of an evaluation, kept in the cache: who was stopped goes on after it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

import napari_stenhance
from napari_stenhance.running.job import Job
from napari_stenhance.section.slide import Box
from napari_stenhance.section.spots import SpotGeometry

if TYPE_CHECKING:
    import pandas as pd

    from napari_stenhance.storage.cache import Cache

_KIND = "evaluations"
_ARRAYS = ("xy_um", "others_um", "predicted", "measured", "tissue")
_TASKS = (
    "believed",
    "gene_evaluation",
    "gene_folds",
    "gene_methods",
    "domain_options",
    "training",
    "scored_part",
)
_CODE = ("features", "methods", "scoring", "section", *(f"tasks/{name}.py" for name in _TASKS))
"""What decides the numbers: where it changes, they are computed again."""


@dataclass(frozen=True, eq=False)
class SpotMaps:
    """What was predicted and measured in spots that were hidden.

    Attributes
    ----------
    section : str
    xy_um : ndarray of float64, shape (spots, 2)
    geometry : SpotGeometry
    others_um : ndarray of float64, shape (others, 2)
        Spots of the section that were not hidden.
    genes : tuple of str
    predicted, measured : ndarray of float32, shape (spots, genes)
        In one unit.
    tissue : ndarray of bool, shape (rows, columns)
        Where the slide shows tissue, coarsely.
    tissue_box : tuple of float
        (x0, y0, x1, y1): its outer corners in micrometres.
    """

    section: str
    xy_um: NDArray[np.float64]
    geometry: SpotGeometry
    others_um: NDArray[np.float64]
    genes: tuple[str, ...]
    predicted: NDArray[np.float32]
    measured: NDArray[np.float32]
    tissue: NDArray[np.bool_]
    tissue_box: Box


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """What is kept of a part.

    Attributes
    ----------
    values : dict
        Of each thing that was scored, name and value of each measure.
    of_genes, of_spots : dict of str to DataFrame
        Measures of each gene, and of each hidden spot, by their names; of some of these things.
    notes : tuple of str
        What was said meanwhile.
    n_domains : int or None
    maps : SpotMaps or None
        Of the first thing.
    """

    values: dict[str, dict[str, float]]
    of_genes: dict[str, pd.DataFrame] = field(default_factory=dict)
    of_spots: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    n_domains: int | None = None
    maps: SpotMaps | None = None


def kept_part(
    identity: Mapping[str, Any], cache: Cache, job: Job, score: Callable[[Job], ScoredPart]
) -> ScoredPart:
    """Return a part of an evaluation: as it was kept, or scored now and kept.

    Parameters
    ----------
    identity : mapping
        Everything that the numbers depend on, but for versions and code, which are added.
    cache : Cache
    job : Job
        What was said when a part was scored is said again.
    score : callable
        Scores it with a job.
    """
    from napari_stenhance.tasks.inference import versions

    everything = {**identity, "versions": versions(), "code": code_sha256()}
    text = json.dumps(everything, sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:40]
    entry = cache.entry(_KIND, key)
    with cache.lock(entry, job):
        if cache.has(_KIND, key):
            found = _read(entry)
            for note in found.notes:
                job.note(note)
            return found
        heard, notes = job.overheard()
        found = replace(score(heard), notes=tuple(notes))
        with cache.building(_KIND, key) as folder:
            _write_part(found, folder)
        return found


@once
def code_sha256() -> str:
    """Identify the code that learns and scores."""
    root, digest = Path(napari_stenhance.__file__).parent, hashlib.sha256()
    for name in _CODE:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _write_part(part: ScoredPart, folder: Path) -> None:
    root = zarr.open_group(folder, mode="w")
    attributes: dict[str, Any] = {
        "values": {
            what: {name: None if math.isnan(v) else v for name, v in measures.items()}
            for what, measures in part.values.items()
        },
        "notes": list(part.notes),
        "n_domains": part.n_domains,
        "tables": [],
    }
    for kind, tables in (("genes", part.of_genes), ("spots", part.of_spots)):
        for what, table in tables.items():
            name = f"table{len(attributes['tables'])}"
            root.create_array(name, data=table.to_numpy(np.float64))
            said = {"rows": list(map(str, table.index)), "columns": list(table.columns)}
            attributes["tables"].append({"name": name, "of": kind, "what": what, **said})
    if part.maps is not None:
        maps = part.maps
        for name in _ARRAYS:
            root.create_array(name, data=getattr(maps, name))
        attributes["maps"] = {
            "section": maps.section,
            "geometry": asdict(maps.geometry),
            "genes": list(maps.genes),
            "tissue_box": list(maps.tissue_box),
        }
    root.attrs.update(attributes)


def _read(folder: Path) -> ScoredPart:
    import pandas as pd

    root = zarr.open_group(folder, mode="r")
    said: Any = root.attrs.asdict()
    tables: dict[str, dict[str, Any]] = {"genes": {}, "spots": {}}
    for one in said["tables"]:
        tables[one["of"]][one["what"]] = pd.DataFrame(
            np.asarray(root[one["name"]]), index=one["rows"], columns=one["columns"]
        )
    maps = None
    if "maps" in said:
        of = said["maps"]
        arrays: Any = {name: np.asarray(root[name]) for name in _ARRAYS}
        of |= {name: tuple(of[name]) for name in ("genes", "tissue_box")}
        of["geometry"] = SpotGeometry(**of["geometry"])
        maps = SpotMaps(**of, **arrays)
    values = {
        what: {name: math.nan if v is None else v for name, v in measures.items()}
        for what, measures in said["values"].items()
    }
    return ScoredPart(
        values, tables["genes"], tables["spots"], tuple(said["notes"]), said["n_domains"], maps
    )
