"""Of each maker's TIFF: which image is the slide, how large, at what scale, and what else it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import slide_files as made
from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import image_size, open_image
from napari_stenhance.section.section import open_section
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from pixel_checks import by_openslide, difference
from slide_files import APERIO, LOSSLESS, Pixels, plain, steps_of

TILED = {"tile": (64, 64), **LOSSLESS}
_HALF = (150, 201)


def _pixels(shape: tuple[int, int] = (301, 403)) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def _um(mpp: float, y: float | None = None, unit: str = "µm") -> dict[str, Any]:
    sizes = {"X": mpp, "Y": mpp if y is None else y}
    return {
        **{f"PhysicalSize{axis}": size for axis, size in sizes.items()},
        **{f"PhysicalSize{axis}Unit": unit for axis in sizes},
    }


def _old_bio_formats(path: Path, pixels: Pixels) -> None:
    levels = [pixels, *steps_of(pixels, 2, 4)]
    images = [(f"s resolution #{n}", [level], _um(0.5)) for n, level in enumerate(levels, start=1)]
    made.ome(path, *images, ("label image", [plain((600, 700))], _um(9)))


def _numbered(path: Path, pixels: Pixels) -> None:
    names = ("Label_1", "macro image #2", "Slide Preview")
    beside = [(name, [plain((600 + n, 700))], _um(9)) for n, name in enumerate(names)]
    made.ome(path, *beside, ("label-free 1", [pixels, *steps_of(pixels, 2)], _um(0.5)))


def _ome(path: Path, pixels: Pixels) -> None:
    made.ome(
        path,
        ("macro image", [plain((600, 700))], _um(16)),
        ("detail", [pixels[:100, :100]], _um(0.25)),
        ("", [pixels, *steps_of(pixels, 2, 4)], _um(500, unit="nm")),
        ("detail", [pixels[:90, :100]], _um(0.25)),
    )


def _generic(path: Path, *pages: tuple[Pixels, dict[str, Any]]) -> None:
    with tifffile.TiffWriter(path) as tif:
        for page, options in pages:
            tif.write(page, **{**LOSSLESS, **_at(0.5), **options})


def _at(mpp: float, unit: str = "CENTIMETER", length: float = 1e4) -> dict[str, Any]:
    return {"resolution": (length / mpp, length / mpp), "resolutionunit": unit}


def _thumbnail_first(path: Path, pixels: Pixels) -> None:
    _generic(path, (pixels[::16, ::16], _at(8)), (pixels, {"extratags": _named("H&E")}))


def _named(name: str) -> list[tuple[int, str, int, str, bool]]:
    return [(285, "s", 0, name, True)]


def _irregular(*steps: int, reduced: bool = False) -> Callable[[Path, Pixels], None]:
    def write(path: Path, pixels: Pixels) -> None:
        options = {"tile": (64, 64), "subfiletype": int(reduced)}
        levels = [(level, options) for level in steps_of(pixels, *steps)]
        named = {"extratags": _named("Macro"), **_at(9)}
        _generic(path, (pixels, {"tile": (64, 64)}), *levels, (plain((600, 700)), named))

    return write


def _rescaled(path: Path, pixels: Pixels) -> None:
    """Levels in steps that are no whole numbers count if they are said to be reduced."""
    coarse = np.ascontiguousarray(pixels[:120, :161])
    reduced = {"tile": (64, 64), "subfiletype": 1}
    _generic(
        path,
        (pixels, {"tile": (64, 64)}),
        (coarse, reduced),
        (pixels[:50, :100], {**reduced, **_at(2)}),
    )


def _svs_in_strips(path: Path, pixels: Pixels) -> None:
    """A region so small that it has neither tiles nor levels, beside a larger label and macro."""
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, description=f"{APERIO}403x301 JPEG|MPP = 0.5", **LOSSLESS)
        tif.write(pixels[::3, ::3], description=f"{APERIO}403x301 -> 135x101 - ", **LOSSLESS)
        tif.write(plain((600, 700)), subfiletype=1, description=APERIO, **LOSSLESS)
        tif.write(plain((610, 700)), subfiletype=9, description=APERIO, **LOSSLESS)


# name, how it is written, what is said of the scale, others, downsamples
LAYOUTS = {
    "svs-small-region": ("s.svs", _svs_in_strips, "Aperio's MPP", "thumbnail label macro", (1,)),
    "svs": ("s.svs", made.svs, "Aperio's MPP", "thumbnail label macro", (1, 2, 4)),
    "svs-no-thumbnail": (
        "s.svs",
        lambda path, pixels: made.svs(path, pixels, thumbnail=False),
        "Aperio's MPP",
        "label macro",
        (1, 2, 4),
    ),
    "ndpi": ("s.ndpi", made.ndpi, "resolution tags", "macro map", (1, 4, 8)),
    "ndpi-flat": (
        "s.ndpi",
        lambda path, pixels: made.ndpi(path, pixels, levels=False),
        "resolution tags",
        "macro map",
        (1,),
    ),
    "ndpi-renamed": ("s.tif", made.ndpi, "resolution tags", "macro map", (1, 4, 8)),
    "scn": ("s.scn", made.scn, "the size of Leica's view", "macro|region 2", (1, 2)),
    "bif": ("s.bif", made.bif, "Ventana's ScanRes", "label probability", (1, 2, 4)),
    "philips": ("s.tiff", made.philips, "Philips' DICOM_PIXEL_SPACING", "macro label", (1, 2)),
    "qptiff": (
        "s.qptiff",
        lambda path, pixels: made.qptiff(path, [pixels], photometric="rgb"),
        "PerkinElmer's PixelSizeMicrons",
        "thumbnail overview label",
        (1, 2, 4),
    ),
    "ome": ("s.ome.tif", _ome, "OME's PhysicalSizeX", "macro image|detail|detail 2", (1, 2, 4)),
    "ome-numbered": (
        "s.ome.tif",
        _numbered,
        "OME's PhysicalSizeX",
        "Label_1|macro image #2|Slide Preview",
        (1, 2),
    ),
    "ome-old": (
        "s.ome.tif",
        _old_bio_formats,
        "OME's PhysicalSizeX",
        "label image|",
        (1, 2, 4),
    ),
    "thumbnail-first": ("s.tif", _thumbnail_first, "resolution tags", "image 1|", (1,)),
    "steps-4-2": ("s.tif", _irregular(4, 8), "resolution tags", "macro|", (1, 4, 8)),
    "step-8": ("s.tif", _irregular(8, reduced=True), "resolution tags", "macro|", (1, 8)),
    "steps-2-4": ("s.tif", _irregular(2, 8), "resolution tags", "macro|", (1, 2, 8)),
    "rescaled": ("s.tif", _rescaled, "resolution tags", "image 2|", (1, 403 / 161)),
}


_KNOWN_TO_OPENSLIDE = ("svs", "svs-no-thumbnail", "philips", "qptiff")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_slide_of_each_layout_and_what_lies_beside(
    layout: str, tmp_path: Path, cache: Cache
) -> None:
    name, write, source, others, downsamples = LAYOUTS[layout]
    pixels = _pixels()
    path = tmp_path / name
    write(path, pixels)
    slide = Slide.open(path, cache=cache)
    assert image_size(path) == slide.shape == (301, 403)
    assert slide.downsamples == downsamples
    for n, step in enumerate(downsamples):
        shown = slide.pixels[n][:, :]
        if step == round(step):
            rows, columns = shown.shape[:2]
            np.testing.assert_array_equal(shown, pixels[::step, ::step][:rows, :columns])
        if layout in _KNOWN_TO_OPENSLIDE:
            assert difference(shown, by_openslide(path, n)) <= 2
    assert slide.mpp == pytest.approx(0.5)
    assert slide.mpp_source == source
    assert slide.doubts == ()
    wanted = others.strip("|").split("|" if "|" in others else " ")
    assert [other.name for other in slide.others] == wanted
    for other in slide.others:
        source_of = open_image(path, other.name)
        assert source_of.shape == other.shape != slide.shape
        assert source_of.mpp != slide.mpp
        assert next(source_of.strips()).shape[1:] == (other.shape[1], 3)


def test_levels_that_are_joined_show_the_same_places(tmp_path: Path, cache: Cache) -> None:
    pixels = np.repeat(np.repeat(_pixels((37, 50)), 8, 0), 8, 1)
    _irregular(8, reduced=True)(tmp_path / "s.tif", pixels)
    slide = Slide.open(tmp_path / "s.tif", mpp=1, cache=cache)
    np.testing.assert_array_equal(slide.pixels[1][:, :], pixels[::8, ::8])


def test_another_image_is_opened_by_its_name_at_its_own_scale(tmp_path: Path, cache: Cache) -> None:
    pixels = _pixels()
    made.scn(tmp_path / "s.scn", pixels)
    slide = Slide.open(tmp_path / "s.scn", series="region 2", cache=cache)
    np.testing.assert_array_equal(slide.pixels[0][:, :], pixels[:100, :150])
    assert slide.mpp == pytest.approx(1)
    macro = Slide.open(tmp_path / "s.scn", series="macro", cache=cache)
    # 26.6 mm across 300 px is no scale of a slide, and 76.7 mm along 900 px neither.
    assert macro.mpp is None
    assert "which cannot be right" in macro.doubts[0]
    assert len({slide.key, macro.key, Slide.open(tmp_path / "s.scn", cache=cache).key}) == 3
    said = r"no image 'label'; it holds region 1 \(403 × 301 px, the slide\), macro .*, region 2 "
    with pytest.raises(InputError, match=said):
        Slide.open(tmp_path / "s.scn", series="label", cache=cache)


def test_stacks_and_fluorescence_are_listed_and_refused_where_they_are_chosen(
    tmp_path: Path, cache: Cache
) -> None:
    planes = [np.full((301, 403), n, np.uint16) for n in range(5)]
    path = tmp_path / "s.qptiff"
    made.qptiff(path, planes, photometric="minisblack")
    with pytest.raises(InputError, match=r"5 (samples|channels) .* not .*RGB"):
        open_image(path)
    # Brightfield is RGB in this format: three grey pages are no colours.
    for number, said in (
        (3, "its channels .* are fluorescence, not red"),
        (1, "its one channel: "),
    ):
        made.qptiff(path, planes[:number], photometric="minisblack")
        with pytest.raises(InputError, match=said):
            open_image(path)
    path = tmp_path / "planes.svs"
    with tifffile.TiffWriter(path) as tif:
        for image in (_pixels(), _pixels((100, 134)), _pixels()):
            tif.write(image, description=APERIO, **TILED)
    with pytest.raises(InputError, match=r"axes ZYXS \(2, 301, 403, 3\).*, not .*RGB"):
        open_image(path)
    path = tmp_path / "s.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        about = {"axes": "CYX", "Name": "DAPI and more"}
        tif.write(np.zeros((5, 700, 900), np.uint16), photometric="minisblack", metadata=about)
        tif.write(_pixels(), **{**LOSSLESS, "metadata": {"axes": "YXS", "Name": "H&E"}})
    slide = Slide.open(path, cache=cache)
    assert slide.shape == (301, 403)
    assert [(other.name, other.shape) for other in slide.others] == [("DAPI and more", (700, 900))]
    with pytest.raises(InputError, match=r"5 (samples|channels) .* not .*RGB"):
        Slide.open(path, series="DAPI and more", cache=cache)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such files are not sparse")
def test_ndpi_beyond_4_gb_is_opened(tmp_path: Path) -> None:
    pixels = _pixels()
    made.ndpi(tmp_path / "s.ndpi", pixels, pages_at=2**32 + 4096)
    image = open_image(tmp_path / "s.ndpi")
    np.testing.assert_array_equal(image.levels[0][:, :], pixels)
    assert [other.name for other in image.others] == ["macro", "map"]


@pytest.mark.parametrize(("make", "name"), [(made.stitched_bif, "s.bif"), (made.trestle, "s.tif")])
def test_tiles_that_overlap_are_stitched_by_openslide(
    make: Callable[..., None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 × 4 tiles of 64 px that share 16 with the next.
    blocks = np.random.default_rng(0).integers(60, 255, (10, 13, 3), dtype=np.uint8)
    pixels = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
    path = tmp_path / name
    make(path, pixels, (3, 4), 16)
    image = open_image(path)
    assert (image.shape, image.mpp) == ((160, 208), 0.5)
    levels = image.levels or (np.concatenate(list(image.strips())),)
    assert len(levels) == (2 if name == "s.bif" else 1)
    for n, level in enumerate(levels):
        off = np.asarray(level[:, :]).astype(int) - pixels[:: 2**n, :: 2**n]
        assert np.abs(off).max() <= 2
    image.close()
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(InputError, match=r"overlap by up to 16 px and have to be stitched, .*pip"):
        open_image(path)


def _flat(path: Path, **options: Any) -> None:
    tifffile.imwrite(path, _pixels((40, 50)), **{**LOSSLESS, **options})


def _imagej(unit: str, resolution: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        about = {"unit": unit} if unit else {}
        options = {"resolution": (resolution, resolution), "metadata": about}
        tifffile.imwrite(path, _pixels((40, 50)), imagej=True, **options)

    return write


def _ome_size(**sizes: Any) -> Callable[[Path], None]:
    return lambda path: made.ome(path, ("s", [_pixels((40, 50))], sizes))


def _aperio(said: str, **options: Any) -> Callable[[Path], None]:
    about = {"description": f"{APERIO}50x40 (64x64)|AppMag = 20{said}", "tile": (64, 64)}
    return lambda path: _flat(path, **about, **options)


def _tags(**options: Any) -> Callable[[Path], None]:
    return lambda path: _flat(path, **options)


def _maker(write: Callable[..., None], *args: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: write(path, _pixels(), *args, **options)


_NO = "which cannot be right for a slide"
_SCALES = [
    ("s.svs", _aperio("|MPP = 0.25"), 0.25, ""),
    ("s.svs", _aperio("|MPP = 0,2521|Filename = a"), 0.2521, ""),
    ("s.svs", _aperio("|OriginalMPP = 0.1|MPP=0.25"), 0.25, ""),
    ("s.svs", _aperio(""), None, ""),
    # Aperio's own way is its description; tags beside it are not its.
    ("s.svs", _aperio("", **_at(0.5)), None, ""),
    ("s.svs", _aperio("|MPP = 0"), None, _NO),
    ("s.svs", _aperio("|MPP = unknown"), None, "MPP the image has a scale that is no number, "),
    ("s.ndpi", _maker(made.ndpi, 44000), 1 / 4.4, ""),
    ("s.ndpi", _maker(made.ndpi, 1), None, ""),
    ("s.ndpi", _maker(made.ndpi, 10), None, _NO),
    ("s.scn", _maker(made.scn, (250.0, 250.0)), 0.25, ""),
    ("s.scn", _maker(made.scn, (250.0, 500.0)), None, "not square"),
    ("s.bif", _maker(made.bif, "0.2325"), 0.2325, ""),
    ("s.bif", _maker(made.bif, "0"), None, _NO),
    ("s.tiff", _maker(made.philips, ("0.000226907", "0.000226891")), 0.226891, ""),
    ("s.tiff", _maker(made.philips, ("0.0005", "0.00025")), None, "0.25 × 0.5 µm"),
    ("s.tiff", _maker(made.philips, ("0", "0")), None, _NO),
    ("s.ome.tif", _ome_size(**_um(0.25)), 0.25, ""),
    ("s.ome.tif", _ome_size(PhysicalSizeX=0.25), 0.25, ""),
    ("s.ome.tif", _ome_size(**_um(2.5e-4, unit="mm")), 0.25, ""),
    ("s.ome.tif", _ome_size(**_um(250.0, unit="nm")), 0.25, ""),
    ("s.ome.tif", _ome_size(**_um(2500.0, unit="Å")), 0.25, ""),
    ("s.ome.tif", _ome_size(**_um(1e-5, unit="in")), 0.254, ""),
    ("s.ome.tif", _ome_size(**_um(1.0, unit="pixel")), None, ""),
    ("s.ome.tif", _ome_size(**_um(1.0, unit="reference frame")), None, ""),
    ("s.ome.tif", _ome_size(**_um(1.0, unit="furlong")), None, "the unit 'furlong'"),
    ("s.ome.tif", _ome_size(**_um(0.5, 0.6)), None, "not square"),
    ("s.ome.tif", _ome_size(**_um(1000.0)), None, _NO),
    ("s.tif", _imagej("um", 4), 0.25, ""),
    ("s.tif", _imagej("micron", 4), 0.25, ""),
    ("s.tif", _imagej("\\u00B5m", 4), 0.25, ""),
    ("s.tif", _imagej("cm", 40000), 0.25, ""),
    ("s.tif", _imagej("pixel", 4), None, ""),
    ("s.tif", _imagej("", 4), None, ""),
    ("s.tif", _imagej("inch", 72), None, ""),
    ("s.tif", _imagej("um", 0.001), None, _NO),
    ("s.tif", _tags(**_at(0.25)), 0.25, ""),
    ("s.tif", _tags(**_at(0.254, "INCH", 25400)), 0.254, ""),
    ("s.tif", _tags(**_at(0.25, "NONE")), None, ""),
    ("s.tif", _tags(resolution=(96, 96), resolutionunit="INCH"), None, ""),
    ("s.tif", _tags(resolution=((0, 1), (0, 1)), resolutionunit="INCH"), None, ""),
    ("s.tif", _tags(resolution=(1, 1), resolutionunit="CENTIMETER"), None, ""),
    ("s.tif", _tags(resolution=(4, 4), resolutionunit="CENTIMETER"), None, "the scale is 0.25"),
    ("s.tif", _tags(software="MedScan", **_at(2.0, "INCH", 1)), 0.5, ""),
]


@pytest.mark.parametrize(("name", "write", "mpp", "doubt"), _SCALES)
def test_the_scale_is_what_each_format_says_in_its_unit(
    name: str, write: Callable[[Path], None], mpp: float | None, doubt: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    image = open_image(tmp_path / name)
    assert image.mpp == (mpp and pytest.approx(mpp))
    assert [doubt in said for said in image.doubts] == [True] * bool(doubt)
    assert (image.mpp_source == "unknown") == (mpp is None)


def test_two_statements_that_differ_are_a_doubt(tmp_path: Path) -> None:
    about = {"metadata": {"axes": "YXS", **_um(0.5)}}
    for mpp, number in ((0.505, 0), (0.25, 1)):
        path = tmp_path / f"{number}.ome.tif"
        _flat(path, **about, **_at(mpp))
        image = open_image(path)
        assert image.mpp == 0.5
        assert len(image.doubts) == number
    assert "OME's PhysicalSizeX states 0.5 µm per pixel, resolution tags 0.25" in image.doubts[0]


@pytest.mark.parametrize("first", ["file", "uns", "both"])
def test_a_given_scale_wins_over_any_nonsense(
    first: str, section_files: list[Path], tmp_path: Path, cache: Cache
) -> None:
    import anndata as ad

    spots = ad.read_h5ad(section_files[0])
    if first != "file":
        spots.uns["microns_per_pixel"] = 0.0
    spots.write_h5ad(tmp_path / "one.h5ad")
    whole = Slide.open(section_files[0].with_name("one_he.jpg"), mpp=1, cache=cache)
    made.svs(tmp_path / "one.svs", whole.pixels[0][:, :], f"MPP = {0.5 if first == 'uns' else 0}")
    section = open_section(tmp_path / "one.h5ad", mpp=0.7, cache=cache)
    assert section.need_slide().scale() == section.mpp == 0.7
    assert section.need_slide().mpp_source == "given"
