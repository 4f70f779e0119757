"""The bytes of a tile or strip as samples; what ends early is an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from napari_stenhance.section.images.tiff.claims import claims_of
from napari_stenhance.section.images.tiff.headers import (
    channels_of_jpeg,
    length_of_jpeg_xr,
    size_of_jpeg,
    size_of_jpeg_2000,
)
from napari_stenhance.section.images.tiff.jpeg_xr import JpegXrDecoder
from napari_stenhance.section.images.tiff.ycbcr import Subsampled, full_range_to_rgb

Decode = Callable[[bytes, int, Any], NDArray[Any]]
"""Takes the bytes, the number and the page of a tile, and returns (rows, width, samples)."""

_RGB, _CMYK, _YCBCR = 2, 5, 6
_LOSSY = 34892
JPEG = (6, 7, 34892, 33007)
_APERIO_YCBCR = 33003
JPEG_2000 = (33003, 33004, 33005, 34712)
_PNG, _JPEG_XR = 34933, (22610, 34934)
DECODED_TO_RGB = (*JPEG, *JPEG_2000, 34892, 50001, 34927, 50002, 52546, *_JPEG_XR)
"""Codecs of images, which give RGB whatever they hold inside."""
_END_OF_CODE, _ZEROS = b"\xff\xd9", bytes(16)
_END = {_PNG: b"IEND\xaeB`\x82"}


def decoder_of(page: Any, tile: tuple[int, int]) -> Decode:
    """Choose how the tiles of a page, (height, width), are decoded.

    Raises
    ------
    ValueError
        If they cannot be.
    """
    codec = int(page.compression)
    if codec in JPEG:
        return _Jpeg(page, tile).decode
    if codec in JPEG_2000:
        return _Jpeg2000(page, tile).decode
    if codec in _JPEG_XR:
        return _JpegXr(page, tile).decode
    if page.photometric == _YCBCR and codec not in DECODED_TO_RGB:
        subsampled = Subsampled.of(page, tile)
        if subsampled.factors != (1, 1):
            return subsampled.decode
        # tifffile takes what is not stated for 1 × 1, and does not decode what is.
    page.decode  # noqa: B018  made here, not by several threads at the same time

    def decode(data: bytes, index: int, _: Any) -> NDArray[Any]:
        _check_claims(codec, data, tile)
        if (end := _END.get(codec)) is not None and not data.rstrip(b"\0").endswith(end):
            msg = "it ends early"
            raise ValueError(msg)
        decoded: NDArray[Any] = page.decode(data, index)[0]
        # (depth, rows, width, samples)
        return decoded[0]

    return decode


class _Jpeg:
    """JPEG whose colours are those that the TIFF states, as libtiff and OpenSlide read them.

    Markers of JFIF and Adobe often stand there by habit. Only where chroma is subsampled it is
    YCbCr, whatever the TIFF says.
    """

    def __init__(self, page: Any, tile: tuple[int, int]) -> None:
        self._page, self._tile = page, tile
        self._planar = page.planarconfig != 1
        if page.photometric == _YCBCR and page.samplesperpixel != 3:
            msg = f"it has {page.samplesperpixel} samples of YCbCr"
            raise ValueError(msg)

    def decode(self, data: bytes, index: int, own: Any) -> NDArray[Any]:
        import imagecodecs

        header = self._page.jpegheader
        # A header of the whole level, in NDPI, is cut to the tile by the decoder.
        if header is None:
            _check_size(size_of_jpeg(data), self._tile)
            whole = data.rfind(_END_OF_CODE) > 0
        else:
            whole = data[-2:-1] == b"\xff" and (data[-1] == 0xD9 or 0xD0 <= data[-1] <= 0xD7)
        if not whole:
            # libjpeg would fill the rest with grey.
            msg = "it ends early"
            raise ValueError(msg)
        space, given = self._spaces(header or data)
        decoded: NDArray[Any] = imagecodecs.jpeg_decode(
            data,
            bitspersample=self._page.bitspersample,
            tables=own.jpegtables,
            header=header,
            colorspace=space,
            outcolorspace=given,
            shape=self._tile,
        )
        return _in_tile(decoded, self._page, self._tile, index)

    def _spaces(self, data: bytes) -> tuple[str | None, str | None]:
        kind = self._page.photometric
        if self._page.compression == _LOSSY:
            return None, "rgb" if self._page.samplesperpixel == 3 else None
        if self._planar:
            return None, "grayscale"
        if kind == _YCBCR:
            return "ycbcr", "rgb"
        if kind == _RGB and self._page.samplesperpixel == 3:
            factors = channels_of_jpeg(data)
            return ("ycbcr" if len(set(factors)) > 1 else "rgb"), "rgb"
        return None, "cmyk" if kind == _CMYK else None


class _Jpeg2000:
    """JPEG 2000, whose components are YCbCr where the codec or the TIFF says so."""

    def __init__(self, page: Any, tile: tuple[int, int]) -> None:
        self._page, self._tile = page, tile
        self._ycbcr = page.compression == _APERIO_YCBCR or page.photometric == _YCBCR

    def decode(self, data: bytes, index: int, _: Any) -> NDArray[Any]:
        import imagecodecs

        size, subsampled = size_of_jpeg_2000(data)
        _check_size(size, self._tile)
        if data.endswith(_ZEROS) and not data.rstrip(b"\0").endswith(_END_OF_CODE):
            msg = "it ends early"
            raise ValueError(msg)
        decoded = imagecodecs.jpeg2k_decode(data)
        tile = _in_tile(decoded, self._page, self._tile, index)
        # The decoder takes chroma that is subsampled, or stated, for YCbCr, and converts that.
        stated = b"colr\x01\0\0\0\0\0\x12" in data[:512]
        if subsampled and not self._ycbcr:
            msg = "its colours are subsampled, though it says that they are no YCbCr"
            raise ValueError(msg)
        if self._ycbcr and not subsampled and not stated and tile.shape[-1] == 3:
            tile = full_range_to_rgb(tile)
        return tile


class _JpegXr:
    """JPEG XR, of which a decoder may die."""

    def __init__(self, page: Any, tile: tuple[int, int]) -> None:
        self._page, self._tile, self._decoder = page, tile, JpegXrDecoder()

    def decode(self, data: bytes, index: int, _: Any) -> NDArray[Any]:
        _check_claims(int(self._page.compression), data, self._tile)
        if length_of_jpeg_xr(data) > len(data):
            msg = "it ends early"
            raise ValueError(msg)
        return _in_tile(self._decoder.decode(data), self._page, self._tile, index)


def _check_claims(codec: int, data: bytes, tile: tuple[int, int]) -> None:
    for size in claims_of(codec, data):
        _check_size(size, tile)


def _check_size(claimed: tuple[int, int] | None, tile: tuple[int, int]) -> None:
    """Refuse a tile whose own header claims more, before that is allocated."""
    if claimed is not None and math.prod(claimed) > 2 * math.prod(tile):
        msg = f"it holds {claimed} px instead of {tile}"
        raise ValueError(msg)


def _in_tile(decoded: NDArray[Any], page: Any, tile: tuple[int, int], index: int) -> NDArray[Any]:
    """Fit what was decoded to its tile: the last ones may be cut where the image ends."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    values = decoded.reshape(*decoded.shape[:2], -1)
    across = -(-page.imagewidth // tile[1])
    down = -(-page.imagelength // tile[0])
    i, j = index // across % down, index % across
    least = (
        min(tile[0], page.imagelength - i * tile[0]),
        min(tile[1], page.imagewidth - j * tile[1]),
    )
    if values.shape[2] != samples or any(
        n < low for n, low in zip(values.shape, least, strict=False)
    ):
        msg = f"it holds {values.shape} samples instead of {(*tile, samples)}"
        raise ValueError(msg)
    return values[: tile[0], : tile[1]]
