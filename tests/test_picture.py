"""Pictures that are coarser than the slide, where there is none: at their place, and said to be."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from numpy.typing import NDArray

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import open_layers, section_layers
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.running.job import Job
from napari_stenhance.section.picture import picture_in
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.section.stated import fiducial_px
from napari_stenhance.storage.cache import Cache
from visium_folders import HIRES, SHAPE, known, picture, write_outs


def _marked(shape: tuple[int, int], at: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = np.full((*shape, 3), 230, np.uint8)
    pixels[at] = (200, 0, 0)
    return pixels


def test_the_finest_picture_of_visium_lies_under_its_spots(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    shape = tuple(round(n * HIRES) for n in SHAPE)
    write_image(outs / "spatial" / "tissue_hires_image.png", _marked(shape, (7, 3)))
    layers, section, said = open_layers(outs)
    assert isinstance(section, Section)
    assert section.slide is None
    assert any("tissue_hires_image.png, too coarse to predict on" in line for line in said)
    viewer = ViewerModel()
    shown, spots = add_layers(viewer, layers)
    np.testing.assert_array_equal(shown.data[7, 3], (200, 0, 0))
    # The corner of its pixel (7, 3) is that of the full-resolution pixel there.
    corner = np.array([7, 3]) / HIRES - 0.5
    np.testing.assert_allclose(
        shown.data_to_world((6.5, 2.5)), corner * section.mpp, atol=1e-9 * section.mpp
    )
    np.testing.assert_allclose(spots.data_to_world((0, 0)), 0, atol=1e-12)
    assert "not to predict on" in shown.name
    # Again, it is not added twice.
    assert add_layers(viewer, open_layers(outs)[0]) == []
    assert len(list(layers_of(viewer, "picture"))) == 1


def test_with_a_slide_there_is_no_picture(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    section = open_section(outs, image=outs / "spatial" / "tissue_hires_image.png")
    kinds = [attributes["metadata"]["stenhance"].role.name for _, attributes, _ in (
        section_layers(section)
    )]  # fmt: skip
    assert kinds == ["slide", "spots"]


def test_a_picture_that_cannot_be_read_keeps_nothing_from_being_seen(tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "S1", known())
    hires = outs / "spatial" / "tissue_hires_image.png"
    hires.write_bytes(picture(hires).read_bytes()[:-300])
    layers, _, said = open_layers(outs)
    assert [kind for _, _, kind in layers] == ["points"]
    assert "tissue_hires_image.png: this picture cannot be read, and is not shown." in said


def _spots(images: dict[str, object], **factors: object) -> ad.AnnData:
    spots = ad.AnnData(np.ones((3, 2), np.float32))
    spots.obsm["spatial"] = np.array([[0.0, 0], [100, 0], [0, 100]])
    spots.uns["spatial"] = {"S1": {"images": images, "scalefactors": dict(factors)}}
    return spots


@pytest.mark.parametrize(
    ("pixels", "seen"),
    [
        (np.full((8, 8, 3), 51, np.uint8), 51),
        (np.full((8, 8, 3), 0.2, np.float32), 51),
        (np.full((8, 8, 3), np.nan), 255),
        (np.dstack([np.full((8, 8, 3), 0.0), np.full((8, 8), 0.8)]), 51),
        (np.dstack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 204, np.uint8)]), 51),
    ],
    ids=["bytes", "floats", "nan", "float alpha", "alpha"],
)
def test_an_anndata_keeps_its_picture(pixels: NDArray[np.generic], seen: int) -> None:
    spots = _spots({"lowres": np.zeros((2, 2, 3)), "hires": pixels}, tissue_hires_scalef=0.05)
    section = Section(spots=spots)
    assert section.picture is not None
    assert section.picture.factor == 0.05
    assert section.picture.name == 'uns["spatial"]["S1"]["images"]["hires"]'
    read = section.picture.read()
    assert (read.dtype, read.shape) == (np.uint8, (8, 8, 3))
    assert (read == seen).all()


def _kept(factor: float, **uns: object) -> tuple[ad.AnnData, NDArray[np.int64]]:
    """Make spots 100 µm apart, with a picture of 160 × 130 px."""
    xy = np.column_stack([np.tile(np.arange(6), 5), np.repeat(np.arange(5), 6)]) * 250.0 + 200
    values = np.random.default_rng(0).integers(0, 256, (130, 160, 3))
    spots = ad.AnnData(np.arange(90.0).reshape(30, 3), obsm={"spatial": xy})
    factors = {"tissue_hires_scalef": factor, "microns_per_pixel": 0.4, "version": "3"}
    factors |= {"spot_diameter_fullres": 137.5, "fiducial_diameter_fullres": 206.9}
    library = {"images": {"hires": values / 255}, "scalefactors": factors}
    spots.uns = {"spatial": {"S1": library}, "microns_per_pixel": "0.4 µm/px", **uns}
    return spots, values


def test_the_picture_that_is_kept_serves_as_the_slide_where_there_is_no_other(
    tmp_path: Path, cache: Cache
) -> None:
    spots, values = _kept(0.1)
    xy = np.array(spots.obsm["spatial"])
    spots.write_h5ad(tmp_path / "s.h5ad")
    section = open_section(tmp_path / "s.h5ad", cache=cache)
    slide = section.need_slide()
    np.testing.assert_array_equal(slide.pixels[0][:, :], values)
    assert section.mpp == slide.mpp == 4.0
    # The corner of the picture's first pixel is that of the full-resolution image's.
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], (xy + 0.5) * 0.1 - 0.5)
    geometry = section.geometry()
    assert (geometry.pitch_um, geometry.spot_diameter_um) == pytest.approx((100, 55))
    (doubt,) = (d for d in section.doubts if "serves as one" in d)
    assert doubt.startswith('There is no slide: uns["spatial"]["S1"]["images"]["hires"] serves')
    assert "coarse, with pixels of 4 µm, 0.1 of those of the full-resolution image" in doubt
    # What is written says its sizes in pixels of the picture, and opens as the same again.
    uns = section.need_spots().uns
    assert uns["microns_per_pixel"] == 4.0
    assert uns["spatial"]["S1"]["scalefactors"]["tissue_hires_scalef"] == 1
    assert fiducial_px(uns) == pytest.approx(206 * 0.1)
    again = open_section(section.need_spots(), cache=cache)
    assert again.need_slide().path == slide.path
    assert again.mpp == 4.0
    np.testing.assert_allclose(again.need_spots().obsm["spatial"], (xy + 0.5) * 0.1 - 0.5)
    assert fiducial_px(again.need_spots().uns) == pytest.approx(206 * 0.1)
    # The same where it is named, and where only the slide is wanted.
    named = open_section(tmp_path / "s.h5ad", image="hires", cache=cache)
    assert named.need_slide().path == slide.path
    assert open_section(tmp_path / "s.h5ad", spots=False, cache=cache).need_slide().mpp == 4.0
    assert named.source is not None
    assert open_section(**named.source.arguments(), cache=cache).need_slide().path == slide.path
    with pytest.raises(InputError, match="lowres"):
        open_section(tmp_path / "s.h5ad", image="lowres", cache=cache)
    # An image beside the table is the slide.
    write_image(tmp_path / "s.png", _marked((1500, 1700), (0, 0)))
    assert open_section(tmp_path / "s.h5ad", cache=cache).need_slide().shape == (1500, 1700)


@pytest.mark.parametrize(
    ("factor", "uns", "mpp"),
    [
        (0.1 * 0.49, {}, None),
        (0.1, {}, 0.9),
        (0.3, {}, None),
    ],
    ids=["coarser than superpixels", "so at the scale given", "spots outside"],
)
def test_a_picture_that_can_be_no_slide_is_only_looked_at(
    factor: float, uns: dict[str, object], mpp: float | None, cache: Cache
) -> None:
    spots, _ = _kept(factor, **uns)
    section = open_section(spots, mpp=mpp, cache=cache)
    assert section.slide is None
    assert section.picture is not None
    assert section.picture.factor == factor
    with pytest.raises(InputError, match=r"Its picture hires can serve as one, though .* coarse"):
        section.need_slide()


def test_where_a_coarser_picture_is_named_superpixels_are_said_to_be_narrower(cache: Cache) -> None:
    section = open_section(_kept(0.04)[0], image="hires", cache=cache)
    assert section.mpp == pytest.approx(10)
    features = open_features(
        section.need_slide(),
        FeatureSettings(find_encoder("stain"), torch.device("cpu"), cache),
        Job(),
    )
    assert features.doubts[0].startswith("Superpixels of 8 µm are narrower than the pixels of the")


def test_a_picture_without_a_scale_is_laid_under_no_positions_in_um(cache: Cache) -> None:
    spots, _ = _kept(0.1)
    xy = spots.obsm.pop("spatial")
    spots.obs["x_centroid"], spots.obs["y_centroid"] = np.transpose(xy * 0.4)
    stated = open_section(spots, cache=cache)
    np.testing.assert_allclose(stated.need_spots().obsm["spatial"], (xy + 0.5) * 0.1 - 0.5)
    del spots.uns["microns_per_pixel"]
    del spots.uns["spatial"]["S1"]["scalefactors"]["microns_per_pixel"]
    section = open_section(spots, cache=cache)
    assert (section.slide, section.mpp) == (None, 1.0)
    assert any('"hires"] cannot be laid under the spots' in doubt for doubt in section.doubts)


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf, 2, "much", None, [0.1, 0.2]])
def test_what_has_no_scale_of_its_own_is_no_picture(factor: object) -> None:
    assert (
        picture_in(_spots({"hires": np.zeros((2, 2, 3))}, tissue_hires_scalef=factor).uns) is None
    )


@pytest.mark.parametrize(
    "uns",
    [
        {},
        {"spatial": "x"},
        {"spatial": {"a": {}, "b": {}}},
        {"spatial": {"a": {"images": {"hires": np.zeros((2, 2))}, "scalefactors": {}}}},
        {"spatial": {"a": {"images": {"hires": "x"}, "scalefactors": {"tissue_hires_scalef": 1}}}},
    ],
)
def test_other_things_in_uns_are_none(uns: dict[str, object]) -> None:
    assert picture_in(uns) is None
