"""OME-Zarr 0.4 and 0.5 as slides: right pixels, right scale, or a sentence that says why not."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v04 as ome04
import ome_zarr_models.v05 as ome05
import pytest
import zarr
from numpy.typing import NDArray

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.images.opening import image_size, open_image
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hashing import FileState
from ome_zarr_slides import SHAPE, make_pixels, write_ome_zarr
from tiny_result import make_result

Pixels = NDArray[np.uint8]


def _read(slide: Slide, level: int = 0) -> Pixels:
    return slide.pixels[level][:, :]


@pytest.mark.parametrize(
    "how",
    [
        {"version": "0.4"},
        {"version": "0.4", "compressors": {"id": "zlib", "level": 1}},
        {"version": "0.4", "compressors": {"id": "zstd", "level": 1}},
        {"version": "0.4", "compressors": None},
        {"version": "0.5"},
        {"version": "0.5", "compressors": {"name": "gzip", "configuration": {"level": 1}}},
        {"version": "0.5", "shards": (128, 128)},
        {"version": "0.5", "split": True},
        {"version": "0.5", "compressors": zarr.codecs.BloscCodec(cname="lz4")},
        {"version": "0.5", "chunks": (512, 2048)},
        {"version": "0.4", "axes": "tczyx"},
        {"version": "0.5", "axes": "czyx", "unit": "nanometer", "mpp": (500.0, 500.0)},
        {"version": "0.5", "axes": "yxc"},
        {"version": "0.4", "axes": "tyxc", "unit": "millimeter", "mpp": (5e-4, 5e-4)},
    ],
)
def test_colours_levels_and_scale_are_those_that_were_written(
    how: dict[str, Any], tmp_path: Path, cache: Cache
) -> None:
    pixels = make_pixels()
    path = write_ome_zarr(tmp_path / "he.ome.zarr", pixels, **how)
    slide = Slide.open(path, cache=cache)
    assert (slide.shape, slide.mpp, slide.doubts) == (SHAPE, 0.5, ())
    assert slide.downsamples == (1, 2, 4)
    for level, step in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(_read(slide, level), pixels[::step, ::step])
    np.testing.assert_array_equal(slide.pixels[0][7:200:3, 100, 1:], pixels[7:200:3, 100, 1:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_ome_zarr_py_writes_opens(version: str, tmp_path: Path, cache: Cache) -> None:
    # Importing it warns of itself, once.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ome_zarr.format import FormatV04, FormatV05
        from ome_zarr.writer import write_image

    pixels = make_pixels()
    path = tmp_path / "he.ome.zarr"
    formats = {"0.4": FormatV04(), "0.5": FormatV05()}
    group = zarr.open_group(path, mode="w", zarr_format=formats[version].zarr_format)
    write_image(
        np.moveaxis(pixels, -1, 0),
        group,
        axes="cyx",
        fmt=formats[version],
        scale={"c": 1.0, "y": 0.25, "x": 0.25},
        axes_units=dict.fromkeys("yx", "micrometer"),
    )
    slide = Slide.open(path, cache=cache)
    assert slide.mpp == 0.25
    np.testing.assert_array_equal(_read(slide), pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_opened_here_is_ome_zarr(version: str, tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels(), version=version)
    models = ome04 if version == "0.4" else ome05
    models.Image.from_zarr(zarr.open_group(path, mode="r"))


def test_a_chunk_that_is_left_out_has_the_fill_value(tmp_path: Path, cache: Cache) -> None:
    pixels = make_pixels()
    path = write_ome_zarr(tmp_path / "he.ome.zarr", pixels, fill_value=240, split=True)
    shutil.rmtree(path / "0" / "c" / "1")
    expected = pixels.copy()
    expected[..., 1] = 240
    np.testing.assert_array_equal(_read(Slide.open(path, cache=cache)), expected)
    shutil.rmtree(path / "0" / "c")
    with pytest.raises(InputError, match="of the 105 files of its pixels none are there"):
        open_image(path)


def test_a_damaged_chunk_is_a_sentence(tmp_path: Path, cache: Cache) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels())
    chunk = path / "0" / "c" / "0" / "1" / "2"
    chunk.write_bytes(chunk.read_bytes()[:-200])
    slide = Slide.open(path, cache=cache)
    with pytest.raises(InputError, match=r"he.ome.zarr: a chunk of its level '0' cannot be read"):
        slide.pixels[0][64:128, 128:192]
    assert slide.pixels[0][:64, :64].shape == (64, 64, 3)


def test_transparency_is_white_at_every_level(tmp_path: Path, cache: Cache) -> None:
    pixels = np.concatenate([make_pixels(), np.full((*SHAPE, 1), 255, np.uint8)], axis=-1)
    pixels[:100, :, 3] = 0
    pixels[100, 0] = (100, 0, 255, 128)
    path = write_ome_zarr(tmp_path / "he.ome.zarr", pixels)
    slide = Slide.open(path, cache=cache)
    for level, step in enumerate((1, 2, 4)):
        read = _read(slide, level)
        assert (read[: 100 // step] == 255).all()
        np.testing.assert_array_equal(
            read[101 // step + 1 :], pixels[::step, ::step, :3][101 // step + 1 :]
        )
    # 255 + (value − 255) · 128 / 255
    assert _read(slide)[100, 0].tolist() == [177, 127, 255]
    assert slide.conversions == ("transparency laid on white",)
    stains = np.random.default_rng(1).integers(1, 255, (*SHAPE, 4), dtype=np.uint8)
    path = write_ome_zarr(tmp_path / "four.ome.zarr", stains)
    with pytest.raises(InputError, match="its fourth channel is no transparency"):
        open_image(path)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bits_are_shown_by_the_range_in_use(
    bits: int, tmp_path: Path, cache: Cache
) -> None:
    pixels = make_pixels()
    stored = (pixels.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    path = write_ome_zarr(tmp_path / "he.ome.zarr", stored)
    slide = Slide.open(path, cache=cache)
    assert np.abs(_read(slide).astype(int) - pixels).max() <= 1
    assert slide.conversions == (f"16-bit samples, 0 to {2**bits - 1}, to 8 bits",)


def test_floats_from_0_to_1_are_colours_and_others_are_not(tmp_path: Path, cache: Cache) -> None:
    pixels = make_pixels()
    path = write_ome_zarr(tmp_path / "he.ome.zarr", (pixels / 255).astype(np.float32))
    np.testing.assert_array_equal(_read(Slide.open(path, cache=cache)), pixels)
    path = write_ome_zarr(tmp_path / "far.ome.zarr", pixels.astype(np.float32))
    with pytest.raises(InputError, match="its floats go from 1 to 255, and not from 0 to 1"):
        open_image(path)


@pytest.mark.parametrize(
    ("unit", "sides", "mpp", "doubt"),
    [
        ("micrometer", (0.25, 0.25), 0.25, ""),
        ("nanometer", (250.0, 250.0), 0.25, ""),
        (None, (1.0, 1.0), None, ""),
        (None, (0.25, 0.25), None, "a scale of 0.25 in no unit; it is not used"),
        ("parsec", (0.25, 0.25), None, "in the unit 'parsec'"),
        ("micrometer", (0.25, 0.5), None, "pixels of 0.5 × 0.25 µm, which are not square"),
        ("meter", (0.25, 0.25), None, "2.5e+05 µm per pixel, which cannot be right"),
    ],
)
def test_the_scale_needs_its_unit(
    unit: str | None,
    sides: tuple[float, float],
    mpp: float | None,
    doubt: str,
    tmp_path: Path,
    cache: Cache,
) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels((64, 64)), unit=unit, mpp=sides)
    slide = Slide.open(path, cache=cache)
    assert slide.mpp == mpp
    assert [doubt in one for one in slide.doubts] == [True] * bool(doubt)
    assert Slide.open(path, mpp=0.4, cache=cache).mpp == 0.4


def test_the_scale_of_the_whole_is_applied_after_that_of_a_level(
    tmp_path: Path, cache: Cache
) -> None:
    def change(said: dict[str, Any]) -> None:
        whole = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
        said["multiscales"][0]["coordinateTransformations"] = [whole]

    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels(), change=change)
    assert Slide.open(path, cache=cache).mpp == 0.25


def test_levels_that_are_narrower_than_low_are_left_out(tmp_path: Path, cache: Cache) -> None:
    pixels = make_pixels()
    steps = ((1, 1), (1, 2), (2, 2), (4, 2), (4, 4))
    path = write_ome_zarr(tmp_path / "he.ome.zarr", pixels, steps=steps)
    slide = Slide.open(path, cache=cache)
    assert slide.downsamples == (1, 2, 4)
    np.testing.assert_array_equal(_read(slide, 2), pixels[::4, ::4])
    # Without any other, a pyramid is made.
    path = write_ome_zarr(tmp_path / "wide.ome.zarr", pixels, steps=((1, 1), (1, 2)))
    slide = Slide.open(path, cache=cache)
    assert slide.shape == SHAPE
    np.testing.assert_array_equal(_read(slide), pixels)


def _bioformats2raw(path: Path, listed: bool, version: str = "0.4") -> dict[str, Pixels]:
    """Write a label, the slide, and a small scan, as bioformats2raw does."""
    zarr_format = 2 if version == "0.4" else 3
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    said: dict[str, Any] = {"bioformats2raw.layout": 3}
    root.attrs.update(said if version == "0.4" else {"ome": {**said, "version": version}})
    made = {
        "0": make_pixels((900, 900), 1),
        "1": make_pixels((320, 256), 2),
        "2": make_pixels((100, 90), 3),
    }
    for name, pixels in made.items():
        write_ome_zarr(path / name, pixels, version=version, mpp=(0.25, 0.25))
    if listed:
        ome = root.create_group("OME")
        ome.attrs.update(
            {"series": list(made)} if version == "0.4" else {"ome": {"series": list(made)}}
        )
        xml = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
        names = ("Label image 1", "Scan", "Scan")
        images = "".join(f'<Image ID="Image:{n}" Name="{one}"/>' for n, one in enumerate(names))
        (path / "OME" / "METADATA.ome.xml").write_text(xml.format(images), "utf-8")
    return made


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_of_several_images_the_slide_is_the_largest_that_is_no_label(
    version: str, tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / "scan.zarr"
    made = _bioformats2raw(path, listed=True, version=version)
    slide = Slide.open(path, cache=cache)
    assert (slide.shape, slide.mpp) == ((320, 256), 0.25)
    np.testing.assert_array_equal(_read(slide), made["1"])
    others = {other.name: other.shape for other in slide.others}
    assert others == {"Scan (2)": (100, 90), "Label image 1": (900, 900)}
    small = Slide.open(path, series="Scan (2)", cache=cache)
    np.testing.assert_array_equal(_read(small), made["2"])
    assert small.key != slide.key


def test_images_that_nothing_names_are_known_by_their_folders(tmp_path: Path, cache: Cache) -> None:
    made = _bioformats2raw(tmp_path / "scan.zarr", listed=False)
    slide = Slide.open(tmp_path / "scan.zarr", cache=cache)
    np.testing.assert_array_equal(_read(slide), made["0"])
    assert [other.name for other in slide.others] == ["he (1)", "he (2)"]


def _dataset(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda said: said["multiscales"][0]["datasets"][0].update(more)


def _image(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda said: said["multiscales"][0].update(more)


def _axes(*names: str) -> Callable[[dict[str, Any]], None]:
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": name, "type": kinds.get(name, "space")} for name in names]
    return _image(axes=axes)


_SCALE = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
_MOVED = {"type": "translation", "translation": [0.0, 1.0, 1.0]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_image(axes=None), "its axes are None"),
        (_image(axes=["c", "y", "x"]), "its axes are"),
        (_axes("c", "x", "y"), "have x before y"),
        (_axes("y", "c", "x"), "not in the order time, channel, space"),
        (_axes("c", "c", "x"), "its axes are"),
        (_axes("y", "x"), "is not one number for each of 2 axes"),
        (_image(axes=[{"name": n, "type": "space"} for n in "cyx"]), "are of the types"),
        (_image(datasets=[]), "it lists no levels"),
        (_dataset(path=None), "which is no path in it"),
        (_dataset(path="../elsewhere"), "which is no path in it"),
        (_dataset(path="9"), "its level '9' is not there"),
        (_dataset(coordinateTransformations=None), "a level is placed by nothing"),
        (_dataset(coordinateTransformations=[_MOVED]), "is placed by"),
        (_dataset(coordinateTransformations=[_MOVED, _SCALE]), "is placed by"),
        (_dataset(coordinateTransformations=[_SCALE, _SCALE]), "is placed by"),
        (
            _dataset(coordinateTransformations=[{"type": "scale", "scale": [1.0, 1.0]}]),
            "is not one number for each of 3 axes",
        ),
        (
            _dataset(coordinateTransformations=[{"type": "scale", "scale": [1, 1, "0.5"]}]),
            "is not one number for each of 3 axes",
        ),
        (
            _dataset(coordinateTransformations=[{"type": "scale", "scale": [1, 0, 0.5]}]),
            "cannot be",
        ),
        (lambda said: said.update(multiscales=[]), "its multiscales are empty"),
        (lambda said: said.update(version="0.6"), "it is OME-Zarr 0.6 in zarr 3"),
        (lambda said: said.pop("version"), "it is OME-Zarr None in zarr 3"),
    ],
)
def test_what_the_specification_does_not_allow_is_said(
    change: Callable[[dict[str, Any]], None], why: str, tmp_path: Path
) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels((64, 64)), change=change)
    with pytest.raises(InputError, match="this OME-Zarr cannot be read") as raised:
        open_image(path)
    assert why in str(raised.value)
    assert get_reader(str(path)) is None


@pytest.mark.parametrize(
    "change",
    [
        _image(name=None),
        _dataset(coordinateTransformations=[_SCALE, _MOVED]),
        _image(coordinateTransformations=[{"type": "scale", "scale": [1, 1, 1]}], type="gaussian"),
        lambda said: said.update(omero={"channels": []}),
        lambda said: said.update(labels=["nuclei"]),
        lambda said: said.update({"_creator": {"name": "anyone"}}),
        lambda said: said["multiscales"].append(said["multiscales"][0]),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_the_specification_allows_opens(
    change: Callable[[dict[str, Any]], None], version: str, tmp_path: Path
) -> None:
    pixels = make_pixels((64, 64))
    path = write_ome_zarr(tmp_path / "he.zarr", pixels, version=version, change=change)
    image = open_image(path)
    assert image.mpp == 0.5
    np.testing.assert_array_equal(image.levels[0][:, :], pixels)
    assert get_reader(str(path)) is not None


def _omero(*channels: tuple[str, str]) -> dict[str, Any]:
    return {"channels": [{"label": label, "color": colour} for label, colour in channels]}


RGB = ("FF0000", "00FF00", "0000FF")


@pytest.mark.parametrize(
    ("omero", "why"),
    [
        (_omero(*zip("RGB", RGB, strict=True)), ""),
        (_omero(*zip(("Channel 0", "Channel 1", "Channel 2"), RGB, strict=True)), ""),
        (_omero(("red", "FFFFFF"), ("green", "FFFFFF"), ("blue", "FFFFFF")), ""),
        (_omero(*zip(("DAPI", "GFP", "CD3"), RGB, strict=True)), "its channels are DAPI, GFP, CD3"),
        (_omero(("", "0000FF"), ("", "00FF00"), ("", "FF0000")), "0000FF, 00FF00, FF0000"),
    ],
)
def test_stains_are_told_from_colours_by_what_is_said_of_them(
    omero: dict[str, Any], why: str, tmp_path: Path
) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels((64, 64)), omero=omero)
    assert (get_reader(str(path)) is None) == bool(why)
    if not why:
        assert open_image(path).shape == (64, 64)
        return
    with pytest.raises(InputError, match=why):
        open_image(path)


@pytest.mark.parametrize(
    ("axes", "shape", "why"),
    [
        ("zyxc", (5, 64, 64, 3), "it is a stack, with axes z 5, y 64, x 64, c 3"),
        ("tcyx", (2, 3, 64, 64), "it is a stack, with axes t 2, c 3, y 64, x 64"),
        ("cyx", (5, 64, 64), "it has axes c 5, y 64, x 64, and a slide has 3 colours"),
        ("yx", (64, 64), "it has axes y 64, x 64, and a slide has 3 colours"),
    ],
)
def test_stacks_and_fluorescence_are_refused_with_their_axes(
    axes: str, shape: tuple[int, ...], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "stack.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", shape=shape, chunks=shape, dtype="u1", dimension_names=list(axes))
    kinds = {"t": "time", "c": "channel"}
    scale = {"type": "scale", "scale": [1.0] * len(axes)}
    image = {
        "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    assert get_reader(str(path)) is None
    with pytest.raises(InputError) as raised:
        open_image(path)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"ome": {"version": "0.5", "plate": {}}}, "is a plate of wells, and no slide"),
        ({"ome": {"version": "0.5", "well": {}}}, "is a plate of wells, and no slide"),
        ({"ome": {"version": "0.5", "labels": ["a"]}}, "holds labels, and no slide"),
        ({"spatialdata_attrs": {"version": "0.2"}}, "is a SpatialData store"),
        ({"ome": {"version": "0.5", "bioformats2raw.layout": 3}}, "it holds no image"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(
    attributes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.zarr"
    zarr.open_group(path, mode="w", zarr_format=3).attrs.update(attributes)
    with pytest.raises(InputError, match=why):
        st.read(path)
    assert get_reader(str(path)) is None


def test_labels_are_no_slide(tmp_path: Path) -> None:
    def change(said: dict[str, Any]) -> None:
        said["image-label"] = {}

    path = write_ome_zarr(tmp_path / "labels.ome.zarr", make_pixels(), change=change)
    with pytest.raises(InputError, match="holds labels, and no slide"):
        open_image(path)
    assert get_reader(str(path)) is None


def test_the_images_of_a_spatialdata_store_are_named_and_open(tmp_path: Path, cache: Cache) -> None:
    store = tmp_path / "store.zarr"
    zarr.open_group(store, mode="w").attrs["spatialdata_attrs"] = {"version": "0.2"}
    pixels = make_pixels()
    write_ome_zarr(store / "images" / "he", pixels, unit=None, mpp=(1, 1))
    with pytest.raises(InputError, match=r"its images \(he\) in .*images as the slide"):
        st.read(store, cache=cache)
    slide = st.read(store / "images" / "he", mpp=0.5, cache=cache).need_slide()
    np.testing.assert_array_equal(_read(slide), pixels)


def test_a_codec_that_runs_what_the_file_says_is_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels((64, 64)), version="0.4")
    array = path / "0" / ".zarray"
    array.write_text(json.dumps({**json.loads(array.read_text()), "filters": [{"id": "pickle"}]}))
    with pytest.raises(InputError, match="stored with pickle, which is not supported"):
        open_image(path)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"shape": [3, 2**40, 64]}, "its shape of"),
        ({"shape": [3, 64, -64]}, "its shape of"),
        ({"chunks": [3, 2**20, 2**20]}, "are too large"),
        ({"chunks": [3, 0, 64]}, "its chunks of"),
        ({"dtype": "<i4"}, "its pixels are <i4, not 8 or 16 bits"),
        ({"dtype": "|O"}, "its pixels are |O, not 8 or 16 bits"),
    ],
)
def test_what_an_array_claims_is_checked_before_anything_is_made(
    more: dict[str, Any], why: str, tmp_path: Path
) -> None:
    path = write_ome_zarr(tmp_path / "he.ome.zarr", make_pixels((64, 64)), version="0.4")
    array = path / "0" / ".zarray"
    array.write_text(json.dumps({**json.loads(array.read_text()), **more}))
    with pytest.raises(InputError) as raised:
        open_image(path)
    assert why in str(raised.value)


def test_a_file_that_is_named_like_an_ome_zarr_is_said_to_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.zarr"
    path.write_bytes(b"\0")
    with pytest.raises(InputError, match="an OME-Zarr is a folder, and this is a file; copy"):
        st.read(path)


def test_it_is_the_slide_of_spots_and_a_slide_alone(tmp_path: Path, cache: Cache) -> None:
    import anndata as ad

    pixels = make_pixels((400, 400))
    path = write_ome_zarr(tmp_path / "one.ome.zarr", pixels)
    alone = st.read(path, cache=cache)
    assert (alone.name, alone.need_slide().path) == ("one.ome", path)
    reader = get_reader(str(path))
    assert reader is not None
    levels, shown, kind = reader(str(path))[0]
    assert (kind, shown["scale"], levels[0].shape) == ("image", (0.5, 0.5), (400, 400, 3))
    counts = np.ones((16, 3), np.float32)
    xy = np.stack(np.meshgrid(range(50, 400, 100), range(50, 400, 100)), -1).reshape(-1, 2)
    spots = ad.AnnData(counts, obsm={"spatial": xy.astype(float)})
    given = st.read(spots, image=path, cache=cache)
    assert given.need_slide().mpp == 0.5
    spots.write_h5ad(tmp_path / "one.h5ad")
    beside = st.read(tmp_path / "one.h5ad", cache=cache)
    assert beside.need_slide().path == path
    assert image_size(path) == (400, 400)


def test_saying_no_to_a_folder_takes_no_time(tmp_path: Path) -> None:
    stains = [("DAPI", "0000FF"), ("CD3", "00FF00"), ("CD8", "FF0000")]
    path = write_ome_zarr(tmp_path / "if.ome.zarr", make_pixels(), omero=_omero(*stains))
    assert get_reader(str(path)) is None
    took = []
    for _ in range(5):
        began = time.process_time()
        assert get_reader(str(path)) is None
        took.append(time.process_time() - began)
    assert min(took) < 0.005


def test_a_folder_is_known_by_what_it_holds(tmp_path: Path, cache: Cache) -> None:
    path = write_ome_zarr(tmp_path / "a.ome.zarr", make_pixels())
    state = FileState.of(path, cache)
    copy = Path(shutil.copytree(path, tmp_path / "b.ome.zarr"))
    (copy / ".DS_Store").write_bytes(b"looked at")
    assert FileState.of(copy, cache).sha256() == state.sha256()
    assert FileState.of(path, cache) == state
    array = zarr.open_array(path / "0", mode="r+", zarr_format=3)
    array[0, 0, 0] = 1 + int(np.asarray(array[0, 0, 0]))
    changed = FileState.of(path, cache)
    assert changed != state
    assert changed.key != state.key
    assert changed.sha256() != state.sha256()
    with pytest.raises(InputError, match="has changed since it was opened"):
        replace(state).sha256()


def test_chunks_of_a_wide_folder_are_not_looked_at_one_by_one(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for n in range(100):
        (folder / str(n)).write_bytes(b"a")
    state = FileState.of(folder, cache)
    assert state.size == 0
    (folder / "7").rename(folder / "seven")
    assert FileState.of(folder, cache) != state


def test_every_image_of_a_result_is_ome_zarr(tmp_path: Path, session_cache: Cache) -> None:
    path = make_result(tmp_path, session_cache)
    kinds = []
    for file in path.rglob("zarr.json"):
        said = json.loads(file.read_text("utf-8")).get("attributes", {}).get("ome", {})
        if "multiscales" not in said:
            continue
        group = zarr.open_group(file.parent, mode="r")
        model = ome05.ImageLabel if "image-label" in said else ome05.Image
        model.from_zarr(group)
        kinds.append(f"{file.parent.relative_to(path).parts[0]} {model.__name__}")
        # What we write is read as what it is, and never as a slide.
        with pytest.raises(InputError, match=r"holds labels|a slide has 3 colours|are int32"):
            open_image(file.parent)
    assert set(kinds) == {"fields Image", "imputed Image", "labels ImageLabel", "tissue ImageLabel"}
