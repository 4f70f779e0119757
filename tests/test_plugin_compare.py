"""A gene twice, side by side: the views, their one scale, what is between them, and the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_stenhance as st
from napari_stenhance.plugin.colours import SpotColours
from napari_stenhance.plugin.comparison import COMPARED, ComparedSide, Comparison
from napari_stenhance.plugin.layer_info import Place, layers_of
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import gene_run
from napari_stenhance.results.scale import gene_limits
from person import Person, check_truth


def _compare(person: Person, left: str, right: str, *, difference: bool = False) -> Any:
    panel = person.bench.open("compare")
    panel.left.setCurrentText(left)
    panel.right.setCurrentText(right)
    panel.difference.setChecked(difference)
    person.click(panel.run)
    person.wait(lambda: not panel.run_bar.busy)
    return panel


def _views(person: Person) -> list[Any]:
    """The layer on top of each view, from left to right."""
    viewer = person.viewer
    shown = {}
    for n, layer in enumerate(viewer.layers):
        if layer.visible:
            assert COMPARED in layer.metadata, layer
            shown[viewer.canvas.grid.position(n, viewer.layers)] = layer
    return [shown[at] for at in sorted(shown)]


def _visible(person: Person) -> list[tuple[str, bool]]:
    return [(layer.name, layer.visible) for layer in person.viewer.layers]


def test_what_is_read_of_two_sides_and_what_cannot_be(here: Path) -> None:
    section, place = st.read("one.h5ad"), Place("one")
    run = gene_run(ResultFolder.open("one.stenhance.zarr"))
    measured = ComparedSide("measured", place, section, colours=SpotColours.from_section(section))
    predicted = ComparedSide("Pixel2Gene", place, section, run)
    found = Comparison.read(predicted, measured, "G1 + G2", st.Job())
    assert found.limits == gene_limits(run, "G1 + G2")
    np.testing.assert_allclose(found.y, measured.colours.values("G1 + G2"))  # type: ignore[union-attr]
    assert found.r == pytest.approx(np.corrcoef(found.x, found.y)[0, 1])
    assert found.said.endswith(f"over {section.need_spots().n_obs} spots, which it learned from")
    np.testing.assert_allclose(found.difference, found.x - found.y)
    other = ComparedSide("measured", Place("two"), section, colours=measured.colours)
    apart = Comparison.read(measured, other, "G1", st.Job())
    assert (len(apart.x), apart.difference) == (0, None)
    for left, right, gene, said in (
        (measured, measured, "G1", "it is on both sides"),
        (measured, predicted, "NONE", "NONE: not to be had of measured"),
        (measured, predicted, "", "Total counts are not compared; choose a gene"),
    ):
        with pytest.raises(st.InputError, match=said):
            Comparison.read(left, right, gene, st.Job())


def test_once_there_is_a_choice_both_sides_differ(person: Person, here: Path) -> None:
    person.drop(here / "one.h5ad")
    panel = person.bench.open("compare")
    assert not panel.run.isEnabled()
    assert panel.words.text().startswith("There is only one side: measured.")
    person.drop(here / "one.stenhance.zarr")
    assert panel.words.text() == ""
    assert panel.run.isEnabled()
    assert (panel.left.currentText(), panel.right.currentText()) == ("measured", "Pixel2Gene")


@pytest.mark.slow
def test_measured_and_predicted_lie_side_by_side(person: Person, here: Path) -> None:
    session = session_of(person.viewer)
    person.drop(here / "one.stenhance.zarr")
    session.look_at(gene="G20")
    camera = person.viewer.scene.camera
    before, stood = _visible(person), [*camera.center, camera.zoom]
    panel = _compare(person, "measured", "Pixel2Gene", difference=True)
    spots, image, apart = _views(person)
    result = st.Result.open("one.stenhance.zarr")
    section = st.read("one.h5ad")
    measured = section.need_spots()
    share = measured[:, "G20"].X.toarray().ravel() / np.asarray(measured.X.sum(axis=1)).ravel()
    predicted = result.to_anndata(at=section, genes="G20").X.ravel()
    np.testing.assert_allclose(panel.chart.x, np.log1p(1e4 * share), rtol=1e-5)
    np.testing.assert_allclose(panel.chart.y, predicted, rtol=1e-5)
    r = np.corrcoef(panel.chart.x, panel.chart.y)[0, 1]
    assert f"r = {r:.2f} over {len(predicted)} spots, which it learned from" in panel.words.text()
    limits = gene_limits(session.genes, "G20")
    np.testing.assert_allclose(image.contrast_limits, limits, rtol=1e-6)
    colours = session.measured.paint("G20", limits, colormap=session.colormap)[0]
    np.testing.assert_allclose(spots.face_color, colours, atol=1e-6)
    assert (spots.name.split(",")[0], image.name.split(" ·")[0]) == (
        "G20 measured",
        "G20 predicted" + " – not reliable" * (session.reliability == "not reliable"),
    )
    # Red where more was measured than predicted.
    more = panel.chart.x - panel.chart.y
    reddish = apart.face_color[:, 0] > apart.face_color[:, 2]
    assert reddish[more > 0.2].all()
    assert not reddish[more < -0.2].any()

    # Another gene is compared too; what is compared is not saved; in the end all is as it was.
    session.look_at(gene="G1")
    person.wait(lambda: not panel.run_bar.busy and panel._shown.gene == "G1")
    assert _views(person)[0].name.startswith("G1 measured")
    person.section.save_layers(here / "no.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    assert "press End in the panel Compare" in person.section.run_bar.error.text()
    session.look_at(gene="G20")
    person.wait(lambda: not panel.run_bar.busy and panel._shown.gene == "G20")
    person.layer("browse").colormap = "viridis"
    person.wait(lambda: not panel.run_bar.busy and _views(person)[1].colormap.name == "viridis")
    person.layer("browse").colormap = "magma"
    person.wait(lambda: not panel.run_bar.busy and _views(person)[1].colormap.name == "magma")
    again = _views(person)[0]
    np.testing.assert_allclose(again.face_color, colours, atol=1e-6)
    person.click(panel.end)
    person.wait(lambda: not panel._view.layers)
    assert _visible(person) == before
    np.testing.assert_allclose([*camera.center, camera.zoom], stood)
    assert not person.viewer.canvas.grid.enabled
    check_truth(person.viewer)
    panel = _compare(person, "measured", "measured")
    assert "it is on both sides" in panel.run_bar.error.text()


@pytest.mark.slow
def test_two_runs_and_two_sections(person: Person, here: Path) -> None:
    session = session_of(person.viewer)
    path = here / "both.stenhance.zarr"
    shutil.copytree(Path("one.stenhance.zarr").resolve(), path)
    other = st.enhance("one.h5ad", out=path, epochs=2, device="cpu", seed=1, write="G1")
    person.drop(path)
    session.look_at(gene="G20")
    panel = _compare(person, "Pixel2Gene", "Pixel2Gene (2)", difference=True)
    first, second, apart = _views(person)
    assert tuple(first.contrast_limits) == tuple(second.contrast_limits)
    one, two = (
        st.Result.open(path).run(name)["G20"]
        for name in ("pixel2gene-stain-robust", other.run_name)
    )
    shape = one.shape
    np.testing.assert_allclose(
        np.asarray(apart.data[0])[: shape[0], : shape[1]], one - two, atol=1e-6
    )
    assert apart.contrast_limits[0] == -apart.contrast_limits[1]
    inside = np.isfinite(one.to_numpy())
    r = np.corrcoef(one.to_numpy()[inside], two.to_numpy()[inside])[0, 1]
    assert f"r = {r:.2f} over" in panel.words.text()
    # Of another gene, which has a layer of its own, no bar is touched: napari fails at that.
    touched = []
    for layer, _ in layers_of(person.viewer, "gene", "browse"):
        layer.colorbar.events.visible.connect(touched.append)
    person.bench.widget("genes").show_gene("G1")
    person.wait(lambda: not panel.run_bar.busy and panel._shown.gene == "G1")
    assert not touched
    person.click(panel.end)
    person.wait(lambda: not panel._view.layers)
    check_truth(person.viewer)

    person.drop(here / "two.h5ad")
    session.look_at_measured("G20")
    panel = person.bench.open("compare")
    # Of what is looked at now, and not of what was.
    assert panel.left.currentText() == "measured · two"
    panel = _compare(person, "measured · one", "measured · two")
    # Another gene is compared too, whichever section is on the left.
    session.look_at_measured("G1")
    person.wait(lambda: not panel.run_bar.busy and panel._shown.gene == "G1")
    assert panel.comparing
    person.click(panel.end)
    session.look_at_measured("G20")
    panel = _compare(person, "measured · two", "measured · one")
    left, right = _views(person)
    assert "Two sections have no places in common." in panel.words.text()
    # Both have one centre, where the left section lies, so that one camera sees both whole.
    centres = [layer.extent.world.mean(axis=0) for layer in (left, right)]
    np.testing.assert_allclose(*centres, atol=1e-6)
    np.testing.assert_allclose(person.viewer.scene.camera.center[-2:], centres[0])
    place = session.place
    (spots,) = (one for one, info in layers_of(person.viewer, "spots") if info.place is place)
    np.testing.assert_allclose(left.translate, spots.translate)
