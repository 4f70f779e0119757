"""Regions of a file that are too many to be shapes: seen, listed, sorted, found, and asked."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from napari.layers import Labels
from napari.utils.colormaps.standardize_color import transform_color
from qtpy.QtCore import Qt, QTimer

import napari_stenhance as st
from napari_stenhance.plugin.layer_info import layer_info, layers_of
from napari_stenhance.plugin.outlined import SHAPES_MOST, outlined_layer
from napari_stenhance.plugin.outlines import OutlinedRegions
from napari_stenhance.plugin.printed import view_as_figure
from napari_stenhance.plugin.session import session_of
from napari_stenhance.section.named_regions import NamedRegions
from person import Person

NUMBER = SHAPES_MOST + 40


def _glands(number: int, side: float, seed: int = 0) -> NamedRegions:
    """Rings of some forms, of two classes, on a slide of some µm a side."""
    rng = np.random.default_rng(seed)
    apart = side / np.ceil(np.sqrt(number))
    at = np.indices((int(side / apart),) * 2).reshape(2, -1).T[:number] * apart + apart / 2
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    far = apart * rng.uniform(0.2, 0.45, (len(at), 24))
    rings = at[:, None] + far[..., None] * np.column_stack([np.cos(turn), np.sin(turn)])
    areas = shapely.polygons(rings)
    kinds = tuple(("Tumor", "Stroma")[n % 2] for n in range(len(at)))
    colours = tuple(("#c80000", "#00a000")[n % 2] for n in range(len(at)))
    names = tuple(f"Gland {n + 1}" for n in range(len(at)))
    return NamedRegions(names, areas, kinds, colours)


def _texts(person: Person, column: int) -> list[str]:
    model = person.regions.table.regions
    return [model.index(row, column).data() for row in range(model.rowCount())]


def _done(person: Person) -> None:
    person.wait(lambda: not person.regions.run_bar.busy)
    assert not person.regions.run_bar.error.text()


def _counted(person: Person) -> pd.DataFrame:
    person.wait(lambda: person.regions.counts.found is not None)
    return person.regions.counts.found.numbers


def _pixels(layer: Any) -> np.ndarray:
    return np.asarray(layer.data[0][:])


@pytest.fixture
def many(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small / "one.stenhance.zarr", tmp_path / "one.stenhance.zarr")
    _glands(NUMBER, 480).write(tmp_path / "glands.geojson")
    return tmp_path


def test_outlines_are_drawn_where_the_polygons_run_on_every_level() -> None:
    regions = _glands(30, 3000)
    regions = NamedRegions(
        (*regions.names, "Ring"),
        np.append(regions.areas, shapely.box(0, 0, 3000, 3000) - shapely.box(200, 200, 2800, 2800)),
    )
    outlined = OutlinedRegions.from_regions(regions, 0.5)
    labels = np.arange(1, 32, dtype=np.uint8)
    lines = shapely.boundary(regions.areas)
    for level, image in enumerate(outlined.levels(labels)):
        pixel = outlined.pixel * 2**level
        seen = np.asarray(image[:])
        assert seen.shape == outlined.shapes[level]
        for row, column in np.argwhere(seen)[:: max(int((seen > 0).sum()) // 300, 1)]:
            y, x = outlined.corner + (np.array([row, column]) + 0.5) * pixel
            line = lines[seen[row, column] - 1]
            assert line.distance(shapely.Point(x, y)) < 2.5 * pixel
        # Every corner of a region, the hole of the ring too, lies under its line or another's.
        for line in lines:
            x, y = shapely.get_coordinates(line).T
            at = np.floor((np.array([y, x]).T - outlined.corner) / pixel).astype(int)
            assert seen[tuple(at.T)].all()
    # Inside the hole of the ring is not in it; a gland is the smallest around its own middle.
    assert outlined.at((2999.0, 2999.0)).tolist() == [30]
    y, x = shapely.get_coordinates(shapely.point_on_surface(regions.areas[7]))[0][::-1]
    assert outlined.at((y, x))[0] == 7


def test_more_colours_than_labels_and_what_is_chosen_have_labels_of_their_own() -> None:
    colours = tuple(f"#{n:06x}" for n in range(400))
    regions = NamedRegions(
        tuple(map(str, range(400))), _glands(400, 4000).areas, colours=(*colours[:399], "")
    )
    outlined = replace(OutlinedRegions.from_regions(regions, 1.0), chosen=(5,))
    data, attributes, kind = outlined_layer("one", 1.0, outlined, "many.geojson")
    layer = Labels(data, **attributes)
    assert kind == "labels"
    for n, expected in ((0, colours[0]), (200, colours[200]), (5, "#ffe800"), (399, "#00c8ff")):
        x, y = shapely.get_coordinates(regions.areas[n])[3]
        label = layer.data[0][tuple(np.rint(layer.world_to_data((y, x))).astype(int))]
        assert np.allclose(layer.colormap.map(label), transform_color(expected)[0], atol=1e-3)


@pytest.mark.slow
def test_very_many_regions_of_a_file_are_seen_and_asked_as_drawn_ones_are(
    person: Person, many: Path
) -> None:
    session = session_of(person.viewer)
    person.drop(many / "one.stenhance.zarr")
    regions = person.bench.open("regions")
    session.look_at(gene="G3")
    regions.files.open_regions(many / "glands.geojson")
    _done(person)
    assert "to change some, select them and press Edit" in regions.run_bar.label.text()
    layer = person.layer("outlined regions")
    assert regions.what.currentText() == "Regions of glands.geojson"
    numbers = _counted(person)
    expected = st.summarise(
        many / "one.stenhance.zarr", regions=many / "glands.geojson", genes="G3"
    )
    pd.testing.assert_frame_equal(numbers, expected, rtol=1e-9)
    assert _texts(person, 0) == list(NamedRegions.read(many / "glands.geojson").names)
    assert not list(layers_of(person.viewer, "region"))

    # Sorted by what is predicted, and by name; found by a part of the name.
    header = regions.table.horizontalHeader()
    header.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
    first = int(np.nanargmax(numbers["mean"]))
    assert _texts(person, 0)[0] == numbers["region"][first]
    assert regions.table.regions.order[0] == first
    header.setSortIndicator(0, Qt.SortOrder.DescendingOrder)
    assert _texts(person, 0)[:2] == [f"Gland {NUMBER}", f"Gland {NUMBER - 1}"]
    header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
    person.bot.keyClicks(regions.find, "gland 27")
    assert _texts(person, 0) == ["Gland 27", *(f"Gland {n}" for n in range(270, 280))]

    # What is selected stands out, is brought into view, and its values are those of the chart.
    person.viewer.scene.camera.zoom *= 20
    chart = person.genes.region
    regions.table.selectRow(7)
    person.wait(lambda: chart.said.startswith("glands.geojson · one, selected: "))
    info = layer_info(layer)
    person.wait(lambda: layer_info(layer).outlined.chosen == (275,))
    area = info.outlined.regions.areas[275]
    y, x = np.array([area.centroid.y, area.centroid.x]) + info.place.origin
    assert np.hypot(*np.subtract(person.viewer.scene.camera.center[-2:], (y, x))) < 30
    pixels = _pixels(layer)
    shown = np.argwhere(pixels == 255)
    world = np.array([layer.data_to_world(at) for at in shown]) - info.place.origin
    assert area.boundary.distance(shapely.points(world[:, ::-1])).max() < 1.5
    # Both classes keep their colours.
    assert set(np.unique(pixels)) == {0, 1, 2, 255}
    assert np.allclose(layer.colormap.color_dict[1][:3], np.array([200, 0, 0]) / 255)

    # A click on the slide selects; what is under the mouse is said.
    other = info.outlined.regions.areas[276]
    at = np.array([other.centroid.y, other.centroid.x]) + info.place.origin
    person.click_world(*at)
    person.wait(lambda: regions.table.rows() == [276])
    assert layer_info(layer).outlined.chosen == (276,)
    assert layer.get_status(at, world=True)["value"] == "region: Gland 277, Tumor"

    # One that is not among those found is found again.
    away = info.outlined.regions.areas[400].centroid
    person.viewer.scene.camera.center = (0, *np.add((away.y, away.x), info.place.origin))
    person.click_world(*np.add((away.y, away.x), info.place.origin))
    person.wait(lambda: regions.table.rows() == [400])
    assert not regions.find.text()
    person.click_world(*at)
    person.wait(lambda: regions.table.rows() == [276])

    # They are saved as they are, and some are taken among the drawn ones to be changed.
    regions.files.save_regions(many / "back.geojson")
    _done(person)
    back = NamedRegions.read(many / "back.geojson")
    read = NamedRegions.read(many / "glands.geojson")
    for name in ("names", "kinds", "colours"):
        assert getattr(back, name) == getattr(read, name)
    assert shapely.equals_exact(back.areas, read.areas).all()
    assert not regions.delete.isVisible()
    person.click(regions.edit)
    _done(person)
    assert regions.what.currentText() == "Drawn regions"
    assert _texts(person, 0) == ["Gland 277"]
    assert person.layer("region").features["class"].tolist() == ["Tumor"]
    # What is asked of drawn ones is asked of these.
    regions.list_what("Regions of glands.geojson")
    regions.find.clear()
    regions.table.choose(range(250, 290))
    person.click(regions.questions.similar)
    _done(person)
    name = person.layer("similarity").name
    assert name.startswith("similarity to Gland 251 and Gland 252 and Gland 253 …")
    person.click(regions.questions.predict)
    assert "has predicted all of one already" in regions.run_bar.error.text()
    # *Enhance genes* can be kept to them, and a figure has their outlines.
    person.set_enhance(many / "new.stenhance.zarr")
    person.enhance.form.fields["region"].value = layer.name
    every = shapely.union_all(read.areas)
    assert person.enhance.options().region.area.symmetric_difference(every).area < 1e-6
    session.look_at(run=session.runs()[0], gene="G3")
    drawn = view_as_figure(session, many / "f.png").outlines.area
    # That which is drawn besides is one of them, but for what shapes lose.
    assert drawn.symmetric_difference(every).area < 0.1
    # The same file again is no second layer.
    regions.files.open_regions(many / "glands.geojson")
    _done(person)
    assert len(list(layers_of(person.viewer, "outlined regions"))) == 1


def test_outlined_regions_come_back_with_saved_layers(person: Person, many: Path) -> None:
    session = session_of(person.viewer)
    person.drop(many / "one.stenhance.zarr")
    regions = person.bench.open("regions")
    regions.files.open_regions(many / "glands.geojson")
    _done(person)
    layer = person.layer("outlined regions")
    before, place = _pixels(layer), (layer.name, tuple(layer.scale), tuple(layer.translate))
    person.bench.open("section")
    person.section.save_layers(many / "all.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    (many / "glands.geojson").unlink()
    person.viewer.layers.clear()
    person.section.open(many / "all.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    layer = person.layer("outlined regions")
    assert (layer.name, tuple(layer.scale), tuple(layer.translate)) == place
    np.testing.assert_array_equal(_pixels(layer), before)
    regions = person.bench.open("regions")
    regions.list_what("Regions of glands.geojson")
    assert len(_texts(person, 0)) == NUMBER
    session.look_at(gene="G5")
    assert len(_counted(person)) == NUMBER


def test_what_is_painted_becomes_a_region_with_its_hole(person: Person, many: Path) -> None:
    session = session_of(person.viewer)
    person.drop(many / "one.stenhance.zarr")
    regions = person.bench.open("regions")
    person.click(regions.brush)
    layer = person.layer("brush")
    assert (layer.mode, regions.brush.text()) == ("paint", "End brush")
    assert regions.title.text().startswith("Paint on the slide; End brush makes a region")
    assert not regions.find.isVisible()
    assert person.viewer.layers.selection.active is layer
    layer.brush_size = 6
    # napari's brush snaps to superpixels: here by less than what the mouse may be off.
    person.viewer.scene.camera.zoom = 0.25
    person.click_world(200.0, 200.0)
    person.wait(lambda: np.asarray(layer.data).any())
    # Around a hole, as the brush would.
    painted = np.asarray(layer.data).copy()
    painted[40:50, 40:52] = 1
    painted[44:46, 44:47] = 0
    layer.data = painted
    person.click(regions.brush)
    _done(person)
    assert not list(layers_of(person.viewer, "brush"))
    assert regions.brush.text() == "Brush"
    assert _texts(person, 0) == ["Region 1"]
    numbers = _counted(person)
    (area,) = regions.listed_regions().areas
    assert sum(len(part.interiors) for part in area.geoms) == 1
    grid = session.run.grid
    assert grid.pitch_um == 8.0
    # It holds what was painted, superpixel for superpixel.
    np.testing.assert_array_equal(st.Region(area).mask(grid), painted > 0)
    assert numbers["area_um2"][0] == pytest.approx((painted > 0).sum() * 64)
    # Nothing painted is no region.
    person.click(regions.brush)
    person.click(regions.brush)
    _done(person)
    assert _texts(person, 0) == ["Region 1"]


class Slots:
    """How long the thread of the interface worked at once, in s of its own time."""

    def __init__(self) -> None:
        self.most, self._last = 0.0, time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self) -> None:
        now = time.thread_time()
        self.most, self._last = max(self.most, now - self._last), now

    def take(self) -> float:
        most, self.most = self.most, 0.0
        return most


@pytest.mark.slow
def test_ten_thousand_regions_are_opened_and_chosen_without_standing_still(
    person: Person, many: Path
) -> None:
    _glands(10_000, 480).write(many / "very many.geojson")
    person.drop(many / "one.stenhance.zarr")
    regions = person.bench.open("regions")
    # What napari loads and compiles for the first layer of labels is not counted.
    regions.files.open_regions(many / "glands.geojson")
    _done(person)
    _counted(person)
    slots = Slots()
    person.bot.wait(200)
    slots.take()
    regions.files.open_regions(many / "very many.geojson")
    _done(person)
    assert len(_counted(person)) == 10_000
    opening = slots.take()
    for row in (5, 9_000, 400):
        regions.table.selectRow(row)
        person.bot.wait(150)
    choosing = slots.take()
    regions.table.horizontalHeader().setSortIndicator(1, Qt.SortOrder.DescendingOrder)
    person.bot.wait(100)
    sorting = slots.take()
    person.bot.keyClicks(regions.find, "77")
    person.bot.wait(100)
    finding = slots.take()
    # What napari alone needs for a layer of the same pixels.
    layer = person.viewer.layers["very many.geojson · one"]
    levels = [np.asarray(level[:]) for level in layer.data]
    look = {"scale": layer.scale, "translate": layer.translate, "colormap": layer.colormap}
    slots.take()
    person.viewer.add_labels(levels, multiscale=True, units=layer.units, **look)
    person.bot.wait(500)
    alone = slots.take()
    person.viewer.layers.remove(layer)
    person.bot.wait(100)
    print(
        f"napari alone {alone:.3f}, opening {opening:.3f}, choosing {choosing:.3f}, "
        f"sorting {sorting:.3f}, finding {finding:.3f}, removing {slots.take():.3f} s"
    )
    assert opening < alone + 0.1
    assert max(choosing, sorting, finding) < 0.1
