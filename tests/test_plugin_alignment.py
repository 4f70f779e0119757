"""Slide, spots and gene image show one landmark at one place, at every level of the pyramids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from napari.layers import Layer
from numpy.typing import NDArray

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.plugin.layers import result_layers, section_layers
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.results.genes import write_gene
from napari_stenhance.results.result import ResultFolder
from napari_stenhance.results.runs import FieldRun
from napari_stenhance.running.job import Job
from napari_stenhance.section.grid import Grid
from napari_stenhance.section.section import Section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.pyramid import coarsen_all, mean_pool
from napari_stenhance.storage.tiles import missing_tiles, write_tile

MPP = 2.0
# No side is a multiple of the coarsest factor: what napari makes of the ratio is wrong.
SHAPE = (1203, 2061)
SIDE = 32
CORNERS = np.array([(16, 16), (1152, 2016), (1152, 16), (16, 2016), (592, 1024)])
CENTRES = CORNERS + (SIDE - 1) / 2
ZOOM = 1.5
"""Pixels of the screen for each micrometre."""


@pytest.fixture
def section(make_slide: Callable[..., Slide]) -> Section:
    pixels = np.full((*SHAPE, 3), 255, np.uint8)
    for y, x in CORNERS:
        pixels[y : y + SIDE, x : x + SIDE] = 0
    spots = ad.AnnData(X=np.full((5, 2), 10.0, np.float32), obsm={"spatial": CENTRES[:, ::-1]})
    spots.uns.update(microns_per_pixel=MPP, spot_diameter_um=SIDE * MPP, spot_pitch_um=500.0)
    return Section(slide=make_slide(pixels, mpp=MPP), spots=spots)


@pytest.fixture
def result(section: Section, tmp_path: Path, cache: Cache) -> ResultFolder:
    """A field whose one gene is 1 under the landmarks and 0 elsewhere."""
    grid = Grid.over(section.need_slide())
    assert grid.pitch_um / MPP == 4
    one = np.ones(1, "f4")
    decoder = Decoder(("G",), one[:, None], one * 0, "log1p CP10k", one, one, one)
    image = np.zeros((*grid.shape, 1))
    for y, x in CORNERS // 4:
        image[y : y + SIDE // 4, x : x + SIDE // 4] = 1
    with ResultFolder.writing(
        tmp_path / "r.stenhance.zarr", section.need_slide(), "m-e-p"
    ) as result:
        run = result.start_run("run", {"learned_from": [], "recipe": {}}, {"doubts": []}, grid)
        field = result.create_field(run, decoder, grid)
        for raster in (field.spread, field.latent):
            for tile in missing_tiles(raster[0]):
                write_tile(raster[0], tile, image[tile.rows, tile.columns])
            coarsen_all(raster, mean_pool)
        write_gene(FieldRun(result, run), "G", Job())
    return ResultFolder.open(result.path)


def _centre_on_screen(shot: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return where the bright landmark lies, in screen pixels from the middle of the canvas."""
    mass = shot[..., :3].mean(axis=2).astype(float)
    mass -= mass.min()
    mass[mass < mass.max() / 2] = 0
    y, x = np.nonzero(mass)
    middle = (np.array(mass.shape) - 1) / 2
    return np.array([np.average(y, weights=mass[y, x]), np.average(x, weights=mass[y, x])]) - middle


def _look(viewer: Any, layer: Layer, centre_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """Look at one layer alone, from close by; return how far off it is, in micrometres."""
    for other in viewer.layers:
        other.visible = other is layer
    viewer.scene.camera.center = tuple(centre_um)
    viewer.scene.camera.zoom = ZOOM
    shot = viewer.screenshot(canvas_only=True, flash=False)
    return _centre_on_screen(shot) / ZOOM


def test_landmarks_coincide(
    make_napari_viewer: Callable[..., Any], section: Section, result: ResultFolder
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 700)
    slide, spots = add_layers(viewer, section_layers(section))
    gene, browse = add_layers(viewer, result_layers(result, None))
    viewer.canvas.overlays.scale_bar.visible = False
    for layer in (browse, gene):
        layer.colorbar.visible = False
        layer.opacity, layer.colormap, layer.contrast_limits = 1, "gray", (0, 1)
    slide.colormap = "gray"
    # Dark landmarks on white: the slide is looked at in negative.
    slide.data = [255 - level for level in slide.data_raw]
    spots.face_color, spots.opacity = "white", 1
    half = 0.5 * MPP
    for centre in CENTRES * MPP:
        assert np.abs(_look(viewer, spots, centre)).max() < half
        for layer in (slide, browse, gene):
            assert len(layer.data) >= 3
            for level in (0, len(layer.data) - 1):
                layer.locked_data_level = level
                off = _look(viewer, layer, centre)
                assert np.abs(off).max() < half, (layer.name, level, centre, off)


def test_every_level_covers_the_same_extent(section: Section, result: ResultFolder) -> None:
    for levels, attributes, kind in [*section_layers(section), *result_layers(result, None)]:
        if kind == "image":
            shapes = np.array([level.shape[:2] for level in levels])
            factors = shapes[0] / shapes
            assert (factors == 2.0 ** np.arange(len(shapes))[:, None]).all()
        if kind != "shapes":
            assert set(attributes["units"]) == {"micrometer"}
