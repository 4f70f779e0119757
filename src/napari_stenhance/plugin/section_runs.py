"""What of a section is open: its files, its runs, which came last, and which are seen together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_stenhance.plugin.colours import TOTAL
from napari_stenhance.plugin.layer_info import Place, layers_of, our_layers
from napari_stenhance.results.gene_source import GeneSource

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section

_ROLES = ("gene", "browse", "domains")
_MODEL = "model_sha256"


def section_at(viewer: ViewerModel, place: Place | None) -> Section | None:
    """Return the section of a place, with its spots if they are open; None if only a result is."""
    found = [
        info.section
        for _, info in layers_of(viewer, "slide", "spots")
        if info.place is place and info.section is not None
    ]
    return next((s for s in found if s.spots is not None), found[0] if found else None)


def place_of(viewer: ViewerModel, run: Run) -> Place | None:
    """Return where what a run shows lies; None if no layer shows it."""
    return next((info.place for _, info in our_layers(viewer) if info.of_run == run.key), None)


def gene_left(viewer: ViewerModel, run: GeneSource, gene: str) -> str:
    """Return a gene, or another where it has no layer any more: what was removed stays so."""
    left = [info for _, info in layers_of(viewer, "gene", "browse", of_run=run.key)]
    genes = [info.gene for info in left]
    if "browse" in [info.role.name for info in left] or gene in genes:
        return gene
    return genes[0]


def runs_of(viewer: ViewerModel, place: Place | None) -> list[Run]:
    """List the runs of a section that are open, oldest first."""
    found: dict[Any, Run] = {}
    for _, info in layers_of(viewer, *_ROLES):
        if info.place is place and info.run is not None:
            found.setdefault(info.of_run, info.run)
    return list(found.values())


def newest_run(viewer: ViewerModel, place: Place | None) -> Run | None:
    """Return the run of a section that is seen, or else came last; None if there is none."""
    found = [
        (layer.visible, n, info.run)
        for n, (layer, info) in enumerate(layers_of(viewer, *_ROLES))
        if info.place is place and info.run is not None
    ]
    return max(found, key=lambda one: one[:2])[2] if found else None


def first_gene_of(viewer: ViewerModel, run: GeneSource) -> str:
    """Return the gene of a run that is shown at first: as its layers were made."""
    layers = list(layers_of(viewer, "gene", "browse", of_run=run.key))
    seen = [info.gene for layer, info in layers if layer.visible]
    return next(iter([*seen, *(info.gene for _, info in layers)]), run.shown_first)


def runs_seen(viewer: ViewerModel, place: Place | None, run: GeneSource) -> list[GeneSource]:
    """Return a run, under one of a region that of the whole: the first says what limits are."""
    if not run.in_region:
        return [run]
    whole = [
        info.run
        for _, info in layers_of(viewer, "browse")
        if info.place is place
        and isinstance(info.run, GeneSource)
        and is_same_but_region(info.run, run)
    ]
    return [*whole[-1:], run]


def run_counted(
    viewer: ViewerModel, place: Place | None, run: Run | None, gene: str
) -> GeneSource | None:
    """Return the run that is counted in regions where another is looked at; None without one.

    Where that is of a region, it is that of the whole, which predicts the same in it; and over
    domains, which have no genes, what came last of those that have the gene, fields before
    imputations, as `summarise` has it.
    """
    if run is None or isinstance(run, GeneSource):
        return None if run is None else runs_seen(viewer, place, run)[0]
    others = [one for one in runs_of(viewer, place) if isinstance(one, GeneSource)]
    known = [one for one in others if one.complete and (gene == TOTAL or gene in one.names)]
    known.sort(key=lambda one: one.kind == "fields")
    return run_counted(viewer, place, known[-1], gene) if known else None


def is_same_but_region(one: Run, other: Run) -> bool:
    """Tell whether two runs learned and predict the same, one of them everywhere."""
    other_than = {"region"}
    if not (_MODEL in one.identity and _MODEL in other.identity):
        # The run that learned does not name its own model, which was then applied to a region.
        other_than.add(_MODEL)
    first, second = (
        {k: v for k, v in run.identity.items() if k not in other_than} for run in (one, other)
    )
    return not one.in_region and first == second
