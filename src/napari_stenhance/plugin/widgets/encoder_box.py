"""Which encoders there are, what the weights of the others cost, and a button that fetches them."""

from __future__ import annotations

from magicgui.widgets import LineEdit
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.plugin.widgets.choices import elide
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.worker import Running
from napari_stenhance.running.job import Job
from napari_stenhance.tasks.weights import EncoderWeights, WeightsOptions, weights

_PROMPT = "choose one …"
_COMMERCIAL = {
    True: "commercial use allowed",
    False: "no commercial use",
    None: "see its words for commercial use",
}
# Of links, to be read in light and dark themes.
_LINK = "#3d8fe0"
_LAID_OUT_MS = 100
_KEPT = "what came by then is kept, and fetching it again goes on from there"


class EncoderBox(QWidget):
    """Lists encoders below the field that names one: those on this machine first.

    Parameters
    ----------
    parent : QWidget
    field : LineEdit
        Takes the name that is chosen; what is typed into it is described, too.
    run_bar : RunBar
        Shows how far a fetch is, and cancels it.
    """

    def __init__(self, parent: QWidget, field: LineEdit, run_bar: RunBar) -> None:
        super().__init__(parent)
        self._field, self._run_bar = field, run_bar
        self._found: dict[str, EncoderWeights] = {}
        self._listing: Running | None = None
        self.list = QComboBox(self)
        elide(self.list)
        self.list.setToolTip("Encoders on this machine, then those whose weights can be fetched.")
        self.list.activated.connect(self._choose)
        self.about = QLabel(self)
        self.about.setWordWrap(True)
        self.about.setOpenExternalLinks(True)
        self.fetch = QPushButton("Licence, and fetch …", self)
        self.fetch.setToolTip("Shows what the weights ask for; fetches them if you accept.")
        self.fetch.clicked.connect(self._ask)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.list, self.about, self.fetch):
            column.addWidget(widget)
        self._laid_out = QTimer(self)
        self._laid_out.setSingleShot(True)
        self._laid_out.setInterval(_LAID_OUT_MS)
        self._laid_out.timeout.connect(self._reveal)
        self._show([])
        field.changed.connect(self._describe)

    def showEvent(self, event: QShowEvent) -> None:
        """List encoders when somebody looks: what knows them takes half a second to load."""
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        """List again what there is."""
        if self._listing is None:
            self._listing = Running("List encoders", lambda _job: weights(WeightsOptions()))
            self._listing.ended.connect(self._listed)
            self._listing.start()

    def _listed(self, outcome: object) -> None:
        self._listing = None
        if outcome.error is None:
            self._show(outcome.value)
        else:
            self._run_bar.say(outcome.error, outcome.details)

    def _show(self, found: list[EncoderWeights]) -> None:
        self._found = {one.name: one for one in found}
        self.list.clear()
        self.list.addItem(_PROMPT)
        for title, here in (("on this machine", True), ("to be fetched", False)):
            some = [one for one in found if one.here == here]
            if not some:
                continue
            self.list.addItem(f"— {title} —")
            heading = self.list.model().item(self.list.count() - 1)
            heading.setFlags(Qt.ItemFlag.NoItemFlags)
            for one in some:
                self.list.addItem(one.name if here else f"{one.name} ({_cost(one)})", one.name)
        self._describe()

    def _choose(self, index: int) -> None:
        name = self.list.itemData(index)
        if name:
            self._field.value = name
        self.list.setCurrentIndex(0)
        # What it costs stands below, when it is laid out.
        self._laid_out.start()

    def _reveal(self) -> None:
        area = self.parentWidget()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None and self.fetch.isVisible():
            area.ensureWidgetVisible(self.fetch)

    def _missing(self) -> EncoderWeights | None:
        """Return the first that the field names whose weights are neither here nor given."""
        for part in self._field.value.split("+"):
            name, _, options = part.partition("?")
            one = self._found.get(name.strip())
            if one and not one.here and "weights=" not in options and "pretrained=" not in options:
                return one
        return None

    def _describe(self, _value: object = None) -> None:
        one = self._missing()
        self.about.setVisible(one is not None)
        self.fetch.setVisible(one is not None and one.fetched)
        if one is not None:
            how = f" Get it with: {one.install}" if one.install else ""
            page = f" {_link(one.page, 'Its page')}." if one.page else ""
            if not (one.fetched or one.install):
                how = f" Fetch it by hand, and write {one.name}?weights=FILE."
            self.about.setText(f"{one.name} is not on this machine: {_cost(one)}.{how}{page}")

    def _ask(self) -> None:
        """Show what the weights ask for, and fetch them if that is accepted."""
        one = self._missing()
        if one is None:
            return
        box = QMessageBox(self)
        box.setObjectName("stenhance licence")
        box.setWindowTitle(f"Weights of {one.name}")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(f"Do you accept the licence of the weights of {one.name}?")
        lines = [
            f"{one.licence}, {_COMMERCIAL[one.commercial]}: {_link(one.page, one.page)}.",
            one.terms,
            "Access must be asked for on that page; then sign in with <code>hf auth login</code>, "
            "or set HF_TOKEN."
            if one.gated
            else "",
            f"Cite: {one.citation}." if one.citation else "",
            f"About {one.size_bytes / 1e6:,.0f} MB go to the cache of Hugging Face."
            if one.size_bytes
            else "",
        ]
        box.setInformativeText("<br><br>".join(filter(None, lines)))
        accept = box.addButton("Accept and fetch", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        accept.clicked.connect(lambda _on=False: self._fetch(one.name))
        box.open()

    def _fetch(self, name: str) -> None:
        def task(job: Job) -> tuple[EncoderWeights, ...]:
            return weights(WeightsOptions(name, yes=True), job)

        def done(_found: object) -> None:
            self._run_bar.done = f"The weights of {name} are on this machine."
            self.refresh()

        self._run_bar.start(f"Fetch the weights of {name}", task, kept=_KEPT, on_done=done)


def _link(page: str, text: str) -> str:
    return f'<a href="{page}" style="color: {_LINK}">{text}</a>'


def _cost(one: EncoderWeights) -> str:
    """Say in a few words what the weights of an encoder cost."""
    size = f"{one.size_bytes / 1e6:,.0f} MB" if one.size_bytes else ""
    return ", ".join(filter(None, [one.licence, size, "on request" if one.gated else ""]))
