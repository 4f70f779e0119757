"""Runs of methods that see crops in a real viewer: options, lattices, attention, reopening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import Notification

from napari_stenhance.plugin.layer_info import layers_of
from person import Person, check_truth, events_of

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")

OF_CROPS = ("crops", "pitch", "lattice")


def choose(person: Person, method: str, **values: object) -> None:
    fields = person.enhance.form.fields
    for name, value in {"method": method, "genes": "G1,G2,G14,G20", **values}.items():
        fields[name].value = value


def enabled(person: Person) -> list[str]:
    return [name for name in OF_CROPS if person.enhance.form.fields[name].enabled]


def test_options_that_do_not_apply_are_grey_and_not_used(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.drop(small_files[0])
    person.set_enhance(tmp_path / "r")
    assert person.enhance.form.fields["method"].native.isVisibleTo(person.enhance)
    assert enabled(person) == []
    choose(person, "spamcaf", crops="100,300", pitch=30.5, lattice=3)
    assert enabled(person) == list(OF_CROPS)
    options = person.enhance.options()
    assert (options.crops, options.pitch, options.lattice) == ("100,300", 30.5, 3)
    choose(person, "histosge")
    assert enabled(person) == list(OF_CROPS)
    assert person.enhance.form.fields["preset"].choices == ("robust", "reference")
    choose(person, "pixel2gene")
    options = person.enhance.options()
    assert (options.crops, options.pitch, options.lattice) == ("", None, None)
    # Nothing chosen is nothing given.
    choose(person, "spamcaf", crops="", pitch=0, lattice=None)
    options = person.enhance.options()
    assert (options.crops, options.pitch, options.lattice) == ("", None, None)


@pytest.mark.slow
@pytest.mark.painted
def test_a_run_with_a_lattice_shows_points_that_follow_the_gene(
    person: Person, small_files: list[Path], tmp_path: Path, notifications: list[Notification]
) -> None:
    out = tmp_path / "one.stenhance.zarr"
    person.drop(small_files[0])
    person.set_enhance(out, epochs=1)
    choose(person, "spamcaf", lattice=2)
    person.run()
    assert notifications == []
    attention = [layer for layer, _ in layers_of(person.viewer, "attention")]
    assert [layer.visible for layer in attention] == [False, False]
    for layer in attention:
        weights = np.asarray(layer.data[0])
        ends = np.percentile(weights[np.isfinite(weights)], (1, 99))
        np.testing.assert_allclose(layer.contrast_limits, ends, atol=0.02)
    field, lattice = person.layer("browse"), person.layer("lattice")
    assert attention[0].colormap.name != field.colormap.name
    total = sum(np.asarray(layer.data[0]) for layer in attention)
    assert np.nanmin(total) == pytest.approx(1, abs=1e-5)
    assert lattice.visible
    assert set(map(str, lattice.units)) == {"micrometer"}
    # What its colours mean is said at once, whatever gene is shown first.
    assert person.genes.legend.isVisibleTo(person.genes)
    check_truth(person.viewer)
    person.type_gene("G14")
    assert lattice.name == "G14 · lattice 2 · SpaMCAF · one"
    colours = lattice.face_color.copy()
    person.type_gene("G1")
    assert lattice.name.startswith("G1 ·")
    check_truth(person.viewer)
    assert not np.array_equal(lattice.face_color, colours)
    # A spot's value is the field's, under it, in the same colour order.
    # One that was not predicted is clear.
    green = np.where(lattice.face_color[:, 3] > 0, lattice.face_color[:, 1], np.nan)
    low, high = np.nanargmin(green), np.nanargmax(green)
    values = [field.get_value(lattice.data_to_world(lattice.data[n]), world=True)[1]
              for n in (low, high)]  # fmt: skip
    assert values[0] < values[1]

    looks = {la.name: (la.visible, la.data) for la in person.viewer.layers}
    person.viewer.layers.clear()
    person.drop(out)
    again = person.layer("lattice")
    person.type_gene("G1")
    assert {la.name for la in person.viewer.layers} >= set(looks) - {"G1 · measured · one"}
    np.testing.assert_array_equal(again.data, looks[again.name][1])
    np.testing.assert_array_equal(again.face_color, lattice.face_color)
    assert [la.visible for la, _ in layers_of(person.viewer, "attention")] == [False, False]


def test_a_lattice_asked_for_later_comes_without_training_again(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "one.stenhance.zarr"
    person.drop(small_files[0])
    person.set_enhance(out, epochs=1)
    choose(person, "histosge")
    person.run()
    assert not list(layers_of(person.viewer, "attention", "lattice"))
    person.enhance.form.fields["lattice"].value = 2
    person.run()
    assert events_of(out).count("trained") == 1
    assert len(list(layers_of(person.viewer, "browse"))) == 1
    assert person.layer("lattice").visible
    # The same again brings nothing twice.
    person.run()
    assert [about.part for _, about in layers_of(person.viewer, "lattice")] == ["2"]
