"""Texts of variable length, whose number is checked before room is made for as many.

A chunk begins with the number of its texts, and numcodecs makes room for that many at once. Only a
chunk that holds them all says so truly: as many as the shape of a chunk has places, each of which
begins with the four bytes of its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import zarr
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec, VLenBytesCodec, VLenUTF8Codec
from zarr.core.array import AsyncArray

_NUMBER_BYTES = 4
_TEXTS = ("vlen-bytes", "vlen-utf8")


def _check_number(content: Any, number: int) -> None:
    raw = memoryview(content).cast("B")
    claimed = int.from_bytes(raw[:_NUMBER_BYTES], "little")
    if claimed != number:
        msg = f"a chunk claims {claimed} texts, and should hold {number}"
        raise ValueError(msg)
    if len(raw) < _NUMBER_BYTES * (1 + number):
        msg = f"a chunk claims {claimed} texts, which {len(raw)} bytes cannot hold"
        raise ValueError(msg)


@dataclass(frozen=True)
class _CheckedNumber(BytesBytesCodec):
    """Stands between the texts of zarr 3 and whatever their bytes are compressed with."""

    is_fixed_size = True

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        _check_number(chunk_data.as_numpy_array(), math.prod(chunk_spec.shape))
        return chunk_data

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Return as many bytes as there are."""
        return input_byte_length


class _CheckedNumberFilter(Codec):
    """The same of zarr 2, whose codecs do not know the shape of a chunk."""

    codec_id = "stenhance-checked-number"

    def __init__(self, number: int) -> None:
        self._number = number

    def encode(self, buf: Any) -> Any:
        return buf

    def decode(self, buf: Any, out: Any = None) -> Any:
        del out
        _check_number(buf, self._number)
        return buf


def checked_numbers(codecs: Iterable[Any]) -> Iterator[Any]:
    """Yield codecs of zarr 3, in shards too, so that they check the numbers of texts."""
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            yield replace(codec, codecs=tuple(checked_numbers(codec.codecs)))
            continue
        yield codec
        if isinstance(codec, VLenUTF8Codec | VLenBytesCodec):
            yield _CheckedNumber()


def check_texts(array: zarr.Array[Any]) -> None:
    """Read all of an array of texts, of zarr 2 or 3, with their numbers checked first.

    Raises
    ------
    ValueError and what zarr raises on other damage
        If a chunk claims more texts, or fewer, than it should hold.
    """
    metadata: Any = array.metadata
    if hasattr(metadata, "codecs"):
        metadata = replace(metadata, codecs=tuple(checked_numbers(metadata.codecs)))
    else:
        # A compressor is but the last of the filters.
        compressor = () if metadata.compressor is None else (metadata.compressor,)
        filters: list[Any] = []
        for codec in (*(metadata.filters or ()), *compressor):
            filters.append(codec)
            if codec.codec_id in _TEXTS:
                filters.append(_CheckedNumberFilter(math.prod(metadata.chunks)))
        metadata = replace(metadata, filters=filters or None, compressor=None)
    zarr.Array(AsyncArray(metadata, array.store_path))[...]
