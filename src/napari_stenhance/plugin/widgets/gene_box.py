"""A gene box that searches as you type, through tens of thousands of names."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QWidget
from superqt import QSearchableComboBox

from napari_stenhance.plugin.widgets.choices import elide


class GeneBox(QSearchableComboBox):
    """A searchable list of genes; `chosen` carries the gene that the user picks."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget, prompt: str = "type to search a gene") -> None:
        super().__init__(parent)
        elide(self)
        self._genes: tuple[str, ...] = ()
        self.lineEdit().setPlaceholderText(prompt)
        self.activated.connect(self._picked)
        self.lineEdit().returnPressed.connect(self._entered)

    @property
    def genes(self) -> tuple[str, ...]:
        """What is listed."""
        return self._genes

    def set_genes(self, genes: Sequence[str]) -> None:
        """List other genes; nothing is chosen by that."""
        genes = tuple(genes)
        if genes == self._genes:
            return
        self._genes = genes
        self.clear()
        self.addItems(list(genes))
        self.setCurrentIndex(-1)

    def show_gene(self, gene: str) -> None:
        """Show a gene without choosing it."""
        self.setCurrentIndex(self.findText(gene))

    def _picked(self, index: int) -> None:
        if 0 <= index < len(self._genes):
            self.chosen.emit(self._genes[index])

    def _entered(self) -> None:
        """Take what was typed in other letters, or the only gene that it can mean."""
        text, completer = self.lineEdit().text(), self.completer()
        # Left open, it would take the next click, wherever that was meant to go.
        completer.popup().hide()
        if not text or text in self._genes:
            return
        index = self.findText(text, Qt.MatchFlag.MatchFixedString)
        if index < 0 and completer.completionCount() == 1:
            index = self.findText(completer.currentCompletion())
        if index >= 0:
            self.setCurrentIndex(index)
            self._picked(index)
