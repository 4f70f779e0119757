"""Every kind of samples is shown as it is meant, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pyvips
import skimage.color
import tifffile
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.images.tiff import tiles
from pixel_checks import (
    ALPHA,
    GREY,
    ON_WHITE,
    RGB,
    STRIPS,
    TILES,
    as_rgb,
    difference,
    read_image,
    write_flat,
)
from pixel_files import (
    gradient,
    image_tags,
    write_tiff,
)

# Depths


@pytest.mark.parametrize(
    ("values", "said", "off"),
    [
        (RGB.astype("u2") * 257, "16-bit samples, 0 to 65535, to 8 bits", 0),
        (RGB.astype("u2"), "16-bit samples, 0 to 255, to 8 bits", 0),
        (RGB.astype("u2") * 16, "16-bit samples, 0 to 4095, to 8 bits", 1),
        (RGB.astype("u2") * 4, "16-bit samples, 0 to 1023, to 8 bits", 1),
        (RGB.astype("i2") * 128, "16-bit samples, 0 to 32767, to 8 bits", 1),
        ((RGB // 2).astype("i1"), "8-bit samples, 0 to 127, to 8 bits", 1),
        (RGB.astype("u4") * 257, "32-bit samples, 0 to 65535, to 8 bits", 0),
        (RGB.astype("u4") * 16843009, "32-bit samples, 0 to 4.29497e+09, to 8 bits", 0),
        ((RGB / 255).astype("f2"), "floating-point samples, 0 to 1, to 8 bits", 0),
        ((RGB / 255).astype("f4"), "floating-point samples, 0 to 1, to 8 bits", 0),
        (RGB / 255, "floating-point samples, 0 to 1, to 8 bits", 0),
        (RGB.astype("f4"), "floating-point samples, 0 to 255, to 8 bits", 0),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_samples_of_more_than_8_bits_by_the_range_in_use(
    values: NDArray[Any], said: str, off: int, tmp_path: Path
) -> None:
    for n, layout in enumerate((TILES, STRIPS, {"compression": "zlib", "predictor": True})):
        write_flat(tmp_path / f"{n}.tif", values, **layout)
        shown, image = read_image(tmp_path / f"{n}.tif")
        assert difference(shown, RGB) <= off
        assert image.conversions == (said,)


def test_all_levels_have_one_range(tmp_path: Path) -> None:
    """Of its coarsest: a speck that is brighter, as dirt on a camera is, changes nothing."""
    values = RGB.astype("u2") * 16
    coarse = values[::2, ::2].copy()
    values[0, 0] = 60_000
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        options = {"photometric": "rgb", "metadata": None, "tile": (16, 16)}
        tif.write(values, subifds=1, **options)
        tif.write(coarse, subfiletype=1, **options)
    image = open_image(tmp_path / "s.tif")
    assert image.conversions == ("16-bit samples, 0 to 4095, to 8 bits",)
    assert difference(image.levels[0][1:, :], RGB[1:]) <= 1
    assert difference(image.levels[1][:, :], RGB[::2, ::2]) <= 1
    assert image.levels[0][0, 0].tolist() == [255, 255, 255]


def test_the_range_of_a_large_flat_image_is_of_parts_all_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_read: list[int]
) -> None:
    values = np.zeros((400, 300, 3), np.uint16)
    values[:300:5] = 4000
    write_flat(tmp_path / "s.tif", values)
    monkeypatch.setattr(tiles, "_PEEKED", 2**16)
    image = open_image(tmp_path / "s.tif")
    assert image.conversions == ("16-bit samples, 0 to 4095, to 8 bits",)
    assert len(bytes_read) >= 16
    assert sum(bytes_read) <= 2**17


def test_the_range_that_metadata_states(tmp_path: Path) -> None:
    dark = RGB.astype("u2")
    stated = tmp_path / "s.tif"
    write_flat(stated, dark * 8, extratags=[(281, "H", 3, (4000,) * 3, True)])
    ome = tmp_path / "s.ome.tif"
    about = {"axes": "YXS", "SignificantBits": 12}
    tifffile.imwrite(ome, dark * 8, photometric="rgb", metadata=about)
    # Whoever states all that fits says nothing.
    filled = tmp_path / "f.tif"
    write_flat(filled, dark, extratags=[(281, "H", 3, (65535,) * 3, True)])
    for path, top in ((stated, 4000), (ome, 4095)):
        shown, image = read_image(path)
        assert image.conversions == (f"16-bit samples, 0 to {top}, to 8 bits",)
        assert difference(shown, np.rint(dark * 8 * (255 / top)).astype(np.uint8)) == 0
    assert difference(read_image(filled)[0], RGB) == 0


def test_what_is_no_number_is_white(tmp_path: Path) -> None:
    values = (RGB / 255).astype("f4")
    values[:8, :8, 0], values[8, 0, 1] = np.nan, np.inf
    write_flat(tmp_path / "s.tif", values, **TILES)
    shown, _ = read_image(tmp_path / "s.tif")
    assert (shown[:8, :8] == 255).all()
    assert (shown[8, 0] == 255).all()
    assert difference(shown[9:], RGB[9:]) == 0


@pytest.mark.parametrize(
    "values",
    [RGB / 255 - 0.5, RGB * 1e4, RGB.astype("i2") - 100, RGB.astype("u4") * 10_000],
    ids=["float-negative", "float-large", "int-negative", "int-large"],
)
def test_samples_without_a_range_are_refused(values: NDArray[Any], tmp_path: Path) -> None:
    kind = values.astype("f4") if values.dtype.kind == "f" else values
    write_flat(tmp_path / "s.tif", kind)
    with pytest.raises(InputError, match="nothing says which are black and white"):
        read_image(tmp_path / "s.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("inverted", [False, True])
def test_grey_of_few_bits(bits: int, inverted: bool, tmp_path: Path) -> None:
    values = GREY >> (8 - bits)
    stored = 2**bits - 1 - values if inverted else values
    stored = stored.astype(bool) if bits == 1 else stored
    kind = "miniswhite" if inverted else "minisblack"
    write_flat(tmp_path / "s.tif", stored, photometric=kind, bitspersample=bits)
    expected = as_rgb(values.astype(int) * 255 // (2**bits - 1))
    assert difference(read_image(tmp_path / "s.tif")[0], expected) == 0


# Kinds of colours


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_palettes(bits: int, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    values = np.arange(96 * 128).reshape(96, 128) % 2**bits
    if bits == 4:
        # Two of a byte; no library at hand writes that.
        tags = image_tags((96, 128), 3, 1, rows=96) | {258: ("H", 4), 277: ("H", 1)}
        tags |= {320: ("H", [int(v) * 257 for v in colours.T.ravel()])}
        packed = (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8)
        write_tiff(tmp_path / "s.tif", tags, [packed.tobytes()])
    else:
        map_ = np.ascontiguousarray(colours.T.astype("u2") * 257)
        values = values.astype(f"u{bits // 8}")
        write_flat(tmp_path / "s.tif", values, photometric="palette", colormap=map_, **TILES)
    shown, image = read_image(tmp_path / "s.tif")
    assert difference(shown, colours[values]) == 0
    assert image.conversions == ("a palette to RGB",)


def test_a_palette_of_8_bits_where_tiff_has_16(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
    write_flat(tmp_path / "s.tif", GREY, photometric="palette", colormap=colours.astype("u2"))
    assert difference(read_image(tmp_path / "s.tif")[0], colours.T[GREY]) == 0


def test_a_palette_of_256_times_8_bits(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype("u2")
    write_flat(tmp_path / "s.tif", GREY, photometric="palette", colormap=colours * 256)
    assert difference(read_image(tmp_path / "s.tif")[0], colours.T[GREY]) == 0


@pytest.mark.parametrize("sign", ["u", "i"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab(kind: str, bits: int, sign: str, tmp_path: Path) -> None:
    rgb = (RGB // 2 + 64).astype(np.uint8)
    lab, step = skimage.color.rgb2lab(rgb), 2 ** (bits - 8)
    chroma = np.rint(lab[..., 1:] * step).astype(f"i{bits // 8}")
    if kind == "icclab":
        chroma = chroma.astype(int) + 128 * step
    full = 2**bits - 1 if kind == "cielab" else 255 * step
    light = np.rint(lab[..., :1] * (full / 100))
    values = np.concatenate([light, chroma], axis=-1).astype(int).astype(f"u{bits // 8}")
    # libvips says that lightness has a sign, too.
    write_flat(tmp_path / "s.tif", values.view(f"{sign}{bits // 8}"), photometric=kind, **TILES)
    shown, image = read_image(tmp_path / "s.tif")
    assert difference(shown, rgb) <= (6 if bits == 8 else 1)
    assert image.conversions == ("Lab to sRGB",)


def test_cmyk_by_its_profile_or_as_is_usual(tmp_path: Path) -> None:
    ink = np.dstack([255 - RGB, np.full_like(GREY, 30)])
    usual = pyvips.Image.new_from_array(ink).copy(interpretation="cmyk").colourspace("srgb").numpy()
    write_flat(tmp_path / "u.tif", ink, photometric="separated", **TILES)
    shown, image = read_image(tmp_path / "u.tif")
    assert difference(shown, usual) == 0
    assert image.conversions == ("CMYK to sRGB",)
    profile = bytes(pyvips.Operation.call("profile_load", "cmyk"))
    write_flat(tmp_path / "p.tif", ink, photometric="separated", iccprofile=profile, **TILES)
    shown, image = read_image(tmp_path / "p.tif")
    expected = imagecodecs.cms_transform(
        ink, profile, imagecodecs.cms_profile("srgb"), colorspace="cmyk", outcolorspace="rgb"
    )
    assert difference(shown, expected) == 0
    assert difference(shown, usual) > 5
    assert image.conversions == ("CMYK to sRGB by the file's profile",)
    wrong = imagecodecs.cms_profile("srgb")
    write_flat(tmp_path / "w.tif", ink, photometric="separated", iccprofile=wrong, **TILES)
    shown, image = read_image(tmp_path / "w.tif")
    assert difference(shown, usual) == 0
    assert image.doubts == (
        "The image's colour profile is not applied: it is of RGB, not of CMYK.",
    )


# Transparency


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("codec", [None, "lzw", "png", "jpeg2000", "jpegxl", "webp"])
def test_transparency_is_laid_on_white(kind: str, codec: str | None, tmp_path: Path) -> None:
    rgb = np.rint(RGB * (ALPHA[..., None] / 255)) if kind == "assocalpha" else RGB
    args = {"lossless": True} if codec in ("webp", "jpegxl") else {}
    options = {"compression": codec, "compressionargs": args, "extrasamples": [kind], **TILES}
    write_flat(tmp_path / "s.tif", np.dstack([rgb.astype(np.uint8), ALPHA]), **options)
    shown, image = read_image(tmp_path / "s.tif")
    assert difference(shown, ON_WHITE) <= 1
    assert image.conversions == ("transparency laid on white",)


def test_transparency_of_16_bits_and_of_grey(tmp_path: Path) -> None:
    deep = np.dstack([RGB.astype("u2") * 16, ALPHA.astype("u2") * 257])
    write_flat(tmp_path / "d.tif", deep, extrasamples=["unassalpha"])
    assert difference(read_image(tmp_path / "d.tif")[0], ON_WHITE) <= 1
    grey = np.dstack([GREY, ALPHA])
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    write_flat(tmp_path / "g.tif", grey, extrasamples=["unassalpha"], **options)
    expected = np.rint(GREY * (ALPHA / 255) + 255 - ALPHA)
    assert difference(read_image(tmp_path / "g.tif")[0], as_rgb(expected)) <= 1


def test_a_fourth_sample_that_is_no_transparency_hides_nothing(tmp_path: Path) -> None:
    infrared = gradient(96, 128)[..., 1]
    write_flat(tmp_path / "i.tif", np.dstack([RGB, infrared]), extrasamples=["unspecified"])
    shown, image = read_image(tmp_path / "i.tif")
    assert difference(shown, RGB) == 0
    assert "unknown meaning" in image.doubts[0]
    nothing = np.zeros_like(GREY)
    write_flat(tmp_path / "n.tif", np.dstack([RGB, nothing]), extrasamples=["unassalpha"])
    shown, image = read_image(tmp_path / "n.tif")
    assert difference(shown, RGB) == 0
    assert "all of it is transparent" in image.doubts[0]


# Planes, pages, channels


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colours_in_planes_and_channels(dtype: str, layout: dict[str, Any], tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0)).astype(dtype) * (
        257 if dtype == "u2" else 1
    )
    write_flat(tmp_path / "p.tif", planes, planarconfig="separate", **layout)
    grey = {"photometric": "minisblack", **layout}
    tifffile.imwrite(tmp_path / "c.ome.tif", planes, metadata={"axes": "CYX"}, **grey)
    named = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(tmp_path / "n.ome.tif", planes, metadata=named, **grey)
    about = {"axes": "CYX", "mode": "composite"}
    tifffile.imwrite(tmp_path / "i.tif", planes, imagej=True, metadata=about)
    alike = {"axes": "CYX", "Channel": {"Name": ["H&E"] * 3}}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=alike, **grey)
    for name in ("p.tif", "c.ome.tif", "n.ome.tif", "a.ome.tif", "i.tif"):
        shown, image = read_image(tmp_path / name)
        assert difference(shown, RGB) == 0
        assert image.doubts == ()
    for plane in planes:
        tifffile.imwrite(tmp_path / "g.tif", plane, append=True, metadata=None, **grey)
    shown, image = read_image(tmp_path / "g.tif")
    assert difference(shown, RGB) == 0
    assert image.doubts == ("Three grey pages of one size are taken for its red, green and blue.",)


def _fluorescence(path: Path, **about: Any) -> None:
    values = np.stack([GREY] * 3).astype("u2")
    metadata = {"axes": "CYX", "Channel": about}
    tifffile.imwrite(path, values, photometric="minisblack", metadata=metadata)


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (lambda p: _fluorescence(p, Name=["DAPI", "FITC", "Cy5"]), "s.ome.tif", "DAPI, FITC, Cy5"),
        (
            lambda p: _fluorescence(p, Color=[65535, 16711935, -16776961]),
            "s.ome.tif",
            "(axes CYX) are blue, green, red, not red",
        ),
        (
            lambda p: tifffile.imwrite(
                p,
                np.stack([GREY] * 3),
                imagej=True,
                metadata={"axes": "CYX", "Labels": ["c:1/3 - Hoechst", "c:2/3 - GFP", "c:3/3 - x"]},
            ),
            "s.tif",
            "Hoechst, GFP, x",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 5), metadata={"axes": "CYX"}),
            "s.ome.tif",
            "5 channels (axes CYX)",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 2), metadata={"axes": "CYX"}),
            "s.ome.tif",
            "2 channels (axes CYX)",
        ),
        (
            lambda p: tifffile.imwrite(
                p, np.stack([RGB] * 4), photometric="rgb", metadata={"axes": "ZYXS"}
            ),
            "s.ome.tif",
            "axes ZYXS (4, 96, 128, 3), a stack of 4 focal planes",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 4), metadata={"axes": "TYX"}),
            "s.ome.tif",
            "axes TYX (4, 96, 128), a stack of 4 times",
        ),
        (
            lambda p: tifffile.imwrite(p, np.stack([GREY] * 5), metadata=None),
            "s.tif",
            "5 grey pages",
        ),
        (
            lambda p: write_flat(p, np.dstack([RGB, RGB]), extrasamples=["unspecified"] * 3),
            "s.tif",
            "6 samples",
        ),
    ],
)
def test_stacks_and_fluorescence_are_refused(
    write: Callable[[Path], None], name: str, said: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as error:
        open_image(tmp_path / name)
    assert said in str(error.value)


def _one_channel(path: Path, values: NDArray[Any], **channel: Any) -> Path:
    about = {"axes": "YX", "Channel": {key: [value] for key, value in channel.items()}}
    tifffile.imwrite(path, values, photometric="minisblack", metadata=about)
    return path


@pytest.mark.parametrize(
    ("values", "channel", "said"),
    [
        (
            GREY,
            {"Name": "DAPI"},
            "its one channel is called 'DAPI', and fluorescence and images of",
        ),
        (GREY, {"EmissionWavelength": 461}, "its one channel: fluorescence and images of genes"),
        (GREY, {"Name": "C0", "ContrastMethod": "Fluorescence"}, "its one channel is called 'C0'"),
        ((GREY / 255).astype("f4"), {"Name": "C3"}, "its one channel is called 'C3', and"),
        ((GREY / 255).astype("f4"), {"Name": "ERBB2"}, "its one channel is called 'ERBB2', and"),
    ],
)
def test_one_channel_of_fluorescence_or_of_a_gene_is_no_slide(
    values: NDArray[Any], channel: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = _one_channel(tmp_path / "s.ome.tif", values, **channel)
    with pytest.raises(InputError) as error:
        open_image(path)
    assert said in str(error.value)
    assert "give the H&E slide, in brightfield" in str(error.value)


@pytest.mark.parametrize("name", ["Channel 0", "", "Brightfield", "TL", "gray"])
def test_one_grey_channel_of_brightfield_is_a_slide(name: str, tmp_path: Path) -> None:
    shown, image = read_image(_one_channel(tmp_path / "s.ome.tif", GREY, Name=name))
    assert difference(shown, as_rgb(GREY)) == 0
    assert image.doubts == ()
    # Its colour may be nobody's choice.
    image = open_image(_one_channel(tmp_path / "g.ome.tif", GREY, Color=0x00FF00FF))
    assert image.doubts == ("Its one channel is shown in green; fluorescence is no H&E.",)


def test_images_of_one_size_are_told_apart_by_their_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.ome.tif") as tif:
        for name, values in (("DAPI", GREY), ("bright field", 255 - GREY)):
            about = {"axes": "YX", "Name": name, "Channel": {"Name": [name]}}
            tif.write(values, photometric="minisblack", metadata=about)
    # Of two that are as large, the first is the slide; the other can be chosen where it is refused.
    with pytest.raises(InputError, match=r"'DAPI', and .*; or choose another: bright field\.$"):
        open_image(tmp_path / "s.ome.tif")
    other = open_image(tmp_path / "s.ome.tif", "bright field")
    assert difference(next(other.strips()), as_rgb(255 - GREY)) == 0
    with pytest.raises(InputError, match="its one channel is called 'DAPI'"):
        open_image(tmp_path / "s.ome.tif", "DAPI")
