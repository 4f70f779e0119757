"""The panel 'Section': open a section, a slide or a result, and read what was recognised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.beside import beside_layer, shown_beside
from napari_stenhance.plugin.carried import carry_over, remove_section
from napari_stenhance.plugin.layer_info import (
    LayerData,
    layers_of,
    open_sections,
    viewer_tiles,
)
from napari_stenhance.plugin.looks import look_of
from napari_stenhance.plugin.opening import open_in_turns
from napari_stenhance.plugin.places import open_places
from napari_stenhance.plugin.saved_edits import keep_edits, kept_edits
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.tissue import carried_tissue
from napari_stenhance.plugin.widgets.choices import elide
from napari_stenhance.plugin.widgets.dialogs import (
    ask_for_folder,
    ask_for_section,
    ask_for_slide,
    ask_where_to_save,
)
from napari_stenhance.plugin.widgets.drop_area import DropArea
from napari_stenhance.plugin.widgets.follow import follow_session
from napari_stenhance.plugin.widgets.hand_on import HandOnRow
from napari_stenhance.plugin.widgets.placement_line import PlacementLine
from napari_stenhance.plugin.widgets.quality_row import QualityRow
from napari_stenhance.plugin.widgets.recognised import Words, describe_looked_at, open_described
from napari_stenhance.plugin.widgets.registration import PlacingRow
from napari_stenhance.plugin.widgets.run_bar import RunBar
from napari_stenhance.plugin.widgets.sample_box import SampleBox
from napari_stenhance.plugin.widgets.tissue_row import TissueRow
from napari_stenhance.plugin.writer import as_it_is, write_layers
from napari_stenhance.section.images.image import SlideRefused
from napari_stenhance.section.section import Section
from napari_stenhance.section.several import SeveralSamples
from napari_stenhance.tasks.info import describe_section
from napari_stenhance.tasks.options import SlideOptions

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_stenhance.errors import StenhanceError
    from napari_stenhance.features.quality import Quality
    from napari_stenhance.plugin.layer_info import Opened, Place
    from napari_stenhance.plugin.widgets.recognised import OpenedPath
    from napari_stenhance.results.result import ResultFolder
    from napari_stenhance.section.registration import Registration


_SLIDE = "the slide"
_NUMBER_WIDTH, _BESIDE_LABELS = 100, 2


class SectionWidget(QWidget):
    """Opens sections in the viewer."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._section: Section | None = None
        self._words: dict[Place | None, str] = {}
        self._mpp, self._image = 0.0, ""  # of what is open
        # Of what is being opened here.
        self._said: str | None = None
        self._waiting: list[tuple[Path, SlideOptions, Path | None]] = []
        # What was opened last, if its slide is refused, but others of its images can be chosen.
        self._refused: Path | None = None
        self._placed_by: Registration | None = None
        self.drop = DropArea(self)
        self.drop.dropped.connect(self.open)
        self.browse_folder = QPushButton("Open folder …", self)
        self.browse_folder.setToolTip("A section's folder, or a result (*.stenhance.zarr)")
        self.browse_folder.clicked.connect(self._browse_folder)
        self.browse_file = QPushButton("File …", self)
        self.browse_file.setToolTip("An .h5ad with its image beside it, or a slide")
        self.browse_file.clicked.connect(self._browse_file)
        self.mpp = QDoubleSpinBox(self)
        self.mpp.setRange(0, 20)
        self.mpp.setDecimals(4)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSuffix(" µm per px")
        self.mpp.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.mpp.setMinimumWidth(_NUMBER_WIDTH)
        self.mpp.setSpecialValueText("as the files say")
        self.mpp.setToolTip("Scale of the full-resolution image; overrides what the files say.")
        self.image = QLineEdit(self)
        self.image.setPlaceholderText("as found beside the counts")
        self.image.setClearButtonEnabled(True)
        self.image.setToolTip("The slide of a section, where it does not lie beside the counts.")
        self.image.textChanged.connect(self._scale_of_chosen)
        self.browse_image = QPushButton("…", self)
        self.browse_image.setToolTip("Choose the slide")
        self.browse_image.clicked.connect(self._browse_image)
        self.series = QComboBox(self)
        self.series.setToolTip(
            "Which image of the slide's file is the slide, where it holds others beside it."
        )
        self.series.addItem(_SLIDE, None)
        self.series.currentIndexChanged.connect(self._may_look)
        self.series.currentIndexChanged.connect(self._scale_of_chosen)
        self.sample = SampleBox(self)
        self.look = QPushButton("Look", self)
        self.look.setToolTip(
            "Show this image below the slide, not to scale: a label may name the patient."
        )
        self.look.setEnabled(False)
        self.look.clicked.connect(self._look_beside)
        self.icc = QCheckBox("by its profile", self)
        self.icc.setToolTip("Convert colours to sRGB by the profile that the slide's file holds.")
        self.icc.setChecked(True)
        self.again = QPushButton("Set", self)
        self.again.setToolTip(
            "Open the section that is looked at again, or the file whose slide was refused, with "
            "this slide, at this scale, and with these colours"
        )
        self.again.setEnabled(False)
        self.again.clicked.connect(self._open_again)
        self.shown = QComboBox(self)
        self.shown.setToolTip("Which section is looked at; the others lie beside it.")
        self.shown.activated.connect(self._look_at)
        self.words = Words(self)
        self.words.setReadOnly(True)
        self.words.setPlaceholderText("What was recognised appears here.")
        self.run_bar = RunBar(
            self,
            {
                "mpp": "Scale",
                "image": "Image",
                "series": "In its file",
                "icc": "Colours",
                "sample": "Sample",
            },
        )
        self.quality = QualityRow(napari_viewer, self.run_bar, self._open_next, self._describe)
        self.tissue = TissueRow(napari_viewer, self.run_bar, self._open_next)
        self.placement = PlacementLine(napari_viewer, self._offer_places)
        aside = (self.drop, self.browse_folder, self.browse_file, self.quality)
        aside += (self.tissue, self.words, self.placement)
        self.placing = PlacingRow(
            napari_viewer, self.run_bar, self._open_next, self._show_placed, aside
        )
        self.save = QPushButton("Save layers …", self)
        self.save.setToolTip(
            "Save all layers, to open them again as they are: links to slides, spots and results, "
            "and copies of what no file holds."
        )
        self.save.clicked.connect(self._browse_save)
        buttons, slide, opening = (QHBoxLayout() for _ in range(3))
        for box in (self.series, self.shown):
            # As wide as a long name, it would widen the dock.
            elide(box)
        opening.addWidget(self.look)
        opening.addWidget(self.again)
        buttons.addWidget(self.browse_folder)
        buttons.addWidget(self.browse_file)
        slide.addWidget(self.image, 1)
        slide.addWidget(self.browse_image)
        form = QFormLayout()
        form.setHorizontalSpacing(_BESIDE_LABELS)
        form.addRow("Image", slide)
        self.sample.add_to(form)
        form.addRow("In its file", self.series)
        form.addRow("Colours", self.icc)
        form.addRow("Scale", self.mpp)
        form.addRow(opening)
        form.addRow("Section", self.shown)
        form.addRow(self.tissue)
        form.addRow(self.placing)
        layout = QVBoxLayout(self)
        layout.addWidget(self.drop)
        layout.addLayout(buttons)
        layout.addLayout(form)
        layout.addWidget(self.placement)
        layout.addWidget(self.quality)
        layout.addWidget(self.words, 1)
        self.hand_on = HandOnRow(napari_viewer, self.run_bar, self._open_next, self.save)
        layout.addWidget(self.hand_on)
        layout.addWidget(self.run_bar)
        follow_session(self, napari_viewer, self._follow)

    def open(
        self, path: Path, options: SlideOptions | None = None, image: Path | None = None
    ) -> None:
        """Open a section, a slide or a result; one after the other, if several are asked for.

        Parameters
        ----------
        path : Path
        options : SlideOptions, optional
            How its slide is opened; where it does not say, at the scale that was set in the dock
            since it last opened something.
        image : Path, optional
            The slide of a section, where it does not lie beside the counts; by default what the
            dock says, once.
        """
        options = options or SlideOptions()
        if options.mpp is None:
            # What the field showed before is the scale of another slide.
            typed = self.mpp.value()
            options = replace(options, mpp=typed if typed and typed != self._mpp else None)
        if image is None and self.image.text().strip() != self._image:
            image = self._named_image()
        if self.run_bar.busy:
            self._waiting.append((path, options, image))
        else:
            self._start(path, options, image, replaced=None)

    def _open_again(self) -> None:
        """Open what is looked at once more, or what was refused, with what was set."""
        opened, named = self._opened(), self._named_image()
        if self.run_bar.busy:
            return
        placing = self.placing.history
        if placing is not None and placing.changes and placing.section is self._section:
            msg = "Steps that place its spots are not applied yet; Apply or Cancel, then Set."
            self.run_bar.say(InputError(msg))
            return
        options = SlideOptions(
            mpp=self.mpp.value() or None,
            series=self.series.currentData(),
            icc=self.icc.isChecked(),
            sample=self.sample.chosen(),
            registration=self._placed_by,
        )
        if self._refused is not None:
            self._start(self._refused, options, named, replaced=None)
        elif opened is not None and self._section is not None:
            options = replace(options, registration=opened.options.registration)
            self._start(opened.path, options, named, replaced=self._section)

    def _named_image(self) -> Path | None:
        named = self.image.text().strip()
        return Path(named) if named else None

    def _start(
        self, path: Path, options: SlideOptions, image: Path | None, replaced: Section | None
    ) -> None:
        tiles, sections = viewer_tiles(self._viewer), open_sections(self._viewer)
        said, gene = [one.said for one in open_places(self._viewer)], self._session.gene
        if self._refused is not None:
            self._offer_again()
        self.run_bar.start(
            f"Opening {path.name}",
            lambda job: open_described(path, options, job, image, tiles, sections, said, gene),
            on_done=lambda opened: self._show(opened, replaced),
            on_error=lambda error: self._offer_others(error, path, options, image),
            on_end=self._open_next,
        )

    def _offer_others(
        self, error: StenhanceError, path: Path, options: SlideOptions, image: Path | None
    ) -> None:
        """Offer the other images of a file whose slide is refused, or the samples in it."""
        several = isinstance(error, SeveralSamples) and bool(error.samples)
        if several:
            self.sample.offer(path, error.samples)
        if several or (isinstance(error, SlideRefused) and error.others):
            self._refused, self._placed_by = path, options.registration
            self._show_image(image)
            self.icc.setChecked(options.icc)
            self.again.setEnabled(True)
        if isinstance(error, SlideRefused) and error.others:
            # A scale that was given is that of the slide.
            self._show_scale(None)
            self._list_series([other.name for other in error.others], (image or path).name)

    def _open_next(self) -> None:
        if self._waiting:
            self._start(*self._waiting.pop(0), replaced=None)

    def _show(self, opened: OpenedPath, old: Section | None) -> Iterator[None]:
        what, said = opened.what, opened.said
        tissue = self._carried(old, what)
        carried = None if old is None else remove_section(self._viewer, old)
        self._said = said
        try:
            yield from open_in_turns(self._session, opened.layers, read=opened.read)
        finally:
            self._said = None
        if carried is not None and isinstance(what, Section):
            carry_over(self._viewer, what, carried)
        add_layers(self._viewer, tissue)
        place = self._session.place
        if isinstance(what, Section) and self._session.section is not what:
            # It was open already, perhaps with its spots placed otherwise.
            self._words[place] = describe_looked_at(self._session)
        elif isinstance(what, Section) or self._section is None:
            self._words[place] = said
        else:
            self._words[place] = "\n".join([*describe_section(self._section), "", said])
        self._follow()
        # What was set is for one section: the next may have another slide and scale.
        self._offer_again()

    def _offer_places(self, section: Section, registration: Registration) -> None:
        self.placing.offer(section, registration)

    def _show_placed(self) -> None:
        """Describe a section whose spots were placed anew."""
        self._words[self._session.place] = describe_looked_at(self._session)
        self._follow()

    def _follow(self) -> None:
        """Describe the section that is looked at, and offer what can be done with it."""
        place, section = self._session.place, self._session.section
        self.shown.clear()
        places = open_places(self._viewer)
        self.shown.addItems([one.name for one in places])
        self.shown.setCurrentIndex(places.index(place) if place in places else -1)
        # Saved layers, of no section, are described while there is any layer.
        stays = {*places, *([None] if len(self._viewer.layers) else [])}
        self._words = {one: said for one, said in self._words.items() if one in stays}
        if place is not None and place not in self._words:
            self._words[place] = self._said or describe_looked_at(self._session)
        said = self._words.get(place, ""), self.placing.said_of_runs()
        self.words.setPlainText("\n".join(filter(None, said)))
        if section is self._section:
            return
        self._section = section
        self._offer_again()

    def _offer_again(self) -> None:
        """Offer to open the section that is looked at with another slide, scale or colours."""
        self._refused = None
        opened, slide = self._opened(), self._section and self._section.slide
        self._show_image(None if opened is None else opened.image)
        self._show_scale(None if opened is None else opened.options.mpp)
        names = [] if slide is None else [one.name for one in slide.others if not one.is_slide]
        self._list_series(names, chosen=None if slide is None else slide.series)
        self.icc.setChecked(slide is None or slide.icc)
        self.sample.show_opened(opened)
        self.again.setEnabled(opened is not None)

    def _opened(self) -> Opened | None:
        """Return how the section was opened that is looked at."""
        layers = layers_of(self._viewer, "slide", "spots")
        return next((i.opened for _, i in layers if i.section is self._section), None)

    def _look_at(self, index: int) -> None:
        self._session.look_at(open_places(self._viewer)[index])

    def _show_image(self, image: Path | None) -> None:
        """Show the slide that was named for what is open, so that *Set* keeps it."""
        self._image = "" if image is None else str(image)
        self.image.setText(self._image)

    def _show_scale(self, mpp: float | None) -> None:
        """Show the scale that was given for what is open, so that *Set* keeps it."""
        self.mpp.setValue(mpp or 0)
        self._mpp = self.mpp.value()

    def _scale_of_chosen(self) -> None:
        """Offer the scale that was given for the slide to no other image than that slide."""
        slide = self._section and self._section.slide
        if slide is None or self._refused is not None:
            return
        named = self.image.text().strip() != self._image
        other = named or self.series.currentData() != slide.series
        before, after = (self._mpp, 0.0) if other else (0.0, self._mpp)
        if self.mpp.value() == before:
            self.mpp.setValue(after)

    def _list_series(self, names: list[str], refused: str = "", chosen: str | None = None) -> None:
        """Offer what a file holds, beside its slide or instead of one that is refused."""
        self.series.clear()
        self.series.addItem(f"choose one of {refused}" if refused else _SLIDE, None)
        for name in (*([] if chosen is None else [chosen]), *names):
            self.series.addItem(name, name)
        self.series.setCurrentIndex(0 if chosen is None else 1)

    def _may_look(self) -> None:
        name, slide = self.series.currentData(), self._section and self._section.slide
        other = name is not None and slide is not None and name != slide.series
        self.look.setEnabled(other and self._refused is None)

    def _look_beside(self) -> None:
        """Show an image of the slide's file beside it, and all of both."""
        section, name = self._section, self.series.currentData()
        if section is None or name is None or self.run_bar.busy:
            return
        shown = shown_beside(self._viewer, section)
        if name in shown:
            self._see(shown[name])
            return
        place = self._session.place
        ends = [one.extent.world[1][1] - place.origin[1] for one in shown.values()]
        left = max(ends, default=0.0)
        self.run_bar.start(
            f"Opening {name}",
            lambda job: beside_layer(section, name, left, job),
            on_done=lambda layer: self._see(*add_layers(self._viewer, [layer])),
            on_end=self._open_next,
        )

    def _see(self, layer: Layer) -> None:
        """Show a layer that may be hidden, or lie outside what the camera sees."""
        layer.visible = True
        self._viewer.reset_view()

    def _carried(self, old: Section | None, new: Section | ResultFolder | None) -> list[LayerData]:
        """Make the layer of the tissue that was edited of a section that is opened otherwise."""
        if old is None or not isinstance(new, Section):
            return []
        try:
            layer = carried_tissue(self._viewer, old, new)
        except InputError as error:
            self.run_bar.say(error)
            return []
        return [] if layer is None else [layer]

    def _describe(self, section: Section, quality: Quality) -> None:
        """Describe a section again: its quality is known."""
        if self._session.place is not None and section is self._section:
            self._words[self._session.place] = "\n".join(describe_section(section, quality))
        self._follow()

    def _browse_folder(self) -> None:
        if path := ask_for_folder(self):
            self.open(path)

    def _browse_file(self) -> None:
        if path := ask_for_section(self):
            self.open(path)

    def _browse_save(self) -> None:
        if not len(self._viewer.layers):
            self.run_bar.say(InputError("Nothing is open: there are no layers to save."))
            return
        if path := ask_where_to_save(self):
            self.save_layers(path)

    def save_layers(self, path: Path) -> None:
        """Save all layers in a thread; *File → Save All Layers* does, too, and napari waits for it.

        They are those that are there now, also if something else is to end first.
        """
        path = path if path.suffix == ".zarr" else path.with_name(f"{path.name}.zarr")
        layers = [as_it_is(layer) for layer in self._viewer.layers]
        look, kept = look_of(self._session), kept_edits(layers)

        def saved(_written: list[str]) -> None:
            keep_edits(self._viewer, kept)
            self.placing.lost.saved()
            self._session.changed.emit()

        self.run_bar.start(
            f"Saving {path.name}",
            lambda job: write_layers(str(path), layers, job, look),
            on_done=saved,
            on_end=self._open_next,
        )

    def _browse_image(self) -> None:
        if path := ask_for_slide(self):
            self.image.setText(str(path))
