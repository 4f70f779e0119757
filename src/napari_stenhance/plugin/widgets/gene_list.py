"""A list of genes that someone types, or takes from a file: the table shows only those."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QSearchableComboBox

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.widgets.choices import elide
from napari_stenhance.plugin.widgets.error_text import ErrorText
from napari_stenhance.plugin.widgets.gene_rows import GeneRows
from napari_stenhance.results.gene_sets import GeneSet, find_listed, gene_sets
from napari_stenhance.results.gene_sums import score_of


class GeneList(QWidget):
    """Names, or a file of them; of GMT, one of its sets is chosen."""

    changed = Signal()
    scored = Signal(str)
    """Carries the score of the list, as a `GeneSum` is written."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows = GeneRows.of_measured(())
        self._sets: tuple[GeneSet, ...] = ()
        self._read = ""
        self.within: list[int] | None = None
        """The rows of the list; None without one."""
        self.text = QLineEdit(self)
        self.text.setPlaceholderText("all, or ERBB2, GRB7 …")
        self.text.setClearButtonEnabled(True)
        self.text.setToolTip(
            "List only these genes: names, or @ and a file with one gene on each line, or of sets "
            "(GMT); Enter takes them."
        )
        self.text.returnPressed.connect(self._again)
        self.text.editingFinished.connect(self._take)
        self.text.textChanged.connect(self._cleared)
        self.browse = QToolButton(self)
        self.browse.setText("…")
        self.browse.setToolTip("Choose a file of genes")
        self.browse.clicked.connect(self._browse)
        self.score = QToolButton(self)
        self.score.setText("Score")
        self.score.setToolTip(
            "Show the score of the list: at each place the mean of its genes [log1p CP10k], those "
            "that are here. It is that of scanpy's score_genes, without control genes."
        )
        self.score.clicked.connect(self._score)
        self.sets = QSearchableComboBox(self)
        elide(self.sets)
        elide(self.sets)
        self.sets.setToolTip("Which set of the file; type to search")
        self.sets.currentIndexChanged.connect(self._match)
        self.said = QLabel("", self)
        self.said.setWordWrap(True)
        self.error = ErrorText(self)
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.sets)
        layout.addWidget(self.score)
        layout.addWidget(self.said)
        layout.addWidget(self.error)
        self.sets.hide()
        self.score.hide()
        self.said.hide()

    def find_among(self, rows: GeneRows) -> None:
        """Find the list among other genes, without a signal."""
        self._rows = rows
        self.blockSignals(True)
        self._match()
        self.blockSignals(False)

    def _cleared(self, text: str) -> None:
        if not text:
            self._take()

    def _again(self) -> None:
        """Read a file once more: it may be another by now."""
        if self.text.text().strip().startswith("@"):
            self._read = ""
        self._take()

    def _take(self) -> None:
        """Read what was typed, if it was not read before."""
        text = self.text.text().strip()
        if text == self._read:
            return
        self._read = text
        self._sets = ()
        self.error.say("")
        try:
            self._sets = gene_sets(text, self._rows.genes)
        except InputError as error:
            self.error.say(str(error))
        self.sets.blockSignals(True)
        self.sets.clear()
        self.sets.addItems([one.name for one in self._sets])
        self.sets.blockSignals(False)
        self.sets.setVisible(len(self._sets) > 1)
        self._match()

    def _match(self, _index: int = 0) -> None:
        at = max(self.sets.currentIndex(), 0)
        said = ""
        if not self._sets:
            self.within = None
        else:
            found = find_listed(self._sets[at].genes, self._rows.genes, self._rows.aliases)
            self.within = [self._rows.row_of[gene] for gene in found.genes]
            said = found.describe()
        self.said.setText(said)
        self.said.setVisible(bool(said))
        self.score.setVisible(bool(self.within))
        self.changed.emit()

    def _score(self) -> None:
        """Ask for the score of the list."""
        name = self._sets[max(self.sets.currentIndex(), 0)].name
        genes = [self._rows.genes[row] for row in self.within or ()]
        self.scored.emit(score_of(genes, name, self._rows.row_of))

    def _browse(self) -> None:
        files = "Genes (*.gmt *.gmt.gz *.txt *.csv *.tsv);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Choose a file of genes", "", files)
        if path:
            self.text.setText(f"@{path}")
            self._take()
