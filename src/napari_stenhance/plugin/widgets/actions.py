"""What can be done with a key, or from napari's command palette, wherever one is in the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Bench(Protocol):
    """What the dock offers to actions."""

    @property
    def panels(self) -> Mapping[str, Any]:
        """Its panels, by their names."""

    def open(self, name: str) -> Any:
        """Unfold a panel, and return its widget."""

    def widget(self, name: str) -> Any:
        """Return the widget of a panel, which stays folded if it is."""

    def runs(self) -> str:
        """Return the panel that runs something and was unfolded last; empty if none was."""


def run(bench: Bench) -> None:
    """Run what the panel is for that was unfolded last; if none was, unfold the first.

    What nobody has looked at is not run: a key that was meant for a text field would begin it.
    """
    panel = bench.runs()
    if panel:
        bench.open(panel).run.click()
    else:
        bench.open("enhance")


def cancel(bench: Bench) -> None:
    """Cancel what runs; what was finished is kept."""
    for panel in bench.panels.values():
        if panel.made is not None and panel.made.run_bar.busy:
            panel.made.run_bar.cancel.click()


def draw_region(bench: Bench) -> None:
    """Draw a region on the section that is looked at."""
    bench.open("enhance").draw.click()


def save_layers(bench: Bench) -> None:
    """Save all layers."""
    bench.open("section").save.click()


def look_beside(bench: Bench) -> None:
    """Look at another image of the slide's file, as was chosen under *In its file*."""
    bench.open("section").look.click()


def search_gene(bench: Bench) -> None:
    """Type the name of a gene."""
    search = bench.open("genes").gene
    search.setFocus()
    search.selectAll()


def next_gene(bench: Bench) -> None:
    """Look at the gene of the next row of the table."""
    bench.widget("genes").table.step(1)


def previous_gene(bench: Bench) -> None:
    """Look at the gene of the row before."""
    bench.widget("genes").table.step(-1)


def toggle_spots(bench: Bench) -> None:
    """Show or hide the measured spots over the image."""
    bench.widget("genes").spots.click()


def toggle_uncertainty(bench: Bench) -> None:
    """Show the gene's uncertainty, or its expression again."""
    bench.widget("genes").uncertainty.click()


def pin_gene(bench: Bench) -> None:
    """Write the gene that is looked at into its result, as a layer of its own."""
    bench.open("genes").pin.click()


ACTIONS = {
    "Ctrl+Return": run,
    "Ctrl+.": cancel,
    "Alt+R": draw_region,
    "Ctrl+Shift+S": save_layers,
    "Alt+I": look_beside,
    "Alt+G": search_gene,
    "Alt+Right": next_gene,
    "Alt+Left": previous_gene,
    "Alt+M": toggle_spots,
    "Alt+U": toggle_uncertainty,
    "Ctrl+D": pin_gene,
}
"""By their keys, which work while the dock is shown; none is a key of napari's."""
