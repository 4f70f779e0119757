"""Pictures that are coarser than the slide, where there is none: at their place, and said to be."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from made_sections import write_image
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.layer_info import layers_of
from napari_stenhance.plugin.layers import open_layers, section_layers
from napari_stenhance.plugin.scene import add_layers
from napari_stenhance.section.picture import picture_in
from napari_stenhance.section.section import Section, open_section
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


def test_the_picture_that_is_kept_serves_as_the_slide_where_it_is_named(
    tmp_path: Path, cache: Cache
) -> None:
    xy = np.column_stack([np.tile(np.arange(6), 5), np.repeat(np.arange(5), 6)]) * 250.0 + 200
    values = np.random.default_rng(0).integers(0, 256, (130, 160, 3))
    spots = ad.AnnData(np.arange(90.0).reshape(30, 3), obsm={"spatial": xy})
    factors = {"tissue_hires_scalef": 0.1, "microns_per_pixel": 0.4}
    spots.uns["spatial"] = {"S1": {"images": {"hires": values / 255}, "scalefactors": factors}}
    spots.write_h5ad(tmp_path / "s.h5ad")
    alone = open_section(tmp_path / "s.h5ad", cache=cache)
    assert alone.slide is None
    with pytest.raises(InputError, match=r"Its picture hires can serve as one, though .* coarse"):
        alone.need_slide()
    section = open_section(tmp_path / "s.h5ad", image="hires", cache=cache)
    slide = section.need_slide()
    np.testing.assert_array_equal(slide.pixels[0][:, :], values)
    assert section.mpp == slide.mpp == 4.0
    np.testing.assert_allclose(section.need_spots().obsm["spatial"], xy * 0.1)
    assert section.geometry().pitch_um == pytest.approx(100)
    (doubt,) = (d for d in section.doubts if "serves as the slide" in d)
    assert "though it is coarse: it has 0.1 of the pixels of the full-resolution image" in doubt
    # It is found again, and where there is a file of that name, the file is meant.
    assert section.source is not None
    again = open_section(**section.source.arguments(), cache=cache)
    assert again.need_slide().path == slide.path
    with pytest.raises(InputError, match="lowres"):
        open_section(tmp_path / "s.h5ad", image="lowres", cache=cache)


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
