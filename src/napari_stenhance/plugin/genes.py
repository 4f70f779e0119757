"""The genes of a run as layers: one that shows any, and those that were written as images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_stenhance.plugin.images import image_layer, run_title
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, Role
from napari_stenhance.plugin.levels import contrast, shown_levels
from napari_stenhance.plugin.scene import set_contrast
from napari_stenhance.results.gene_source import GeneSource

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_stenhance.results.field import What
    from napari_stenhance.results.run import Run

BROWSE, GENE = Role("browse", 1, fills=True), Role("gene", 2, fills=True)
_COLORMAP = "magma"


def gene_layers(run: Run, *, visible: bool) -> list[LayerData]:
    """Make the layers of a run's genes: those that were written, and one for any other."""
    from napari_stenhance.results.genes import written_genes

    if not isinstance(run, GeneSource):
        return []
    written = [
        pinned_layer(run, gene, visible=visible and n == 0)
        for n, gene in enumerate(written_genes(run))
    ]
    return [*written, browse_layer(run, first_gene(run), visible=visible and not written)]


def first_gene(run: GeneSource) -> str:
    """Choose the gene of a run that is shown at first."""
    from napari_stenhance.results.genes import written_genes

    return next(iter(written_genes(run)), run.shown_first)


def browse_layer(run: GeneSource, gene: str, *, visible: bool) -> LayerData:
    """Make the one layer of a run that shows any gene, made when it is looked at."""
    info = LayerInfo(BROWSE, run.result.name, run=run, gene=gene)
    title = _browse_title(run, gene, "expression")
    # While layers are made, in a thread, what docks will say is read.
    run.trust(gene)
    return image_layer(run.levels(gene), run.grid, title, info, _COLORMAP, visible=visible)


def pinned_layer(run: GeneSource, gene: str, *, visible: bool) -> LayerData:
    """Make the layer of a gene whose image the result holds: it reads from there."""
    from napari_stenhance.results.genes import gene_group
    from napari_stenhance.storage.levels import Levels
    from napari_stenhance.storage.pyramid import mean_pool, open_levels

    group = gene_group(run, gene)
    assert group is not None
    info = LayerInfo(GENE, run.result.name, run=run, part=gene, gene=gene)
    origin = run.origin(gene)
    said = "" if origin == "predicted" else f"({origin}) "
    title = f"{run_title(run)} {gene} {said}[{run.unit}]"
    levels = Levels.from_arrays(open_levels(group), mean_pool)
    return image_layer(levels, run.grid, title, info, _COLORMAP, visible=visible)


def browse(layer: Image, gene: str, what: What = "expression") -> None:
    """Show another gene, or its spread, in a browse layer."""
    info: LayerInfo = layer.metadata[KEY]
    assert isinstance(info.run, GeneSource)
    levels = shown_levels(info.run.levels(gene, what))
    layer.metadata[KEY] = replace(info, gene=gene)
    layer.data = levels
    set_contrast(layer, contrast(levels))
    layer.name = _browse_title(info.run, gene, what)


def _browse_title(run: GeneSource, gene: str, what: What) -> str:
    origin = run.origin(gene)
    how = "browse" if origin == "predicted" else origin
    # Before the gene: of a long name, napari's list leaves out what is right of the middle.
    uncertainty = "uncertainty of " if what == "spread" else ""
    return f"{run_title(run)} {how}: {uncertainty}{gene} [{run.unit}]"
