"""What `fuzz.py` damages of images: every format of slides, with and without a pyramid."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray

from fuzz_damage import Target
from napari_stenhance.section.slide import Slide
from ome_zarr_slides import write_ome_zarr

Write = Callable[[Path, NDArray[np.uint8]], object]


def _pixels() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 255, (10, 14, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


def _made(name: str, write: Write) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write(folder / name, _pixels())
        return [folder / name]

    return make


def _read(folder: Path) -> Any:
    """Open the image and read every level as the viewer does."""
    (path,) = folder.iterdir() if any(folder.iterdir()) else [folder / "removed.tif"]
    slide = Slide.open(path)
    assert slide.mpp is None or 0.05 <= slide.mpp <= 20
    assert len(slide.downsamples) == len(slide.levels)
    read = []
    for level in slide.levels:
        pixels = level.compute()
        assert pixels.dtype == np.uint8
        assert pixels.shape == level.shape
        assert pixels.shape[2] == 3
        read.append((pixels.shape, zlib.crc32(pixels.tobytes())))
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
    with tifffile.TiffWriter(path, ome=path.name.endswith(".ome.tif")) as tif:
        tif.write(pixels, subifds=1, **options)
        # OME describes the image; levels are known by where they lie.
        tif.write(pixels[::2, ::2], subfiletype=1, **{**options, "metadata": None})


def _pyramid(**options: Any) -> Write:
    return lambda path, pixels: write_pyramid(path, pixels, **options)


def write_svs(path: Path, pixels: NDArray[np.uint8], mpp: str = "0.5") -> None:
    """Write what a scanner of Aperio does: baseline, thumbnail, a level, label and macro."""
    about = f"Aperio Image Library v12.0\r\n{pixels.shape[1]}x{pixels.shape[0]} (64x64) JPEG/RGB"
    jpeg = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, tile=(64, 64), description=f"{about}|AppMag = 20|MPP = {mpp}", **jpeg)
        tif.write(pixels[::2, ::2], rowsperstrip=16, description=about, **jpeg)
        tif.write(pixels[::4, ::4], tile=(64, 64), description=about, **jpeg)
        for kind, number in (("label", 1), ("macro", 9)):
            beside = np.full((600, 700, 3), 120, np.uint8)
            said = f"Aperio Image Library v12.0\r\n{kind} 700x600"
            tif.write(beside, rowsperstrip=100, subfiletype=number, description=said, **jpeg)


def _jpeg_2000(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=40, codecformat="jp2"))


def _zarr(version: str, **options: Any) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        write_ome_zarr(folder / "s.ome.zarr", _pixels(), version=version, **options)
        return sorted(path for path in folder.rglob("*") if path.is_file())

    return make


_SCALE = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
_OME = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}

TARGETS = (
    Target("jpeg", _made("s.jpg", _vips("Q=90")), _read),
    Target("jpeg-progressive", _made("s.jpg", _vips("Q=90,interlace")), _read),
    Target("png", _made("s.png", _vips("compression=1")), _read),
    Target("tiff-flat", _made("s.tif", _flat(**_SCALE)), _read),
    Target("tiff-flat-zstd", _made("s.tif", _flat(compression="zstd", tile=(64, 64))), _read),
    Target("tiff-pyramid", _made("s.tif", _pyramid(compression="jpeg", **_SCALE)), _read),
    Target("tiff-jpeg2000", _made("s.tif", _pyramid(compression="jpeg2000")), _read),
    Target("ome-tiff", _made("s.ome.tif", _pyramid(compression="zlib", metadata=_OME)), _read),
    Target("svs", _made("s.svs", write_svs), _read),
    Target("jpeg2000", _made("s.jp2", _jpeg_2000), _read),
    Target("ome-zarr-04", _zarr("0.4", compressors={"id": "zlib"}), _read, cases=100),
    Target("ome-zarr-05", _zarr("0.5"), _read, cases=100),
    Target("ome-zarr-sharded", _zarr("0.5", shards=(128, 128)), _read, cases=100),
)
