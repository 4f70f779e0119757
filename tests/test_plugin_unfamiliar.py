"""The dock 'Genes' shows how far the tissue lies from what was learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from believed_result import make_believed
from napari_stenhance.api.result import Result
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.live import LiveLayers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.running.job import Event, Job, Partial
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from person import Person


def test_unfamiliar_tissue_is_shown_as_a_layer(person: Person, small: Path) -> None:
    path = small / "one.stenhance.zarr"
    person.drop(path)
    dock = person.bench.open("genes")
    person.wait(dock.unfamiliar.isEnabled)
    dock.unfamiliar.click()
    person.wait(lambda: bool(list(layers_of(person.viewer, "unfamiliar"))))
    ((layer, _),) = layers_of(person.viewer, "unfamiliar")
    expected = Result.open(path).unfamiliar()
    rows, columns = expected.shape
    np.testing.assert_array_equal(np.asarray(layer.data[0])[:rows, :columns], expected)
    assert tuple(layer.contrast_limits) == (0, 2)
    person.wait(lambda: "of the tissue lies beyond" in dock.run_bar.label.text())
    assert "1 is the edge" in person.viewer.canvas.overlays["stenhance_caption"].text
    at = np.argwhere(np.isfinite(np.asarray(expected)))[0]
    said = layer.get_status(layer.data_to_world(at), world=True)["value"]
    where = "unlike" if expected.values[tuple(at)] > 1 else "like"
    assert f": {where} what was learned from" in said
    person.check_layer_comes_back("unfamiliar", dock.unfamiliar, "G1")


def test_a_run_that_does_not_know_offers_nothing(person: Person, tmp_path: Path) -> None:
    person.drop(make_believed(tmp_path, held_out=True))
    dock = person.bench.open("genes")
    dock.show_gene("A")
    person.wait(lambda: session_of(person.viewer).gene == "A")
    assert not dock.unfamiliar.isEnabled()
    assert "Not known of this run" in dock.unfamiliar.toolTip()


def test_what_is_believed_comes_back_with_saved_layers(
    person: Person, small: Path, tmp_path: Path
) -> None:
    viewer = person.viewer
    person.drop(small / "one.stenhance.zarr")
    dock = person.bench.open("genes")
    dock.show_gene("G1")
    person.wait(lambda: session_of(viewer).gene == "G1" and dock.above.isEnabled())
    dock.depth.click()
    dock.unfamiliar.click()
    person.wait(lambda: bool(list(layers_of(viewer, "unfamiliar"))) and not dock.run_bar.busy)
    dock.above.mark.click()
    person.wait(lambda: not dock.run_bar.busy)
    roles = ("depth", "unfamiliar", "marked")
    before = {info.part or info.role.name: layer for layer, info in layers_of(viewer, *roles)}
    assert {"depth", "unfamiliar"} <= set(before)
    values = {name: np.asarray(layer.data[0]) for name, layer in before.items()}
    names = {name: layer.name for name, layer in before.items()}
    saved = tmp_path / "saved.zarr"
    viewer.layers.save(str(saved), plugin="napari-stenhance")
    viewer.layers.clear()
    viewer.open(saved, plugin="napari-stenhance")
    person.wait(lambda: len(list(layers_of(viewer, *roles))) == len(before))
    for layer, info in layers_of(viewer, *roles):
        name = info.part or info.role.name
        assert layer.name == names[name]
        np.testing.assert_array_equal(np.asarray(layer.data[0]), values[name])


def test_what_a_run_says_as_it_ends_is_known_of_one_that_was_seen_to_come(
    person: Person, small_files: list[Path], session_cache: Cache, tmp_path: Path
) -> None:
    person.drop(small_files[0])
    live, genes = LiveLayers(person.viewer, person.bench), person.bench.open("genes")
    states = []

    def listen(event: Event) -> None:
        live.receive(event)
        if isinstance(event, Partial) and not states:
            live.finish()
            states.append((genes.run.complete, genes.unfamiliar.isEnabled()))
            live.receive(event)

    options = EnhanceOptions(
        sections=(small_files[0],), out=tmp_path / "one.stenhance.zarr", device="cpu", epochs=2
    )
    enhance(options, Job(listener=listen), cache=session_cache)
    live.finish()
    states.append((genes.run.complete, genes.unfamiliar.isEnabled()))
    assert states == [(False, False), (True, True)]
