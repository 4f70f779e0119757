"""The genes of a run as layers: one that shows any, and those that were written as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.colours import colormap_of
from napari_stenhance.plugin.images import image_layer, layer_title, set_colormap, wash_out
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerData,
    LayerInfo,
    Role,
    info_of,
    layer_info,
    layers_of,
)
from napari_stenhance.plugin.levels import contrast, shown_levels, tissue_values
from napari_stenhance.plugin.scene import add_layers, show_bar, show_layer
from napari_stenhance.results.gene_source import GeneSource
from napari_stenhance.results.scale import limits

if TYPE_CHECKING:
    import dask.array as da
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.colormaps import Colormap

    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import Reliability
    from napari_stenhance.results.run import Run
    from napari_stenhance.storage.levels import Levels

BROWSE, GENE = Role("browse", 1, fills=True), Role("gene", 2, fills=True)


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


@dataclass(frozen=True, eq=False)
class View:
    """What of a layer is in view.

    Attributes
    ----------
    level : int
    corners : ndarray of int, shape (2, 2)
        The first and the last pixel of that level, (y, x).
    """

    level: int
    corners: NDArray[Any]

    @classmethod
    def of(cls, viewer: ViewerModel, run: GeneSource) -> View | None:
        """Return what is in view of the image of a run; None if it has none that is seen."""
        layers = layers_of(viewer, "gene", "browse", of_run=run.key)
        seen = (layer for layer, _ in layers if layer.visible)
        return next((cls(one.data_level, one.corner_pixels.copy()) for one in seen), None)

    def read(self, levels: list[da.Array]) -> None:
        """Compute it, so that what keeps its tiles has these; nothing of other levels."""
        if self.level >= len(levels):
            return
        (top, left), (bottom, right) = self.corners
        part = levels[self.level][top : bottom + 1, left : right + 1]
        part.compute(scheduler="synchronous")


@dataclass(frozen=True, eq=False)
class GeneImage:
    """What is read of a gene before it is shown: a thread may do that.

    Attributes
    ----------
    run : GeneSource
    gene : str
    what : {"expression", "spread"}
    most : int
        The most pixels a side of the level that gave the values.
    levels : list of dask arrays
    values : ndarray
        Over all of the tissue.
    limits : tuple of float
        The 1st and 99th percentile of the values.
    """

    run: GeneSource
    gene: str
    what: What
    most: int
    levels: list[da.Array]
    values: NDArray[Any]
    limits: tuple[float, float]

    @classmethod
    def read(
        cls,
        run: GeneSource,
        gene: str,
        what: What = "expression",
        most: int = 1024,
        view: View | None = None,
    ) -> GeneImage:
        """Read a gene of a run, and what of it is in view."""
        kept = view is not None and _is_whole(run)
        levels = shown_levels(run.levels(gene, what), kept=kept)
        values = tissue_values(levels, most)
        if view is not None:
            view.read(levels)
        return cls(run, gene, what, most, levels, values, limits(values))

    @classmethod
    def of(
        cls, run: GeneSource, gene: str, what: What, most: int, known: GeneImage | None
    ) -> GeneImage:
        """Return what is known, if it is that; else read it."""
        same = known is not None and known.most == most and known.is_of(run, gene, what)
        return known if same else cls.read(run, gene, what, most)

    def is_of(self, run: GeneSource, gene: str, what: What) -> bool:
        """Tell whether this was read of a run."""
        return self.run is run and (self.gene, self.what) == (gene, what)


def _is_whole(run: GeneSource) -> bool:
    """Tell whether all of a run is there, also where it ended after it was opened; in a thread."""
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.results.runs import gene_run

    if not run.complete:
        try:
            gene_run(ResultFolder.open(run.result.path), run.name)
        except InputError:
            return False
    return True


def read_first(layers: Sequence[LayerData], looked_at: str) -> GeneImage | None:
    """Read the gene that is looked at once layers are added; None where that is of no run.

    Parameters
    ----------
    layers : sequence of tuple
    looked_at : str
        The gene that is looked at now: it stays, if what is added has it.
    """
    infos = [info for data in layers if data[1].get("visible", True) and (info := info_of(data))]
    run = next((info.run for info in reversed(infos) if info.run is not None), None)
    if not isinstance(run, GeneSource):
        return None
    genes = [looked_at] if looked_at in run.names else []
    genes += [info.gene for info in infos if info.run is run and info.role in {GENE, BROWSE}]
    return GeneImage.read(run, genes[0]) if genes else None


def browse_layer(run: GeneSource, gene: str, *, visible: bool) -> LayerData:
    """Make the one layer of a run that shows any gene, made when it is looked at."""
    info = LayerInfo(BROWSE, run.result.name, run=run, gene=gene)
    title = _title(run, gene, "expression")
    # While layers are made, in a thread, what docks will say is read.
    run.trust(gene)
    return image_layer(run.levels(gene), run.grid, title, info, colormap_of(gene), visible=visible)


def pinned_layer(run: GeneSource, gene: str, *, visible: bool) -> LayerData:
    """Make the layer of a gene whose image the result holds: it reads from there."""
    info = LayerInfo(GENE, run.result.name, run=run, part=gene, gene=gene)
    title = f"{_title(run, gene, 'expression')} · pinned"
    levels = _pinned_levels(run, gene)
    return image_layer(levels, run.grid, title, info, colormap_of(gene), visible=visible)


def _pinned_levels(run: GeneSource, gene: str) -> Levels:
    from napari_stenhance.results.genes import gene_group
    from napari_stenhance.storage.levels import Levels
    from napari_stenhance.storage.pyramid import mean_pool, open_levels

    group = gene_group(run, gene)
    assert group is not None
    return Levels.from_arrays(open_levels(group), mean_pool)


def browse(
    layer: Image,
    gene: str,
    what: What = "expression",
    limits: tuple[float, float] | None = None,
    levels: list[da.Array] | None = None,
) -> None:
    """Show another gene, or its spread, in a browse layer.

    Parameters
    ----------
    layer : Image
    gene : str
    what : {"expression", "spread"}
    limits : tuple of float, optional
        By default its own.
    levels : list of dask arrays, optional
        If they were made before.
    """
    info: LayerInfo = layer.metadata[KEY]
    assert isinstance(info.run, GeneSource)
    levels = levels or shown_levels(info.run.levels(gene, what))
    layer.metadata[KEY] = replace(info, gene=gene, what=what, over=None)
    _set_levels(layer, levels)
    set_contrast(layer, limits or contrast(levels))
    layer.name = _title(info.run, gene, what)


def show_gene(
    viewer: ViewerModel,
    run: GeneSource,
    gene: str,
    what: What,
    limits: tuple[float, float],
    image: GeneImage | None,
    over: GeneSource | None,
    *,
    colormap: Colormap,
    washed: bool,
) -> None:
    """Show a gene of a run: as it was written, or else made where it is looked at.

    Parameters
    ----------
    viewer : ViewerModel
    run : GeneSource
    gene : str
    what : {"expression", "spread"}
    limits : tuple of float
    image : GeneImage or None
        What was read before, of this gene or another.
    over : GeneSource or None
        The run of a region that is seen over it: there, this shows nothing, and it has no bar.
    colormap : Colormap
    washed : bool
        Whether its colours are pale.
    """
    import dask

    pinned = [
        layer
        for layer, info in layers_of(viewer, "gene", of_run=run.key)
        if info.gene == gene and what == "expression"
    ]
    browsed = [layer for layer, _ in layers_of(viewer, "browse", of_run=run.key)]
    if not pinned and not browsed:
        browsed = add_layers(viewer, [browse_layer(run, gene, visible=True)])
    if pinned:
        set_contrast(pinned[0], limits)
    else:
        info = layer_info(browsed[0])
        if (info.gene, info.what) != (gene, what):
            levels = image.levels if image and image.is_of(run, gene, what) else None
            browse(browsed[0], gene, what, limits, levels)
        else:
            set_contrast(browsed[0], limits)
    shown, *others = *pinned, *browsed
    _leave_out(shown, over)
    set_colormap(shown, colormap)
    if not shown.visible:
        # Else napari would read the coarsest level first.
        seen = (one for one in others if one.visible and len(one.data) == len(shown.data))
        view = next(seen, shown)
        shown.corner_pixels, shown.data_level = view.corner_pixels, view.data_level
    # Waiting for threads takes longer than what is in view.
    with dask.config.set(scheduler="synchronous"):
        for layer in (shown, *others):
            wash_out(layer, washed=washed)
            show_layer(layer, visible=layer is shown)
            # In a grid, as views are compared in, napari fails at a bar that it has not drawn yet.
            if not viewer.canvas.grid.enabled:
                show_bar(layer, visible=over is None and layer.visible)


def make_bar(viewer: ViewerModel, run: GeneSource, gene: str) -> None:
    """Let napari make the bar of a layer that will be seen: that takes it longer than all else."""
    if viewer.canvas.grid.enabled:
        return
    layers = list(layers_of(viewer, GENE.name, BROWSE.name, of_run=run.key))
    pinned = [layer for layer, info in layers if info.role is GENE and info.gene == gene]
    browsed = [layer for layer, info in layers if info.role is BROWSE]
    for layer in pinned or browsed:
        if not layer.visible:
            show_bar(layer, visible=True)
            show_bar(layer, visible=False)


def _leave_out(layer: Image, over: GeneSource | None) -> None:
    """Show nothing where another run is seen over it: both are translucent."""
    info = layer_info(layer)
    assert info is not None
    assert isinstance(info.run, GeneSource)
    key = None if over is None else over.key
    if info.over == key:
        return
    layer.metadata[KEY] = replace(info, over=key)
    _set_levels(layer, _levels_of(info, over))


def whole_levels(info: LayerInfo) -> list[da.Array]:
    """Return what a layer shows, without room for the run of a region that is seen over it."""
    return _levels_of(info, None)


def _levels_of(info: LayerInfo, over: GeneSource | None) -> list[da.Array]:
    assert isinstance(info.run, GeneSource)
    pinned = info.role.name == GENE.name
    levels = (
        _pinned_levels(info.run, info.gene) if pinned else info.run.levels(info.gene, info.what)
    )
    return shown_levels(levels, over=None if over is None else over.levels(info.gene, info.what))


def _set_levels(layer: Image, levels: list[da.Array]) -> None:
    import dask

    level, corners = layer.data_level, layer.corner_pixels
    # What is in view was read before: waiting for threads takes longer than that.
    with dask.config.set(scheduler="synchronous"):
        if not layer.visible or level == len(levels) - 1:
            layer.data = levels
            return
        # napari would draw the coarsest level, and with the next frame what is in view.
        with layer.events.set_data.blocker():
            layer.data = levels
        layer.corner_pixels, layer.data_level = corners, level


def gene_title(
    run: GeneSource, gene: str, what: What, reliability: Reliability, *, over: bool
) -> str:
    """Say what the colours of a gene of a run stand for, and, if they are over it, of its spots."""
    name, origin = run.names.label(gene), run.origin(gene)
    doubt = " – not reliable" if reliability == "not reliable" else ""
    if what == "spread":
        return f"uncertainty of {name} {origin}, {run.unit}{doubt}"
    spots = " (spots: measured)" if over and origin != "measured" else ""
    return f"{name} {origin}{spots}, {run.unit}{doubt}"


def said_of_gene(info: LayerInfo, value: float) -> str:
    """Say the value of a gene that is seen, and whether it was predicted."""
    assert isinstance(info.run, GeneSource)
    said = gene_title(info.run, info.gene, info.what, "not known", over=False)
    return f"{said}: {value:.3g}"


def set_contrast(layer: Image, limits: tuple[float, float]) -> None:
    """Set the contrast, and let its slider reach from zero to twice that."""
    same = tuple(layer.contrast_limits) == limits
    # napari would clip what is there to the range, and draw the bar for it once more.
    with layer.events.contrast_limits.blocker():
        layer.contrast_limits_range = (min(0.0, limits[0]), max(2 * limits[1], limits[1]))
    if not same:
        layer.contrast_limits = limits


def _title(run: GeneSource, gene: str, what: What) -> str:
    origin = run.origin(gene)
    of = "uncertainty of " if what == "spread" else ""
    # What is predicted is the rule; what was measured, or imputed, must not be taken for it.
    shown = run.names.label(gene)
    return layer_title(f"{of}{shown}{'' if origin == 'predicted' else f' ({origin})'}", run)
