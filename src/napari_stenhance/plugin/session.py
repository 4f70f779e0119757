"""What is looked at in a viewer: one section, one run and one gene, for all docks and layers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.plugin.asked_for import OF_SPOTS, is_asked_for
from napari_stenhance.plugin.camera import SeenLayers, make_active, move_camera, say_value
from napari_stenhance.plugin.caption import show_caption
from napari_stenhance.plugin.channels import is_shown, show_channels
from napari_stenhance.plugin.colours import TOTAL, colormap_of, kind_of
from napari_stenhance.plugin.genes import GeneImage, show_gene
from napari_stenhance.plugin.images import wash_out
from napari_stenhance.plugin.layer_info import (
    LayerData,
    LayerInfo,
    Place,
    info_of,
    is_of_what_is_gone,
    layer_info,
    layers_of,
    our_layers,
)
from napari_stenhance.plugin.layer_user import LayerUser
from napari_stenhance.plugin.looks import look_as
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.preferences import use_cache_folder
from napari_stenhance.plugin.scene import add_layers, show_layer, take_in
from napari_stenhance.plugin.section_runs import (
    first_gene_of,
    gene_left,
    newest_run,
    place_of,
    runs_of,
    runs_seen,
    section_at,
)
from napari_stenhance.plugin.spots import colour_spots
from napari_stenhance.plugin.titles import caption_of, label_of, title_of
from napari_stenhance.plugin.under_mouse import say_under_mouse
from napari_stenhance.results.channels import Channel, choose_channels
from napari_stenhance.results.gene_source import GeneSource, Reliability
from napari_stenhance.scoring.metrics import RELIABLE_R

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap

    from napari_stenhance.plugin.colours import Colours
    from napari_stenhance.results.field import What
    from napari_stenhance.results.run import Run
    from napari_stenhance.section.section import Section

logger = logging.getLogger(__name__)

_SESSIONS: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()
"""Of each viewer, for napari has no place where plugins could keep it."""


def session_of(viewer: ViewerModel) -> Session:
    """Return the session of a viewer: one for all docks."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    session = _SESSIONS.get(viewer)
    if session is None:
        use_cache_folder()
        session = _SESSIONS[viewer] = Session(viewer)
    return session


class Session:
    """What is looked at: docks observe it, and layers follow it.

    Attributes
    ----------
    changed : Signal
        Emitted when anything below has changed, and layers show it.
    place : Place or None
        The current section.
    run : Run or None
        The current run, of that section; None while only what was measured is looked at.
    gene : str
        The current gene, or the text of a `GeneSum`; empty while spots show their total counts.
    what : {"expression", "spread"}
        What of it is shown.
    channels : tuple of Channel
        Genes of the run that are shown at once, instead of that gene; empty if that is.
    with_spots : bool
        Whether spots are shown over the image of a run.
    limits : tuple of float, or None
        What the first and the last colour stand for, in all that shows the gene.
    other_limits : tuple of float, or None
        The same of spots whose unit is another than that of the run's image; None without any.
    limits_chosen : bool
        Whether the user has set them.
    colormaps : dict of Colormap
        Those that the user has set, by what is shown in them, of `KINDS`.
    values : ndarray, or None
        Of the gene over the tissue, from the coarse level that gave the limits; None without a run.
    least_r : float
        The least r given depth, on held-out spots, of a gene that is taken to be reliable.
    panels : tuple of str
        Which panels of the dock are unfolded, the last one last: the dock unfolds these.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = ref(viewer)
        self.place: Place | None = None
        self.run: Run | None = None
        self.gene, self.with_spots = TOTAL, True
        self.what: What = "expression"
        self.channels: tuple[Channel, ...] = ()
        self.limits: tuple[float, float] | None = None
        self.other_limits: tuple[float, float] | None = None
        self.values: NDArray[np.floating] | None = None
        self.least_r = RELIABLE_R
        self.panels: tuple[str, ...] = ()
        self.colormaps: dict[str, Colormap] = {}
        self._image: GeneImage | None = None
        self.is_quiet = self.limits_chosen = False
        self._user = LayerUser(self)
        self._active = SeenLayers(viewer, lambda: self.place)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        self._take_in(list(viewer.layers))

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    @property
    def section(self) -> Section | None:
        """The current section, with its spots if they are open; None if only a result is."""
        return section_at(self.viewer, self.place)

    @property
    def genes(self) -> GeneSource | None:
        """The current run, if it has genes."""
        return self.run if isinstance(self.run, GeneSource) else None

    @property
    def scaled_by(self) -> GeneSource | None:
        """The run whose values over the tissue give the limits; None without one."""
        genes = self.genes
        return None if genes is None else runs_seen(self.viewer, self.place, genes)[0]

    @property
    def measured(self) -> Colours | None:
        """What the spots of the current section measured; None if they are not open."""
        layers = layers_of(self.viewer, "spots")
        return next((info.colours for _, info in layers if info.place is self.place), None)

    @property
    def reliability(self) -> Reliability:
        """Whether what is shown of the gene is reliable."""
        run = self.genes
        if run is None:
            return "measured"
        return run.reliability(self.gene, self.least_r) if self.gene in run.names else "not known"

    @property
    def colormap(self) -> Colormap:
        """The colours of all that shows the gene, or its uncertainty, or total counts."""
        from napari.utils.colormaps import ensure_colormap

        chosen = self.colormaps.get(kind_of(self.gene, self.what))
        return chosen or ensure_colormap(colormap_of(self.gene, self.what))

    @property
    def label(self) -> str:
        """What the gene, or the sum of genes, is called in a title."""
        return label_of(self)

    @property
    def title(self) -> str:
        """What the bar stands for; empty where what is seen is no gene, no counts, or several."""
        return title_of(self)

    def add(self, layers: Sequence[LayerData], *, active: bool = True) -> list[Layer]:
        """Add layers of runs that are not there yet, and all others; look at nothing else.

        Parameters
        ----------
        layers : sequence of tuple
        active : bool
            As in `add_layers`.
        """
        keys = {info.key for _, info in our_layers(self.viewer) if info.run is not None}
        new = [d for d in layers if (i := info_of(d)) is None or i.run is None or i.key not in keys]
        with self.quiet():
            return add_layers(self.viewer, new, active=active)

    def look_at(
        self,
        place: Place | None = None,
        *,
        run: Run | None = None,
        gene: str | None = None,
        what: What | None = None,
        channels: tuple[Channel, ...] = (),
        read: GeneImage | None = None,
    ) -> None:
        """Look at a section, at a run, or at a gene: what is not said stays, where it can.

        Parameters
        ----------
        place : Place, optional
            A section, with the run of it that is seen or came last.
        run : Run, optional
        gene : str, optional
        what : {"expression", "spread"}, optional
        channels : tuple of Channel
            Genes to look at at once.
        read : GeneImage, optional
            The gene, if it was read before.
        """
        self._image = read or self._image
        before = self.place
        if run is not None:
            place, before_it = place_of(self.viewer, run), self.run
            self.run = run
            if run is not before_it:
                # Where bins and cells are an image, nothing would be seen of what lies below.
                spots = (info for _, info in layers_of(self.viewer, "spots"))
                self.with_spots &= not any(i.raster and i.place is place for i in spots)
        elif place is not None and place is not before:
            self.run = newest_run(self.viewer, place)
        self.place = place or self.place
        self.what = what or self.what
        self.gene = self.gene if gene is None else gene
        self.limits_chosen, self.channels = False, channels
        if self.run is not None:
            # What a run shows is seen in its own colours, and not under tissue.
            self._hide(lambda _, info: info.role.name == "tissue" and info.place is self.place)
        self.show()
        if self.place is not before and self.place is not None:
            move_camera(self.viewer, self.place)

    def look_at_channels(self, genes: Sequence[str]) -> None:
        """Look at some genes of the run at once, each in a colour of its own.

        Raises
        ------
        InputError
            If they are too many, or nothing but spots is looked at.
        """
        if self.genes is None:
            msg = "Several genes are shown at once as images; choose a run that has them first."
            raise InputError(msg)
        chosen = choose_channels(genes, self.channels)
        self.look_at(gene=genes[-1], what="expression", channels=chosen)

    def look_at_measured(self, gene: str | None = None) -> None:
        """Look at what was measured alone."""
        self.run, self.what, self.with_spots = None, "expression", True
        self.look_at(gene=gene)

    def look_at_slide(self, under: Layer | None = None) -> None:
        """Hide the images of runs, so that the slide is seen; for a layer over it, spots too."""
        self.channels, over = (), () if under is None else OF_SPOTS
        self._hide(lambda one, i: one is not under and (i.role.fills or i.role.name in over))
        self.say()

    def _hide(self, which: Callable[[Layer, LayerInfo], bool]) -> None:
        with self.quiet():
            for layer, info in our_layers(self.viewer):
                if which(layer, info):
                    show_layer(layer, visible=False)

    # What layers show

    def show(self, most: int = 1024) -> None:
        """Let every layer show what is looked at; hide what is not asked for.

        Parameters
        ----------
        most : int
            Of how many pixels a side the limits are taken.
        """
        with self.quiet():
            self._keep_to_what_is_there()
            self._show_genes(most)
            self._hide(lambda one, i: i.role.covers and not is_asked_for(self, one, i))
            make_active(self.viewer, self.place)
        self.say()

    def say(self) -> None:
        """Say what is seen."""
        show_caption(self.viewer, caption_of(self))
        say_value(self.viewer)
        self.changed.emit()

    def _keep_to_what_is_there(self) -> None:
        """Look at another gene where this one is in neither the run nor the spots."""
        there = self.genes.names if self.genes is not None else ()
        self.channels = tuple(one for one in self.channels if one.gene in there)
        if self.genes is not None:
            if self.gene not in self.genes.names:
                self.gene = first_gene_of(self.viewer, self.genes)
            if self.gene not in self.genes.names.known:
                # What genes are uncertain by does not say that of their sum.
                self.what = "expression"
        elif self.gene not in (self.measured or ()):
            self.gene = TOTAL

    def _show_genes(self, most: int) -> None:
        """Show the gene in the run's image, in spots and lattices, on one scale."""
        run, self.other_limits = self.genes, None
        runs = [] if run is None else runs_seen(self.viewer, self.place, run)
        if runs and self.channels:
            self.values = self.limits = None
            self.channels = show_channels(self.viewer, runs, self.channels, self.least_r, most)
            return
        if not self.limits_chosen:
            shown = (self.gene, self.what, most)
            image = self._image = GeneImage.of(runs[0], *shown, self._image) if runs else None
            self.values, self.limits = (image.values, image.limits) if image else (None, None)
        washed = self.reliability == "not reliable"
        for one, over in zip(runs, (*runs[1:], None), strict=False):
            shown = self.gene, self.what, self.limits, self._image, over
            show_gene(self.viewer, one, *shown, colormap=self.colormap, washed=washed)
        for layer, info in layers_of(self.viewer, *OF_SPOTS):
            if info.place is self.place and is_asked_for(self, layer, info):
                shared = runs[0].unit == info.colours.unit if runs else self.limits_chosen
                ends = self.limits if shared else None
                limits = colour_spots(layer, self.gene, ends, self.colormap)
                show_layer(layer, visible=True)
                if info.role.name != "spots":
                    wash_out(layer, washed=washed)
                if not runs:
                    self.limits = limits
                elif not shared:
                    self.other_limits = limits

    def read_again(self, read: GeneImage | None = None) -> None:
        """Take the gene as it was read again, or read it: its run has more tiles than before."""
        self._image = read

    # What the user does to layers

    def _inserted(self, event: Any) -> None:
        self._take_in([event.value])
        ours = not self.is_quiet and layer_info(event.value) is not None
        self._active.added = event.value if ours else None

    def _take_in(self, layers: Sequence[Layer]) -> None:
        """Listen to layers of ours; look at what napari itself has opened, with our reader."""
        seen: list[Layer] = []
        look = None
        for layer in layers:
            info = layer_info(layer)
            if info is None:
                if is_of_what_is_gone(layer):
                    layer.events.visible.connect(self.say)
                    self.say()
                continue
            say_under_mouse(layer)
            if info.place is None:
                look = info.look or look
                with self.quiet():
                    take_in(self.viewer, layer)
                seen += [layer] * layer.visible
            if info.role.covers:
                self._user.watch(layer)
        if look is not None and look_as(self, look):
            return
        if seen:
            infos = [layer_info(layer) for layer in seen]
            run = next((info.run for info in reversed(infos) if info.run is not None), None)
            self._look_if_it_is_there(lambda: self.look_at(infos[-1].place, run=run))

    def _look_if_it_is_there(self, look: Callable[[], None]) -> None:
        """Look at something; where it is gone from the disk, docks and layers must do all else."""
        try:
            look()
        except StenhanceError as error:
            logger.info("%s", error)
            self.run, self.limits = None, None
            self.changed.emit()

    def keep_limits(self, limits: tuple[float, float]) -> None:
        """Keep the user's limits, until something else is looked at."""
        self.limits, self.limits_chosen = limits, True
        self.show()

    def _removed(self, event: Any) -> None:
        """Look at something else where what was looked at was removed."""
        if self.is_quiet:
            return
        layers, places = self.viewer.layers, open_places(self.viewer)
        self._active.below = layers[max(0, event.index - 1)] if len(layers) else None
        if self.place not in places:
            self.place, self.run = None, None
            if places:
                self.look_at(places[-1])
                return
            self.gene, self.what = TOTAL, "expression"
        elif self.run is not None and self.run.key not in [run.key for run in self.runs()]:
            self.run = newest_run(self.viewer, self.place)
        elif self.genes is not None:
            info = layer_info(event.value)
            if info is not None and is_shown(info, self.genes, self.channels):
                self.channels = tuple(one for one in self.channels if one.gene != info.gene)
            left = gene_left(self.viewer, self.genes, self.gene)
            if left != self.gene:
                self.gene, self.what = left, "expression"
        self._look_if_it_is_there(self.show)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Change layers without looking at what is changed."""
        before, self.is_quiet = self.is_quiet, True
        try:
            yield
        finally:
            self.is_quiet = before

    def runs(self) -> list[Run]:
        """List the runs of the current section that are open, oldest first."""
        return runs_of(self.viewer, self.place)
