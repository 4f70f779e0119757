"""OME-Zarr 0.4 and 0.5 as slides: right pixels at the right scale."""

from __future__ import annotations

import json
import shutil
import time
import warnings
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
from ome_zarr_slides import SHAPE, make_pixels, omero_of, write_ome_zarr
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
    assert Slide.open(path, series="Scan", cache=cache).same_as(slide)
    # Without the pixels of its slide, other images can still be chosen.
    for chunk in (one for one in (path / "1").rglob("*") if one.is_file()):
        if chunk.name not in ("zarr.json", ".zarray", ".zgroup", ".zattrs"):
            chunk.unlink()
    with pytest.raises(InputError, match=r"none are there.*; or choose another: Scan \(2\), Label"):
        Slide.open(path, cache=cache)
    small = Slide.open(path, series="Scan (2)", cache=cache)
    np.testing.assert_array_equal(_read(small), made["2"])
    assert [one.name for one in small.others if one.is_slide] == ["Scan"]


def test_images_that_nothing_names_are_known_by_their_folders(tmp_path: Path, cache: Cache) -> None:
    made = _bioformats2raw(tmp_path / "scan.zarr", listed=False)
    slide = Slide.open(tmp_path / "scan.zarr", cache=cache)
    np.testing.assert_array_equal(_read(slide), made["0"])
    assert [other.name for other in slide.others] == ["he (1)", "he (2)"]


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
    path = write_ome_zarr(tmp_path / "if.ome.zarr", make_pixels(), omero=omero_of(*stains))
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
