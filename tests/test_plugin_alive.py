"""Results and saved layers that are opened again in a real viewer: all of them can be used."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QPushButton

from napari_stenhance.errors import Cancelled
from napari_stenhance.plugin.genes import show_gene
from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.writer import write_layers
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import field_runs
from napari_stenhance.section.section import open_section
from napari_stenhance.tasks.domains import DomainsOptions, domains
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from person import Person, events_of

ROLES = ("slide", "browse", "gene", "spots", "region")

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


@pytest.fixture
def folder(small_files: list[Path], tmp_path: Path) -> Path:
    """A copy of a section on disk, that tests may move or change."""
    made = tmp_path / "section"
    made.mkdir()
    for name in ("one.h5ad", "one_he.jpg"):
        shutil.copy(small_files[0].with_name(name), made)
    return made


@pytest.fixture
def out(folder: Path) -> Path:
    """A result of that section, beside it."""
    path = folder.parent / "one.stenhance.zarr"
    enhance(EnhanceOptions((folder / "one.h5ad",), path, write="G1", epochs=1, device="cpu"))
    return path


def _measured(person: Person, gene: str) -> Any:
    return person.layer("spots").metadata["stenhance"].colours.values(gene)


def test_a_reopened_result_has_its_measured_spots(
    person: Person, folder: Path, out: Path, tmp_path: Path
) -> None:
    person.drop(folder / "one.h5ad")
    measured, expected = person.layer("spots"), _measured(person, "G3")
    person.viewer.layers.clear()

    person.drop(out)
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    assert section.spots is not None
    person.type_gene("G3")
    spots = person.layer("spots")
    np.testing.assert_array_equal(_measured(person, "G3"), expected)
    assert spots.visible
    assert "G3" in spots.name
    assert len(np.unique(spots.face_color, axis=0)) > 5
    np.testing.assert_array_equal(spots.data, measured.data)
    assert person.layer("gene").visible or person.layer("browse").visible
    # Docks run on it: this adds a run beside the other.
    fields = person.enhance.form.fields
    assert [s.name for s in person.enhance.form.chosen("sections")] == ["one"]
    person.set_enhance(tmp_path / "again.stenhance.zarr", "G2", epochs=1)
    fields["seed"].value = 1
    person.run()
    assert person.layer("gene", gene="G2").visible
    # The section itself, opened beside it, is not there twice.
    person.drop(folder / "one.h5ad")
    assert len(list(layers_of(person.viewer, "spots"))) == 1
    assert len(list(layers_of(person.viewer, "slide"))) == 1


def test_other_spots_than_the_result_was_made_of_are_not_shown(
    person: Person, folder: Path, out: Path
) -> None:
    spots = ad.read_h5ad(folder / "one.h5ad")
    spots.X = spots.X * 2
    spots.write_h5ad(folder / "one.h5ad")
    person.drop(out)
    assert not list(layers_of(person.viewer, "spots"))
    assert person.layer("slide").visible
    assert (
        "the spots are others than when the result was made" in person.section.words.toPlainText()
    )


def test_spots_whose_files_are_gone_are_those_that_domains_keep(
    folder: Path, out: Path, person: Person
) -> None:
    domains(
        DomainsOptions((folder / "one.h5ad",), out, n_domains=3, epochs=2, device="cpu", runs=1)
    )
    person.drop(folder / "one.h5ad")
    expected = _measured(person, "G5")
    person.viewer.layers.clear()
    (folder / "one.h5ad").unlink()
    person.drop(out)
    said = person.section.words.toPlainText()
    assert "those that this result keeps with its domains" in said
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    np.testing.assert_array_equal(_measured(person, "G5"), expected)


def test_a_result_without_spots_says_so(person: Person, folder: Path, out: Path) -> None:
    (folder / "one.h5ad").unlink()
    person.drop(out)
    assert not list(layers_of(person.viewer, "spots"))
    assert person.layer("slide").visible
    assert "so its spots are not" in person.section.words.toPlainText()


# Out


def _out(person: Person) -> Path:
    return Path(person.enhance.form.fields["out"].value)


def test_the_out_that_is_suggested_is_not_that_of_another_section(
    person: Person, folder: Path, out: Path, small_files: list[Path]
) -> None:
    other = folder.parent / "other" / "one.h5ad"
    other.parent.mkdir()
    shutil.copy(small_files[1], other)
    # With its time: of a file that has just changed no hash is kept.
    shutil.copy2(small_files[1].with_name("two_he.jpg"), other.with_name("one_he.jpg"))
    # Of the same shape and scale: only its content tells that it is another slide.
    taken = other.with_name("one.stenhance.zarr")
    shutil.copytree(out, taken)
    person.drop(other)
    fields = person.enhance.form.fields
    assert _out(person) == taken
    fields["epochs"].value, fields["device"].value = 1, "cpu"
    person.run()
    assert person.enhance.run_bar.label.text().startswith("Done.\npixel2gene-stain-robust is in ")
    found = other.with_name("one-2.stenhance.zarr")
    assert f"Out is {found}" in person.enhance.run_bar.notes.toPlainText()
    assert (_out(person), events_of(found)[-1]) == (found, "complete")
    assert events_of(taken) == events_of(out)
    # What is suggested then is the section's own.
    person.viewer.layers.clear()
    person.drop(other)
    assert _out(person) == found
    for dock in (person.impute, person.domains):
        assert Path(dock.form.fields["out"].value) == found


def test_out_follows_what_is_predicted_and_for_several_is_a_folder(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        for file in (f"{name}.h5ad", f"{name}_he.jpg"):
            shutil.copy(small_files[0].with_name(file), tmp_path)
        person.drop(tmp_path / f"{name}.h5ad")
    fields = person.enhance.form.fields
    fields["sections"].value = ["one"]
    assert _out(person) == tmp_path / "one.stenhance.zarr"
    fields["predict"].value = ["two"]
    assert _out(person) == tmp_path / "two.stenhance.zarr"
    fields["predict"].value = []
    fields["sections"].value = ["one", "two"]
    assert _out(person) == tmp_path
    # A folder of something else has the name of one.
    (tmp_path / "two.stenhance.zarr").mkdir()
    (tmp_path / "two.stenhance.zarr" / "thesis.txt").touch()
    fields["sections"].value = ["one"]
    fields["sections"].value = ["one", "two"]
    assert _out(person) == tmp_path / "results"
    # What the user says stays.
    fields["out"].value = tmp_path / "mine"
    fields["sections"].value = ["two"]
    assert _out(person) == tmp_path / "mine"


def test_the_out_of_another_slide_is_refused_before_anything_is_computed(
    person: Person,
    small_files: list[Path],
    out: Path,
    tmp_path: Path,
    notifications: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STENHANCE_CACHE", str(tmp_path / "empty cache"))
    before = events_of(out)
    person.drop(small_files[1])
    person.set_enhance(out, epochs=1)
    person.run()
    assert "the result of another slide" in person.enhance.run_bar.error.text()
    person.set_enhance(small_files[0] / "below" / "x.stenhance.zarr", epochs=1)
    person.run()
    assert "this cannot be written (it is no folder)" in person.enhance.run_bar.error.text()
    assert not list((tmp_path / "empty cache").rglob("features"))
    assert events_of(out) == before


# Saved layers


def _save(person: Person, path: Path) -> None:
    """What File → Save All Layers does."""
    assert person.viewer.layers.save(str(path), plugin="napari-stenhance") == [str(path)]


def _opened_drawn_and_saved(person: Person, out: Path) -> Path:
    """Open a result, look at a gene, draw a region, save all of it, and close it."""
    person.drop(out)
    person.type_gene("G3")
    person.click(person.enhance.draw)
    person.layer("region").add(np.array([[100, 100], [100, 400], [400, 300]]), shape_type="polygon")
    person.viewer.add_points(np.ones((2, 2)), name="mine", units="micrometer")
    person.layer("slide").opacity = 0.5
    path = out.with_name("saved.zarr")
    _save(person, path)
    person.viewer.layers.clear()
    return path


@pytest.mark.painted
def test_saved_layers_come_back_alive(person: Person, folder: Path, out: Path) -> None:
    saved = _opened_drawn_and_saved(person, out)
    pixels = zarr.open_group(saved, mode="r")["images/one/s0"]
    assert pixels.shape == (3, 400, 335), "of the slide there is a picture, and no copy"
    # A folder that is moved with what lies beside it finds it again.
    moved = out.parent.with_name("moved")
    out.parent.rename(moved)
    person.drop(moved / saved.name)
    roles = [info.role.name for _, info in layers_of(person.viewer, *ROLES)]
    assert roles == ["slide", "browse", "gene", "spots", "region"]
    assert person.layer("slide").opacity == 0.5
    assert [layer.name for layer in person.viewer.layers][-1] == "mine"
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    assert section.slide.path.is_relative_to(moved)
    # It is opened as it was: nothing that was guessed has become a given.
    opened = open_section(moved / "section" / "one.h5ad")
    assert section.doubts == opened.doubts
    assert section.slide.mpp_source == opened.need_slide().mpp_source != "given"
    assert section.spots is not None
    assert [s.name for s in person.enhance.form.chosen("sections")] == ["one"]
    assert person.section.shown.currentText() == "one"
    # Genes can be looked at, with a colour bar.
    browse = person.layer("browse")
    assert browse.metadata["stenhance"].gene == "G3"
    field = ResultFolder.open(moved / out.name).field("pixel2gene-stain-robust")
    rows, columns = field.grid.shape
    for gene in ("G3", "G7"):
        person.type_gene(gene)
        np.testing.assert_allclose(
            np.asarray(browse.data[0])[:rows, :columns], field.image(gene), rtol=1e-6
        )
    assert browse.colorbar.visible
    assert "G7" in person.layer("spots").name
    # The region is one that a run can be of.
    person.enhance.form.fields["region"].value = person.layer("region").name
    region = person.enhance.options().region
    assert region.area.area == pytest.approx(45_000 * 0.8**2)


@pytest.mark.slow
def test_save_layers_saves_in_a_thread(person: Person, folder: Path, tmp_path: Path) -> None:
    person.drop(folder / "one.h5ad")
    person.viewer.add_labels(np.eye(8, dtype=np.uint8), name="mine", units=("micrometer",) * 2)
    person.section.save_layers(tmp_path / "all")
    assert person.section.run_bar.busy
    # What is to be saved while something runs waits for it.
    person.section.save_layers(tmp_path / "again")
    assert person.section.run_bar.waiting == ["Next: Saving again.zarr"]
    person.wait((tmp_path / "again.zarr" / "zarr.json").is_file)
    person.wait(lambda: not person.section.run_bar.busy)
    saved = zarr.open_group(tmp_path / "all.zarr", mode="r").attrs["stenhance_layers"]
    # There is time to read the slide for its hash.
    (section,) = saved["sections"]
    assert (
        section["slide"]["sha256"]
        == hashlib.sha256((folder / "one_he.jpg").read_bytes()).hexdigest()
    )
    person.viewer.layers.clear()
    person.drop(tmp_path / "all.zarr")
    np.testing.assert_array_equal(person.viewer.layers["mine"].data, np.eye(8))
    assert {info.role.name for _, info in layers_of(person.viewer, *ROLES)} == {
        *("slide", "spots"),
    }
    # What lies there is not written over.
    person.section.save_layers(tmp_path / "all.zarr")
    person.wait(lambda: not person.section.run_bar.busy)
    assert "lies here already" in person.section.run_bar.error.text()


@pytest.mark.slow
def test_the_menu_saves_in_a_thread_too_and_can_be_cancelled(
    person: Person, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 2**15, (4000, 4000), np.uint16)
    for n in range(6):
        person.viewer.add_image(noise, name=f"noise {n}", units=("micrometer",) * 2)
    beats: list[str] = []

    def beat() -> None:
        for window in QApplication.topLevelWidgets():
            if window.objectName() == "stenhance waiting" and window.isVisible():
                beats.append(window.labelText())
                if cancels:
                    window.findChild(QPushButton).click()

    timer = QTimer()
    timer.timeout.connect(beat)
    timer.start(20)
    cancels = True
    with pytest.raises(Cancelled):
        person.viewer.layers.save(str(tmp_path / "no.zarr"), plugin="napari-stenhance")
    assert list(tmp_path.iterdir()) == []
    cancels = False
    beats.clear()
    path = tmp_path / "all.zarr"
    assert person.viewer.layers.save(str(path), plugin="napari-stenhance") == [str(path)]
    timer.stop()
    assert len(beats) > 2
    assert beats[0].startswith("Saving all.zarr")
    person.viewer.layers.clear()
    person.drop(path)
    np.testing.assert_array_equal(person.viewer.layers["noise 5"].data, noise)


@pytest.mark.slow
def test_where_a_link_leads_nowhere_a_picture_is_shown(
    person: Person, folder: Path, out: Path
) -> None:
    saved = _opened_drawn_and_saved(person, out)
    shutil.rmtree(folder)
    shutil.rmtree(out)
    person.drop(saved)
    assert not list(layers_of(person.viewer, *ROLES))
    names = [layer.name for layer in person.viewer.layers]
    assert sum(name.endswith("(only a picture of it)") for name in names) == 3
    assert sum(name.endswith("(as saved)") for name in names) == 2
    said = person.section.words.toPlainText()
    assert f"{out}: the result is not there any more." in said
    assert f"{folder / 'one.h5ad'}: the section is not there any more." in said
    slide, *_ = person.viewer.layers
    assert slide.extent.world[1] == pytest.approx([800 * 0.8, 670 * 0.8], rel=0.02)


def test_a_picture_of_a_whole_has_no_hole_where_the_run_of_a_region_was(
    small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "one.stenhance.zarr"
    shutil.copytree(small / "one.stenhance.zarr", out)
    (run,) = field_runs(ResultFolder.open(out))
    shown = run.levels("G3").part(0)
    viewer = ViewerModel()
    # Nothing is seen of it, where it is taken for the run of a region over itself.
    look = {"colormap": ensure_colormap("magma"), "washed": False}
    show_gene(viewer, run, "G3", "expression", (0, 1), None, run, **look)
    (layer,) = (one for one, _ in layers_of(viewer, "browse"))
    assert np.isnan(np.asarray(layer.data[0])).all()
    write_layers(str(tmp_path / "saved.zarr"), [layer.as_layer_data_tuple()])
    shutil.rmtree(out)
    ((picture, attributes, _),), _, _ = open_layers(tmp_path / "saved.zarr")
    np.testing.assert_allclose(
        np.asarray(picture)[np.isfinite(picture)], shown[np.isfinite(shown)], rtol=1e-6
    )
    # It lay over another, through which it would be seen.
    assert not attributes["visible"]


@pytest.mark.slow
def test_another_slide_at_the_place_of_a_link_is_not_taken_for_it(
    person: Person, folder: Path, out: Path, small_files: list[Path]
) -> None:
    saved = _opened_drawn_and_saved(person, out)
    shutil.copy(small_files[1].with_name("two_he.jpg"), folder / "one_he.jpg")
    person.drop(saved)
    assert not list(layers_of(person.viewer, "slide", "spots"))
    assert "this is another slide now" in person.section.words.toPlainText()
    person.type_gene("G7")
    assert "G7" in person.layer("browse").name


def test_what_a_person_changed_of_domains_is_saved_as_it_is(
    folder: Path, out: Path, person: Person
) -> None:
    domains(
        DomainsOptions((folder / "one.h5ad",), out, n_domains=3, epochs=2, device="cpu", runs=1)
    )
    person.drop(out)
    labels = np.asarray(person.layer("domains").data[0])
    _save(person, out.with_name("domains.zarr"))
    editor = person.domains.editor
    editor.table.choose((1, 2))
    person.click(editor.merge)
    layer = person.layer("domains")
    merged, one, two = np.asarray(layer.data[0]), layer.get_color(1), layer.get_color(2)
    assert len(np.unique(merged)) < len(np.unique(labels)) or one.tolist() == two.tolist()
    _save(person, out.with_name("edited.zarr"))
    person.viewer.layers.clear()
    person.drop(out.with_name("domains.zarr"))
    np.testing.assert_array_equal(np.asarray(person.layer("domains").data[0]), labels)
    assert person.domains.editor.table.rowCount() == 3
    assert len(list(layers_of(person.viewer, "domain spots"))) == 1
    person.viewer.layers.clear()
    person.drop(out.with_name("edited.zarr"))
    edited = person.layer("domains")
    assert person.domains.editor.table.rowCount() == 2
    np.testing.assert_array_equal(np.asarray(edited.data[0]), merged)
    assert edited.get_color(1).tolist() == one.tolist()
    assert edited.get_color(2).tolist() == two.tolist()
