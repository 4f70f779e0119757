"""What is opened is added a layer a turn, and looked at in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning

from napari_stenhance.plugin.asked_for import OF_GENES
from napari_stenhance.plugin.domains import layers_of_domains, show_edits
from napari_stenhance.plugin.layer_info import LayerData, info_of, layer_info
from napari_stenhance.plugin.looks import look_as
from napari_stenhance.plugin.scene import said_of_places, show_bar, show_layer
from napari_stenhance.plugin.section_runs import place_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_stenhance.plugin.genes import GeneImage
    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.run import Run


def open_at_once(session: Session, layers: Sequence[LayerData], run: Run | None = None) -> None:
    """Do as `open_in_turns` does, and let nothing else have its turn."""
    for _ in open_in_turns(session, layers, run):
        pass


def open_in_turns(
    session: Session,
    layers: Sequence[LayerData],
    run: Run | None = None,
    read: GeneImage | None = None,
) -> Iterator[None]:
    """Add layers, and look at what they are of; after each layer, others have their turn.

    napari takes its time for each. What is hidden where something else is to be seen is hidden
    until all are there.

    Parameters
    ----------
    session : Session
    layers : sequence of tuple
    run : Run, optional
        What of them to look at; by default the last run that is meant to be seen.
    read : GeneImage, optional
        Its gene, if a thread has read it.
    """
    take_over_edits(session.viewer, layers)
    for said in said_of_places(session.viewer, layers):
        show_warning(said)
    seen = [i.run for d in layers if d[1].get("visible", True) and (i := info_of(d))]
    added: list[tuple[Layer, bool]] = []
    active = session.viewer.layers.selection.active
    for values, attributes, kind in layers:
        info, wanted = info_of((values, attributes, kind)), attributes.get("visible", True)
        now = wanted and info is not None and not info.role.covers
        # To make a layer active takes napari a tenth of all: once, in the end, is enough.
        new = session.add([(values, {**attributes, "visible": now}, kind)], active=False)
        added += [(layer, wanted) for layer in new]
        yield
        if wanted and new and info is not None and info.role.name in {"gene", "browse"}:
            # The first bar of a layer takes napari as long as the layer.
            show_bar(new[0], visible=True)
            yield
    # The user may have removed some in between.
    added = [(layer, wanted) for layer, wanted in added if layer in session.viewer.layers]
    with session.quiet():
        if active is not None and active in session.viewer.layers:
            session.viewer.layers.selection.active = active
        for layer, wanted in added:
            info = layer_info(layer)
            # Of genes, what is looked at says what is seen.
            if wanted and (info is None or info.role.name not in OF_GENES):
                show_layer(layer, visible=True)
    looks = [i.look for d in layers if (i := info_of(d)) is not None and i.look is not None]
    if looks and look_as(session, looks[-1]):
        return
    run = run or next((one for one in reversed(seen) if one is not None), None)
    if run is not None and place_of(session.viewer, run) is None:
        run = None
    places = [info.place for layer, _ in added if (info := layer_info(layer)) is not None]
    session.look_at(places[-1] if places else None, run=run, read=read)


def take_over_edits(viewer: ViewerModel, layers: Sequence[LayerData]) -> None:
    """Do to domains that are open what was done to them in a save, and was not written.

    Where they have other changes, these stay, and that is said.
    """
    for data in layers:
        info = info_of(data)
        if info is None or info.role.name != "domains" or info.edits is None or info.run is None:
            continue
        there = next((one.edits for _, one in layers_of_domains(viewer, info.run)), None)
        if there is None or not info.edits.changes or there.now.same_as(info.edits.now):
            continue
        if there.changes:
            show_warning(
                f"{info.run.result.name}, {info.run.name}: the changes of domains in the save are "
                "left out, for the domains that are open have others, which are not saved; save or "
                "undo these, and open it again."
            )
        else:
            show_edits(viewer, info.edits)
