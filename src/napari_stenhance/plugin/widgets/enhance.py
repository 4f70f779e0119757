"""The panel 'Enhance genes': the options of the task, Run, and the layers that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout

from napari_stenhance.errors import InputError
from napari_stenhance.features.masks import TISSUE_KINDS
from napari_stenhance.methods.genes import common_genes, split_genes
from napari_stenhance.methods.registry import method_entry, methods
from napari_stenhance.plugin.layer_info import (
    layer_info,
    layers_of,
    open_sections,
    slide_layer,
)
from napari_stenhance.plugin.outlined import OUTLINED
from napari_stenhance.plugin.regions import begin_drawing, polygons_um
from napari_stenhance.plugin.tissue import hide_tissue, with_edited_tissue
from napari_stenhance.plugin.warming import warm_drawing
from napari_stenhance.plugin.widgets.choices import named
from napari_stenhance.plugin.widgets.encoder_box import EncoderBox
from napari_stenhance.plugin.widgets.follow import follow_layers, follow_session
from napari_stenhance.plugin.widgets.gene_box import GeneBox
from napari_stenhance.plugin.widgets.outputs import suggest_out
from napari_stenhance.plugin.widgets.run_dock import RunDock
from napari_stenhance.running.job import Job
from napari_stenhance.section.region import Region
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance_runs

if TYPE_CHECKING:
    from napari.layers import Labels, Shapes
    from napari.viewer import Viewer

    from napari_stenhance.section.section import Section

_WHOLE = "the whole slide"
_LIST_HEIGHT = 80
_MORE = (
    "predict",
    "genes",
    "encoder",
    "crops",
    "pitch",
    "lattice",
    "tissue",
    "preset",
    "epochs",
    "device",
    "seed",
    "clear_dead_locks",
)


class EnhanceWidget(RunDock):
    """Learns from open sections and predicts genes; layers fill in while it works."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "Enhance genes",
            "Learn, predict, and write the result to Out.",
            EnhanceOptions,
            {
                "sections": self._sections_with_spots,
                "predict": self._sections_with_slide,
                "region": self._regions,
                "tissue": lambda: [(kind, Path(kind)) for kind in TISSUE_KINDS],
            },
            _MORE,
        )
        self.run.setText("Run")
        for name in ("sections", "predict"):
            self.form.fields[name].native.setMaximumHeight(_LIST_HEIGHT)
        self.gene_box = GeneBox(self, "type to add a gene to Write")
        self.gene_box.setToolTip("Type to search; a gene that you choose is added to 'Write'.")
        self.gene_box.chosen.connect(self._add_gene)
        self.encoder_box = EncoderBox(self, self.form.fields["encoder"], self.run_bar)
        self.form.add_below("encoder", self.encoder_box)
        self.draw = QPushButton("Draw a region", self)
        self.draw.setToolTip("Click corners on the slide; press Esc or double-click to close it.")
        self.draw.clicked.connect(self._draw)
        row = QHBoxLayout()
        row.addWidget(self.draw)
        row.addWidget(self.run, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._scrolled(self.gene_box), 1)
        layout.addLayout(row)
        layout.addWidget(self.run_bar)
        for name in ("sections", "predict"):
            self.form.fields[name].changed.connect(self._suggest)
        self.form.fields["method"].changed.connect(self._show_own)
        self._show_own(self.form.chosen("method"))
        follow_layers(self, napari_viewer, self._refresh, self._regions_changed)
        follow_session(self, napari_viewer, self._follow)

    def _follow(self) -> None:
        if self._section is None and self._session.section is not None:
            # Before the user can come to draw on it.
            warm_drawing()
        self._offer("sections")

    # What can be chosen

    def _sections_with_spots(self) -> list[tuple[str, Section]]:
        return [(n, s) for n, s in self._sections_with_slide() if s.spots is not None]

    def _sections_with_slide(self) -> list[tuple[str, Section]]:
        return named([s for s in open_sections(self._viewer) if s.slide is not None])

    def _regions(self) -> list[tuple[str, Shapes | Labels | None]]:
        from napari.layers import Shapes

        drawn = [
            (layer.name, layer)
            for layer in self._viewer.layers
            if isinstance(layer, Shapes) and len(layer.data)
        ]
        of_files = [(layer.name, layer) for layer, _ in layers_of(self._viewer, OUTLINED.name)]
        return [(_WHOLE, None), *drawn, *of_files]

    def _refresh(self) -> None:
        self.form.refresh()
        self._suggest()

    def _regions_changed(self) -> None:
        """List the regions again; one that has just been begun is what the user wants."""
        region = self.form.fields["region"]
        before = set(region.choices)
        self.form.refresh()
        for name in set(region.choices) - before:
            region.value = name

    def _suggest(self, _value: Any = None) -> None:
        """Suggest where the result goes, and list the genes that were measured everywhere."""
        sections = self.form.chosen("sections")
        if not sections:
            self.gene_box.set_genes(())
            return
        try:
            shared = common_genes([(s.name, list(s.need_spots().var_names)) for s in sections])
        except InputError:
            # Run says so.
            shared = ()
        self.gene_box.set_genes(shared)
        self._suggest_out(suggest_out(self.form.chosen("predict") or sections))

    def _show_own(self, method: str) -> None:
        """Grey out what the method has no use for, and list its presets."""
        chosen, fields = method_entry(method), self.form.fields
        for name in {name for entry in methods("genes") for name in entry.options}:
            fields[name].enabled = name in chosen.options
        fields["preset"].choices = chosen.presets

    # What is done

    def _add_gene(self, gene: str) -> None:
        write = self.form.fields["write"]
        genes = split_genes(write.value, self.gene_box.genes)
        write.value = ", ".join(dict.fromkeys([*genes, gene]))

    def _draw(self) -> None:
        """Hand the region layer of the section in question to the user."""
        section = self._session.section
        if section is None or section.slide is None:
            self.run_bar.say(InputError("Open the section to draw on: no slide is looked at."))
            return
        begin_drawing(self._viewer, section)

    def options(self) -> EnhanceOptions:
        """Return the options as the form stands.

        Raises
        ------
        InputError
            If no section is chosen, or the region or the tissue that was edited holds nothing.
        """
        values = self.form.values()
        if not values["sections"]:
            msg = "Choose at least one open section with spots to learn from."
            raise InputError(msg)
        if str(values["out"]) in {"", "."}:
            msg = "Choose where the result goes (Out)."
            raise InputError(msg)
        if values["region"] is not None:
            target = (values["predict"] or values["sections"])[0]
            values["region"] = self._region(values["region"], target)
        for name in ("sections", "predict"):
            values[name] = tuple(with_edited_tissue(self._viewer, values[name]))
        used = {name: v for name, v in values.items() if self.form.fields[name].enabled}
        return EnhanceOptions(**used)

    def _region(self, layer: Shapes | Labels, section: Section) -> Region:
        info = layer_info(layer)
        if info is not None and info.outlined is not None:
            return info.outlined.regions.united()
        slide = slide_layer(self._viewer, section)
        region = Region.from_shapes(polygons_um(layer, slide))
        if not region.area.area > 0:
            msg = f"{layer.name}: what is drawn has no area; draw a polygon around tissue."
            raise InputError(msg)
        return region

    def _goes_to(self, options: EnhanceOptions) -> Any:
        return options.predict or options.sections

    def _first_gene(self) -> str:
        """Return the gene that was typed first."""
        return next(iter(split_genes(self.form.fields["write"].value, self.gene_box.genes)), "")

    def _run(self) -> None:
        super()._run()
        if self.run_bar.busy:
            hide_tissue(self._viewer)

    def _work(self, options: EnhanceOptions, job: Job) -> Any:
        used = (*options.sections, *options.predict)
        for name in {s.name: None for s in used if s.need_slide().tissue is not None}:
            job.note(f"{name}: its tissue is what was edited, whatever 'Tissue' says.")
        return enhance_runs(options, job)
