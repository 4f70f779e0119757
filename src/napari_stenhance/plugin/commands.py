"""The commands of `napari.yaml` that are listed in napari's palette: each does an action."""

from __future__ import annotations

from collections.abc import Callable

from napari.viewer import Viewer

from napari_stenhance.plugin.widgets import actions
from napari_stenhance.plugin.widgets.workbench import workbench_of


def _command(act: Callable[[actions.Bench], None]) -> Callable[[Viewer], None]:
    def command(viewer: Viewer) -> None:
        act(workbench_of(viewer))

    command.__doc__ = act.__doc__
    return command


run = _command(actions.run)
cancel = _command(actions.cancel)
draw_region = _command(actions.draw_region)
save_layers = _command(actions.save_layers)
look_beside = _command(actions.look_beside)
search_gene = _command(actions.search_gene)
next_gene = _command(actions.next_gene)
previous_gene = _command(actions.previous_gene)
toggle_spots = _command(actions.toggle_spots)
toggle_uncertainty = _command(actions.toggle_uncertainty)
pin_gene = _command(actions.pin_gene)
