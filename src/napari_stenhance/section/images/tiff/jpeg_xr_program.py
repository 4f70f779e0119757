"""Decode JPEG XR for `jpeg_xr.py`, which runs this program: tiles come in, their samples go out.

It imports nothing of the package, so that it starts fast. A tile is its length and its bytes; an
answer the length of a header, the header in JSON, and what that says: samples, or what is wrong.
"""

from __future__ import annotations

import json
import sys

import imagecodecs

LENGTH = 8


def _answer() -> None:
    """Answer until there is nothing more to read."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while length := asked.read(LENGTH):
        data = asked.read(int.from_bytes(length, "little"))
        try:
            decoded = imagecodecs.jpegxr_decode(data)
            header, samples = (
                {"shape": decoded.shape, "dtype": decoded.dtype.str},
                decoded.tobytes(),
            )
        except Exception as error:  # noqa: BLE001
            header, samples = {"wrong": str(error) or type(error).__name__}, b""
        said = json.dumps(header).encode()
        answers.write(len(said).to_bytes(LENGTH, "little") + said + samples)
        answers.flush()


if __name__ == "__main__":
    _answer()
