"""From drop to reopening, looked at with pixels: a synthetic section, and a real one."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from napari.utils import progress
from qtpy.QtCore import QTimer

from napari_stenhance.plugin.layer_info import layers_of, open_sections
from napari_stenhance.results.result import ResultFolder
from person import Person, check_truth

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


def _look_through(
    person: Person, path: Path, out: Path, genes: tuple[str, str], other: str
) -> None:
    """Open, enhance, browse, draw a region, run for it, and open the result again."""
    person.drop(path)
    (section,) = open_sections(person.viewer)
    assert "µm per pixel" in person.section.words.toPlainText()
    assert {a.role.name for _, a in layers_of(person.viewer, "slide", "spots", "region")} == {
        "slide", "spots",
    }  # fmt: skip
    ticks: list[tuple[float, float]] = []

    def tick() -> None:
        ticks.append((time.thread_time(), time.monotonic()))

    clock = QTimer()
    clock.timeout.connect(tick)
    clock.start(20)
    person.set_enhance(out, ", ".join(genes))
    person.run()
    clock.stop()
    # Twice what it takes on two idle cores: napari needs some time for each new layer. What waits
    # for other programs is not the interface's doing, unless it waits for long.
    busy, waiting = np.diff(ticks, axis=0).max(axis=0)
    assert busy < 2, "the interface froze"
    assert waiting < 12, "the interface froze"
    assert person.enhance.run_bar.label.text().startswith("Done.\npixel2gene-stain-robust is in ")
    assert [p.desc for p in progress._all_instances] == []
    field = ResultFolder.open(out).field("pixel2gene-stain-robust")
    for gene in genes:
        layer = person.layer("gene", gene=gene)
        assert layer.name == f"{gene} · Pixel2Gene · {section.name} · pinned"
        # The one that was typed first is seen.
        assert layer.visible == layer.colorbar.visible == (gene == genes[0])
        shape = field.grid.shape
        expected = field.image(gene)
        found = np.asarray(layer.data[0])[: shape[0], : shape[1]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        inside = np.percentile(expected[np.isfinite(expected)], (1, 99))
        np.testing.assert_allclose(layer.contrast_limits, inside, rtol=1e-4)

    browse, shape = person.layer("browse"), field.grid.shape
    for gene in (*genes, other):
        person.type_gene(gene.lower())
        seen = [layer for layer, _ in layers_of(person.viewer, "gene", "browse") if layer.visible]
        assert seen == [browse if gene == other else person.layer("gene", gene=gene)]
        assert seen[0].name.startswith(f"{gene} · ")
        np.testing.assert_allclose(
            np.asarray(seen[0].data[0])[: shape[0], : shape[1]], field.image(gene), rtol=1e-6
        )
        assert person.layer("spots").name == f"{gene} · measured · {section.name}"
        check_truth(person.viewer)
    assert "held out" in person.genes.accuracy.text()
    person.click(person.genes.pin)
    person.wait(lambda: not person.genes.run_bar.busy)
    assert person.layer("gene", gene=other).visible

    assert section.slide is not None
    person.viewer.reset_view()
    height, width = (n * section.slide.scale() for n in section.slide.shape)
    box = [(a * height, b * width) for a, b in ((0.4, 0.4), (0.4, 0.6), (0.6, 0.6), (0.6, 0.4))]
    person.draw(box)
    region = person.layer("region")
    assert len(region.data) == 1
    assert person.enhance.form.fields["region"].value == region.name
    person.run()
    result = ResultFolder.open(out)
    assert result.runs == ("pixel2gene-stain-robust", "pixel2gene-stain-robust-2")
    drawn = result.region("pixel2gene-stain-robust-2")
    assert drawn is not None
    expected_bounds = (0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height)
    # As exact as a click: a few pixels of the screen.
    tolerance = 4 / person.viewer.scene.camera.zoom
    np.testing.assert_allclose(drawn.area.bounds, expected_bounds, atol=tolerance)
    inside = drawn.mask(field.grid)
    local = result.field("pixel2gene-stain-robust-2").image(genes[0])
    assert np.isfinite(local).any()
    assert not np.isfinite(local[~inside]).any()
    np.testing.assert_allclose(local[inside], field.image(genes[0])[inside], rtol=1e-2)
    # The region lies over the whole, as one picture on one scale.
    seen = [layer for layer, _ in layers_of(person.viewer, "gene") if layer.visible]
    assert [layer.name for layer in seen] == [
        f"{genes[0]} · Pixel2Gene · {section.name} · pinned",
        f"{genes[0]} · Pixel2Gene, region (2) · {section.name} · pinned",
    ]
    assert [layer.colorbar.visible for layer in seen] == [False, True]
    check_truth(person.viewer)
    _check_one_picture(person, seen)

    for unit in {str(u) for layer in person.viewer.layers for u in layer.units}:
        assert unit == "micrometer"
    before = {layer.name for layer, _ in layers_of(person.viewer, "gene")}
    person.viewer.layers.clear()
    assert not open_sections(person.viewer)
    person.drop(out)
    assert {layer.name for layer, _ in layers_of(person.viewer, "gene")} == before
    check_truth(person.viewer)
    assert len(person.layer("slide").data) == len(section.slide.levels)
    for gene in genes:
        layers = layers_of(person.viewer, "gene")
        runs = [a.run.name for _, a in layers if a.gene == gene and a.run is not None]
        assert sorted(runs) == sorted(result.runs)


def _check_one_picture(person: Person, seen: list[Layer]) -> None:
    """In a region that is seen over the whole, equal values have the colours that they had."""
    whole, region = (np.asarray(layer.data[0]) for layer in seen)
    assert np.isfinite(region).any()
    assert not (np.isfinite(whole) & np.isfinite(region)).any()
    assert seen[0].opacity == seen[1].opacity
    person.click(person.genes.spots)
    together = person.viewer.screenshot(flash=False).astype(int)
    # Without the region's, the whole's image is looked at, and is all there.
    seen[1].visible = False
    check_truth(person.viewer)
    assert seen[0].colorbar.visible
    alone = person.viewer.screenshot(flash=False).astype(int)
    assert np.isfinite(np.asarray(seen[0].data[0])[np.isfinite(region)]).all()
    # As exact as the values of two runs, and one that is seen at all.
    assert np.abs(together - alone).max() <= 12
    seen[0].visible = False
    bare = person.viewer.screenshot(flash=False).astype(int)
    assert (np.abs(alone - bare) > 40).any()
    seen[0].visible = True
    seen[1].visible = True
    assert not (np.isfinite(np.asarray(seen[0].data[0])) & np.isfinite(region)).any()
    person.click(person.genes.spots)
    check_truth(person.viewer)


@pytest.mark.painted
def test_a_synthetic_section_from_drop_to_reopening(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    _look_through(person, small_files[0], tmp_path / "one.stenhance.zarr", ("G1", "G20"), "G3")


@pytest.mark.slow
@pytest.mark.painted
def test_c2_from_drop_to_reopening(person: Person, data: Path, tmp_path: Path) -> None:
    _look_through(
        person,
        data / "her2st" / "C2",
        tmp_path / "C2.stenhance.zarr",
        ("ERBB2", "COL1A1"),
        "CD74",
    )
