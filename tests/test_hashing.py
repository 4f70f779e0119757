"""A file is hashed once while it stays as it is, and can be left while it is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_stenhance.errors import Cancelled
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.section.slide import Slide
from napari_stenhance.storage.cache import Cache
from napari_stenhance.storage.hashing import file_hash


def _hashed(path: Path, cache: Cache) -> tuple[str, list[Progress]]:
    told: list[Event] = []
    sha256 = file_hash(path, cache, Job(listener=told.append))
    return sha256, [event for event in told if isinstance(event, Progress)]


def _old(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))


def test_a_file_is_read_once_while_it_stays_as_it_is(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.bin"
    _old(path, b"one" * 2**22)
    first, told = _hashed(path, cache)
    assert (told[0].stage, told[0].total, told[-1].done) == ("Reading s.bin", 3, 3)
    # Other content with the same size and time is not read: the hash is the kept one.
    _old(path, b"two" * 2**22)
    assert _hashed(path, cache) == (first, [])
    os.utime(path, ns=(10**18, 10**18 + 1))
    again, told = _hashed(path, cache)
    assert again != first
    assert told


def test_a_hash_of_a_file_that_just_changed_is_not_kept(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.bin"
    path.write_bytes(b"one")
    stat = path.stat()
    first, _ = _hashed(path, cache)
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _hashed(path, cache)[0] != first


def test_a_hash_of_a_file_that_changes_meanwhile_is_not_kept(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.bin"
    _old(path, b"one" * 2**22)

    def change(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 1:
            path.write_bytes(b"two" * 2**22)

    file_hash(path, cache, Job(listener=change))
    _old(path, b"six" * 2**22)
    other = tmp_path / "t.bin"
    _old(other, b"six" * 2**22)
    assert file_hash(path, cache) == file_hash(other, cache)


def test_hashing_can_be_cancelled(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 2200, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb")
    job, told = Job(), []

    def cancel(event: Event) -> None:
        told.append(event)
        job.cancel()

    job.listener = cancel
    slide = Slide.open(path, cache=cache)
    with pytest.raises(Cancelled):
        slide.state.sha256(job)
    assert [event.stage for event in told] == ["Reading s.tif"] * 2
    assert told[-1].done == 1


def test_a_kept_hash_that_is_damaged_is_no_hash(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "s.bin"
    _old(path, b"one")
    first, _ = _hashed(path, cache)
    (kept,) = (cache.root / "hashes").iterdir()
    short = kept.read_bytes().replace(first.encode(), first[1:].encode())
    for content in (b"", short, b"[]", b"\xff", kept.read_bytes().replace(b"mtime", b"atime")):
        kept.write_bytes(content)
        assert _hashed(path, cache)[0] == first
