"""A question to its end in a real viewer: from a region that is drawn to all that reopens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from qtpy.QtCore import Qt

import napari_stenhance as st
from napari_stenhance.plugin.comparison import COMPARED
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.places import box_of, open_places
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_run
from person import Person, check_truth
from test_plugin_domains import find
from test_plugin_project import canvas_pixels, save_and_reopen, state_of


def _idle(person: Person, panel: Any) -> None:
    person.wait(lambda: not panel.run_bar.busy)
    assert not panel.run_bar.error.text()


def _corners(person: Person, shares: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places (y, x) of the world, by their share of the first section's height and width."""
    (top, left), (bottom, right) = box_of(person.viewer, open_places(person.viewer)[0])
    return [(top + a * (bottom - top), left + b * (right - left)) for a, b in shares]


def _journey(person: Person, first: Path, second: Path, folder: Path, genes: list[str]) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    person.drop(first)
    section = session.section
    assert section is not None

    # Learned from all, and predicted in a region alone.
    person.draw(_corners(person, [(0.3, 0.3), (0.3, 0.5), (0.6, 0.5), (0.6, 0.3)]))
    out = folder / "first.stenhance.zarr"
    person.set_enhance(out, write=genes[0])
    person.run()
    assert not person.enhance.run_bar.error.text()
    inside = field_run(ResultFolder.open(out))
    assert inside.in_region

    # Another region, and its numbers: those of `summarise`, and of AnnData by hand.
    regions = person.bench.open("regions")
    session.look_at(gene=genes[1])
    person.click(regions.draw)
    (drawn,) = (layer for layer, info in layers_of(viewer, "region") if info.run is None)
    person.wait(lambda: drawn.mode == "add_polygon")
    for corner in _corners(person, [(0.4, 0.45), (0.4, 0.7), (0.7, 0.7), (0.7, 0.45)]):
        before = sum(map(len, drawn.data))
        person.click_world(*corner)
        person.wait(lambda before=before: sum(map(len, drawn.data)) > before)
    person.bot.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)
    person.wait(lambda: regions.counts.found is not None and len(regions.counts.found.numbers) == 2)
    kept = folder / "regions.geojson"
    regions.files.save_regions(kept)
    _idle(person, regions)
    numbers = regions.counts.found.numbers
    pd.testing.assert_frame_equal(
        numbers, st.summarise(out, regions=kept, genes=genes[1], section=first), rtol=1e-9
    )
    areas = st.NamedRegions.read(kept).areas
    xy, spots = section.spots_um(), section.need_spots()
    depth = np.asarray(spots.X.sum(axis=1)).ravel()
    counts = spots.X[:, list(spots.var_names).index(genes[1])].toarray().ravel()
    measured = np.log1p(counts / depth * 1e4)
    for area, row in zip(areas, numbers.itertuples(), strict=True):
        within = shapely.contains_xy(area, *xy.T)
        assert row.spots == within.sum() > 0
        np.testing.assert_allclose(row.measured_mean, measured[within].mean(), rtol=1e-6)

    # Predicted in the second as well, with the model that is shown.
    regions.table.selectRow(1)
    person.click(regions.questions.predict)
    _idle(person, regions)
    (_, again) = (field for field in ResultFolder.open(out).runs)
    assert session.run is not None
    assert session.run.name == again
    check_truth(viewer)

    # And on another slide.
    person.drop(second)
    one, two = open_places(viewer)
    session.look_at(one)
    at = regions.questions.where.findText(f"{two.name}, the whole slide")
    regions.questions.where.setCurrentIndex(at)
    other = folder / f"{two.name}.stenhance.zarr"
    assert regions.questions.into.text() == f"Written to {other}"
    person.click(regions.questions.predict)
    _idle(person, regions)
    assert session.place is two
    whole = field_run(ResultFolder.open(other))
    assert not whole.in_region
    check_truth(viewer)

    # Both sections, side by side on one scale.
    compare = person.bench.open("compare")
    texts = [compare.left.itemText(n) for n in range(compare.left.count())]
    left, right = (
        next(t for t in texts if place.name in t and "measured" not in t) for place in (one, two)
    )
    compare.left.setCurrentText(left)
    compare.right.setCurrentText(right)
    person.click(compare.run)
    _idle(person, compare)
    shown = [layer for layer in viewer.layers if layer.visible and COMPARED in layer.metadata]
    shown = [layer for layer in shown if not layer.rgb]
    assert len(shown) == 2
    assert len({tuple(layer.contrast_limits) for layer in shown}) == 1
    person.click(compare.end)
    person.wait(lambda: not compare.comparing)

    # Domains of the other section's prediction, beside its genes.
    chosen = person.bench.open("domains").form.fields["sections"]
    assert chosen.value == [two.name]
    chosen.value = [f"superpixels of {other.name}"]
    find(person, other, 3)
    _idle(person, person.domains)
    (labels,) = (la for la, i in layers_of(viewer, "domains") if i.place is two)
    assert set(np.unique(np.asarray(labels.data[0]))) - {0} == {1, 2, 3}

    # All of it comes back as it was.
    session.look_at(run=whole, gene=genes[1])
    person.bench.open("regions")
    person.wait(lambda: not any(p.run_bar.busy for p in (regions, person.section)))
    before, seen = state_of(person), canvas_pixels(person)
    save_and_reopen(person, folder / "mine.zarr")
    check_truth(viewer)
    assert state_of(person) == before
    # Elsewhere in the world the canvas rounds colours otherwise.
    np.testing.assert_allclose(canvas_pixels(person).astype(int), seen.astype(int), atol=1)
    pd.testing.assert_frame_equal(
        st.summarise(out, regions=kept, genes=genes[1], section=first, run=inside.name),
        numbers,
        rtol=1e-9,
    )


@pytest.mark.slow
@pytest.mark.painted
def test_from_a_region_to_all_that_reopens(person: Person, small: Path, tmp_path: Path) -> None:
    for name in ("one.h5ad", "one_he.jpg", "two.h5ad", "two_he.jpg"):
        shutil.copy(small / name, tmp_path / name)
    _journey(person, tmp_path / "one.h5ad", tmp_path / "two.h5ad", tmp_path, ["G20", "G1"])


@pytest.mark.slow
@pytest.mark.painted
def test_from_a_region_of_c2_to_all_that_reopens(
    person: Person, data: Path, tmp_path: Path
) -> None:
    for name in ("C2", "C4"):
        shutil.copytree(data / "her2st" / name, tmp_path / name)
    _journey(person, tmp_path / "C2", tmp_path / "C4", tmp_path, ["ERBB2", "FASN"])
