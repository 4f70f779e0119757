"""The docks in a real viewer, used as a person would: drop, click, type, draw, open again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from qtpy.QtCore import Qt

import slide_files
from napari_stenhance.plugin.drawn import add_regions, drawn_regions
from napari_stenhance.plugin.layer_info import layers_of, open_sections, our_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.section.named_regions import NamedRegions
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from person import Person, check_truth
from test_samples import lattice, two

# PySide6 has no newer way to make such an event.
pytestmark = pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")


def test_bad_input_is_said_where_it_happens(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.click(person.enhance.run)
    assert "at least one open section" in person.enhance.run_bar.error.text()
    (tmp_path / "not a section").mkdir()
    person.drop(tmp_path / "not a section")
    assert "no section that can be read" in person.section.run_bar.error.text()
    assert not list(person.viewer.layers)
    person.drop(small_files[0])
    person.set_enhance(tmp_path / "one.stenhance.zarr", write="NOTAGENE")
    person.run()
    assert "NOTAGENE" in person.enhance.run_bar.error.text()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    person.set_enhance(foreign)
    person.run()
    assert "nothing was touched" in person.enhance.run_bar.error.text()
    assert [f.name for f in foreign.iterdir()] == ["thesis.txt"]


def test_a_region_layer_that_was_deleted_comes_back_to_be_drawn_in(
    person: Person, small_files: list[Path]
) -> None:
    person.click(person.enhance.draw)
    assert "Open the section to draw on" in person.enhance.run_bar.error.text()
    person.drop(small_files[0])
    person.click(person.enhance.draw)
    person.viewer.layers.remove(person.layer("region"))
    person.click(person.enhance.draw)
    region = person.layer("region")
    person.wait(lambda: region.mode == "add_polygon")
    np.testing.assert_allclose(region.scale, 0.8)
    person.click(person.enhance.draw)
    assert person.layer("region") is region
    region.add(np.array([(1.0, 1.0), (5.0, 9.0)]), shape_type="line")
    person.enhance.form.fields["region"].value = region.name
    person.click(person.enhance.run)
    assert "no area" in person.enhance.run_bar.error.text()


@pytest.mark.slow
def test_a_scale_that_was_set_moves_the_section_and_keeps_what_was_drawn(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.drop(small_files[0])
    person.click(person.enhance.draw)
    region = person.layer("region")
    nest = np.array([shapely.Polygon([(80, 80), (240, 80), (240, 240)])], dtype=object)
    add_regions(region, NamedRegions(("Nest",), nest, ("Tumour",), ("#112233",)), 0.8)
    region.add(np.array([(100, 100), (100, 300), (300, 300)]), shape_type="polygon")
    corners = [(40 + 12 * (n % 30), 40 + 12 * (n // 30)) for n in range(600)]
    boxes = np.array([shapely.box(x, y, x + 8, y + 8) for x, y in corners], dtype=object)
    NamedRegions(tuple(map(str, range(600))), boxes).write(tmp_path / "many.geojson")
    regions = person.bench.open("regions")
    regions.files.open_regions(tmp_path / "many.geojson")
    person.wait(lambda: not regions.run_bar.busy)
    ((outlined, _),) = layers_of(person.viewer, "outlined regions")
    at = outlined.world_to_data((44.0, 44.0))
    person.bench.open("section")
    person.section.mpp.setValue(1.6)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert section.mpp == 1.6
    assert "1.6 µm per pixel (given)" in person.section.words.toPlainText()
    region = person.layer("region")
    np.testing.assert_allclose(region.scale, 1.6)
    np.testing.assert_allclose(region.data[1], [(100, 100), (100, 300), (300, 300)])
    np.testing.assert_allclose(region.edge_color[0][:3], np.array((0x11, 0x22, 0x33)) / 255)
    place = session_of(person.viewer).place
    assert place is not None
    drawn, _ = drawn_regions(region, place)
    assert (drawn.names[0], drawn.kinds[0]) == ("Nest", "Tumour")
    assert drawn.areas[0].area == pytest.approx(4 * nest[0].area)
    ((outlined, info),) = layers_of(person.viewer, "outlined regions")
    assert len(info.outlined.regions) == 600
    assert info.outlined.regions.areas[0].centroid.coords[0] == pytest.approx((88, 88))
    # The same pixel, twice as far from the corner.
    np.testing.assert_allclose(outlined.data_to_world(at), (88, 88), atol=2.5)
    # The field shows what was given, and the next change keeps it.
    assert person.section.mpp.value() == 1.6
    person.section.icc.setChecked(False)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert (section.mpp, section.need_slide().icc) == (1.6, False)
    # It was for that slide only.
    person.drop(small_files[1])
    assert [s.mpp for s in open_sections(person.viewer)] == [1.6, 0.8]
    assert person.section.mpp.value() == 0
    # A scale that cannot be is said, and takes nothing away.
    person.section.mpp.setValue(0.01)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    assert "cannot be right" in person.section.run_bar.error.text()
    assert person.section.run_bar.error.text().endswith("give the true one (field “Scale”).")
    assert [s.mpp for s in open_sections(person.viewer)] == [1.6, 0.8]


def test_the_dock_sets_what_is_open_not_what_failed_and_nothing_once_it_is_closed(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    dock = person.section
    person.drop(small_files[0])
    words = dock.words.toPlainText()
    person.drop(tmp_path / "nothing.svs")
    assert "there is no such file" in dock.run_bar.error.text()
    assert dock.words.toPlainText() == words
    dock.mpp.setValue(1.6)
    person.click(dock.again)
    person.wait(lambda: not dock.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert (section.name, section.mpp) == ("one", 1.6)
    person.viewer.layers.remove(person.layer("spots"))
    assert dock.again.isEnabled()
    person.viewer.layers.clear()
    assert not dock.again.isEnabled()
    assert (dock.words.toPlainText(), dock.mpp.value()) == ("", 0)


def test_a_slide_from_elsewhere_is_set_in_the_dock(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    counts = tmp_path / "counts.h5ad"
    shutil.copyfile(small_files[0], counts)
    person.drop(counts)
    assert not list(layers_of(person.viewer, "slide"))
    person.section.image.setText(str(small_files[0].with_name("one_he.jpg")))
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert section.need_slide().path.name == "one_he.jpg"
    # The field says whose slide it is, Set keeps it, and no other section takes it.
    assert person.section.image.text() == str(section.need_slide().path)
    person.section.mpp.setValue(1.6)
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert (section.need_slide().path.name, section.mpp) == ("one_he.jpg", 1.6)
    person.drop(shutil.copyfile(counts, tmp_path / "others.h5ad"))
    assert person.section.image.text() == ""
    assert [one.slide is None for one in open_sections(person.viewer)] == [False, True]
    person.section.shown.activated.emit(0)
    assert person.section.image.text() == str(section.need_slide().path)
    # Without it, the slide is the one beside the counts: here there is none.
    person.section.image.clear()
    person.click(person.section.again)
    person.wait(lambda: not person.section.run_bar.busy)
    assert {one.slide for one in open_sections(person.viewer)} == {None}


@pytest.mark.slow
def test_a_result_whose_slide_is_gone_says_so(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in (small_files[0], small_files[0].with_name("one_he.jpg")):
        shutil.copy(file, moved)
    out = tmp_path / "one.stenhance.zarr"
    options = EnhanceOptions((moved / "one.h5ad",), out, write="G1", epochs=1, device="cpu")
    enhance(options)
    shutil.rmtree(moved)
    person.drop(out)
    assert "open the section too" in person.section.words.toPlainText()
    assert person.layer("gene").visible
    # The section, opened after it, lies underneath.
    person.drop(small_files[0])
    roles = [a.role.name for _, a in layers_of(person.viewer, "slide", "spots", "gene", "browse")]
    assert roles == ["slide", "browse", "gene", "spots"]


def test_the_table_of_genes_is_searched_as_one_types(
    person: Person, small_files: list[Path]
) -> None:
    person.drop(small_files[0])
    line, table = person.genes.gene, person.genes.table.genes
    person.bot.keyClicks(line, "3")
    found = {table.index(row, 0).data() for row in range(table.rowCount())}
    assert found == {"G3", "G13", "G23", *(f"G{n}" for n in range(30, 40))}
    spots = person.layer("spots")
    before = spots.name
    person.bot.keyClick(line, Qt.Key.Key_Return)
    assert spots.name == before, "several genes can be meant"
    person.type_gene("39")
    assert "G39" in spots.name
    assert person.genes.legend.isVisibleTo(person.genes)


def test_saved_layers_are_dropped_and_opened(
    person: Person, small_files: list[Path], tmp_path: Path
) -> None:
    person.drop(small_files[0])
    person.type_gene("G39")
    names = [layer.name for layer in person.viewer.layers]
    person.viewer.layers.save(str(tmp_path / "saved.zarr"), plugin="napari-stenhance")
    person.viewer.layers.clear()
    person.drop(tmp_path / "saved.zarr")
    assert [layer.name for layer in person.viewer.layers] == names
    assert "G39" in person.layer("spots").name
    assert person.genes.gene.text() == "G39"
    check_truth(person.viewer)
    said = person.section.words.toPlainText().splitlines()
    assert said[0] == "Section one"
    assert said[-3:] == ["Saved layers: 2", *names]


@pytest.mark.slow
def test_images_beside_the_slide_are_shown_on_demand_and_chosen(
    person: Person, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    slide_files.scn(tmp_path / "s.scn", pixels)
    person.drop(tmp_path / "s.scn")
    dock = person.section
    listed = "region 1 (600 × 400 px, the slide), macro (300 × 900 px), region 2 (150 × 100 px)"
    assert f"Images of the file: {listed}" in dock.words.toPlainText()
    assert [dock.series.itemText(n) for n in range(3)] == ["the slide", "macro", "region 2"]
    # Nobody sees a label or a macro who did not ask for it.
    assert {info.role.name for _, info in our_layers(person.viewer)} == {"slide"}
    assert not dock.look.isEnabled()
    for name in ("macro", "region 2"):
        dock.series.setCurrentText(name)
        for _ in range(2):
            person.viewer.scene.camera.center = (0, 1e4, 1e4)
            person.click(dock.look)
            person.wait(lambda: not dock.run_bar.busy)
            (looked,) = (one for one, info in our_layers(person.viewer) if info.part == name)
            # Seen at once, also if it was hidden.
            assert looked.visible
            everything = person.viewer.layers.extent.world.mean(axis=0)
            np.testing.assert_allclose(person.viewer.scene.camera.center[1:], everything, rtol=0.1)
            looked.visible = False
    slide = person.layer("slide")
    beside = [layer for layer, _ in layers_of(person.viewer, "beside")]
    assert [layer.name for layer in beside] == [
        "s: macro (not to scale)",
        "s: region 2 (not to scale)",
    ]
    # Nothing lies over the slide, or over another.
    boxes = [layer.extent.world for layer in (*beside, slide)]
    assert min(box[0][0] for box in boxes[:2]) > boxes[2][1][0]
    assert boxes[0][1][1] < boxes[1][0][1]
    assert {str(unit) for layer in person.viewer.layers for unit in layer.units} == {"micrometer"}
    np.testing.assert_array_equal(np.asarray(beside[1].data[0])[:100, :150], pixels[:100, :150])

    # The scale that is given for one image is none of another's.
    dock.series.setCurrentText("the slide")
    dock.mpp.setValue(1.6)
    person.click(dock.again)
    person.wait(lambda: not dock.run_bar.busy)
    dock.series.setCurrentText("macro")
    assert dock.mpp.value() == 0
    dock.series.setCurrentText("the slide")
    assert dock.mpp.value() == 1.6
    dock.series.setCurrentText("region 2")
    dock.icc.setChecked(False)
    person.click(dock.again)
    person.wait(lambda: not dock.run_bar.busy)
    (section,) = open_sections(person.viewer)
    assert section.slide is not None
    assert (section.slide.series, section.slide.icc, section.mpp) == ("region 2", False, 1.0)
    assert section.slide.shape == (100, 150)
    assert not list(layers_of(person.viewer, "beside"))
    assert dock.series.currentText() == "region 2"
    assert not dock.look.isEnabled()
    # Choices were for that slide only.
    person.drop(tmp_path / "s.scn")
    (_, section) = open_sections(person.viewer)
    assert section.slide is not None
    assert (section.slide.series, section.slide.icc) == (None, True)

    # Where a file's own slide is refused, its other images are offered, at no scale of the slide.
    planes = np.zeros((2, 300, 400), np.uint16)
    planes[0, :200] = 60000
    with tifffile.TiffWriter(tmp_path / "IF.ome.tif") as tif:
        tif.write(planes, photometric="minisblack", metadata={"axes": "CYX", "Name": "IF"})
        tif.write(planes[0, :200], photometric="minisblack", metadata={"axes": "YX", "Name": "TL"})
    listed = [dock.series.itemText(n) for n in range(dock.series.count())]
    dock.mpp.setValue(0.4)
    person.drop(tmp_path / "IF.ome.tif")
    assert "or choose another: TL (field “In its file”)." in dock.run_bar.error.text()
    offered = [dock.series.itemText(n) for n in range(dock.series.count())]
    assert offered == ["choose one of IF.ome.tif", "TL"]
    assert dock.mpp.value() == 0
    dock.series.setCurrentText("TL")
    assert not dock.look.isEnabled()
    person.click(dock.again)
    person.wait(lambda: not dock.run_bar.busy)
    assert not dock.run_bar.error.isVisibleTo(dock)
    *others, section = open_sections(person.viewer)
    assert len(others) == 2
    assert section.slide is not None
    assert (section.slide.series, section.slide.shape) == ("TL", (200, 400))
    assert [dock.series.itemText(n) for n in range(dock.series.count())] == ["the slide", "TL"]
    # What was refused is forgotten with the next that is opened or looked at.
    looks = [lambda: person.drop(tmp_path / "none"), lambda: dock.shown.activated.emit(1)]
    for following in looks:
        person.drop(tmp_path / "IF.ome.tif")
        assert dock.series.itemText(0) == "choose one of IF.ome.tif"
        following()
        assert dock.series.itemText(0) == "the slide"
    assert [dock.series.itemText(n) for n in range(dock.series.count())] == listed

    # Of several samples in a table one is chosen, and then another in its stead.
    two((7, 3), sample=["A", "B"]).write_h5ad(tmp_path / "both.h5ad")
    before = len(list(open_sections(person.viewer)))
    assert not dock.sample.isVisibleTo(dock)
    person.drop(tmp_path / "both.h5ad")
    assert "A, B; name the sample to open (field “Sample”)." in dock.run_bar.error.text()
    assert dock.sample.isVisibleTo(dock)
    assert [dock.sample.itemText(n) for n in range(dock.sample.count())] == ["choose one", "A", "B"]
    for name, shift in (("B", (7, 3)), ("A", (0, 0))):
        dock.sample.setCurrentText(name)
        person.click(dock.again)
        person.wait(lambda: not dock.run_bar.busy)
        *others, section = open_sections(person.viewer)
        assert (section.name, len(others)) == (f"both-{name}", before)
        np.testing.assert_array_equal(section.need_spots().obsm["spatial"], lattice(at=shift))
        assert [dock.sample.itemText(n) for n in range(dock.sample.count())] == ["A", "B"]
        assert dock.sample.currentText() == name
