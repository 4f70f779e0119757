"""Several genes at once in a real viewer: a colour each, with limits and doubts that are true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_stenhance.plugin.session import session_of
from person import Person, check_truth


def test_several_genes_are_seen_at_once_each_in_its_colour(
    person: Person, small: Path, tmp_path: Path
) -> None:
    session, dock, table = session_of(person.viewer), person.genes, person.genes.table
    person.drop(small / "one.stenhance.zarr")
    run = session.genes
    assert run is not None

    def pick(*genes: str) -> None:
        for n, gene in enumerate(genes):
            at = table.visualRect(table.genes.index(table.genes.place_of(gene), 0)).center()
            control = Qt.KeyboardModifier.ControlModifier
            how = control if n else Qt.KeyboardModifier.NoModifier
            person.bot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, how, at)

    person.type_gene("G2")
    limits = session.limits
    dock.gene.clear()
    table.scrollToTop()
    pick("G1", "G2", "G3")
    person.wait(lambda: len(session.channels) == 3)
    check_truth(person.viewer)
    colours = {one.gene: one.colour for one in session.channels}
    assert colours == {"G1": "magenta", "G2": "green", "G3": "blue"}
    layers = {gene: person.layer("channel", gene=gene) for gene in colours}
    assert not person.layer("browse").visible
    assert not person.layer("spots").visible
    assert (dock.spots.isChecked(), dock.spots.isEnabled()) == (False, False)
    assert "Several genes" in dock.spots.toolTip()
    # Each is on the scale that it has by itself, and shows what it shows by itself.
    assert session.channels[1].limits == pytest.approx(limits)
    for gene, layer in layers.items():
        expected = run.levels(gene).part()
        shown = np.asarray(layer.data[0])[: expected.shape[0], : expected.shape[1]]
        np.testing.assert_array_equal(shown, expected)
    low, high = limits
    gene, *ends, colour = dock.channels.texts[1]
    assert (gene.partition(" ")[0], ends) == ("G2", [f"{low:.2f}", f"{high:.2f}"])
    np.testing.assert_allclose(colour, np.multiply(session.channels[1].rgb, 255), atol=1)
    assert not dock.legend.isVisibleTo(dock)
    # Where all are highest is no more than white; and one of the parts is full.
    together = np.sum([one.rgb for one in session.channels], axis=0)
    assert together.max() == pytest.approx(1)
    # A channel keeps the colour that is said of it.
    # The user's limits stay, and are said; a gene that is left out leaves the others as they are.
    layers["G3"].colormap = "viridis"
    layers["G3"].contrast_limits = (0.25, 0.5)
    check_truth(person.viewer)
    assert dock.channels.texts[2][1:3] == ("0.25", "0.50")
    layers["G1"].visible = False
    check_truth(person.viewer)
    assert [one.gene for one in session.channels] == ["G2", "G3"]
    assert [table.genes.gene_at(row) for row in table._places()] == ["G2", "G3"]
    person.viewer.layers.remove(layers["G2"])
    check_truth(person.viewer)
    layers["G1"].visible = True
    assert {one.gene: one.colour for one in session.channels} == {"G3": "blue", "G1": "magenta"}
    # Of those that are not reliable, the colour is greyish, as light as it was, and hatched.
    dock.least.setValue(-1)
    before, luma = [one.rgb for one in session.channels], (0.2126, 0.7152, 0.0722)
    dock.least.setValue(1)
    check_truth(person.viewer)
    for one, full in zip(session.channels, before, strict=True):
        assert one.doubtful
        assert np.ptp(one.rgb) / max(one.rgb) < 0.8 < np.ptp(full) / max(full)
        assert np.dot(one.rgb, luma) >= np.dot(full, luma) - 1e-6
    assert dock.channels.texts[0][0] == "G3 – not reliable"
    assert all(line[2].hatched for line in dock.channels._lines[:2])
    assert dock.accuracy.text().count("Not reliable. ") == 2
    dock.least.setValue(-1)
    assert not dock.channels._lines[0][2].hatched
    assert "Not reliable" not in dock.accuracy.text()
    pick("G1", "G2", "G3", "G4", "G5")
    person.wait(lambda: bool(dock.error.text()))
    assert dock.error.text().startswith("5 genes: at most 4 are shown at once")
    assert [table.genes.gene_at(row) for row in table._places()] == ["G1", "G3"]
    check_truth(person.viewer)
    # What was saved comes back as it was looked at.
    path = tmp_path / "saved.zarr"
    assert person.viewer.layers.save(str(path), plugin="napari-stenhance") == [str(path)]
    person.viewer.layers.clear()
    person.drop(path)
    check_truth(person.viewer)
    assert {one.gene: one.colour for one in session.channels} == {"G3": "blue", "G1": "magenta"}
    again = person.layer("channel", gene="G1")
    assert again.visible
    again.visible = False
    check_truth(person.viewer)
    assert [one.gene for one in session.channels] == ["G3"]
    # One gene is one gene again; and spots alone are no images.
    pick("G2")
    person.wait(lambda: not session.channels)
    assert person.layer("browse").visible
    check_truth(person.viewer)
    dock.source.setCurrentIndex(dock.source.count() - 1)
    pick("G1", "G2")
    person.wait(lambda: "choose a run that has them" in dock.error.text())
    assert [table.genes.gene_at(row) for row in table._places()] == [session.gene]
    check_truth(person.viewer)
