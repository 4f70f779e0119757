"""Two sections in a real viewer, from opening to reopening, compared pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer

from napari_stenhance.plugin.layer_info import layer_info, layers_of, our_layers
from napari_stenhance.plugin.places import box_of, open_places
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.result import ResultFolder
from person import Person, check_truth, overlap


def _picture(viewer: Any, layer: Layer) -> np.ndarray:
    """The pixels of a gene, with those of a region's run where the whole leaves them to that."""
    pixels, info = _pixels(layer), layer_info(layer)
    assert info is not None
    for region, about in layers_of(viewer, "gene"):
        if about.gene == info.gene and about.of_run == info.over:
            pixels = np.where(np.isnan(_pixels(region)), pixels, _pixels(region))
    return pixels


def _pixels(layer: Layer) -> np.ndarray:
    return np.asarray(layer.data[0])


def _journey(person: Person, first: Path, second: Path, folder: Path, genes: list[str]) -> None:
    """Open two, run on one, browse, run a region, apply to the other, and open both anew."""
    viewer, session = person.viewer, session_of(person.viewer)
    for path in (first, second):
        person.drop(path)
    one, two = open_places(viewer)
    fields = person.enhance.form.fields
    fields["sections"].value = [one.name]
    out = folder / "one.stenhance.zarr"
    person.set_enhance(out, write=", ".join(genes[:2]))
    person.run()
    assert (session.place, session.gene) == (one, genes[0])
    check_truth(viewer)
    person.type_gene(genes[2])
    check_truth(viewer)
    whole = session.genes
    assert whole is not None
    field = ResultFolder.open(out).field(whole.name)
    shape = field.grid.shape
    np.testing.assert_allclose(
        _pixels(person.layer("browse"))[: shape[0], : shape[1]], field.image(genes[2]), rtol=1e-6
    )

    # A region of it: one picture with the whole.
    top, left = one.origin
    height, width = box_of(viewer, one)[1] - box_of(viewer, one)[0]
    person.draw(
        [(top + a * height, left + b * width) for a, b in ((0.4, 0.4), (0.4, 0.6), (0.6, 0.5))]
    )
    person.run()
    assert session.run is not None
    assert session.run.name == f"{whole.name}-2"
    check_truth(viewer)
    shown = [i.run.name for la, i in layers_of(viewer, "gene", "browse") if la.visible and i.run]
    assert shown == [whole.name, f"{whole.name}-2"]

    # The other section, with what was learned.
    fields["predict"].value = [two.name]
    fields["region"].value = fields["region"].choices[0]
    other = folder / "two.stenhance.zarr"
    fields["out"].value = other
    person.run()
    assert session.place is two
    assert [place.name for place in open_places(viewer)] == [one.name, two.name]
    check_truth(viewer)
    for layer, info in our_layers(viewer):
        if info.run is not None:
            place = one if info.run.result.path == out else two
            assert info.place is place
            assert not overlap(layer.extent.world, box_of(viewer, two if place is one else one))
    before = {
        (info.place.name, la.name): (
            _picture(viewer, la),
            tuple(np.subtract(la.translate, info.place.origin)),
        )
        for la, info in layers_of(viewer, "gene")
        if info.place is not None
    }
    viewer.layers.clear()
    assert open_places(viewer) == []
    for path in (second, other, out, first):
        person.drop(path)
    assert [place.name for place in open_places(viewer)] == [two.name, one.name]
    check_truth(viewer)
    after = [
        ((info.place.name, la.name), la, info.place)
        for la, info in layers_of(viewer, "gene")
        if info.place is not None
    ]
    assert {key for key, _, _ in after} == set(before)
    for key, layer, place in after:
        pixels, at = before[key]
        np.testing.assert_array_equal(_picture(viewer, layer), pixels)
        np.testing.assert_allclose(np.subtract(layer.translate, place.origin), at)


@pytest.mark.slow
@pytest.mark.painted
def test_two_sections_from_opening_to_reopening(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    _journey(person, *small_files, tmp_path, ["G20", "G1", "G3"])


@pytest.mark.slow
@pytest.mark.painted
def test_c2_and_c4_from_opening_to_reopening(person: Person, data: Path, tmp_path: Path) -> None:
    her2st = data / "her2st"
    _journey(person, her2st / "C2", her2st / "C4", tmp_path, ["ERBB2", "COL1A1", "CD74"])
