"""Imputed genes in a viewer: one layer that shows any, and those that were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_stenhance.plugin.images import image_layer
from napari_stenhance.plugin.layer_info import KEY, LayerData, LayerInfo, layers_of
from napari_stenhance.plugin.levels import contrast, image_levels, spot_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_stenhance.results.imputed import ImputedRun, Layer

_COLORMAP = "magma"


def imputed_layers(run: ImputedRun, *, visible: bool) -> list[LayerData]:
    """Make the layers of a run: of genes that were written, and one for any other."""
    from napari_stenhance.results.imputed import written_images

    genes = written_images(run)
    first = genes[0] if genes else str(run.about["first"])
    return [
        imputed_browse_layer(run, first, visible=visible and not genes),
        *(written_layer(run, g, visible=visible and n == 0) for n, g in enumerate(genes)),
    ]


def imputed_browse_layer(run: ImputedRun, gene: str, *, visible: bool) -> LayerData:
    """Make the layer that shows any gene of the table, on the lattice of spots."""
    levels = spot_levels(run.levels, run.values(gene))
    about = LayerInfo("imputed", run.result.name, result=run.result.path, run=run.name, gene=gene,
                  imputed=run)  # fmt: skip
    return _image(levels, run, _title(run, gene, "log1p_cp10k"), about, visible=visible)


def written_layer(run: ImputedRun, gene: str, *, visible: bool) -> LayerData:
    """Make the layer of a gene whose image the result holds: it reads from there."""
    from napari_stenhance.results.imputed import UNIT, written_gene
    from napari_stenhance.storage.pyramid import open_levels

    group = written_gene(run, gene)
    assert group is not None
    levels = image_levels(open_levels(group))
    about = LayerInfo(
        "imputed gene",
        run.result.name,
        result=run.result.path,
        run=run.name,
        gene=gene,
        imputed=run,
    )
    title = f"{_name(run)} {gene} (imputed) [{UNIT}]"
    return _image(levels, run, title, about, visible=visible)


def show_gene(layer: Image, gene: str, what: Layer) -> None:
    """Show another gene, or its spread, in a layer of `imputed_browse_layer`."""
    from napari_stenhance.plugin.scene import set_contrast

    about: LayerInfo = layer.metadata[KEY]
    run = about.imputed
    assert run is not None
    levels = spot_levels(run.levels, run.values(gene, what))
    layer.metadata[KEY] = replace(about, gene=gene)
    layer.data = levels
    set_contrast(layer, contrast(levels))
    layer.name = _title(run, gene, what)


def listed_genes(run: ImputedRun) -> tuple[str, ...]:
    """List the genes of a run, those first that were not measured."""
    new = run.var["imputed"].to_numpy(bool)
    return (*run.var.index[new], *run.var.index[~new])


def open_imputed(viewer: ViewerModel) -> list[ImputedRun]:
    """List the imputations that some layer shows, one entry each."""
    runs: dict[Any, ImputedRun] = {}
    for _, about in layers_of(viewer, "imputed", "imputed gene"):
        if about.imputed is not None:
            runs.setdefault((about.result, about.run), about.imputed)
    return list(runs.values())


def _image(
    levels: Sequence[Any], run: ImputedRun, title: str, about: LayerInfo, *, visible: bool
) -> LayerData:
    ends = contrast(levels)
    return image_layer(levels, run.grid, title, about, ends, _COLORMAP, visible=visible)


def _name(run: ImputedRun) -> str:
    """Name the section, and the run too where its result has several."""
    return run.result.name if run.about["number"] == 0 else f"{run.result.name} ({run.name})"


def _title(run: ImputedRun, gene: str, what: Layer) -> str:
    from napari_stenhance.results.imputed import UNIT

    return f"{_name(run)} imputed: {gene} {'uncertainty ' * (what == 'spread')}[{UNIT}]"
