"""What the plugin shows, without a window: levels, colours, readers, the form, the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import shapely
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from npe2 import PluginManifest
from npe2.io_utils import read_get_reader

import napari_stenhance
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.genes import BROWSE, View, _is_whole, browse
from napari_stenhance.plugin.layer_info import (
    KEY,
    LayerInfo,
    Role,
    layers_of,
    open_runs,
    open_sections,
    our_layers,
)
from napari_stenhance.plugin.layers import open_layers, section_layers
from napari_stenhance.plugin.levels import contrast, shown_levels
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.plugin.regions import open_region, polygons_um, region_layer
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.plugin.session import session_of
from napari_stenhance.plugin.spots import colour_spots
from napari_stenhance.plugin.under_mouse import say_under_mouse
from napari_stenhance.plugin.widgets.form import OptionsForm
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import every_run
from napari_stenhance.results.scale import limits
from napari_stenhance.running.job import Event, Job, Partial
from napari_stenhance.section.region import Region
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import SpotGeometry
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.levels import Levels
from napari_stenhance.tasks.enhance import EnhanceOptions, enhance
from person import check_truth
from reader_glance import glance

MANIFEST = Path(napari_stenhance.__file__).parent / "napari.yaml"


@pytest.fixture(scope="module")
def out(
    small_files: list[Path], tmp_path_factory: pytest.TempPathFactory, session_cache: Cache
) -> Path:
    """A result with two genes written, of a slide that is four tiles: twice the scale."""
    path = tmp_path_factory.mktemp("results") / "one.stenhance.zarr"
    options = EnhanceOptions(
        sections=(small_files[0],), out=path, write="G1,G20", mpp=1.6, epochs=2, device="cpu"
    )
    enhance(options, cache=session_cache)
    return path


def _roles(viewer: ViewerModel) -> list[str]:
    return [
        about.role.name
        for _, about in layers_of(viewer, "slide", "spots", "region", "gene", "browse")
    ]


def test_a_section_becomes_slide_and_spots_and_a_region_layer_when_it_is_asked_for(
    synthetic: Section,
) -> None:
    viewer = ViewerModel()
    slide, spots = add_layers(viewer, section_layers(synthetic))
    region = open_region(viewer, synthetic)
    assert open_region(viewer, synthetic) is region
    assert (slide.rgb, slide.multiscale) == (True, True)
    mpp = synthetic.mpp
    for layer in (slide, spots, region):
        np.testing.assert_allclose(layer.scale, mpp)
        np.testing.assert_allclose(layer.translate, 0)
        assert [str(u) for u in layer.units] == ["micrometer"] * 2
    # Spots at their true diameter: 55 µm.
    np.testing.assert_allclose(spots.size * mpp, 55)
    world = np.array([spots.data_to_world(p) for p in spots.data])
    np.testing.assert_allclose(world[:, ::-1], synthetic.spots_um())
    assert viewer.canvas.overlays.scale_bar.visible
    assert open_sections(viewer) == [synthetic]
    viewer.layers.remove(slide)
    viewer.layers.remove(spots)
    assert open_sections(viewer) == []


def test_spots_are_coloured_by_a_gene(synthetic: Section) -> None:
    viewer = ViewerModel()
    _, spots = add_layers(viewer, section_layers(synthetic))
    before = spots.face_color.copy()
    colour_spots(spots, "G1", None, "magma")
    assert spots.name == f"G1 · measured · {synthetic.name}"
    assert (spots.face_color != before).any()
    counts = np.asarray(synthetic.need_spots().X.todense())
    expected = np.log1p(1e4 * counts[:, 1] / counts.sum(axis=1))
    colours = spots.metadata["stenhance"].colours
    np.testing.assert_allclose(colours.values("G1"), expected, rtol=1e-5)
    brightness = spots.face_color[:, :3] @ [0.2, 0.7, 0.1]
    order = np.argsort(expected)
    assert brightness[order[-10:]].min() > brightness[order[:10]].max()


@pytest.mark.parametrize("turned", [0.0, 0.03, 2.0])
def test_very_many_bins_are_an_image_that_lies_where_they_do(turned: float) -> None:
    """One pixel a bin, turned and mirrored as they are; a place that was not measured is clear."""
    rng = np.random.default_rng(0)
    at = np.argwhere(rng.random((240, 260)) < 0.9) + (7, 11)
    steps = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    xy = at @ (16.0 * steps * (1, -1)).T + (9000, 4000)
    counts = rng.poisson(2.0, (len(at), 3)).astype(np.float32)
    spots = ad.AnnData(sp.csr_matrix(counts), obsm={"spatial": xy}, uns={})
    spots.obs[["array_row", "array_col"]] = at
    spots.uns["stenhance"] = vars(SpotGeometry(8.0, "square", 8.0, "micrometer"))
    section = Section(spots=spots, name="HD", mpp=0.5)
    viewer = ViewerModel()
    session = session_of(viewer)
    open_at_once(session, section_layers(section))
    (layer,) = viewer.layers
    assert isinstance(layer, Image)
    assert layer.data.shape == (240, 260)
    assert layer.name == "total counts · measured · HD"
    log_total = np.log1p(counts.sum(axis=1))
    world = xy[:, ::-1] * 0.5
    for n in (0, 77, len(at) - 1):
        pixel = layer.world_to_data(world[n])
        np.testing.assert_allclose(pixel, at[n] - (7, 11), atol=1e-6)
        assert layer.get_value(world[n], world=True) == pytest.approx(log_total[n])
    assert np.isnan(layer.data).sum() == 240 * 260 - len(at)
    session.look_at(gene="2")
    assert layer.name == "2 · measured · HD"
    cp10k = np.log1p(1e4 * counts[:, 2] / np.maximum(counts.sum(axis=1), 1))
    shown = layer.data[at[:, 0] - 7, at[:, 1] - 11]
    np.testing.assert_allclose(shown, cp10k, rtol=1e-5)
    assert session.limits == tuple(layer.contrast_limits) == limits(cp10k)
    status = layer.get_status(world[77], world=True)["value"]
    assert status == f"bin: 77, 2 measured, log1p CP10k: {cp10k[77]:.2f}"
    # What is set by hand is what docks say, and, of colours, what comes next has.
    layer.contrast_limits, layer.colormap = (1, 3), "turbo"
    assert (session.limits, session.colormap.name) == ((1, 3), "turbo")
    session.look_at(gene="1")
    assert layer.colormap.name == "turbo"
    assert session.limits == tuple(layer.contrast_limits) != (1, 3)


def test_a_section_without_a_scale_is_shown_in_pixels(synthetic: Section) -> None:
    spots = synthetic.need_spots().copy()
    spots.uns = {}
    layers = section_layers(Section(spots=spots, name="no scale"))
    ((_, attributes, kind),) = layers
    assert kind == "points"
    assert attributes["units"] == ("pixel", "pixel")
    assert attributes["scale"] == (1.0, 1.0)


def test_a_result_shows_its_slide_genes_and_one_browse_layer(out: Path) -> None:
    viewer = ViewerModel()
    layers, what, _ = open_layers(out)
    assert isinstance(what, ResultFolder)
    open_at_once(session_of(viewer), layers)
    assert _roles(viewer) == ["slide", "browse", "gene", "gene", "spots"]
    visible = [layer.name for layer in viewer.layers if layer.visible]
    names = ["G1 · Pixel2Gene · one · pinned", "G1 · measured · one"]
    assert visible == ["one", *names]
    assert viewer.layers.selection.active.name == "G1 · Pixel2Gene · one · pinned"
    check_truth(viewer)
    (run,) = open_runs(viewer, "gene", "browse")
    assert run.key == (out, "fields", "pixel2gene-stain-robust")


def test_gene_images_lie_under_the_spots(out: Path, synthetic: Section) -> None:
    viewer = ViewerModel()
    add_layers(viewer, section_layers(synthetic))
    add_layers(viewer, open_layers(out)[0][2:4])
    assert _roles(viewer) == ["slide", "gene", "gene", "spots"]


def test_the_browse_layer_shows_any_gene_and_its_uncertainty(out: Path) -> None:
    field = ResultFolder.open(out).field("pixel2gene-stain-robust")
    data, attributes, _ = next(
        layer for layer in open_layers(out)[0] if layer[1]["metadata"][KEY].role is BROWSE
    )
    layer = Image(data, **attributes)
    # Of those that were written, the first is shown.
    assert layer.metadata["stenhance"].gene == "G1"
    rows, columns = field.grid.shape
    for what, said in (
        ("expression", "G3"),
        ("spread", "uncertainty of G3"),
    ):
        browse(layer, "G3", what)
        assert layer.name == f"{said} · Pixel2Gene · one"
        expected = field.image("G3", what=what)
        shown = np.asarray(layer.data[0])
        np.testing.assert_allclose(shown[:rows, :columns], expected, rtol=1e-6)
        assert np.isnan(shown[rows:]).all()
        np.testing.assert_allclose(layer.contrast_limits, limits(expected[expected >= 0]))


@pytest.mark.slow
def test_a_run_that_is_still_filling_can_be_looked_at_from_any_distance(
    long: Path, session_cache: Cache, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def look(event: Event) -> None:
        if isinstance(event, Partial):
            layers, *_ = open_layers(event.result)
            counts = [
                np.isfinite(np.asarray(data[-1])).sum()
                for data, attributes, _ in layers
                if attributes["metadata"]["stenhance"].role.name in {"browse", "gene"}
            ]
            assert len(counts) == 2
            seen.append(tuple(int(n) for n in counts))

    options = EnhanceOptions(
        sections=(long,),
        out=tmp_path / "r.stenhance.zarr",
        write="G1",
        epochs=2,
        device="cpu",
    )
    enhance(options, Job(listener=look), cache=session_cache)
    assert len(seen) == 3, "two tiles, and the whole"
    browsed = [first for first, _ in seen]
    assert browsed == sorted(browsed)
    assert 0 < browsed[0] < browsed[1] == browsed[2]
    assert all(first == second for first, second in seen)


def test_a_new_kind_of_layer_says_itself_where_it_lies_and_when_it_is_hidden(out: Path) -> None:
    viewer, (run,) = ViewerModel(), every_run(ResultFolder.open(out))
    session = session_of(viewer)
    info = LayerInfo(Role("toy", 1, fills=True), "one", run=run, part="a")
    toy = (np.ones((4, 4)), {"metadata": info.metadata(), "visible": True}, "image")
    layers, *_ = open_layers(out)
    open_at_once(session, [*layers, toy])
    names = [info.role.name for _, info in our_layers(viewer)]
    assert names == ["slide", "browse", "toy", "gene", "gene", "spots"]
    (shown,) = (layer for layer, _ in layers_of(viewer, "toy", of_run=run.key))
    assert shown.colorbar.visible
    # It stays while its run is looked at, and is not added twice.
    open_at_once(session, [toy])
    assert shown.visible
    session.look_at_measured()
    assert not shown.visible
    assert open_runs(viewer, "toy") == [run]


def test_contrast_is_the_1st_to_99th_percentile_and_never_empty() -> None:
    assert limits(np.arange(101.0)) == (1.0, 99.0)
    assert limits(np.array([])) == (0.0, 1.0)
    low, high = limits(np.zeros(5))
    assert low < high


def test_levels_have_names_of_their_own(out: Path) -> None:
    """Dask may keep blocks by name: what is read twice while a run fills must differ in name."""
    field = ResultFolder.open(out).field("pixel2gene-stain-robust")
    first, second = (shown_levels(field.levels("G1"))[0] for _ in range(2))
    assert first.name != second.name
    assert contrast([first]) == contrast([second])


def test_another_gene_is_drawn_once_of_what_was_read_before(out: Path) -> None:
    read: list[tuple[int, int, int]] = []

    def levels(value: float) -> Levels:
        def tile(*at: int) -> Any:
            read.append(at)
            return np.full((256, 256), value + at[0], np.float32)

        return Levels(((512, 512), (256, 256)), 256, tile)

    run = every_run(ResultFolder.open(out))[0]
    info = LayerInfo(BROWSE, "one", run=run, gene="G1")
    layer = Image(shown_levels(levels(0)), multiscale=True, metadata=info.metadata(), cache=False)
    layer.corner_pixels, layer.data_level = np.array([(0, 0), (255, 511)]), 0
    view, drawn, told = View(0, layer.corner_pixels), [], []
    made = shown_levels(levels(5), kept=True)
    read.clear()
    view.read(made)
    assert sorted(read) == [(0, 0, 0), (0, 0, 1)]
    layer.events.set_data.connect(lambda _event: drawn.append(layer.data_level))
    layer.events.contrast_limits.connect(lambda _event: told.append(tuple(layer.contrast_limits)))
    read.clear()
    browse(layer, "G3", "expression", (1.0, 7.0), made)
    assert (drawn, told) == ([0], [(1.0, 7.0)])
    assert layer.get_value((10, 300)) == (0, 5.0)
    # Only the thumbnail's level is read anew; and, of what is still being filled, all.
    assert {level for level, _, _ in read} == {1}
    read.clear()
    filling = shown_levels(levels(5))
    view.read(filling)
    view.read(filling)
    assert len(read) == 4
    # What was opened while it was filled may have come to its end since.
    vars(run)["attributes"] = {**run.attributes, "complete": False}
    assert _is_whole(run)
    # The coarsest level is drawn once, too.
    layer.data_level = 1
    drawn.clear()
    browse(layer, "G4", "expression", (1.0, 7.0), shown_levels(levels(2)))
    assert (drawn, layer.get_value((10, 300))) == ([1], (1, 3.0))
    # There, the status bar says how much of the tissue a value stands for.
    say_under_mouse(layer)
    said = layer.get_status((10, 300))["value"]
    assert said == f"G4 predicted, log1p CP10k: 3 over {run.grid.pitch_um * 2:g} µm"


def test_what_is_under_the_mouse_is_said_of_all_that_a_result_holds(tiny: Path) -> None:
    viewer = ViewerModel()
    open_at_once(session_of(viewer), open_layers(tiny)[0])
    read = set()
    for layer, info in our_layers(viewer):
        if info.role.name in {"gene", "attention", "domains"}:
            layer.visible = True
            data = np.asarray(layer.data[layer.data_level])
            at = np.argwhere(data > 0)[-1]
            there = layer.data_to_world(at * layer.downsample_factors[layer.data_level] + 0.5)
            said = layer.get_status(there, world=True)["value"]
            read.add(said.replace(f"{data[tuple(at)]:.3g}", "_"))
            nothing = layer.get_status(layer.data_to_world((-9, -9)), world=True)
            assert (nothing["value"], nothing["coordinates"]) == ("", nothing["coords"])
    values = "log1p CP10k: _ over 32 µm"
    assert read == {
        f"C/c predicted, {values}",
        f"A imputed, {values}",
        "attention to crops of 112 µm: _ over 32 µm",
        "domain: Domain _",
    }


def test_drawn_shapes_become_polygons_in_micrometres(synthetic: Section) -> None:
    viewer = ViewerModel()
    slide, _ = add_layers(viewer, section_layers(synthetic))
    region = open_region(viewer, synthetic)
    mpp = synthetic.mpp or 0
    box = np.array([(100, 200), (100, 400), (300, 400), (300, 200)], float)
    region.add(box, shape_type="polygon")
    region.add(box, shape_type="ellipse")
    region.add(box[:2], shape_type="line")
    polygon, ellipse = polygons_um(region, slide)
    np.testing.assert_allclose(polygon.bounds, np.array([200, 100, 400, 300]) * mpp)
    assert ellipse.area == pytest.approx(np.pi * (100 * mpp) ** 2, rel=0.01)
    # A layer that was moved and scaled by hand still means what is seen.
    other = Shapes([box * mpp / 2 + 7], scale=(2, 2), translate=(-14, -14))
    np.testing.assert_allclose(polygons_um(other, slide)[0].bounds, polygon.bounds)


def test_a_region_is_shown_where_it_was_drawn(synthetic: Section) -> None:
    area = shapely.MultiPolygon([shapely.box(10, 20, 110, 220), shapely.box(300, 300, 400, 400)])
    data, attributes, _ = region_layer("one", synthetic.mpp, Region(area))
    layer = Shapes(data, **attributes)
    slide = Image(*section_layers(synthetic)[0][:1], **section_layers(synthetic)[0][1])
    assert shapely.union_all(polygons_um(layer, slide)).equals_exact(area, 1e-6, normalize=True)


def test_the_manifest_is_valid_and_its_commands_exist() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    patterns = [p for r in manifest.contributions.readers or () for p in r.filename_patterns]
    assert not {"*.jpg", "*.png", "*.tif", "*.tiff"} & set(patterns)


@pytest.mark.parametrize("content", ["nothing", "images", "tables", "cells", "zarr", "broken zarr"])
def test_a_folder_that_is_not_ours_is_refused_at_once(content: str, tmp_path: Path) -> None:
    files = {
        "nothing": {},
        "images": {f"{n}.tif": "x" for n in range(2000)},
        "tables": {f"{n}.tsv": "a\tb\n1\t2\n" for n in range(20)},
        "cells": {"filtered_feature_bc_matrix.h5": "x", "web_summary.html": "x"},
        "zarr": {"zarr.json": '{"zarr_format": 3, "node_type": "group", "attributes": {}}'},
        "broken zarr": {"zarr.json": "{"},
    }[content]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = glance(tmp_path)
    assert not found.ours
    assert found.heavy == ()
    # Each format looks once or twice; none opens thousands of files.
    assert found.looked < 60


def test_napari_opens_what_is_ours_beside_another_folder_reader(
    npe2pm: Any, out: Path, small_files: list[Path], tmp_path: Path
) -> None:
    viewer = ViewerModel()
    with npe2pm.tmp_plugin(manifest=str(MANIFEST)), npe2pm.tmp_plugin(name="other") as other:

        @other.contribute.reader(filename_patterns=["*"], accepts_directories=True)
        def get_other(path: Any) -> Any:
            return lambda _paths: [(np.zeros((4, 4)), {"name": f"other {len(path)}"}, "image")]

        for path in (out, small_files[0]):
            viewer.layers.clear()
            viewer.open(path, plugin="napari-stenhance")
            assert "slide" in _roles(viewer), path
        # A folder that is not ours goes to the other reader.
        layers, reader = read_get_reader([str(tmp_path)], stack=False)
        assert reader.plugin_name == "other"
        assert layers[0][1]["name"].startswith("other")
        # What the writer saved comes back through the same door.
        viewer.layers.clear()
        viewer.open(small_files[0], plugin="napari-stenhance")
        names = [layer.name for layer in viewer.layers]
        saved = viewer.layers.save(str(tmp_path / "saved.zarr"), plugin="napari-stenhance")
        viewer.layers.clear()
        viewer.open(saved, plugin="napari-stenhance")
        assert [layer.name for layer in viewer.layers] == names


def test_a_faulty_section_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.h5ad").write_bytes(b"no HDF5")
    reader = get_reader(str(tmp_path))
    assert reader is not None
    with pytest.raises(InputError, match=r"a\.h5ad"):
        reader(str(tmp_path))


def test_a_number_that_may_be_left_out_is_shown_as_such(qapp: object) -> None:
    form = OptionsForm(EnhanceOptions, choices={"region": list}, hidden=("mpp",))
    epochs = form.fields["epochs"]
    assert form.values()["epochs"] is None
    assert epochs.native.text() == "by default"
    epochs.value = 7
    assert form.values()["epochs"] == 7
    form.fields["preset"].value = "istar"
    assert form.values()["preset"] == "istar"
