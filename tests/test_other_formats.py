"""Slides that other libraries read: JPEG 2000, DICOM, CZI; and what is said of the rest."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from pylibCZIrw import czi

import napari_stenhance as st
from napari_stenhance.errors import InputError
from napari_stenhance.plugin.reader import get_reader
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from vendor_slides import write_czi, write_series

Pixels = NDArray[np.uint8]
GARBAGE = {
    "slide.czi": ("a Zeiss CZI", "export it from ZEN as OME-TIFF"),
    "slide.mrxs": ("a MIRAX slide", "copy the folder slide beside it, or export it as tiled TIFF"),
    "slide.vsi": ("an Olympus VSI", "copy the folder _slide_ beside it, or export it from OlyVIA"),
    "slide.isyntax": ("a Philips iSyntax", "export it as tiled TIFF"),
    "slide.dcm": ("a DICOM slide", "copy all files of its series, or export it as tiled TIFF"),
    "slide.jp2": ("this JPEG 2000", "copy it again, or export it as tiled TIFF"),
    "slide.ome.zarr": ("an OME-Zarr is a folder", "copy the whole folder"),
}
EXTRA = 'pip install "napari-stenhance[slides]"'


def _pixels(shape: tuple[int, int] = (300, 420), seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 255, (-(-shape[0] // 4), -(-shape[1] // 4), 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))[: shape[0], : shape[1]]


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("content", [b"\0", bytes(range(256)) * 40])
def test_garbage_is_called_what_it_is_named_with_the_way_that_works(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    kind, advice = GARBAGE[name]
    with pytest.raises(InputError) as raised:
        st.read(path)
    said = str(raised.value)
    assert said.startswith(str(path))
    assert kind in said
    assert advice in said
    assert said.endswith(".")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("slide.czi", "fastslide"),
        ("slide.vsi", "fastslide"),
        ("slide.isyntax", "fastslide"),
        ("slide.mrxs", "openslide"),
        ("slide.dcm", "openslide"),
    ],
)
def test_what_needs_an_extra_says_which(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(InputError) as raised:
        open_image(tmp_path / name)
    kind, advice = GARBAGE[name]
    assert f"this is {kind}" in str(raised.value)
    assert EXTRA in str(raised.value)
    assert advice in str(raised.value)


# JPEG 2000


def _jp2(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    made = {"codecformat": path.suffix[1:], "level": 0, "reversible": True, **options}
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, **made))
    return path


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
def test_jpeg_2000_has_the_pixels_that_were_written(
    name: str, tmp_path: Path, cache: Cache
) -> None:
    pixels = _pixels()
    slide = Slide.open(_jp2(tmp_path / name, pixels), cache=cache)
    np.testing.assert_array_equal(slide.pixels[0][:, :], pixels)
    assert (slide.mpp, slide.conversions) == (None, ())
    grey = Slide.open(_jp2(tmp_path / f"grey.{name}", pixels[..., 0]), cache=cache)
    np.testing.assert_array_equal(grey.pixels[0][:, :], np.repeat(pixels[..., :1], 3, axis=-1))


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_jpeg_2000_is_shown_by_the_range_in_use(
    bits: int, tmp_path: Path, cache: Cache
) -> None:
    pixels = _pixels()
    # 12 bits are in use, in samples of 12 or of 16.
    stored = (pixels.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    slide = Slide.open(_jp2(tmp_path / "a.jp2", stored, bitspersample=bits), cache=cache)
    assert np.abs(slide.pixels[0][:, :].astype(int) - pixels).max() <= 1
    assert slide.conversions == ("samples of more than 8 bits to 8, by the range in use",)


def test_jpeg_2000_in_luma_and_chroma_is_red_green_and_blue(tmp_path: Path, cache: Cache) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32], pixels[32:] = (200, 50, 120), (90, 180, 30)
    # ITU-R BT.601, full range
    matrix = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    sycc = np.round(pixels @ np.transpose(matrix) + (0, 128, 128)).astype(np.uint8)
    path = _jp2(tmp_path / "a.jp2", sycc, mct=False, colorspace="SYCC")
    read = Slide.open(path, cache=cache).pixels[0][:, :]
    assert np.abs(read.astype(int) - pixels).max() <= 2


def test_jpeg_2000_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = _jp2(tmp_path / "a.j2k", _pixels((64, 64)))
    content = bytearray(path.read_bytes())
    content[8:12] = content[12:16] = (2**20).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="claims 1048576 × 1048576 px, more than the file can"):
        open_image(path)
    with pytest.raises(InputError, match="it has 4 samples a pixel, not grey or RGB"):
        open_image(_jp2(tmp_path / "b.jp2", np.zeros((64, 64, 4), np.uint8)))


@pytest.mark.parametrize("zeros", [0, 3000])
def test_a_truncated_jpeg_2000_is_a_sentence(zeros: int, tmp_path: Path, cache: Cache) -> None:
    path = _jp2(tmp_path / "a.jp2", _pixels())
    # A copy that stopped may have its whole length, in zeros.
    path.write_bytes(path.read_bytes()[:-3000] + bytes(zeros))
    with pytest.raises(InputError, match="this JPEG 2000 cannot be read"):
        Slide.open(path, cache=cache)


# DICOM


def test_a_dicom_series_opens_as_its_folder_or_any_of_its_files(
    tmp_path: Path, cache: Cache
) -> None:
    pixels, folder = _pixels((512, 768)), tmp_path / "1.2.840.7"
    write_series(folder, pixels, generate_uid())
    by_folder = Slide.open(folder, cache=cache)
    files = sorted(folder.iterdir())
    for slide in (by_folder, *(Slide.open(file, cache=cache) for file in files[:2])):
        assert (slide.shape, slide.mpp, slide.downsamples) == ((512, 768), 0.5, (1, 2, 4))
        for level, step in enumerate((1, 2, 4)):
            np.testing.assert_array_equal(slide.pixels[level][:, :], pixels[::step, ::step])
        assert [(other.name, other.shape) for other in slide.others] == [("label", (40, 60))]
    label = Slide.open(folder, series="label", cache=cache)
    assert (label.pixels[0][:, :] == 77).all()
    # Pixels lie in all of its files.
    before = Slide.open(files[0], cache=cache).state
    other = files[1]
    other.write_bytes(other.read_bytes() + b"\0\0")
    assert Slide.open(files[0], cache=cache).state != before
    assert by_folder.doubts == ()
    (tmp_path / "part").mkdir()
    for file in files[1:]:
        shutil.copy(file, tmp_path / "part")
    (doubt,) = Slide.open(tmp_path / "part", cache=cache).doubts
    assert "says that it is a smaller copy of another" in doubt
    assert st.read(folder, cache=cache).name == "1.2.840.7"
    reader = get_reader(str(folder))
    assert reader is not None
    assert reader(str(folder))[0][1]["scale"] == (0.5, 0.5)


def test_of_two_dicom_series_in_a_folder_the_larger_is_the_slide(
    tmp_path: Path, cache: Cache
) -> None:
    large, small = _pixels((512, 512)), _pixels((256, 384), 1)
    write_series(tmp_path / "both", large, "1.2.3.100", jpeg=True)
    write_series(tmp_path / "both", small, "1.2.3.200")
    slide = Slide.open(tmp_path / "both", cache=cache)
    assert slide.shape == (512, 512)
    off = np.abs(slide.pixels[0][:, :].astype(int) - large)
    assert off.mean() < 2
    names = {other.name: other.shape for other in slide.others}
    assert names == {"label": (40, 60), "200_1": (256, 384)}
    other = Slide.open(tmp_path / "both", series="200_1", cache=cache)
    np.testing.assert_array_equal(other.pixels[0][:, :], small)
    own = Slide.open(tmp_path / "both", series="100_1", cache=cache)
    assert own.same_as(slide)
    assert own.series is None
    # Nobody knows how large a series is that cannot be read.
    for damaged in (tmp_path / "both").glob("100_*"):
        damaged.write_bytes(damaged.read_bytes()[:600])
    with pytest.raises(InputError, match=r"a DICOM slide, .* or choose another: 200_1\.$"):
        open_image(tmp_path / "both")
    np.testing.assert_array_equal(open_image(tmp_path / "both", "200_1").levels[0][:, :], small)


def test_dicom_whose_frames_do_not_follow_each_other_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "s", _pixels((256, 256)), "1.2.3.100", jpeg=True)
    file = tmp_path / "s" / "100_1.dcm"
    content = bytearray(file.read_bytes())
    # The item with the table of offsets: 4 of them, the second to be 0.
    at = content.index(b"\xfe\xff\x00\xe0\x10\0\0\0") + 8
    assert content[at : at + 4] == bytes(4) != content[at + 4 : at + 8]
    content[at + 4 : at + 8] = bytes(4)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"where its frames begin, as 100_1\.dcm says, cannot be"):
        open_image(tmp_path / "s")


def test_a_folder_of_other_dicom_is_not_ours(tmp_path: Path) -> None:
    file = Path(pydicom.data.get_testdata_file("CT_small.dcm"))
    shutil.copy(file, tmp_path / "ct.dcm")
    assert get_reader(str(tmp_path)) is None
    with pytest.raises(InputError, match="a DICOM slide"):
        open_image(tmp_path / "ct.dcm")


# CZI


def test_a_czi_has_the_pixels_and_the_scale_that_were_written(tmp_path: Path, cache: Cache) -> None:
    pixels = _pixels((384, 512))
    slide = Slide.open(write_czi(tmp_path / "s.czi", pixels), cache=cache)
    assert (slide.shape, slide.mpp) == ((384, 512), 0.25)
    np.testing.assert_array_equal(slide.pixels[0][:, :], pixels)
    gap = Slide.open(write_czi(tmp_path / "gap.czi", pixels, whole=False), cache=cache)
    expected = pixels.copy()
    expected[128:256, 128:256] = 255
    np.testing.assert_array_equal(gap.pixels[0][:, :], expected)


def test_a_part_of_a_czi_that_claims_more_than_the_file_is_not_believed(
    tmp_path: Path, cache: Cache
) -> None:
    pixels = _pixels((256, 256))
    path = tmp_path / "s.czi"
    with czi.create_czi(str(path)) as file:
        for left in (0, 128):
            tile = np.ascontiguousarray(pixels[:, left : left + 128, ::-1])
            # A scanner's stage has its own origin.
            file.write(tile, location=(left - 5000, 3000))
    np.testing.assert_array_equal(Slide.open(path, cache=cache).pixels[0][:, :], pixels)
    whole = bytearray(path.read_bytes())
    second = whole.find(b"ZISRAWSUBBLOCK", whole.find(b"ZISRAWSUBBLOCK") + 1)
    whole[second + 40 : second + 48] = (2**41).to_bytes(8, "little")
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"a part claims 2199023255\d{3} bytes"):
        Slide.open(path, cache=cache)


def test_a_fluorescence_czi_is_refused_with_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "if.czi"
    with czi.create_czi(str(path)) as file:
        for channel in range(2):
            tile = np.full((128, 128, 1), 9, np.uint8)
            file.write(tile, plane={"C": channel})
        file.write_metadata(document_name="s", channel_names={0: "DAPI", 1: "CD3"})
    with pytest.raises(InputError, match=r"it has 2 channels of uint8 \(.*\), not 8-bit RGB"):
        open_image(path)


def _part(level: Any, at: tuple[int, int]) -> Pixels:
    return level[at[0] : at[0] + 64, at[1] : at[1] + 64]


def test_threads_read_what_one_does(tmp_path: Path) -> None:
    pixels = _pixels((512, 768))
    write_series(tmp_path / "dicom", pixels, generate_uid())
    level = open_image(tmp_path / "dicom").levels[0]
    places = [(y, x) for y in range(0, 512, 64) for x in range(0, 768, 64)]
    with ThreadPoolExecutor(2) as pool:
        read = pool.map(partial(_part, level), places)
        for (y, x), part in zip(places, read, strict=True):
            np.testing.assert_array_equal(part, pixels[y : y + 64, x : x + 64])
