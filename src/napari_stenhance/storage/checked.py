"""Arrays that are checked as they are read: no chunk is decoded that is not what was written.

Chunks of ours carry a checksum (zarr v3's crc32c, after the compressor). Those of older folders do
not, and Blosc reads as many bytes as the header of a chunk claims, whatever lies behind its end: so
that claim is checked first, of every chunk.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ShardingCodec
from zarr.core.array import AsyncArray
from zarr.storage import LocalStore

from napari_stenhance.errors import InputError, StenhanceError
from napari_stenhance.storage.checked_texts import checked_numbers
from napari_stenhance.storage.reading import reading, reason_of

MOST_BYTES = 256 * 1024**2
"""Of a chunk or shard, decoded: twice the largest that is ever written."""
_MOST_CHUNKS = 1_000_000
_RATIO = 256
"""LZ4 makes at most 255 bytes of one."""
_HEADER = 16

Node = TypeVar("Node", zarr.Group, zarr.Array[Any])


class _CheckedBlosc(BloscCodec):
    """Blosc that checks what the header of a chunk claims before it is believed."""

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_header(chunk_bytes, chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        # Before zarr 3.1 this does not call the other.
        _check_header(chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


def _check_header(chunk_bytes: Any, chunk_spec: Any) -> None:
    raw = chunk_bytes.as_numpy_array()
    expected = math.prod(chunk_spec.shape) * np.dtype(chunk_spec.dtype.to_native_dtype()).itemsize
    if len(raw) < _HEADER:
        msg = "it is cut short"
        raise ValueError(msg)
    decoded, _, length = struct.unpack("<3I", raw[4:_HEADER].tobytes())
    if length != len(raw):
        msg = f"it is {len(raw)} bytes long, and should be {length}"
        raise ValueError(msg)
    if decoded != expected:
        msg = f"it holds {decoded} bytes of values, and should hold {expected}"
        raise ValueError(msg)


class CheckedArray(zarr.Array[Any]):
    """An array whose errors name the chunk that is damaged, as an `InputError`."""

    def get_basic_selection(self, selection: Any = Ellipsis, **more: Any) -> Any:
        """Read what slices select."""
        return self._read(super().get_basic_selection, selection, more)

    def get_orthogonal_selection(self, selection: Any, **more: Any) -> Any:
        """Read what indices along each axis select."""
        return self._read(super().get_orthogonal_selection, selection, more)

    def _read(self, read: Callable[..., Any], selection: Any, more: dict[str, Any]) -> Any:
        try:
            return read(selection, **more)
        except StenhanceError:
            raise
        except Exception as error:
            found = self._damaged(selection)
            if found is None and isinstance(error, IndexError):
                raise
            what, reason = found or (folder_of(self), error)
            said = reason_of(reason)
            if "checksum" in said:
                said = "its checksum is not that of its content"
            msg = f"{what}: this is damaged ({said}); {_advice(self)}."
            raise InputError(msg) from error

    def _damaged(self, selection: Any) -> tuple[Path, Exception] | None:
        """Find the first chunk of a selection that cannot be read, and why."""
        lengths = self.shards or self.chunks
        for index in itertools.product(*_touched(selection, self.shape, lengths)):
            where = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, lengths, strict=True))
            try:
                super().get_basic_selection(where)
            except Exception as error:  # noqa: BLE001
                return chunk_file(self, index), error
        return None


def _touched(
    selection: Any, shape: Sequence[int], lengths: Sequence[int]
) -> Iterator[Sequence[int]]:
    """List, along each axis, the chunks that a selection touches; all where it says nothing."""
    chosen = selection if isinstance(selection, tuple) else (selection,)
    chosen = tuple(one for one in chosen if one is not Ellipsis)
    for axis, (size, length) in enumerate(zip(shape, lengths, strict=True)):
        one = chosen[axis] if axis < len(chosen) else slice(None)
        if isinstance(one, slice):
            start, stop, _ = one.indices(size)
            yield range(start // length, -(-stop // length))
        else:
            at = np.atleast_1d(np.asarray(one))
            at = np.flatnonzero(at) if at.dtype == bool else at
            yield [int(n) for n in np.unique(at // length)]


def folder_of(node: zarr.Array[Any] | zarr.Group) -> Path:
    """Return the folder of an array or a group in a local store."""
    store = node.store_path.store
    assert isinstance(store, LocalStore)
    return Path(store.root) / node.store_path.path


def chunk_file(array: zarr.Array[Any], index: Sequence[int]) -> Path:
    """Return where a chunk lies; of a sharded array, a shard."""
    return folder_of(array) / array.metadata.encode_chunk_key(tuple(index))


def _advice(node: zarr.Array[Any] | zarr.Group) -> str:
    store = node.store_path.store
    assert isinstance(store, LocalStore)
    return f"copy {store.root} again, or delete it and run the same command again"


def checked(array: zarr.Array[Any]) -> CheckedArray:
    """Return an array, opened again, whose chunks are checked before they are decoded.

    Chunks equal to the fill value are written too.

    Raises
    ------
    InputError
        If it claims chunks larger, or more of them, than are ever written.
    """
    lengths = array.shards or array.chunks
    number = math.prod(-(-n // max(c, 1)) for n, c in zip(array.shape, lengths, strict=True))
    if math.prod(lengths) * array.dtype.itemsize > MOST_BYTES or number > _MOST_CHUNKS:
        msg = (
            f"{folder_of(array)}: its zarr.json claims {number} chunks of {lengths}, which is more "
            f"than is ever written; {_advice(array)}."
        )
        raise InputError(msg)
    metadata: Any = array.metadata
    codecs = tuple(checked_numbers(map(_checked_codec, metadata.codecs)))
    plain = AsyncArray(
        replace(metadata, codecs=codecs), array.store_path, {"write_empty_chunks": True}
    )
    return CheckedArray(plain)


def _checked_codec(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_checked_codec, codec.codecs)))
    if isinstance(codec, BloscCodec):
        return _CheckedBlosc(
            typesize=codec.typesize,
            cname=codec.cname,
            clevel=codec.clevel,
            shuffle=codec.shuffle,
            blocksize=codec.blocksize,
        )
    return codec


def read_whole(array: zarr.Array[Any]) -> Any:
    """Read all of an array, unless it claims to be more than its files can hold.

    Raises
    ------
    InputError
        If it does, or a chunk is damaged.
    """
    array = checked(array)
    files = (file for file in (folder_of(array) / "c").rglob("*") if file.is_file())
    held = sum(file.stat().st_size for file in files)
    claimed = math.prod(array.shape) * array.dtype.itemsize
    if claimed > held * _RATIO:
        msg = (
            f"{folder_of(array)}: its zarr.json claims {claimed} bytes of values, and its chunks "
            f"have {held}, which cannot hold them; {_advice(array)}."
        )
        raise InputError(msg)
    return np.asarray(array[...])


def open_node(parent: zarr.Group, name: str, kind: type[Node]) -> Node:
    """Open a group or an array below a group.

    Raises
    ------
    InputError
        If there is none, or its zarr.json is damaged.
    """
    folder = folder_of(parent) / name
    advice = _advice(parent)
    with reading(folder / "zarr.json", advice=advice):
        found = parent[name]
    if not isinstance(found, kind):
        msg = f"{folder / 'zarr.json'}: this should describe a {kind.__name__.lower()}; {advice}."
        raise InputError(msg)
    return found


def has_node(parent: zarr.Group, name: str) -> bool:
    """Tell whether there is anything of that name below a group, whole or not."""
    return (folder_of(parent) / name).is_dir()
