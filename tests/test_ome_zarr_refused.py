"""What OME-Zarr allows opens; what it does not, or is no slide, is refused with what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.storage.cache import Cache
from ome_zarr_slides import make_pixels, omero_of, write_ome_zarr

RGB = ("FF0000", "00FF00", "0000FF")


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


@pytest.mark.parametrize(
    ("omero", "why"),
    [
        (omero_of(*zip("RGB", RGB, strict=True)), ""),
        (omero_of(*zip(("Channel 0", "Channel 1", "Channel 2"), RGB, strict=True)), ""),
        (omero_of(("red", "FFFFFF"), ("green", "FFFFFF"), ("blue", "FFFFFF")), ""),
        (
            omero_of(*zip(("DAPI", "GFP", "CD3"), RGB, strict=True)),
            "its channels are DAPI, GFP, CD3",
        ),
        (omero_of(("", "0000FF"), ("", "00FF00"), ("", "FF0000")), "0000FF, 00FF00, FF0000"),
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
        (
            {"spatialdata_attrs": {"version": "0.2"}},
            "SpatialData store without a table or an image; give",
        ),
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
    with pytest.raises(InputError, match=r"give a slide of its images \(he\) in .*images\."):
        st.read(store, cache=cache)
    slide = st.read(store / "images" / "he", mpp=0.5, cache=cache).need_slide()
    np.testing.assert_array_equal(slide.pixels[0][:, :], pixels)


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
