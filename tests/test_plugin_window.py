"""The one dock: its panels, what opens them, and the room that they leave."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from napari._app_model import get_app_model
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from napari.utils.shortcuts import default_shortcuts
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence, QShortcut
from qtpy.QtWidgets import QAbstractScrollArea, QDockWidget, QTableView, QWidget

from napari_stenhance.plugin import commands
from napari_stenhance.plugin.colours import PREFERRED, _of_expression, colormap_of
from napari_stenhance.plugin.layer_info import viewer_tiles
from napari_stenhance.plugin.preferences import use_cache_folder
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.widgets import workbench
from napari_stenhance.plugin.widgets.actions import ACTIONS
from napari_stenhance.plugin.widgets.entries import SectionEntry
from napari_stenhance.plugin.widgets.preparing import is_prepared
from napari_stenhance.plugin.widgets.workbench import DOCK, PANELS, workbench_of
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.tile_cache import MOST_BYTES
from napari_stenhance.tasks.enhance import EnhanceOptions
from napari_stenhance.tasks.options import options_of

if TYPE_CHECKING:
    from person import Person

PLUGIN = "napari-stenhance"
DOCS = Path(__file__).parents[1] / "docs"
_NAMING = ("start", "tour", "napari")


def _docks(viewer: Any) -> list[str]:
    """Which docks of ours are seen."""
    docks = viewer.window._qt_window.findChildren(QDockWidget)
    names = [dock.objectName() for dock in docks if dock.isVisible()]
    return [name for name in names if "stenhance" in name]


def _cut_off(inside: QWidget) -> list[QWidget]:
    """What is seen, and reaches beyond what it lies in; but what scrolls does so by itself."""
    seen = [child for child in inside.findChildren(QWidget) if child.isVisible()]
    return [
        child
        for child in seen
        if not isinstance(child.parentWidget().parentWidget(), QAbstractScrollArea)
        and child.geometry().right() > child.parentWidget().width()
    ]


def _words(inside: QWidget) -> set[str]:
    """What is written on buttons, beside fields, and over the columns of tables."""
    words = {str(inside.property("text"))}
    if isinstance(inside, QTableView):
        model = inside.model()
        columns = range(model.columnCount())
        words |= {str(model.headerData(n, Qt.Orientation.Horizontal)) for n in columns}
    return words


def test_the_dock_leaves_700_px_to_the_canvas_whatever_is_unfolded(
    make_napari_viewer: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    window, canvas = viewer.window._qt_window, viewer.window._qt_viewer.canvas.native
    viewer.window.resize(1280, 800)
    bench = workbench_of(viewer)
    assert [panel.made for panel in bench.panels.values()] == [None] * len(PANELS)
    # The sizes of its levels make napari's own controls as wide as they become.
    levels = [da.zeros((60_000 >> n, 60_000 >> n, 3), np.uint8) for n in range(6)]
    viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    viewer.add_points(np.zeros((1, 2)))
    for name in PANELS:
        made = bench.open(name)
        qtbot.waitUntil(made.isVisible)
        qtbot.wait(50)
        assert (window.width(), window.height()) == (1280, 800)
        assert canvas.width() >= 700
        # napari's own docks leave it this much.
        assert bench.width() >= 240
        assert not _cut_off(bench)
        tips = " ".join(one.toolTip() for one in made.findChildren(QWidget))
        assert not re.search(r"--\w|@FILE|\bmpp\b", tips)
        # There is room for one.
        assert [one for one, panel in bench.panels.items() if panel.is_open] == [name]
        for form in filter(None, [getattr(made, "form", None)]):
            form.more.expand(animate=False)
            qtbot.wait(50)
            assert canvas.width() >= 700
            assert not _cut_off(bench)
    # What the pages call by name is there, in the same words.
    words = {DOCK}.union(*(_words(one) for one in bench.findChildren(QWidget)))
    for page in (DOCS.parent / "README.md", *(DOCS / f"{name}.md" for name in _NAMING)):
        named = re.findall(r"(?<![*\w])\*([^*\n]{1,40})\*(?!\*)", page.read_text("utf-8"))
        said = {name.replace("\\|", "|") for name in named if "→" not in name}
        assert said <= words, (page.name, said - words)
    pictures = (DOCS / "pictures").iterdir()
    assert not [one.name for one in pictures if one.stat().st_size > 200_000]
    viewer.window.resize(1900, 1300)
    qtbot.waitUntil(lambda: bench.height() > 1150)
    bench.open("genes")
    bench.open("domains")
    qtbot.wait(50)
    assert [one for one, panel in bench.panels.items() if panel.is_open] == ["genes", "domains"]
    genes, domains = bench.widget("genes"), bench.widget("domains")
    assert abs(genes.height() - domains.height()) < 40
    bench.panels["genes"].heading.click()
    qtbot.waitUntil(lambda: domains.height() > 700)
    assert not genes.isVisible()


def test_each_entry_of_napari_opens_its_panel_in_the_one_dock(
    make_napari_viewer: Callable[..., Any], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer(show=True)
    # As after napari's start: what the dock needs is imported in a thread, and that is said.
    monkeypatch.delitem(sys.modules, workbench.__name__)
    viewer.window.add_plugin_dock_widget(PLUGIN, "Section")
    assert not is_prepared()
    (entry,) = viewer.window._qt_window.findChildren(SectionEntry)
    # Not waited for: where all else is imported, the thread is done in a moment.
    assert "Preparing" in entry.words.text()
    assert entry.words.isVisibleTo(entry)
    qtbot.waitUntil(lambda: _docks(viewer) == [DOCK])
    assert is_prepared()
    viewer.window.remove_dock_widget(viewer.window.dock_widgets[DOCK])
    monkeypatch.undo()
    entries = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets
    shown = {entry.command: entry.display_name for entry in entries}
    assert shown == {f"{PLUGIN}.{name}": title for name, (title, _) in PANELS.items()}
    app, benches = get_app_model(), set()
    for name in [*PANELS, *PANELS]:
        app.commands.execute_command(f"{PLUGIN}.{name}").result()
        qtbot.waitUntil(lambda: DOCK in viewer.window.dock_widgets)
        bench = viewer.window.dock_widgets[DOCK]
        qtbot.waitUntil(bench.panels[name].heading.isChecked)
        qtbot.waitUntil(lambda: _docks(viewer) == [DOCK])
        benches.add(bench)
    assert len(benches) == 1
    bench.parent().hide()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Genes", tabify=True)
    qtbot.waitUntil(bench.widget("genes").isVisible)
    qtbot.waitUntil(lambda: _docks(viewer) == [DOCK])
    # What was closed is made anew.
    bench.parent().destroyOnClose()
    app.commands.execute_command(f"{PLUGIN}.impute").result()
    qtbot.waitUntil(lambda: DOCK in viewer.window.dock_widgets)
    bench = viewer.window.dock_widgets[DOCK]
    assert [one for one, panel in bench.panels.items() if panel.is_open] == ["impute"]


def test_keys_are_in_the_docs_and_in_the_palette_and_none_is_naparis(person: Person) -> None:
    page = (DOCS / "napari.md").read_text("utf-8")
    rows = page.split("| keys |")[1].split("\n\n")[0].splitlines()[2:]
    said = [keys for row in rows for keys in re.split(", | … ", row.split("|")[1].strip())]
    # Undo and redo are those of two panels; of panels the first and the last are named.
    others = {"Ctrl+Z", "Ctrl+Shift+Z", "Alt+1", f"Alt+{len(PANELS)}"}
    assert others < set(said)
    assert set(said) - others == set(ACTIONS)
    window = person.viewer.window._qt_window
    person.bench.widget("domains")
    ours = [short.key().toString() for short in person.bench.findChildren(QShortcut)]
    assert sorted(ours) == sorted(
        [*ACTIONS, *(f"Alt+{n}" for n in range(1, len(PANELS) + 1))]
        + 2 * ["Ctrl+Z", "Ctrl+Shift+Z"]
    )
    app = get_app_model()
    taken = [str(key) for keys in default_shortcuts.values() for key in keys]
    taken += [str(rule.keybinding) for rule in app.keybindings]
    theirs = {QKeySequence(key.replace("Enter", "Return")).toString() for key in taken}
    theirs |= {action.shortcut().toString() for action in window.findChildren(QAction)}
    assert "Ctrl+G" in theirs
    assert not theirs & set(ours)
    # Alt and the letter of a menu open it.
    mnemonics = {f"Alt+{a.text().split('&')[1][:1].upper()}" for a in window.menuBar().actions()}
    assert len(mnemonics) > 4
    assert not mnemonics & set(ours)
    listed = {
        command.id: command.python_name
        for command in PluginManager.instance().get_manifest(PLUGIN).contributions.commands
        if "plugin.commands:" in command.python_name
    }
    assert set(listed.values()) == {
        f"napari_stenhance.plugin.commands:{act.__name__}" for act in ACTIONS.values()
    }
    for name, where in listed.items():
        assert getattr(commands, where.split(":")[1]).__doc__
        assert name in app.commands


def test_keys_and_the_palette_do_what_they_say(person: Person, small: Path) -> None:
    person.drop(small / "one.h5ad")
    person.drop(small / "one.stenhance.zarr")
    session, window = session_of(person.viewer), person.viewer.window._qt_window
    window.activateWindow()
    person.wait(window.isActiveWindow)

    def press(key: Qt.Key, held: Qt.KeyboardModifier) -> None:
        person.bot.keyClick(person.viewer.window._qt_viewer.canvas.native, key, held)

    alt, control = Qt.KeyboardModifier.AltModifier, Qt.KeyboardModifier.ControlModifier
    # What nobody has looked at is not run, but shown.
    press(Qt.Key.Key_Return, control)
    assert person.bench.panels["enhance"].is_open
    assert not person.enhance.run_bar.busy
    press(Qt.Key.Key_G, alt)
    assert person.genes.isVisible()
    person.wait(person.genes.gene.hasFocus)
    genes = [person.genes.table.genes.gene_at(n) for n in range(3)]
    session.look_at(gene=genes[0])
    press(Qt.Key.Key_Right, alt)
    person.wait(lambda: session.gene == genes[1])
    get_app_model().commands.execute_command(f"{PLUGIN}.next_gene").result()
    person.wait(lambda: session.gene == genes[2])
    press(Qt.Key.Key_Left, alt)
    person.wait(lambda: session.gene == genes[1])
    for key, seen in (
        (Qt.Key.Key_M, lambda: session.with_spots),
        (Qt.Key.Key_U, lambda: session.what),
    ):
        before = seen()
        press(key, alt)
        assert seen() != before
        press(key, alt)
        assert seen() == before
    press(Qt.Key.Key_2, alt)
    assert person.bench.panels["enhance"].heading.hasFocus()
    person.enhance.form.fields["write"].value = ""
    person.enhance.form.fields["sections"].value = []
    press(Qt.Key.Key_Return, control)
    assert "Choose at least one open section" in person.enhance.run_bar.error.text()
    person.enhance.form.fields["sections"].value = ["one"]
    press(Qt.Key.Key_R, alt)
    region = person.viewer.layers.selection.active
    person.wait(lambda: region.mode == "add_polygon")
    # Tab goes down a panel, from field to field.
    for name in PANELS:
        made = person.bench.open(name)
        person.wait(made.isVisible)
        heading = person.bench.panels[name].heading
        at, tops = heading.nextInFocusChain(), []
        # No further round: PySide6 keeps what has been gone through, and napari's own with it.
        while not tops or made.isAncestorOf(at):
            reached = (
                not at.visibleRegion().isEmpty() and at.focusPolicy() & Qt.FocusPolicy.TabFocus
            )
            if reached and made.isAncestorOf(at):
                tops.append(at.mapTo(made, at.rect().center()).y())
            at = at.nextInFocusChain()
        assert len(tops) > 1
        assert all(below > above - 20 for above, below in pairwise(tops)), (name, tops)


def test_what_is_set_in_naparis_preferences_is_what_panels_and_tiles_begin_with(
    person: Person, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari import settings

    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})
    computing = settings.get_plugin_settings(PLUGIN).computing
    defaults = {option.name: option.default for option in options_of(EnhanceOptions)}
    assert (computing.device, computing.encoder) == (defaults["device"], defaults["encoder"])
    assert computing.memory_gib * 1024**3 == MOST_BYTES
    assert viewer_tiles(person.viewer).most_bytes == MOST_BYTES
    dialog = PreferencesDialog(person.viewer.window._qt_window)
    person.bot.addWidget(dialog)
    pages = [dialog._list.item(n).text() for n in range(dialog._list.count())]
    assert "stenhance" in pages
    computing.device, computing.encoder, computing.memory_gib = "cpu", "timm:resnet18", 0.5
    showing = settings.get_plugin_settings(PLUGIN).showing
    for colours in reversed(PREFERRED):
        showing.colours = colours
    with pytest.raises(ValueError, match="not one of the allowed"):
        showing.colours = "viridis"
    showing.colours, computing.cache_folder = "plasma", str(tmp_path / "kept")
    dialog.accept()
    monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})
    monkeypatch.delenv("STENHANCE_CACHE", raising=False)
    _of_expression.cache_clear()
    # As with napari's next start.
    assert (colormap_of("G1"), colormap_of("")) == ("plasma", "viridis")
    use_cache_folder()
    assert Cache.default().root == tmp_path / "kept"
    _of_expression.cache_clear()
    # Read again from the file that napari wrote.
    fields = person.enhance.form.fields
    assert (fields["device"].value, fields["encoder"].value) == ("cpu", "timm:resnet18")
    assert person.impute.form.fields["device"].value == "cpu"
    assert viewer_tiles(person.viewer).most_bytes == MOST_BYTES // 2
    with pytest.raises(ValueError, match="not one of the allowed"):
        computing.device = "abacus"
