"""The values of what is looked at inside a region that is drawn or selected, read in a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stenhance.plugin.layer_info import Place, layers_of
from napari_stenhance.plugin.outlined import SHAPES_MOST, outlined_at
from napari_stenhance.plugin.regions import area_of, outline
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.worker import Outcome, Running
from napari_stenhance.results.scale import sampled_level
from napari_stenhance.section.region import Region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

    from napari_stenhance.results.field import What
    from napari_stenhance.results.gene_source import GeneSource
    from napari_stenhance.running.job import Job

_PAUSE_MS = 150
_Task = Callable[["Job"], tuple[NDArray[Any], str, float]]
"""Returns values in a region, what has them, and the mean of all there are."""


class RegionValues(QObject):
    """Follows what is looked at, and what is drawn over it; `changed` says that it has arrived.

    Values of a run are those of the level that the limits are taken of, so that a region and the
    tissue can be compared: those of finer levels spread more.

    Attributes
    ----------
    values : ndarray, or None
        Of the run's image where its pixels' centres lie in the region, else of measured spots;
        None where there is no region, and until they have been read.
    said : str
        Which region that is, and what its values are.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session_of(viewer)
        self.values: NDArray[Any] | None = None
        self.said = ""
        self._key: tuple[Any, ...] = ()
        self._task: _Task | None = None
        self._name = ""
        self._running: Running | None = None
        self._emitters: list[Any] = [viewer.layers.selection.events.active]
        self._emitters[0].connect(self._selected)
        parent.destroyed.connect(self._leave)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._start)

    def follow(self) -> None:
        """Read the values of what is looked at now, if they are others."""
        session, run, found = self._session, self._session.genes, self._region()
        shown = found is not None and bool(session.title)
        if found is None or not shown:
            key: tuple[Any, ...] = ()
        else:
            name, region = found
            # While a run is filled, its values change.
            filling = session.values if run is not None and not run.complete else None
            of = None if run is None else run.key
            key = of, session.gene, session.what, name, region.area.wkb, id(filling), filling
        if key[:-1] == self._key[:-1]:
            return
        self._key, self._task = key, None
        had, self.values, self.said = self.said, None, ""
        if found is not None and shown:
            self._name, region = found
            if run is not None:
                values = session.values
                mean = np.nan if values is None else float(values.mean(dtype=float))
                self._task = _of_run(run, session.gene, session.what, region, mean)
            else:
                self._task = self._of_spots(region)
            self._timer.start()
        if had:
            self.changed.emit()

    def _region(self) -> tuple[str, Region] | None:
        """Return the region that is meant: of the active layer, or else of the last that has any.

        Of its shapes, those that are selected, or else all.
        """
        place = self._session.place
        layers = [
            layer
            for layer, info in layers_of(self._viewer, "region")
            if info.place is place and place is not None and len(layer.data)
        ]
        for layer in layers:
            chosen = layer.selected_data.events.items_changed
            if chosen not in self._emitters:
                self._emitters.append(chosen)
                chosen.connect(self._selected)
        for layer, outlined in outlined_at(self._viewer, place):
            if layer.events.data not in self._emitters:
                self._emitters.append(layer.events.data)
                layer.events.data.connect(self._selected)
            if layer.visible and 0 < len(outlined.chosen) <= SHAPES_MOST:
                chosen = outlined.regions.chosen(outlined.chosen)
                return f"{layer.name}, selected", chosen.united()
        active = self._viewer.layers.selection.active
        layer = active if active in layers else next(reversed(layers), None)
        if layer is None or place is None:
            return None
        shapes = _shapes(layer, place)
        if not shapes:
            return None
        region = Region.from_shapes(shapes)
        if not region.area.area > 0:
            return None
        some = len(shapes) < len(layer.data)
        return (f"{layer.name}, selected" if some else layer.name), region

    def _selected(self, *_items: Any) -> None:
        self.follow()

    def _leave(self, _parent: Any = None) -> None:
        for emitter in self._emitters:
            emitter.disconnect(self._selected)

    def _of_spots(self, region: Region) -> _Task | None:
        session = self._session
        colours, section, gene = session.measured, session.section, session.gene
        if colours is None or section is None or section.spots is None:
            return None
        xy = np.asarray(section.spots.obsm["spatial"], float)[:, :2] * (section.mpp or 1.0)

        def task(_job: Job) -> tuple[NDArray[Any], str, float]:
            values = colours.values(gene)
            inside = shapely.contains_xy(region.area, xy[:, 0], xy[:, 1])
            return values[inside], "spots", float(values.mean(dtype=float))

        return task

    def _start(self) -> None:
        """Read, once what was read before has come to an end."""
        task, key = self._task, self._key
        if task is None or self._running is not None:
            return
        self._running = Running("Values in the region", task)
        self._running.ended.connect(lambda outcome: self._ended(key, outcome))
        self._running.start()

    def _ended(self, key: tuple[Any, ...], outcome: Outcome) -> None:
        self._running = None
        if key is not self._key:
            self._start()
            return
        if outcome.value is None:
            self.said = f"{self._name}: {outcome.error}"
        elif not outcome.value[0].size:
            self.said = f"{self._name}: there is nothing in it"
        else:
            self.values, what, whole = outcome.value
            mean = self.values.mean(dtype=float)
            self.said = f"{self._name}: mean {mean:.2f} of {self.values.size:,} {what}"
            self.said += "" if np.isnan(whole) else f"; of all {whole:.2f}"
        self.changed.emit()


def _shapes(layer: Shapes, place: Place) -> list[Any]:
    """Return what is selected of a layer, or else all of it, in micrometres of its section."""
    chosen = sorted(layer.selected_data) or range(len(layer.data))
    polygons = []
    for n in chosen:
        kind, corners = layer.shape_type[n], layer.data[n]
        if kind not in {"line", "path"} and len(corners) >= 3:
            world = np.array([layer.data_to_world(p[-2:]) for p in outline(kind, corners)])
            polygons.append(area_of((world - place.origin)[:, ::-1]))
    return polygons


def _of_run(run: GeneSource, gene: str, what: What, region: Region, mean: float) -> _Task:
    def task(_job: Job) -> tuple[NDArray[Any], str, float]:
        levels = run.levels(gene, what)
        level = sampled_level(levels.shapes)
        shape, pitch = levels.shapes[level], run.grid.scale_um(level)
        unit = "µm" if run.grid.unit == "micrometer" else "px"
        of = f"superpixels of {pitch:g} {unit}"
        inside = region.mask(replace(run.grid, pitch_um=pitch, shape=shape))
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return np.zeros(0, np.float32), of, mean
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        values = levels.part(level, *part)[inside[part]]
        return values[np.isfinite(values)], of, mean

    return task
