"""Domain runs of a result: label images, the spots with their domains, and tables of domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_stenhance.results.attributes import ADVICE, KEY, read_attributes, write_attributes
from napari_stenhance.results.label_map import LABELS_MOST, LabelTile, write_labels
from napari_stenhance.results.ome import describe_label
from napari_stenhance.results.palette import colour_of, rgba
from napari_stenhance.results.proof import check_run
from napari_stenhance.results.result import TILE, ResultFolder, free_name
from napari_stenhance.results.run import Run, run_of
from napari_stenhance.results.summaries import Domain, Expression, domain_table
from napari_stenhance.results.tables import read_table, write_table
from napari_stenhance.running.numbers import counted
from napari_stenhance.section.grid import Grid
from napari_stenhance.storage.checked import folder_of, has_node, open_node
from napari_stenhance.storage.pyramid import open_levels
from napari_stenhance.storage.reading import reading

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

LABEL, CONFIDENCE, EMBEDDING = "domain", "domain_confidence", "X_stamgc"


class DomainRun(Run):
    """Domains that were found, or edited; `<run>-edited` if a person changed them."""

    kind = "labels"

    def _check(self, attributes: Mapping[str, Any]) -> None:
        domains = [Domain(**one) for one in attributes["domains"]]
        if not all(0 < d.value <= LABELS_MOST and isinstance(d.name, str) for d in domains):
            msg = "its domains are not what they should be"
            raise ValueError(msg)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains, by their values."""
        return tuple(Domain(**one) for one in self.attributes["domains"])

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The label image, finest level first: values of domains, 0 where there is none."""
        return open_levels(self.group, self.grid.shape)

    @property
    def criterion(self) -> str:
        """What the number of domains was chosen by; empty if it was given."""
        return str(self.attributes["criterion"])

    @property
    def scores(self) -> tuple[tuple[int, float], ...]:
        """The criterion for each number that was tried; more is better."""
        return tuple((int(k), float(score)) for k, score in self.attributes["scores"])

    @property
    def chosen(self) -> int:
        """How many domains were found, before any edit."""
        return int(self.attributes["n_domains"])

    def spots(self) -> ad.AnnData | None:
        """Read the spots with their domains; None for superpixels."""
        key = self.attributes["spots"]
        return None if key is None else read_table(self.result.group, f"tables/{key}")

    def table(self) -> ad.AnnData:
        """Read the table of domains: `summary` as `obs`, and what is expressed in each."""
        return read_table(self.result.group, f"tables/{self.name}")

    def summary(self) -> pd.DataFrame:
        """Read, for each domain, how much there is of it and what marks it."""
        return read_table(self.result.group, f"tables/{self.name}/obs")

    def top_domains(self) -> dict[str, str]:
        """Name, for each gene that is expressed anywhere, the domain with the highest mean."""
        table = self.table()
        means, names = np.asarray(table.X), {d.value: d.name for d in self.domains}
        best = means.argmax(axis=0)
        values = table.obs["domain"].to_numpy()
        return {
            str(gene): names[int(values[row])]
            for gene, row, mean in zip(table.var_names, best, means.max(axis=0), strict=True)
            if mean > 0
        }

    def expression(self) -> Expression:
        """Read what is expressed in each domain."""
        table = self.table()
        return Expression(
            tuple(table.var_names),
            tuple(table.var["symbol"]),
            np.asarray(table.X, np.float32),
            table.layers["score"],
            table.layers.get("padj"),
        )

    def describe(self) -> list[str]:
        """Say how many domains there are, and of what."""
        unit = "µm" if self.grid.unit == "micrometer" else "px"
        chosen = f", their number by {self.criterion}" if self.criterion else ""
        of = "superpixels" if self.attributes["spots"] is None else "spots"
        rows, columns = self.grid.shape
        said = f"Domains {self.name}: {counted(len(self.domains), 'domain')}{chosen}, of {of}, on "
        return [f"{said}{rows} × {columns} pixels of {self.grid.pitch_um:g} {unit}"]


def domain_runs(result: ResultFolder) -> tuple[DomainRun, ...]:
    """List the domain runs of a result that are complete, oldest first."""
    if not has_node(result.group, "labels"):
        return ()
    labels, proven = open_node(result.group, "labels", zarr.Group), result.proven
    runs = []
    for name in _listed(labels, proven=proven):
        # One that is being made has no attributes of ours yet.
        if KEY in open_node(labels, name, zarr.Group).attrs:
            check_run(result.path, "labels", name, proven=proven)
            runs.append(DomainRun(result, name))
    return tuple(runs)


def _listed(labels: zarr.Group, *, proven: bool) -> list[str]:
    """Return the names of label images, oldest first, as OME-Zarr lists them."""
    if "ome" not in labels.attrs and KEY not in labels.attrs:
        return []
    if proven:
        read_attributes(labels, proven=True)
    with reading(folder_of(labels) / "zarr.json", advice=ADVICE):
        ome: Any = labels.attrs["ome"]
        return [_name(name) for name in ome["labels"]]


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        msg = f"{name!r} is no name of a label image"
        raise ValueError(msg)
    return name


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
class DomainRunContent:
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

    def table(self, pixels: NDArray[np.int64]) -> ad.AnnData:
        """Make the table of domains, from how many pixels have each label."""
        what = "superpixels" if self.spots is None else "spots"
        return domain_table(self.domains, self.number, what, pixels, self.grid, self.expression)


def write_run(
    result: ResultFolder,
    stem: str,
    identity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    found: DomainRunContent,
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
    found : DomainRunContent
    """
    done = domain_runs(result)
    name = free_name(stem, {run.name for run in done})
    taken = {run.attributes["spots"] for run in done}
    spots = None if found.spots is None else free_name("spots", taken)
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
    write_table(tables, name, found.table(pixels))
    others = [other for other in _listed(labels, proven=result.proven) if other != name]
    write_attributes(labels, {}, ome={"version": "0.5", "labels": [*others, name]})
    written = [f"labels/{name}", f"tables/{name}", *([f"tables/{spots}"] if spots else [])]
    return DomainRun(result, name).finish(
        written,
        identity,
        found.grid,
        **provenance,
        domains=[asdict(d) for d in found.domains],
        spots=spots,
        field=found.field,
    )
