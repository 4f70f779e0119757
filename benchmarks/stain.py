"""Stain features of a whole section against decoding its JPEG, one thread each.

Baseline: `imagecodecs.jpeg8_decode` of the same bytes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import imagecodecs
import torch
from timing import median_seconds

from napari_stenhance.features.extract import extract
from napari_stenhance.features.stain import StainEncoder
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache


def main() -> None:
    torch.set_num_threads(1)
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st" / "C2"
    content = (folder / "image.jpg").read_bytes()
    decode = median_seconds(lambda: imagecodecs.jpeg8_decode(content), runs=5)
    slide = open_section(folder, spots=False).need_slide()

    def features() -> None:
        with tempfile.TemporaryDirectory() as cache:
            extract(slide, StainEncoder(slide.scale()), Job(), cache=Cache(Path(cache)))

    stain = median_seconds(features, runs=3)
    print("| stain features, s | JPEG decode, s | stain ÷ decode |")
    print("|---|---|---|")
    print(f"| {stain:.2f} | {decode:.2f} | {stain / decode:.1f} |")


if __name__ == "__main__":
    main()
