"""What users do to layers themselves, in napari's own controls: the session follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from napari_stenhance.plugin.asked_for import OF_GENES, OF_SPOTS, LookedAt, under_hidden
from napari_stenhance.plugin.channels import is_shown
from napari_stenhance.plugin.colours import kind_of
from napari_stenhance.plugin.layer_info import ALONE, LayerInfo, layer_info
from napari_stenhance.results.channels import Channel, with_limits

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap

    from napari_stenhance.plugin.layer_info import Place
    from napari_stenhance.results.field import What
    from napari_stenhance.results.run import Run


class Followed(LookedAt, Protocol):
    """What is looked at, and can be changed, as a session does it."""

    is_quiet: bool
    other_limits: tuple[float, float] | None
    colormaps: dict[str, Colormap]

    def look_at(
        self,
        place: Place | None = None,
        *,
        run: Run | None = None,
        gene: str | None = None,
        what: What | None = None,
        channels: tuple[Channel, ...] = (),
    ) -> None: ...
    def look_at_slide(self, under: Layer | None = None) -> None: ...
    def show(self) -> None: ...
    def keep_limits(self, limits: tuple[float, float]) -> None: ...
    def say(self) -> None: ...


class LayerUser:
    """Someone who shows and hides layers, and sets their limits and colours.

    Parameters
    ----------
    session : Followed
        The session: it follows, and owns this.
    """

    def __init__(self, session: Followed) -> None:
        self._of = ref(session)

    @property
    def _session(self) -> Followed:
        session = self._of()
        assert session is not None
        return session

    def watch(self, layer: Layer) -> None:
        """Listen to a layer of ours that covers others."""
        layer.events.visible.connect(self._made_visible)
        if hasattr(layer, "contrast_limits"):
            layer.events.contrast_limits.connect(self._limits_set)
            layer.events.colormap.connect(self._colours_set)

    def _made_visible(self, event: Any) -> None:
        """Look at what the user made visible: nothing is seen that is not on the scale shown."""
        session = self._session
        layer = event.source
        info = layer_info(layer)
        if session.is_quiet or info is None:
            return
        if info.role.name == "channel":
            self._toggle(info, layer.visible)
        if not layer.visible:
            if info.place is session.place and info.role.name in {*OF_GENES, *ALONE}:
                # No more is said of what the user has hidden.
                session.with_spots &= session.run is None or info.role.name != "spots"
                session.say()
                if (under := under_hidden(session, info)) is not None:
                    session.look_at(run=under)
            return
        if info.role.name in {"gene", "browse"}:
            session.look_at(run=info.run, gene=info.gene, what=info.what)
            return
        if info.role.name in ALONE:
            session.look_at_slide(layer)
            return
        session.with_spots = session.with_spots or info.role.name in OF_SPOTS
        if info.run is not None and info.role.name != "channel":
            session.look_at(run=info.run)
        elif info.place is not session.place:
            session.look_at(info.place)
        elif info.role.name == "spots":
            session.show()
        elif info.role.name == "tissue":
            session.look_at_slide()

    def _toggle(self, info: LayerInfo, visible: bool) -> None:
        """Show a channel beside those that are seen, or leave it out."""
        session = self._session
        mine = session.run is not None and session.run.key == info.of_run
        others = tuple(one for one in session.channels if mine and one.colour != info.part)
        if visible:
            channels = (*others, Channel(info.gene, info.part))
            session.look_at(run=info.run, gene=info.gene, what="expression", channels=channels)
        elif is_shown(info, session.genes, session.channels):
            session.look_at(channels=others)

    def _limits_set(self, event: Any) -> None:
        """Follow the user's limits in all that shows the gene."""
        session = self._session
        layer = event.source
        info = layer_info(layer)
        if session.is_quiet or info is None:
            return
        limits = tuple(layer.contrast_limits)
        if is_shown(info, session.genes, session.channels):
            session.channels = with_limits(session.channels, info.gene, limits)
            session.show()
            return
        if info.gene != session.gene or not layer.visible:
            return
        if info.role.name == "spots" and session.other_limits is not None:
            # The limits are those of the image of a run, in another unit.
            session.show()
        elif info.role.name in OF_GENES and info.what == session.what:
            session.keep_limits(limits)

    def _colours_set(self, event: Any) -> None:
        """Follow the user's colours in all that shows the like; a channel keeps its own."""
        session = self._session
        layer = event.source
        info = layer_info(layer)
        if session.is_quiet or info is None:
            return
        if info.role.name in OF_GENES:
            session.colormaps[kind_of(info.gene, info.what)] = layer.colormap
        if info.role.name in {*OF_GENES, "channel"}:
            session.show()
