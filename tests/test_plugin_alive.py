"""Results and saved layers that are opened again in a real viewer: all of them can be used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.tasks.domains import DomainsOptions, domains
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from person import Person, events_of

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


def _spots(person: Person) -> Any:
    return person.layer("spots")


def test_a_reopened_result_has_its_measured_spots(
    person: Person, folder: Path, out: Path, tmp_path: Path
) -> None:
    person.drop(folder / "one.h5ad")
    measured = _spots(person)
    person.type_gene("G3")
    expected = np.array(measured.face_color)
    person.viewer.layers.clear()

    person.drop(out)
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    assert section.spots is not None
    person.type_gene("G3")
    spots = _spots(person)
    np.testing.assert_array_equal(spots.face_color, expected)
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
    person: Person, folder: Path, out: Path
) -> None:
    domains(
        DomainsOptions((folder / "one.h5ad",), out, n_domains=3, epochs=2, device="cpu", runs=1)
    )
    person.drop(folder / "one.h5ad")
    person.type_gene("G5")
    expected = np.array(_spots(person).face_color)
    person.viewer.layers.clear()
    (folder / "one.h5ad").unlink()
    person.drop(out)
    said = person.section.words.toPlainText()
    assert "those that this result keeps with its domains" in said
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    person.type_gene("G5")
    np.testing.assert_array_equal(_spots(person).face_color, expected)


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
    shutil.copy(small_files[1].with_name("two_he.jpg"), other.with_name("one_he.jpg"))
    # Of the same shape and scale: only its content tells that it is another slide.
    taken = other.with_name("one.stenhance.zarr")
    shutil.copytree(out, taken)
    person.drop(other)
    fields = person.enhance.form.fields
    assert _out(person) == taken
    fields["epochs"].value, fields["device"].value = 1, "cpu"
    person.run()
    assert person.enhance.run_bar.label.text() == "Done."
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
    assert "the result of another slide" in notifications[-1].message
    person.set_enhance(small_files[0] / "below" / "x.stenhance.zarr", epochs=1)
    person.run()
    assert "this cannot be written (it is no folder)" in notifications[-1].message
    assert not list((tmp_path / "empty cache").rglob("features"))
    assert events_of(out) == before
