"""How a layer of `ALONE` is looked at: by itself, over the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import layers_of, our_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_stenhance.plugin.layer_info import LayerData
    from napari_stenhance.plugin.session import Session
    from napari_stenhance.results.runs import FieldRun


def look_alone(session: Session, layer: Layer) -> None:
    """Look at a layer by itself, and make it the active one."""
    layer.visible = True
    session.look_at_slide(layer)
    session.viewer.layers.selection.active = layer


def look_alone_at(
    session: Session, role: str, run: FieldRun, make: Callable[[], LayerData]
) -> None:
    """Look at a run's layer of a role by itself; it is made where it is not there."""
    shown = [layer for layer, _ in layers_of(session.viewer, role, of_run=run.key)]
    look_alone(session, (shown or session.add([make()]))[0])


def need_open(session: Session, run: FieldRun) -> None:
    """Refuse to show more of a run whose layers were all closed meanwhile.

    Raises
    ------
    InputError
        If they were.
    """
    if run.key not in {info.of_run for _, info in our_layers(session.viewer)}:
        msg = f"{run.result.name} was closed meanwhile: open it again, to show more of it."
        raise InputError(msg)
