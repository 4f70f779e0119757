"""The tissue as a layer: shown, edited with napari's brush, used by the next run, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_stenhance.plugin.layer_info import layers_of, our_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.tissue_mask import TissueMask
from person import Person, check_truth


def test_tissue_is_edited_with_the_brush_and_the_next_run_uses_it(
    person: Person, small_files: list[Path], small: Path, tmp_path: Path
) -> None:
    row, viewer = person.section.tissue, person.viewer

    def says(state: str) -> None:
        person.wait(lambda: row.state.text().startswith(state), 10)

    def shown() -> None:
        person.click(row.look)
        person.wait(lambda: not person.section.run_bar.busy)

    assert not row.look.isEnabled()
    person.drop(small_files[0])
    shown()
    layer = person.layer("tissue")
    assert viewer.layers.selection.active is layer
    found = ResultFolder.open(small / "one.stenhance.zarr").tissue()
    np.testing.assert_array_equal(layer.data, found)
    slide = person.enhance.form.chosen("sections")[0].slide
    grid = Grid.over(slide)
    np.testing.assert_allclose(layer.scale, grid.pitch_um)
    np.testing.assert_allclose(layer.translate, grid.translate_um())
    assert row.state.text().startswith("As found")
    assert not row.automatic.isEnabled()
    out = tmp_path / "one.stenhance.zarr"
    person.set_enhance(out, write="G1", epochs=1)
    assert person.enhance.options().sections[0].slide.tissue is None

    # Half of it is rubbed out; undo and redo are napari's.
    layer.brush_size = found.shape[1]
    layer.paint((0, 0), 0)
    says("Edited")
    assert 0 < np.count_nonzero(layer.data) < found.sum()
    layer.undo()
    says("As found")
    layer.redo()
    says("Edited")
    edited = np.asarray(layer.data) != 0
    person.run()
    assert not person.enhance.run_bar.error.text()
    assert "its tissue is what was edited" in person.enhance.run_bar.notes.toPlainText()
    result = ResultFolder.open(out)
    (run,) = result.runs
    sha256 = TissueMask(edited, grid).sha256
    assert result.run_attributes(run)["identity"]["tissue_sha256"] == sha256
    np.testing.assert_array_equal(result.tissue(run), edited)
    np.testing.assert_array_equal(np.isfinite(result.field(run).image("G1")), edited)
    # What the run shows is seen, and not under the mask.
    assert not layer.visible
    check_truth(viewer)

    # An empty one is refused at the click; the found one comes back at another.
    layer.data = np.zeros_like(layer.data)
    says("Empty")
    person.click(person.enhance.run)
    assert "one: The tissue mask is empty" in person.enhance.run_bar.error.text()
    person.click(row.automatic)
    person.wait(lambda: not person.section.run_bar.busy)
    np.testing.assert_array_equal(layer.data, found)
    assert row.state.text().startswith("As found")
    assert person.enhance.options().sections[0].slide.tissue is None

    # A result that is opened again shows what its run used, edited as it was; so do saved layers.
    viewer.layers.clear()
    person.drop(out)
    shown()
    again = person.layer("tissue")
    np.testing.assert_array_equal(np.asarray(again.data) != 0, edited)
    assert row.state.text().startswith("Edited")
    # It lies over the slide, and over no colours that mean something.
    session = session_of(viewer)
    assert again.visible
    assert not [one for one, i in our_layers(viewer) if i.role.fills and one.visible]
    assert "predicted" not in viewer.canvas.overlays["stenhance_caption"].text
    session.look_at(gene="G2")
    assert not again.visible
    assert "G2 predicted" in viewer.canvas.overlays["stenhance_caption"].text
    check_truth(viewer)
    session.look_at_channels(["G1", "G2"])
    person.click(row.look)
    # A run that fills shows what it has again and again: the brush stays in hand.
    assert viewer.layers.selection.active is again
    session.show()
    assert viewer.layers.selection.active is again
    person.click(row.look)
    assert again.visible
    assert not session.channels
    assert not [one for one, i in our_layers(viewer) if i.role.fills and one.visible]
    again.paint((0, 0), 0)
    painted = np.array(again.data)
    person.section.save_layers(tmp_path / "saved.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    viewer.layers.clear()
    person.drop(tmp_path / "saved.zarr")
    ((back, _),) = layers_of(viewer, "tissue")
    np.testing.assert_array_equal(back.data, painted)
    assert row.state.text().startswith("Edited")
    back.undo()
    chosen = person.enhance.options().sections[0].slide.tissue
    np.testing.assert_array_equal(chosen.values, painted != 0)

    # Opened at another scale, the same pixels are tissue; and automatic is as it is found there.
    person.section.mpp.setValue(1.6)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    says("Edited")
    ((moved, _),) = layers_of(viewer, "tissue")
    np.testing.assert_array_equal(moved.data, np.kron(painted != 0, np.ones((2, 2))))
    np.testing.assert_allclose(moved.scale, grid.pitch_um)
    person.click(row.automatic)
    person.wait(lambda: not person.section.run_bar.busy)
    says("As found")
    assert not row.automatic.isEnabled()
    # What was edited of another slide is left out, and that is said.
    moved.paint((80, 60), 0)
    says("Edited")
    person.section.image.setText(str(small / "two_he.jpg"))
    person.section.mpp.setValue(1.6)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    assert "its tissue was of another slide, and is left out" in person.section.run_bar.error.text()
    assert not list(layers_of(viewer, "tissue"))
