"""Domains of very many spots in a viewer: an image, which follows what is done to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from bands import find_bands
from napari_stenhance.plugin.domains import domain_at, show_edits
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import open_layers
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.domains import domain_run
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.section.spots import positions_px


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with four domains."""
    return find_bands(tmp_path_factory.mktemp("bands"))


@pytest.mark.parametrize("of", ["bins", "cells"])
def test_domains_of_very_many_spots_are_an_image_that_follows_what_is_done_to_them(
    bands: Path, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"napari_stenhance.plugin.{of}.{of.upper()}_AS_IMAGE", 100)
    viewer = ViewerModel()
    layers, _, _ = open_layers(bands)
    if of == "bins":
        # They have no numbers of an array by which they could be laid out: give them.
        run = domain_run(ResultFolder.open(bands))
        spots = run.spots()
        spots.obs["array_row"], spots.obs["array_col"] = (n.ravel() for n in np.mgrid[:14, :14])
        spots.uns["stenhance"]["spot_shape"] = "square"
        monkeypatch.setattr(type(run), "spots", lambda _: spots)
        layers = [
            layer
            for layer in open_layers(bands)[0]
            if layer[1]["metadata"]["stenhance"].role.name != "spots"
        ]
    open_at_once(session_of(viewer), layers)
    ((layer, info),) = layers_of(viewer, "domain spots")
    assert isinstance(layer, Labels)
    assert not layer.editable
    assert (type(info.raster).__name__ == "BinRaster") == (of == "bins")
    ((whole, _),) = layers_of(viewer, "domains")
    now = info.edits.now
    spots = now.run.spots()
    world = positions_px(spots, "bands")[:, ::-1] * now.run.grid.mpp

    def seen() -> list[int]:
        at = np.rint([layer.world_to_data(one) for one in world]).astype(int)
        return list(np.asarray(layer.data[0])[at[:, 0], at[:, 1]])

    value_of = {domain.name: domain.value for domain in now.domains}
    assert seen() == [value_of[name] for name in spots.obs["domain"]]
    assert np.asarray(layer.data[0]).dtype == np.uint8
    for value in range(5):
        np.testing.assert_array_equal(layer.colormap.map(value), whole.colormap.map(value))
    said = layer.get_status(world[0], world=True)["value"]
    sure = spots.obs["domain_confidence"].iloc[0]
    word = "bin" if of == "bins" else "spot"
    assert said == f"{word}: s0, domain: {spots.obs['domain'].iloc[0]}, confidence: {sure:.2f}"
    where = world[0], None, [0, 1]
    assert domain_at(viewer, *where) == (now.run, value_of[spots.obs["domain"].iloc[0]])
    # What is merged, hidden and repainted is so here too.
    first = seen()[0]
    other = next(value for value in (1, 2, 3, 4) if value != first)
    pixels = now.raster().copy()
    pixels[info.edits.spots.at[0][0], info.edits.spots.at[1][0]] = other
    edits = info.edits.do(now.paint(pixels))
    show_edits(viewer, edits)
    assert seen()[0] == other
    assert "confidence" not in layer.get_status(world[0], world=True)["value"]
    edits = edits.do(edits.now.hide(other))
    show_edits(viewer, edits)
    assert layer.colormap.map(other)[3] == 0
