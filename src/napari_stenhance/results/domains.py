"""Domain runs of a result: label images, the spots with their domains, and tables of domains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.results.label_map import LabelTile, write_labels
from napari_stenhance.results.ome import describe_label
from napari_stenhance.results.palette import colour_of, rgba
from napari_stenhance.results.result import TILE, ResultFolder, free_name
from napari_stenhance.results.runs import run_of
from napari_stenhance.results.summaries import Domain, Expression, domain_table
from napari_stenhance.results.tables import read_table, write_table
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.pyramid import open_levels

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

_KEY = "stenhance"
LABEL, CONFIDENCE, EMBEDDING = "domain", "domain_confidence", "X_stamgc"


@dataclass(frozen=True)
class DomainRun:
    """Domains that were found, or edited, and are complete.

    Attributes
    ----------
    result : ResultFolder
    name : str
        `<method>-<preset>`, "-2" … if other options took it; `<run>-edited` if a person changed it.
    """

    result: ResultFolder
    name: str

    @property
    def group(self) -> zarr.Group:
        """The label image."""
        group = self.result.group[f"labels/{self.name}"]
        assert isinstance(group, zarr.Group)
        return group

    @property
    def about(self) -> dict[str, Any]:
        """Provenance: options, inputs with hashes, seed, versions, criterion, grid."""
        return dict(self.group.attrs[_KEY])  # type: ignore[arg-type]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains, by their values."""
        return tuple(Domain(**one) for one in self.about["domains"])

    @property
    def grid(self) -> Grid:
        """Where the label image lies."""
        return Grid.of(self.about["grid"])

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The label image, finest level first: values of domains, 0 where there is none."""
        return open_levels(self.group)

    @property
    def criterion(self) -> str:
        """What the number of domains was chosen by; empty if it was given."""
        return str(self.about["criterion"])

    @property
    def scores(self) -> tuple[tuple[int, float], ...]:
        """The criterion for each number that was tried; more is better."""
        return tuple((int(k), float(score)) for k, score in self.about["scores"])

    @property
    def chosen(self) -> int:
        """How many domains were found, before any edit."""
        return int(self.about["n_domains"])

    def spots(self) -> ad.AnnData | None:
        """Read the spots with their domains; None for superpixels."""
        key = self.about["spots"]
        return None if key is None else read_table(self.result.group, f"tables/{key}")

    def table(self) -> ad.AnnData:
        """Read the table of domains: `summary` as `obs`, and what is expressed in each."""
        return read_table(self.result.group, f"tables/{self.name}")

    def summary(self) -> pd.DataFrame:
        """Read, for each domain, how much there is of it and what marks it."""
        return read_table(self.result.group, f"tables/{self.name}/obs")


def domain_runs(result: ResultFolder) -> tuple[DomainRun, ...]:
    """List the domain runs of a result that are complete, oldest first."""
    labels = result.group.get("labels")
    if not isinstance(labels, zarr.Group):
        return ()
    return tuple(
        DomainRun(result, name)
        for name in _listed(labels)
        if name in labels and "complete" in labels[name].attrs.get(_KEY, {})  # type: ignore[operator]
    )


def _listed(labels: zarr.Group) -> list[str]:
    """Return the names of label images, oldest first, as OME-Zarr lists them."""
    ome: Any = labels.attrs.get("ome", {"labels": []})
    return list(ome["labels"])


def domain_run(result: ResultFolder, name: str = "") -> DomainRun:
    """Open a domain run, by default the newest.

    Raises
    ------
    InputError
        If there is none, or none of that name.
    """
    return run_of(result, domain_runs(result), name, "domain run", "domains")


def number_domains(labels: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    """Number domains by their size over all slices, 1 for the largest.

    Of two of one size, that of the first position comes first. So the same input has the same
    names and colours, whatever numbers the clustering gave.
    """
    together = np.concatenate(labels)
    old, first, size = np.unique(together, return_index=True, return_counts=True)
    new = np.zeros(int(old.max()) + 1, np.int64)
    new[old[np.lexsort((first, -size))]] = np.arange(1, len(old) + 1)
    return tuple(new[one] for one in labels)


def new_domains(number: int) -> tuple[Domain, ...]:
    """Name and colour domains that were found."""
    return tuple(Domain(n, f"Domain {n}", colour_of(n)) for n in range(1, number + 1))


def label_spots(
    spots: ad.AnnData, labels: NDArray[np.int64], domains: Sequence[Domain], **columns: Any
) -> ad.AnnData:
    """Return spots with their domains; what they had stays, another "domain" as "domain_input".

    Parameters
    ----------
    spots : AnnData
    labels : ndarray of int64
        Values of domains; 0 is none.
    domains : sequence of Domain
    **columns
        More of `obs`.
    """
    import pandas as pd

    from napari_stenhance.section.spots import attach, geometry_of

    labelled = attach(spots, geometry_of(spots))
    obs = labelled.obs.rename(columns={LABEL: f"{LABEL}_input"})
    names = {d.value: d.name for d in domains}
    obs[LABEL] = pd.Categorical(
        [names.get(int(value)) for value in labels], categories=[d.name for d in domains]
    )
    for name, values in columns.items():
        obs[name] = values
    labelled.obs = obs
    # Where scanpy looks for the colours of a column.
    labelled.uns["domain_colors"] = np.array([d.colour for d in domains])
    return labelled


@dataclass(frozen=True)
class Found:
    """What is written as one run.

    Attributes
    ----------
    domains : tuple of Domain
    grid : Grid
    label : callable
        The label image, tile by tile.
    expression : Expression
    number : ndarray of int64
        Spots or superpixels, for each label.
    spots : AnnData, optional
        With their domains.
    field : mapping, optional
        Of superpixels: the field's run and level.
    """

    domains: tuple[Domain, ...]
    grid: Grid
    label: LabelTile
    expression: Expression
    number: NDArray[np.int64]
    spots: ad.AnnData | None = None
    field: Mapping[str, Any] | None = None


def write_run(
    result: ResultFolder,
    stem: str,
    identity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    found: Found,
) -> DomainRun:
    """Write a domain run beside those that are there; what a killed process left is replaced.

    Parameters
    ----------
    result : ResultFolder
        Open for writing.
    stem : str
        `<method>-<preset>`.
    identity : mapping
        Options and inputs; runs are the same if it is.
    provenance : mapping
        What else to record.
    found : Found
    """
    done = domain_runs(result)
    name = free_name(stem, {run.name for run in done})
    spots = (
        None if found.spots is None else free_name("spots", {run.about["spots"] for run in done})
    )
    labels, tables = (result.group.require_group(n) for n in ("labels", "tables"))
    group = labels.create_group(name, overwrite=True)
    levels, pixels = write_labels(group, found.grid.shape, found.label, TILE)
    describe_label(
        group,
        levels,
        found.grid,
        {d.value: d.name for d in found.domains},
        {d.value: rgba(d.colour, hidden=d.hidden) for d in found.domains},
    )
    if found.spots is not None:
        write_table(tables, str(spots), found.spots)
    what = "superpixels" if found.spots is None else "spots"
    write_table(
        tables,
        name,
        domain_table(found.domains, found.number, what, pixels, found.grid, found.expression),
    )
    others = [other for other in _listed(labels) if other != name]
    labels.attrs["ome"] = {"version": "0.5", "labels": [*others, name]}
    # Last: without it the run is not there.
    group.attrs[_KEY] = {
        "identity": json.loads(json.dumps(identity)),
        **provenance,
        "grid": found.grid.to_json(),
        "domains": [asdict(d) for d in found.domains],
        "spots": spots,
        "field": found.field,
        "complete": True,
    }
    result.log("complete", run=name)
    return DomainRun(result, name)
