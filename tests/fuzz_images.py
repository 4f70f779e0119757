"""What `fuzz.py` damages of images: every format of slides, with and without a pyramid."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray

import slide_files
from fuzz_damage import Target
from napari_stenhance.section.images.opening import open_image
from napari_stenhance.section.slide import Slide
from ome_zarr_slides import write_ome_zarr
from pixel_files import (
    codestream,
    image_tags,
    to_ycbcr,
    write_ndpi,
    write_tiff,
    ycbcr_blocks,
)
from vendor_slides import write_czi, write_series

Write = Callable[[Path, NDArray[np.uint8]], object]


def _pixels() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 255, (6, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


def _made(name: str, write: Write) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write(folder / name, _pixels())
        return [folder / name]

    return make


def _path(folder: Path) -> Path:
    (path,) = folder.iterdir() if any(folder.iterdir()) else [folder / "removed.tif"]
    return path


def _read(folder: Path) -> Any:
    """Open the image and read all of it, every level if it has several."""
    image = open_image(_path(folder))
    assert image.mpp is None or 0.05 <= image.mpp <= 20
    if image.levels:
        assert len(image.downsamples) == len(image.levels)
        levels = [(level.shape[:2], [level[:, :]]) for level in image.levels]
    else:
        levels = [(image.shape, image.strips())]
    read = [_sum(shape, strips) for shape, strips in levels]
    return read, image.mpp, image.downsamples, image.conversions, image.doubts


def _sum(shape: tuple[int, ...], strips: Iterable[NDArray[np.uint8]]) -> tuple[int, ...]:
    rows = crc = 0
    for strip in strips:
        assert strip.dtype == np.uint8
        assert strip.shape[1:] == (shape[1], 3)
        rows, crc = rows + len(strip), zlib.crc32(strip.tobytes(), crc)
    assert rows == shape[0]
    return rows, crc


def _read_slide(folder: Path) -> Any:
    """Open a slide, whose pyramid is built if it has none, and read that as the viewer does."""
    slide = Slide.open(_path(folder))
    assert len(slide.downsamples) == len(slide.levels)
    read = [_sum(level.shape, [level.compute()]) for level in slide.levels]
    return read, slide.mpp, slide.downsamples, slide.doubts


def _vips(options: str) -> Write:
    def write(path: Path, pixels: NDArray[np.uint8]) -> None:
        image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
        image.write_to_file(f"{path}[{options}]")

    return write


def _flat(**options: Any) -> Write:
    def write(path: Path, pixels: NDArray[np.uint8]) -> None:
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)

    return write


def write_pyramid(path: Path, pixels: NDArray[np.uint8], **options: Any) -> None:
    """Write levels as SubIFDs of the first, tiled."""
    options = {"tile": (64, 64), "photometric": "rgb", **options}
    big = options.pop("bigtiff", False)
    with tifffile.TiffWriter(path, ome=path.name.endswith(".ome.tif"), bigtiff=big) as tif:
        tif.write(pixels, subifds=1, **options)
        # OME describes the image; levels are known by where they lie.
        tif.write(pixels[::2, ::2], subfiletype=1, **{**options, "metadata": None})


def _pyramid(**options: Any) -> Write:
    return lambda path, pixels: write_pyramid(path, pixels, **options)


def _svs(path: Path, pixels: NDArray[np.uint8]) -> None:
    slide_files.svs(path, pixels, compression="jpeg", subsampling=(1, 1))


def _write_svs_jpeg_2000(path: Path, pixels: NDArray[np.uint8]) -> None:
    about = f"Aperio Image Library v12.0\r\n{pixels.shape[1]}x{pixels.shape[0]} (32x32) J2K/YUV16"
    options = {"photometric": "rgb", "tile": (32, 32), "dtype": np.uint8, "metadata": None}
    step = [(1, 1), (2, 1), (2, 1)]

    def tiles(level: NDArray[np.uint8]) -> Iterator[bytes]:
        for y in range(0, level.shape[0], 32):
            for x in range(0, level.shape[1], 32):
                part = np.zeros((32, 32, 3), np.uint8)
                inside = level[y : y + 32, x : x + 32]
                part[: inside.shape[0], : inside.shape[1]] = to_ycbcr(inside)
                planes = [part[..., 0], part[:, ::2, 1], part[:, ::2, 2]]
                yield codestream(planes, step)

    with tifffile.TiffWriter(path) as tif:
        for n, level in enumerate((pixels, pixels[::2, ::2])):
            said = f"{about}|AppMag = 20|MPP = 0.5" if n == 0 else about
            more = {"shape": level.shape, "compression": 33003, "description": said}
            tif.write(tiles(level), **more, **options)


def _write_ycbcr(path: Path, pixels: NDArray[np.uint8]) -> None:
    tags = image_tags(pixels.shape[:2], 6, 5, rows=32) | {530: ("H", [2, 2])}
    tags |= {532: ("2I", [0, 255, 128, 255, 128, 255])}
    strips = [ycbcr_blocks(to_ycbcr(pixels[y : y + 32]), 2, 2) for y in range(0, len(pixels), 32)]
    write_tiff(path, tags, [imagecodecs.lzw_encode(strip) for strip in strips])


def _write_ndpi(path: Path, pixels: NDArray[np.uint8]) -> None:
    write_ndpi(path, pixels, pixels[::2, ::2], interval=4)


def _with_alpha(path: Path, pixels: NDArray[np.uint8]) -> None:
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:40] = 0
    more = {"compression": "zlib", "extrasamples": ["unassalpha"]}
    write_pyramid(path, np.dstack([pixels, alpha]), **more)


def _deep(dtype: str, factor: float) -> Write:
    def write(path: Path, pixels: NDArray[np.uint8]) -> None:
        write_pyramid(path, (pixels * factor).astype(dtype), compression="lzw", predictor=True)

    return write


def _palette(path: Path, pixels: NDArray[np.uint8]) -> None:
    colours = np.random.default_rng(0).integers(0, 2**16, (3, 256), dtype=np.uint16)
    options = {"photometric": "palette", "colormap": colours, "tile": (64, 64)}
    tifffile.imwrite(path, pixels[..., 0], compression="lzw", metadata=None, **options)


def _ink(path: Path, pixels: NDArray[np.uint8]) -> None:
    write_pyramid(path, np.dstack([255 - pixels, pixels[..., :1]]), photometric="separated")


def _planes(path: Path, pixels: NDArray[np.uint8]) -> None:
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    about = {"axes": "CYX", "Channel": {"Name": ["R", "G", "B"]}}
    options = {"photometric": "minisblack", "compression": "zlib", "tile": (64, 64)}
    tifffile.imwrite(path, planes, metadata=about, **options)


def _qptiff(path: Path, pixels: NDArray[np.uint8]) -> None:
    slide_files.qptiff(path, [pixels], photometric="rgb")


def _jpeg_2000(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=40, codecformat="jp2"))


def _dicom(folder: Path) -> list[Path]:
    write_series(folder / "series", _pixels(), "1.2.3.100", jpeg=True, tile=64)
    return sorted((folder / "series").iterdir())


def _zarr(version: str, **options: Any) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write_ome_zarr(folder / "s.ome.zarr", _pixels(), version=version, **options)
        return sorted(path for path in folder.rglob("*") if path.is_file())

    return make


_SCALE = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
_OME = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}


def _target(name: str, file: str, write: Write, cases: int = 300) -> Target:
    return Target(name, _made(file, write), _read, cases=cases)


def _stitched(path: Path, pixels: NDArray[np.uint8]) -> None:
    slide_files.stitched_bif(path, pixels, (2, 3), 32)


TARGETS = (
    # Formats of slides, and then what each may hold, of which many share what reads them.
    _target("jpeg", "s.jpg", _vips("Q=90")),
    _target("png", "s.png", _vips("compression=1")),
    _target("svs", "s.svs", _svs),
    _target("ndpi", "s.ndpi", _write_ndpi),
    _target("scn", "s.scn", slide_files.scn),
    _target("bif", "s.bif", slide_files.bif),
    _target("philips", "s.tiff", slide_files.philips),
    _target("qptiff", "s.qptiff", _qptiff),
    _target("ome-tiff", "s.ome.tif", _pyramid(compression="zlib", metadata=_OME)),
    _target("tiff-pyramid", "s.tif", _pyramid(compression="jpeg", **_SCALE)),
    _target("bigtiff", "s.btf", _pyramid(compression="jpeg", bigtiff=True)),
    Target("slide-flat", _made("s.tif", _flat(**_SCALE)), _read_slide, cases=60),
    # Each of its tiles takes long.
    _target("tiff-cmyk", "s.tif", _ink, 10),
    *(
        _target(name, file, write, 40)
        for name, file, write in (
            ("jpeg-progressive", "s.jpg", _vips("Q=90,interlace")),
            ("tiff-flat", "s.tif", _flat(**_SCALE)),
            ("tiff-flat-zstd", "s.tif", _flat(compression="zstd", tile=(64, 64))),
            *(
                (f"tiff-{codec}", "s.tif", _pyramid(compression=codec))
                for codec in ("jpeg2000", "jpegxl", "jpegxr", "webp", "png", "lerc", "packbits")
            ),
            ("tiff-ycbcr", "s.tif", _write_ycbcr),
            ("tiff-alpha", "s.tif", _with_alpha),
            ("tiff-16-bit", "s.tif", _deep("u2", 16)),
            ("tiff-float", "s.tif", _deep("f4", 1 / 255)),
            ("tiff-palette", "s.tif", _palette),
            ("svs-jpeg2000", "s.svs", _write_svs_jpeg_2000),
            ("ome-channels", "s.ome.tif", _planes),
            ("bif-stitched", "s.bif", _stitched),
        )
    ),
    Target("jpeg2000", _made("s.jp2", _jpeg_2000), _read),
    Target("dicom", _dicom, _read),
    _target("czi", "s.czi", write_czi),
    Target("ome-zarr-04", _zarr("0.4", compressors={"id": "zlib"}), _read, cases=100),
    Target("ome-zarr-05", _zarr("0.5"), _read, cases=100),
    Target("ome-zarr-sharded", _zarr("0.5", shards=(128, 128)), _read, cases=100),
)
