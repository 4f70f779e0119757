"""File → Open Sample: a phantom, made once and kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QEventLoop, QTimer

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.preferences import use_cache_folder
from napari_stenhance.plugin.waiting import waited_for
from napari_stenhance.running.job import Job

if TYPE_CHECKING:
    from napari_stenhance.plugin.layer_info import LayerData

SIZE_MM = 2.0
SEED = 1
_TITLE = "Making the sample"
_FIRST = "preparing, once after each start of napari"


def sample_phantom() -> list[LayerData]:
    """Return the layers of a 2 mm phantom; it is made first where the cache lacks it.

    napari wants the layers at once. So this waits, in a thread of its own, behind a window that
    shows the progress and can cancel; napari goes on drawing meanwhile. In a viewer, all but the
    last layer are added here, a layer a turn, and the last is returned.

    Raises
    ------
    Cancelled
        If the user did not want to wait.
    InputError
        If it is open already: a second one would lie over it.
    """
    use_cache_folder()
    viewer = napari.current_viewer()
    if viewer is None:
        return _layers(Job())
    with waited_for(viewer, _TITLE, _layers, _FIRST) as made:
        from napari_stenhance.plugin.opening import open_in_turns
        from napari_stenhance.plugin.scene import not_open_yet
        from napari_stenhance.plugin.session import session_of

        viewer.canvas.overlays.scale_bar.visible = True
        new = not_open_yet(made)
        if not new:
            # napari takes no sample of no layers.
            msg = "The sample is open already: choose it in the panel Section."
            raise InputError(msg)
        loop = QEventLoop()
        for _ in open_in_turns(session_of(viewer), new[:-1]):
            QTimer.singleShot(0, loop.quit)
            loop.exec()
    return new[-1:]


def _layers(job: Job) -> list[Any]:
    # Here, in the thread: to import all this takes seconds.
    from napari_stenhance.phantoms.phantom import VERSION
    from napari_stenhance.phantoms.write import write_phantom
    from napari_stenhance.plugin.layers import open_layers
    from napari_stenhance.plugin.warming import warm_layers
    from napari_stenhance.storage.cache import Cache

    warm_layers()
    cache = Cache.default()
    folder = cache.entry("phantoms", f"v{VERSION}-{SIZE_MM:g}mm-seed{SEED}") / "phantom"
    with cache.lock(folder, job):
        made = write_phantom(folder, SIZE_MM, SEED, job)
    return open_layers(Path(made.folder), None, job)[0]
