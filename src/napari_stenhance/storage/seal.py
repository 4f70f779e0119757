"""Checksums of files, and of what is kept as JSON."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

_BLOCK = 1024**2


def json_crc32(content: Any) -> str:
    """Return the CRC-32, in hexadecimal, of what is kept as JSON, however it is laid out there."""
    # As it is read back: lists for tuples, and text for keys.
    plain = json.loads(json.dumps(content))
    return f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"


def file_crc32(file: Path) -> str:
    """Return the CRC-32, in hexadecimal, of a file's content.

    Not CRC-32C: that of a chunk which ends in its own CRC-32C is the same for every chunk.
    """
    crc = 0
    with file.open("rb") as content:
        while block := content.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"
