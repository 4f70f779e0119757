"""What is seen in the window, for others: a figure for print, and a script that repeats it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

import napari_stenhance as st
from napari_stenhance.plugin.printed import view_as_figure
from napari_stenhance.plugin.session import session_of
from person import Person


def _texts(file: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)", file.read_text("utf-8"))


def test_a_figure_and_a_script_of_what_is_seen(person: Person, here: Path) -> None:
    session, row, bar = session_of(person.viewer), person.section.hand_on, person.section.run_bar
    row.draw(here / "nothing.png")
    assert "A figure is drawn of what a result shows" in bar.error.text()
    row.as_commands.trigger()
    assert "No result is looked at" in bar.error.text()
    person.drop(here / "one.stenhance.zarr")

    # All of it, in the window's scale, over the slide.
    session.look_at(gene="G20")
    session.keep_limits((0.5, 2.5))
    row.draw(here / "all.svg")
    person.wait(lambda: not bar.busy)
    assert bar.label.text() == "all.svg is drawn."
    texts = _texts(here / "all.svg")
    assert "G20 measured" in texts
    assert any(text.startswith("G20 predicted") for text in texts)
    options = view_as_figure(session, here / "f.png")
    assert (options.limits, options.background, options.box) == (("0.5,2.5",), "he", "")

    # A part of it: what is in view, and nothing else.
    camera = person.viewer.scene.camera
    camera.zoom *= 4
    session.look_at(gene="G1", what="spread")
    options = view_as_figure(session, here / "f.png")
    assert options.panels == ("uncertainty",)
    x0, y0, x1, y1 = map(float, options.box.split(","))
    np.testing.assert_allclose(
        ((y0 + y1) / 2, (x0 + x1) / 2),
        np.subtract(camera.center[-2:], session.place.origin),
        atol=1,
    )
    height, width = np.array(person.viewer.canvas.size) / camera.zoom
    np.testing.assert_allclose((y1 - y0, x1 - x0), (height, width), atol=1)

    session.look_at_channels(["G1", "G2"])
    options = view_as_figure(session, here / "f.png")
    assert (options.genes, options.panels) == (("G1", "G2"), ("together",))
    shown = [tuple(map(float, pair.split(","))) for pair in options.limits]
    np.testing.assert_allclose(shown, [one.limits for one in session.channels])

    for action, python in ((row.as_commands, False), (row.as_python, True)):
        action.trigger()
        person.wait(lambda: not bar.busy)
        assert QApplication.clipboard().text() == st.script("one.stenhance.zarr", python=python)


@pytest.mark.slow
def test_the_script_of_what_was_done_in_the_window_repeats_it(person: Person, here: Path) -> None:
    from test_cli import files_of
    from test_script import as_child

    person.drop(here / "one.h5ad")
    person.set_enhance(here / "mine.stenhance.zarr", write="G1")
    person.draw([(100, 100), (100, 400), (400, 250)])
    person.run()
    person.type_gene("G3")
    person.click(person.genes.pin)
    person.wait(lambda: not person.genes.run_bar.busy)
    person.section.hand_on.as_commands.trigger()
    person.wait(lambda: not person.section.run_bar.busy)
    as_child(QApplication.clipboard().text(), python=False)
    assert files_of(here / "again/one.stenhance.zarr") == files_of(here / "mine.stenhance.zarr")
