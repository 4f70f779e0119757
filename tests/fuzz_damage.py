"""Damages to files: blind ones to bytes, and ones that know what a file is made of."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Damage = Callable[[bytes, np.random.Generator], tuple[bytes, str] | None]
"""Returns the damaged content and what was done, or None where a file is not of its kind."""

HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 10**9, 10**12, 2**53 + 1, 2**63 - 1, -1, -(2**31))
WRONG: tuple[Any, ...] = (
    *HUGE,
    *("", "text", "NaN", None, True, [], {}, [1, 2], {"a": 1}, [[0.5]]),
    *(0, 0.5, 1e308, float("nan"), float("inf"), 10**400),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Target:
    """Something that is read.

    Attributes
    ----------
    name : str
    make : callable
        Writes a small valid input into a folder, the same each time, and returns the files that
        are damaged, one in each case.
    read : callable
        Reads the input in a folder; returns what tells right from wrong, and raises AssertionError
        where that agrees with nothing that a file can say.
    legal : callable
        `legal(value, undamaged)`: whether a value that differs from that of the undamaged input
        may come out. By default it may: a flipped bit in a count without checksum is a count.
    cases : int
        In the default run; variants that one reader reads share 300.
    base : callable, optional
        Writes what is slow to make and shared by several targets into an empty folder; `make` is
        given a copy. By default `make` begins with an empty folder.
    """

    name: str
    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    legal: Callable[[Any, Any], bool] = lambda value, undamaged: True
    cases: int = 300
    base: Callable[[Path], None] | None = None


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes | None, str]:
    """Damage a file's content: what it holds now, None if the file is gone, and what was done."""
    for _ in range(100):
        which = _DAMAGES[rng.choice(len(_DAMAGES), p=_SHARES)]
        if which is None:
            return None, "removed"
        done = which(content, rng)
        if done is not None and done[0] != content:
            return done
    return b"", "emptied"


def _somewhere(content: bytes, rng: np.random.Generator, longest: int = 64) -> slice:
    at = int(rng.integers(0, max(1, len(content))))
    return slice(at, min(len(content), at + int(rng.integers(1, longest + 1))))


def flip(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    if not content:
        return None
    bits = rng.integers(0, 8 * len(content), int(rng.integers(1, 9)))
    changed = bytearray(content)
    for bit in map(int, bits):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed), f"bits flipped in bytes {sorted({int(b) // 8 for b in bits})}"


def overwrite(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    where = _somewhere(content, rng)
    run = rng.bytes(where.stop - where.start)
    return _with(content, where, run), f"bytes {where.start}–{where.stop} are others"


def zero(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    where = _somewhere(content, rng, 4096)
    fill = b"\0" if rng.random() < 0.7 else b"\xff"
    run = fill * (where.stop - where.start)
    return _with(content, where, run), f"bytes {where.start}–{where.stop} are all {fill!r}"


def cut(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    length = int(rng.integers(0, max(1, len(content))))
    return content[:length], f"cut to {length} of {len(content)} bytes"


def insert(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    where = _somewhere(content, rng)
    # Lines that occur twice are as common as noise.
    run = content[where] if rng.random() < 0.5 else rng.bytes(where.stop - where.start)
    return _with(content, slice(where.start, where.start), run), (
        f"{len(run)} bytes put in at {where.start}"
    )


def remove(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    where = _somewhere(content, rng)
    return _with(content, where, b""), f"bytes {where.start}–{where.stop} taken out"


def claim(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Write a large integer over a small one."""
    size = int(rng.choice([2, 4, 8]))
    if len(content) < size:
        return None
    order = "little" if rng.random() < 0.7 else "big"
    for _ in range(200):
        at = int(rng.integers(0, len(content) - size + 1))
        if 0 < int.from_bytes(content[at : at + size], order) < 2**16:
            large = int(HUGE[rng.integers(len(HUGE))]) % 2 ** (8 * size)
            where = slice(at, at + size)
            return _with(content, where, large.to_bytes(size, order)), f"{large} claimed at {at}"
    return None


def claim_in_text(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Write a large number, or what is none, over a number in a text."""
    if b"\0" in content:
        return None
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return None
    # Headers come first and claim most.
    most = len(numbers) if rng.random() < 0.7 else min(len(numbers), 8)
    match = numbers[int(rng.integers(most))]
    other = str(WRONG[rng.integers(len(WRONG))]).encode()
    return _with(content, slice(*match.span()), other), (
        f"{other[:40]!r} instead of {match[0]!r} at {match.start()}"
    )


def _with(content: bytes, where: slice, run: bytes) -> bytes:
    return content[: where.start] + run + content[where.stop :]


def inside(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Damage what a gzip or tar file holds, and give that its right checksum."""
    if content[257:262] == b"ustar":
        return _inside_tar(content, rng)
    if content[:2] != b"\x1f\x8b":
        return None
    if rng.random() < 0.02:
        bomb = gzip.compress(b"1\t" * 2**22, 9, mtime=0)
        return content + bomb * 200, "followed by 1.6 GB in few bytes"
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None
    inner, done = damaged(plain, rng)
    return gzip.compress(inner or b"", 1, mtime=0), f"inside gzip: {done}"


_KINDS = (
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE),
    *(tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z"),
)


def _inside_tar(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Damage one file of an archive, or what its header says of it."""
    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = [(m, archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
            packed = [(member, file.read()) for member, file in files if file is not None]
        at = int(rng.integers(len(packed)))
        member, inner = packed[at]
        name, what = member.name, rng.random()
        if what < 0.6:
            changed, done = damaged(inner, rng)
            if changed is None:
                del packed[at]
            else:
                member.size, packed[at] = len(changed), (member, changed)
        elif what < 0.7:
            member.type = _KINDS[rng.integers(len(_KINDS))]
            member.linkname = ("/etc/hostname", "../../x", name, "")[rng.integers(4)]
            done = f"of type {member.type!r}, to {member.linkname!r}"
        elif what < 0.8:
            member.size = HUGE[rng.integers(len(HUGE) - 2)]
            done = f"of {member.size} bytes, which were {len(inner)}"
        elif what < 0.9:
            above = ("../../", "/", "a/../../b/", "..\\", "x" * 200 + "/", "")[rng.integers(6)]
            ends = ("", ".gz", "/", "\0", "\n", "é" * 60, ".tar")[rng.integers(7)]
            member.name = above + name + ends
            done = f"called {member.name[:40]!r}"
        else:
            packed.append(packed[int(rng.integers(len(packed)))])
            done = f"and {packed[-1][0].name} once more"
        for member, inner in packed:
            buffer.write(member.tobuf(tarfile.GNU_FORMAT))
            buffer.write(inner.ljust(-(-len(inner) // 512) * 512, b"\0"))
    except (OSError, ValueError, tarfile.TarError):
        return None
    return buffer.getvalue() + bytes(1024), f"inside tar: {name}: {done}"


def in_json(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Change, rename, repeat or remove one value of a JSON document."""
    if content.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return None
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in range(len(node)) if isinstance(node, list) else list(node):
            places.append((node, key))
            if isinstance(node[key], list | dict):
                walk(node[key])

    walk(document)
    if not places or rng.random() < 0.02:
        other = WRONG[rng.integers(len(WRONG))]
        return _json(other), f"all of it is {other!r}"
    node, key = places[int(rng.integers(len(places)))]
    old = str(node[key])[:40]
    if rng.random() < 0.15:
        del node[key]
        return _json(document), f"{key} removed, which was {old}"
    if isinstance(node[key], list) and rng.random() < 0.3:
        node[key] = node[key] * int(rng.integers(2, 5))
        return _json(document), f"{key} repeated, which was {old}"
    if rng.random() < 0.15:
        node[key] = [node[key]] if rng.random() < 0.5 else {str(key): node[key]}
        return _json(document), f"{key} nested, which was {old}"
    node[key] = WRONG[rng.integers(len(WRONG))]
    return _json(document), f"{key} is {str(node[key])[:40]!r}, which was {old}"


def _json(document: Any) -> bytes:
    # 10 ** 400 is one of the numbers.
    return json.dumps(document).encode()


def in_hdf5(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Change, replace or remove one dataset, group or attribute."""
    if not content.startswith(_HDF5):
        return None
    buffer = io.BytesIO(content)
    try:
        with h5py.File(buffer, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            name = names[int(rng.integers(len(names)))]
            attributes = list(file[name].attrs)
            if attributes and rng.random() < 0.35:
                done = _in_attribute(file[name], str(rng.choice(attributes)), rng)
            else:
                done = _in_object(file, name, rng)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):
        # HDF5 cannot hold some of what is tried.
        return None
    return None if done is None else (buffer.getvalue(), f"{name}: {done}")


def _in_attribute(item: Any, key: str, rng: np.random.Generator) -> str:
    old = item.attrs[key]
    if rng.random() < 0.25:
        del item.attrs[key]
        return f"attribute {key} removed, which was {old}"
    if isinstance(old, np.ndarray) and old.dtype.kind in "iu" and rng.random() < 0.6:
        new = old.copy()
        huge = np.array(HUGE[rng.integers(len(HUGE))]).astype(new.dtype)
        new[rng.integers(len(new))] = huge if rng.random() < 0.5 else 3
    else:
        choices = (*HUGE, "text", "csr_matrix", "categorical", "", 0.5, [], [1], [1, 2, 3], ["a"])
        new = choices[rng.integers(len(choices))]
    item.attrs[key] = new
    return f"attribute {key} is {new!r}, which was {old!r}"


def _in_object(file: Any, name: str, rng: np.random.Generator) -> str | None:
    item = file[name]
    what = rng.random()
    if what < 0.1:
        del file[name]
        return "removed"
    if what < 0.15:
        del file[name]
        links = (
            h5py.ExternalLink("elsewhere.h5", "/X"),
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink(name),
            h5py.SoftLink("/"),
        )
        file[name] = link = links[rng.integers(len(links))]
        return f"replaced by {link!r}"
    if isinstance(item, h5py.Group):
        if what < 0.4:
            del file[name]
            file[name] = np.arange(3)
            return "a dataset, which was a group"
        return None
    if what < 0.2:
        del file[name]
        file.create_group(name)
        return "a group, which was a dataset"
    values, about = item[()], dict(item.attrs)
    if what < 0.6 and isinstance(values, np.ndarray) and values.size:
        done = _in_values(item, values, rng)
        if done:
            return done
    dtype = item.dtype
    if what < 0.8 or not isinstance(values, np.ndarray):
        shapes = ((10**12,), (10**9, 10**9), (10**10, 1), (), (0,), (3, 0), (2, 2, 2), (1,))
        shape = shapes[rng.integers(len(shapes))]
        del file[name]
        chunks = tuple(min(n, 1000) for n in shape) if 0 not in shape and shape else None
        item = file.create_dataset(name, shape, dtype, chunks=chunks)
        done = f"shape {shape}"
    else:
        del file[name]
        kinds = ("f8", "i1", "u8", "c8", "?", "S3", h5py.string_dtype(), "f2", [("a", "i4")])
        kind = kinds[rng.integers(len(kinds))]
        shape = values.shape
        if kind in ("S3",) or not isinstance(kind, str):
            item = file.create_dataset(name, shape, kind)
        else:
            numbers = values.astype(kind) if values.dtype.kind in "iufb" else np.zeros(shape, kind)
            item = file.create_dataset(name, data=numbers)
        done = f"of dtype {item.dtype}"
    for key, value in about.items():
        item.attrs[key] = value
    return done


def _in_values(item: Any, values: Any, rng: np.random.Generator) -> str | None:
    """Change one value, or leave some out, or put some in twice."""
    flat = values.reshape(-1).copy()
    at = int(rng.integers(len(flat)))
    if rng.random() < 0.25 and values.ndim == 1:
        fewer = np.delete(flat, at) if rng.random() < 0.5 else np.insert(flat, at, flat[at])
        file, name, about, dtype = item.file, item.name, dict(item.attrs), item.dtype
        del file[name]
        item = file.create_dataset(name, data=fewer, dtype=dtype)
        for key, value in about.items():
            item.attrs[key] = value
        return f"{len(fewer)} values, which were {len(flat)}"
    if values.dtype.names:
        # A table: one field of one row.
        field = str(rng.choice(values.dtype.names))
        one = flat[field]
        new = np.array(HUGE[rng.integers(len(HUGE))] if one.dtype.kind in "iu" else b"\xff")
        one[at] = new.astype(one.dtype)
        item[...] = flat.reshape(values.shape)
        return f"{field} of row {at} is {one[at]!r}"
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        choices = [n for n in (*HUGE, 0, 1, 7) if limits.min <= n <= limits.max]
    elif values.dtype.kind == "f":
        choices = [np.nan, np.inf, -1.0, 0.5, 1e30, 2.0**53 + 2, 0.0]
    else:
        choices = [b"", b"\xff\xfe", b"text", flat[0]]
    new = choices[rng.integers(len(choices))]
    old, flat[at] = flat[at], new
    item[...] = flat.reshape(values.shape)
    return f"value {at} is {new!r}, which was {old!r}"


def in_parquet(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Change the type of one column, or leave it out."""
    if not content.startswith(b"PAR1"):
        return None
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    at = int(rng.integers(table.num_columns))
    name, number = table.column_names[at], table.num_rows
    kinds = {
        "texts": pa.array(["text"] * number),
        "nothing": pa.nulls(number),
        "lists": pa.array([[1, 2]] * number),
        "large": pa.array([2**62] * number),
        "not a number": pa.array([float("nan")] * number),
        "negative": pa.array([-1.0] * number),
        "truth": pa.array([True] * number),
        "bytes": pa.array([b"\xff"] * number),
        "times": pa.array([10**18] * number, pa.timestamp("ns")),
        "records": pa.array([{"a": 1}] * number),
    }
    kind = str(rng.choice([*kinds, "gone"]))
    if kind == "gone":
        table = table.remove_column(at)
    else:
        table = table.set_column(at, name, kinds[kind])
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue(), f"column {name}: {kind}"


def in_tiff(content: bytes, rng: np.random.Generator) -> tuple[bytes, str] | None:
    """Change the number, the kind or the value of one tag, or where the next page lies."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tif:
            big, order = tif.is_bigtiff, "little" if tif.byteorder == "<" else "big"
            pages = [tif.pages.first, *tif.pages.first.pages] if tif.pages.first.pages else []
            pages = [*pages, *(page for page in tif.pages if hasattr(page, "tags"))]
            tags = [tag for page in pages for tag in page.tags]
    except Exception:  # noqa: BLE001  as much as damages before this one left
        return None
    if not tags or big:
        return None
    tag = tags[int(rng.integers(len(tags)))]
    # A tag is its code, kind, number of values, and the value or where it lies.
    part = int(rng.choice(3, p=(0.1, 0.3, 0.6)))
    at, size = tag.offset + (2, 4, 8)[part], (2, 4, 4)[part]
    choices = (*HUGE, 0, 1, 2, 3, 5, 7, 8, 16, 1000, tag.offset, len(content), len(content) // 2)
    new = int(choices[rng.integers(len(choices))]) % 2 ** (8 * size)
    if part == 0:
        new = int(rng.integers(0, 20))
    name = ("kind", "number", "value")[part]
    return _with(content, slice(at, at + size), new.to_bytes(size, order)), (
        f"{name} of tag {tag.name} at {tag.offset} is {new}"
    )


_CHANCES: tuple[tuple[Damage | None, float], ...] = (
    (flip, 3),
    (overwrite, 2),
    (zero, 1.5),
    (cut, 1.5),
    (insert, 1),
    (remove, 1),
    (claim, 2),
    # The file is gone.
    (None, 0.05),
    # Only where they apply; else another is drawn.
    (claim_in_text, 4),
    (inside, 8),
    (in_json, 8),
    (in_hdf5, 12),
    (in_parquet, 4),
    (in_tiff, 8),
)
_DAMAGES = [damage for damage, _ in _CHANCES]
_SHARES = np.array([chance for _, chance in _CHANCES])
_SHARES /= _SHARES.sum()
