"""Cells in a viewer: each where zoomed in, by its outline if it has one, and else means of them."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import shapely
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import info_of, layers_of
from napari_stenhance.plugin.layers import open_layers, section_layers
from napari_stenhance.plugin.opening import open_at_once
from napari_stenhance.plugin.rasters import raster_doubts
from napari_stenhance.plugin.session import session_of
from napari_stenhance.results.scale import limits
from napari_stenhance.section.outlines import CellOutlines
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import SpotGeometry


def test_an_image_of_cells_does_not_cover_what_is_predicted(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stenhance.plugin.cells.CELLS_AS_IMAGE", 1)
    viewer = ViewerModel()
    session = session_of(viewer)
    open_at_once(session, open_layers(small / "one.stenhance.zarr")[0])
    ((spots, info),) = layers_of(viewer, "spots")
    assert info.raster is not None
    assert not spots.visible
    assert any(layer.visible for layer, _ in layers_of(viewer, "gene", "browse"))
    # It is seen where it is asked for, also of another gene.
    session.with_spots = True
    session.look_at(run=session.run, gene="G3")
    assert spots.visible


def test_very_many_cells_are_an_image_of_each_where_zoomed_in_and_else_of_means() -> None:
    rng = np.random.default_rng(0)
    at = np.argwhere(np.ones((225, 225))) * 20.0 + rng.uniform(-9, 9, (225**2, 2))
    xy = at[:, ::-1] + (3000, 500)
    counts = rng.poisson(2.0, (len(at), 3)).astype(np.float32)
    spots = ad.AnnData(sp.csr_matrix(counts), obsm={"spatial": xy})
    spots.obs_names = [f"cell {n}" for n in range(len(at))]
    spots.uns["stenhance"] = vars(SpotGeometry(4.0, "disc", 8.0, "micrometer"))
    viewer = ViewerModel()
    session = session_of(viewer)
    open_at_once(session, section_layers(Section(spots=spots, name="cells", mpp=0.5)))
    session.look_at(gene="2")
    (layer,) = viewer.layers
    assert isinstance(layer, Image)
    assert layer.name == "2 · measured · cells"
    value = np.log1p(1e4 * counts[:, 2] / np.maximum(counts.sum(axis=1), 1))
    assert session.limits == tuple(layer.contrast_limits) == pytest.approx(limits(value))
    # On the finest level each is a disc of its width, in µm, over the others or under them.
    fine, world = np.asarray(layer.data[0]), xy[:, ::-1] * 0.5
    pixel = layer.scale[0]
    drawn = np.isfinite(fine).sum() * pixel**2
    assert 0.9 < drawn / (len(at) * np.pi * 2.0**2) < 1
    apart = cKDTree(world).query(world, k=2)[0][:, 1]
    alone = np.flatnonzero(apart > 4.5)
    for n in alone[[0, 77, -1]]:
        for dy, dx in ((0, 0), (1.7, 0), (-1.2, 1.2)):
            row, column = np.rint(layer.world_to_data(world[n] + (dy, dx))).astype(int)
            assert fine[row, column] == pytest.approx(value[n])
        row, column = np.rint(layer.world_to_data(world[n] + (2.3, 0))).astype(int)
        assert np.isnan(fine[row, column]) or apart[n] < 4.5
    # On a coarse one a pixel is the mean of the cells that reach into it.
    coarse = np.asarray(layer.data[-1])
    width = pixel * 2 ** (len(layer.data) - 1)
    shared = np.floor((world[np.argmin(apart)] - layer.translate + pixel / 2) / width).astype(int)
    low = layer.translate - pixel / 2 + width * shared
    nearest = np.clip(world, low, low + width)
    inside = np.abs(world - nearest).max(axis=1) < 2.0
    assert inside.sum() > 1
    assert coarse[tuple(shared)] == pytest.approx(value[inside].mean())
    # Under the mouse.
    layer.data_level = layer.metadata["stenhance"].raster.shapes.index(coarse.shape)
    said = layer.get_status(low + width / 2, world=True)["value"]
    mean = f"{value[inside].mean():.2f} in the mean of {inside.sum()} cells or beads"
    assert said == f"2 measured, log1p CP10k: {mean}"
    layer.data_level = 0
    layer.corner_pixels = np.array([[0, 0], fine.shape])
    layer.refresh()
    said = layer.get_status(world[alone[77]], world=True)["value"]
    assert (
        said == f"cell or bead: cell {alone[77]}, 2 measured, log1p CP10k: {value[alone[77]]:.2f}"
    )


OFF = (
    "1 of 36 cells is shown as a dot: the outline does not lie around the position, or reaches "
    "much farther than usual."
)


def _few(shapes: list[shapely.Polygon], **more: object) -> tuple[Section, NDArray[np.float64]]:
    """Make cells at the middles of a square lattice of 20 px, with some outlines."""
    xy = np.argwhere(np.ones((6, 6))) * 20.0 + 30
    spots = ad.AnnData(np.arange(72, dtype=np.float32).reshape(36, 2), obsm={"spatial": xy})
    spots.uns["stenhance"] = vars(SpotGeometry(4.0, "disc", 10.0, "micrometer"))
    outlines = CellOutlines.from_shapes([str(n) for n in range(len(shapes))], shapes)
    drawn = {"outlines": lambda: outlines.of(list(spots.obs_names)), **more}
    return Section(spots=spots, name="cells", mpp=0.5, **drawn), xy


def test_cells_with_outlines_are_drawn_by_them_however_few_they_are() -> None:
    xy = np.argwhere(np.ones((6, 6))) * 20.0 + 30
    ring = np.array([(-9, -9), (9, -9), (9, 9), (-9, 9)])
    # A letter L; two parts, of which one is a mere corner; a point, and an outline elsewhere.
    letter = np.array([(-9, -9), (9, -9), (9, 1), (1, 1), (1, 9), (-9, 9)])
    shapes = [shapely.Polygon(at + ring) for at in xy]
    shapes[7] = shapely.Polygon(xy[7] + letter)
    dot = shapely.Polygon(xy[8] + np.array([(20, 0), (21, 0), (20, 1)]))
    shapes[8] = shapely.MultiPolygon([dot, shapes[8]])
    shapes[9] = shapely.Point(xy[9])
    shapes[10] = shapely.Polygon(xy[10] + ring + 40)
    section, _ = _few(shapes)
    layers = section_layers(section)
    assert raster_doubts(map(info_of, layers)) == (
        "1 of 36 cells has no outline, and is shown as a dot.",
        OFF,
    )
    viewer = ViewerModel()
    open_at_once(session_of(viewer), layers)
    (layer,) = viewer.layers
    assert isinstance(layer, Image)
    fine, pixel = np.asarray(layer.data[0]), layer.scale[0]
    value = np.log1p(section.need_spots().X.sum(axis=1))

    def seen(at: NDArray[np.float64]) -> float:
        row, column = np.rint(layer.world_to_data(at[::-1] * 0.5)).astype(int)
        return float(fine[row, column])

    for n, offset, is_seen in [
        (6, (8, 8), True),
        (7, (-8, 8), True),
        (7, (8, -8), True),
        (7, (5, 5), False),
        (8, (-8, 8), True),
        (8, (9.7, 0), False),
        (9, (0, 3.4), True),
        (9, (6, 6), False),
        (10, (0, 3.4), True),
        (10, (6, 6), False),
    ]:
        expected = value[n] if is_seen else np.nan
        np.testing.assert_allclose(
            seen(xy[n] + offset), expected, rtol=1e-6, err_msg=f"{n} {offset}"
        )
    # Squares of 9 µm, that is of 14 pixels' centres, an L that lacks one of 4 µm, and two discs.
    area = 33 * 81 + (81 - 16) + 2 * np.pi * 4
    assert np.isfinite(fine).sum() * pixel**2 == pytest.approx(area, rel=0.06)


def test_cells_that_touch_are_set_apart_by_a_line() -> None:
    xy = np.argwhere(np.ones((6, 6))) * 20.0 + 30
    section, _ = _few([shapely.box(*(at - 10), *(at + 10)) for at in xy])
    ((data, _, _),) = section_layers(section)
    fine = np.asarray(data[0])
    rows, columns = (np.flatnonzero(np.isfinite(fine).any(axis=n)) for n in (1, 0))
    inside = np.isfinite(fine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    assert (~inside).all(axis=1).sum() == (~inside).all(axis=0).sum() == 5


def test_where_outlines_cannot_be_read_cells_are_dots() -> None:
    def damaged() -> CellOutlines:
        msg = "corners.csv: it is cut off."
        raise InputError(msg)

    section, _ = _few([shapely.box(0, 0, 1, 1)], outlines=damaged)
    ((data, attributes, _),) = layers = section_layers(section)
    assert raster_doubts(map(info_of, layers)) == (
        "corners.csv: it is cut off. Cells are shown as dots.",
    )
    dots = np.isfinite(np.asarray(data[0])).sum() * attributes["scale"][0] ** 2
    assert dots == pytest.approx(36 * np.pi * 4, rel=0.02)
