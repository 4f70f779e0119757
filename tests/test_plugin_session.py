"""One truth on screen: every dock and every layer is of one section, one run and one gene."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

import napari_stenhance as st
from napari_stenhance.plugin.genes import GeneImage
from napari_stenhance.plugin.layer_info import layer_info, layers_of, open_runs, our_layers
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.looks import look_of
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.places import box_of, open_places
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets import gene_reader
from napari_stenhance.plugin.writer import write_layers
from napari_stenhance.results.scale import limits
from napari_stenhance.tasks.predict import PredictOptions, predict
from person import Person, check_truth, overlap


def _seen(person: Person) -> list[str]:
    """Return what the camera sees of each place: its name, if its middle is on the canvas."""
    viewer = person.viewer
    centre = np.array(viewer.scene.camera.center[-2:])
    half = np.array(viewer.canvas.size) / viewer.scene.camera.zoom / 2
    middles = {p.name: box_of(viewer, p).mean(axis=0) for p in open_places(viewer)}
    return [name for name, at in middles.items() if (np.abs(at - centre) < half).all()]


@pytest.mark.painted
def test_two_sections_lie_side_by_side_and_docks_follow_the_one_that_is_looked_at(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    person.drop(small_files[0])
    first = person.section.words.toPlainText()
    person.drop(small_files[1])
    one, two = open_places(viewer)
    assert not overlap(box_of(viewer, one), box_of(viewer, two))
    # What was opened is looked at, and on screen.
    assert session.place is two
    assert _seen(person) == ["two"]
    fields = person.enhance.form.fields
    assert fields["sections"].value == ["two"]
    assert Path(fields["out"].value).name == "two.stenhance.zarr"
    assert person.impute.form.fields["spots"].value == "two"
    assert "Section two" in person.section.words.toPlainText()

    # A run on the first, though the second is looked at.
    fields["sections"].value = ["one"]
    out = tmp_path / "one.stenhance.zarr"
    person.set_enhance(out, write="G20, G1")
    person.run()
    assert session.place is one
    assert _seen(person) == ["one"]
    assert person.section.words.toPlainText().startswith(first)
    # It lies on its own tissue, and nowhere else; what was typed first is seen.
    for layer, info in our_layers(viewer):
        if info.run is not None:
            assert info.place is one
            assert not overlap(layer.extent.world, box_of(viewer, two))
    assert session.gene == "G20"
    assert viewer.layers.selection.active is person.layer("gene", gene="G20")
    check_truth(person.viewer)
    # Spots over it: measured, of the same gene, in the same colours.
    spots = {info.place: layer for layer, info in layers_of(viewer, "spots")}
    assert spots[one].visible
    assert not spots[two].visible
    assert spots[one].name == "G20 · measured · one"

    # Another section is another story.
    person.section.shown.setCurrentIndex(1)
    person.section.shown.activated.emit(1)
    assert session.place is two
    assert session.run is None
    assert _seen(person) == ["two"]
    assert person.genes.source.currentText() == "measured spots"
    assert fields["sections"].value == ["two"]
    check_truth(viewer)
    person.section.shown.activated.emit(0)
    assert session.run is not None
    assert session.run.result.path == out
    check_truth(viewer)

    # So are spots that are made visible by hand, and what lay beside them is hidden.
    spots[two].visible = True
    assert session.place is two
    assert not spots[one].visible
    check_truth(viewer)


def test_a_prediction_on_another_slide_lies_there(
    person: Person, small_files: list[Path], small: Path, tmp_path: Path
) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    for file in small_files:
        person.drop(file)
    out = tmp_path / "two.stenhance.zarr"
    predict(PredictOptions(result=small / "one.stenhance.zarr", on=(small_files[1],), out=out))
    person.drop(out)
    one, two = open_places(viewer)
    layer = person.layer("browse")
    assert layer.metadata["stenhance"].place is two
    grid = layer.metadata["stenhance"].run.grid
    np.testing.assert_allclose(layer.translate, np.add(two.origin, grid.translate_um()))
    assert not overlap(layer.extent.world, box_of(viewer, one))
    assert session.place is two
    check_truth(viewer)
    # The other has another result: each over its own.
    person.drop(small / "one.stenhance.zarr")
    layers = {info.place: la for la, info in layers_of(viewer, "browse")}
    assert set(layers) == {one, two}
    assert layers[one].visible
    assert not layers[two].visible
    assert session.place is one
    check_truth(viewer)


def test_limits_are_one_whatever_sets_them(
    person: Person, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    out = shutil.copytree(small / "one.stenhance.zarr", tmp_path / "one.stenhance.zarr")
    person.drop(small / "one.h5ad")
    readers: list[bool] = []
    read = GeneImage.read

    def reading(*args: Any, **how: Any) -> GeneImage:
        readers.append(threading.current_thread() is threading.main_thread())
        return read(*args, **how)

    monkeypatch.setattr(GeneImage, "read", reading)
    person.drop(out)
    # What is seen first is read in the thread that opens it, and nowhere else.
    assert readers == [False]
    person.type_gene("G14")
    browse, spots = person.layer("browse"), person.layer("spots")
    assert browse.contrast_limits == pytest.approx(session.limits)
    before = spots.face_color.copy()
    browse.contrast_limits = (0.5, 2.5)
    assert session.limits == (0.5, 2.5)
    assert not np.array_equal(spots.face_color, before)
    check_truth(viewer)
    assert "G14 predicted (spots: measured), log1p CP10k" in person.genes.legend.title.text()
    assert person.genes.legend.low.text() == "0.50"
    # Measured and predicted have one colormap, also one that is set by hand, for any gene.
    browse.colormap = "turbo"
    check_truth(viewer)
    before = spots.face_color.copy()
    # The mouse rests where it was: napari would go on to say what lay under it.
    at = browse.extent.world.mean(axis=0)
    viewer.cursor.position = tuple(at)
    viewer.status = browse.get_status(at, world=True)
    person.type_gene("G3")
    # Caption and bar are in their places before napari draws: it would draw all of it again.
    assert not viewer.window._qt_viewer.canvas._needs_overlay_position_update
    assert viewer.status["layer_name"] == browse.name == "G3 · Pixel2Gene · one"
    value = f"{browse.get_value(at, world=True)[1]:.3g}"
    assert viewer.status["value"] == f"G3 predicted, log1p CP10k: {value}"
    # Where nothing is, nothing is said: no level of a pyramid, and no "nan".
    lost = np.argwhere(np.isnan(np.asarray(browse.data[0])))[0]
    nowhere = browse.data_to_world(lost), at + 10**6
    assert {browse.get_status(one, world=True)["value"] for one in nowhere} == {""}
    assert browse.colormap.name == session.colormap.name == "turbo"
    assert not np.array_equal(spots.face_color, before)
    check_truth(viewer)
    person.type_gene("G14")
    # What is no expression has another.
    person.genes.uncertainty.setChecked(True)
    assert browse.colormap.name == "cividis"
    assert not spots.visible
    assert "uncertainty of G14" in person.genes.legend.title.text()
    # The box says what is seen; where that cannot be changed, why.
    box = person.genes.spots
    assert (box.isChecked(), box.isEnabled()) == (False, False)
    assert "no uncertainty" in box.toolTip()
    check_truth(viewer)
    person.genes.uncertainty.setChecked(False)
    assert (box.isChecked(), box.isEnabled(), spots.visible) == (True, True, True)
    assert "no uncertainty" not in box.toolTip()
    spots.visible = False
    assert not box.isChecked()
    assert "spots" not in person.genes.legend.title.text()
    box.setChecked(True)
    assert spots.visible
    box.setChecked(False)
    assert not spots.visible
    # What is made visible by hand is looked at.
    browse.visible = False
    spots.visible = True
    assert person.genes.spots.isChecked()
    person.click(person.genes.pin)
    person.wait(lambda: not person.genes.run_bar.busy)
    pinned = person.layer("gene", gene="G14")
    person.type_gene("G3")
    assert not pinned.visible
    pinned.visible = True
    assert session.gene == "G14"
    assert not browse.visible
    check_truth(viewer)
    # What is measured alone is in limits of its own.
    person.genes.source.setCurrentIndex(person.genes.source.count() - 1)
    assert not pinned.visible
    assert "G14 measured" in person.genes.legend.title.text()
    assert (box.isChecked(), box.isEnabled()) == (True, False)
    check_truth(viewer)
    # What showed the gene is removed: another layer shows it, and is the active one.
    person.genes.source.setCurrentIndex(0)
    assert pinned.visible
    viewer.layers.selection = {pinned}
    viewer.layers.remove_selected()
    assert browse.visible
    assert browse.name.startswith("G14 · ")
    assert viewer.layers.selection.active is browse
    check_truth(viewer)


def test_what_is_seen_stays_until_another_gene_was_read(
    person: Person, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, session, genes = person.viewer, session_of(person.viewer), person.genes
    person.drop(small / "one.stenhance.zarr")
    person.type_gene("G14")
    browse, before = person.layer("browse"), person.layer("browse").data[0]
    looked: list[tuple[str, str]] = []
    session.changed.connect(lambda: looked.append((session.gene, session.what)))
    monkeypatch.setattr(gene_reader, "AT_ONCE", 0)
    for gene in ("G3", "G5", "G7"):
        genes.show_gene(gene)
        assert browse.data[0] is before
        assert "G14" in genes.legend.title.text()
        check_truth(viewer)
    person.wait(lambda: not genes.reader.busy)
    # Of several, that which was asked for last; all that shows it changed at once.
    assert looked == [("G7", "expression")]
    field = session.genes.levels("G7").part()
    rows, columns = field.shape
    np.testing.assert_array_equal(np.asarray(browse.data[0])[:rows, :columns], field)
    assert browse.contrast_limits == pytest.approx(limits(field[np.isfinite(field)]))
    check_truth(viewer)
    # What is looked at meanwhile stays.
    genes.uncertainty.setChecked(True)
    session.look_at(gene="G9")
    person.wait(lambda: not genes.reader.busy)
    assert looked[1:] == [("G9", "expression")]
    assert not genes.uncertainty.isChecked()
    check_truth(viewer)
    # What was closed meanwhile is not shown.
    genes.show_gene("G1")
    viewer.layers.clear()
    person.wait(lambda: not genes.reader.busy)
    assert session.genes is None


def test_a_gene_of_very_many_spots_is_read_in_a_thread(
    person: Person, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, genes = session_of(person.viewer), person.genes
    person.drop(small / "one.h5ad")
    monkeypatch.setattr(gene_reader, "SPOTS_AT_ONCE", 0)
    for gene in ("G3", "G5", "G7"):
        genes.show_gene(gene)
        assert session.gene == ""
    person.wait(lambda: not genes.reader.busy)
    assert session.gene == "G7"
    assert "G7" in person.layer("spots").name
    check_truth(person.viewer)


def test_what_is_removed_is_no_longer_looked_at(person: Person, small: Path) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    person.drop(small / "one.stenhance.zarr")
    person.drop(small / "two.h5ad")
    person.section.shown.activated.emit(0)
    person.viewer.layers.remove(person.layer("browse"))
    assert session.run is None
    check_truth(viewer)
    for layer, info in list(our_layers(viewer)):
        if info.name == "one":
            viewer.layers.remove(layer)
    assert session.place is not None
    assert session.place.name == "two"
    check_truth(viewer)
    viewer.layers.clear()
    assert (session.place, session.run, session.gene) == (None, None, "")
    assert person.genes.table.genes.rowCount() == 0


def test_what_napari_opens_itself_is_looked_at_too(person: Person, small: Path) -> None:
    viewer, session = person.viewer, session_of(person.viewer)
    person.drop(small / "one.h5ad")
    viewer.open(str(small / "two.h5ad"), plugin="napari-stenhance")
    one, two = open_places(viewer)
    assert not overlap(box_of(viewer, one), box_of(viewer, two))
    assert session.place is two
    assert "Section two" in person.section.words.toPlainText()
    check_truth(viewer)


@pytest.mark.slow
def test_what_napari_opened_before_there_was_a_dock_is_looked_at(
    make_napari_viewer: Callable[..., Any], qtbot: Any, small: Path
) -> None:
    """As from the command line: *napari --plugin napari-stenhance two.h5ad one.h5ad*."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_viewer.canvas.native.setUpdatesEnabled(False)
    for name in ("two", "one", "one"):
        viewer.open(str(small / f"{name}.h5ad"), plugin="napari-stenhance")
    person = Person(viewer, qtbot)
    session = session_of(viewer)
    two, one = open_places(viewer)
    assert not overlap(box_of(viewer, one), box_of(viewer, two))
    assert session.place is one
    assert [person.section.shown.itemText(n) for n in range(2)] == ["two", "one"]
    assert person.section.shown.currentText() == "one"
    assert "Section one" in person.section.words.toPlainText()
    assert "total counts measured" in viewer.canvas.overlays["stenhance_caption"].text
    assert person.section.again.isEnabled()
    assert person.section.quality.check.isEnabled()
    assert person.section.tissue.look.isEnabled()
    # What lay twice is there once.
    assert len(viewer.layers) == 4
    check_truth(viewer)
    assert {"one", "two"} <= set(person.enhance.form.fields["sections"].choices)
    person.drop(small / "one.stenhance.zarr")
    run = session.genes
    assert run is not None
    assert session.place is one
    check_truth(viewer)
    person.click(person.enhance.draw)
    assert layer_info(viewer.layers.selection.active).place is one
    # Opened again, the slide does not lie over the prediction.
    viewer.open(str(small / "one.h5ad"), plugin="napari-stenhance")
    assert session.genes is run
    assert len([i for _, i in layers_of(viewer, "slide", "spots") if i.place is one]) == 2
    slide = next(layer for layer, i in layers_of(viewer, "slide") if i.place is one)
    viewer.layers.remove(slide)
    viewer.open(str(small / "one.h5ad"), plugin="napari-stenhance")
    names = [info.role.name for _, info in our_layers(viewer) if info.place is one]
    assert names[0] == "slide"
    assert names.count("spots") == 1
    check_truth(viewer)


@pytest.mark.slow
def test_what_was_looked_at_is_looked_at_when_saved_layers_are_opened(
    small: Path, tmp_path: Path
) -> None:
    viewer = ViewerModel()
    session = session_of(viewer)
    for name in ("one.stenhance.zarr", "two.h5ad"):
        open_at_once(session, open_layers(small / name)[0])
    run = open_runs(viewer, "browse")[-1]

    def state() -> tuple[Any, ...]:
        seen = {(la.name, la.visible) for la, info in our_layers(viewer)}
        said = session.gene, session.what, session.channels, session.with_spots, session.limits
        said += (session.colormap.name,)
        assert session.place is not None
        text = viewer.canvas.overlays["stenhance_caption"].text
        return session.place.name, session.run and session.run.key, *said, seen, text

    def channels() -> None:
        session.look_at(run=run, gene="G4")
        session.look_at_channels(["G1", "G2", "G3"])
        layer = next(la for la, i in layers_of(viewer, "channel") if i.gene == "G2")
        layer.contrast_limits = (0.5, 2.5)

    def spread() -> None:
        session.with_spots = False
        session.look_at(run=run, gene="G7", what="spread")
        ((layer, _),) = layers_of(viewer, "browse")
        layer.contrast_limits, layer.colormap = (0.25, 1.5), "twilight"
        assert session.colormap.name == "twilight"

    for n, look in enumerate((channels, lambda: session.look_at_measured("G9"), spread)):
        look()
        before = state()
        assert before[0] == "one"
        layers = [layer.as_layer_data_tuple() for layer in viewer.layers]
        write_layers(str(tmp_path / f"{n}.zarr"), layers, look=look_of(session))
        viewer.layers.clear()
        session.colormaps.clear()
        saved, _, _ = open_layers(tmp_path / f"{n}.zarr")
        if n % 2:
            open_at_once(session, saved)
        else:
            # As napari itself adds them.
            for data in saved:
                viewer.add_layer(Layer.create(*data))
        assert state() == before
        check_truth(viewer)
        run = open_runs(viewer, "browse")[-1]


@pytest.mark.slow
def test_what_is_said_is_of_what_is_seen_and_in_its_unit(person: Person, here: Path) -> None:
    out = here / "istar.stenhance.zarr"
    st.enhance(here / "one.h5ad", out=out, preset="istar", epochs=1, device="cpu", job=st.Job())
    person.drop(out)
    session = session_of(person.viewer)
    legend = person.genes.legend

    def caption() -> str:
        overlay = person.viewer.canvas.overlays["stenhance_caption"]
        return " ".join(overlay.text.split()) if overlay.visible else ""

    # Spots measured counts, and the image is of something else: each has a scale, and says which.
    gene, spots = session.gene, person.layer("spots")
    values = session.measured.values(gene)
    low, high = np.percentile(values, (1, 99))
    check_truth(person.viewer)
    image = f"{gene} predicted, counts per superpixel"
    of_spots = f"spots: {gene} measured, log1p CP10k: {low:.2f} – {high:.2f}"
    assert caption() == f"{image} {of_spots}"
    assert (legend.title.text(), legend.other.text()) == (image, of_spots)
    # Numbers are as exact as what they part.
    low, high = session.limits
    assert high - low < 0.01
    written = float(legend.low.text()), float(legend.high.text())
    np.testing.assert_allclose(written, (low, high), atol=0.1 * (high - low))
    assert written[0] < written[1]

    # What is hidden by hand is not spoken of.
    spots.visible = False
    assert (caption(), legend.other.text()) == (image, "")
    assert not person.genes.spots.isChecked()
    spots.visible = True
    person.layer("browse").visible = False
    assert caption() == of_spots
    assert legend.title.isHidden()
    spots.visible = False
    assert caption() == ""
    assert legend.isHidden()
    person.click(person.genes.spots)
    check_truth(person.viewer)
    assert caption() == f"{image} {of_spots}"
