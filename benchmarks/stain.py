"""Stain features of a whole section against decoding its JPEG, one thread each.

Baseline: `imagecodecs.jpeg8_decode` of the same bytes. Reading, tissue mask and writing to an empty
cache count; opening the slide does not. Both alternate on one processor core.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import torch
from timing import seconds

from napari_stenhance.features.opening import open_features
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import FeatureSettings
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache

RUNS = 9


def main() -> None:
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if cores:
        # Also what reads ahead, decompresses and writes stays on this core.
        os.sched_setaffinity(0, {max(cores)})
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default)) / "her2st" / "C2"
    content = (folder / "image.jpg").read_bytes()
    slide = open_section(folder, spots=False).need_slide()

    def decode() -> None:
        imagecodecs.jpeg8_decode(content)

    def features() -> None:
        with tempfile.TemporaryDirectory() as cache:
            settings = FeatureSettings(
                find_encoder("stain"), torch.device("cpu"), Cache(Path(cache))
            )
            open_features(slide, settings, Job()).extract()

    both: list[Callable[[], None]] = [features, decode]
    for warm_up in both:
        warm_up()
    taken = [[seconds(call) for call in both] for _ in range(RUNS)]
    if cores:
        os.sched_setaffinity(0, cores)
    print("| | stain features, s | JPEG decode, s | stain ÷ decode |")
    print("|---|---|---|---|")
    for name, of in (("median", statistics.median), ("least", min)):
        stain, jpeg = (of(side) for side in zip(*taken, strict=True))
        print(f"| {name} of {RUNS} | {stain:.2f} | {jpeg:.3f} | {stain / jpeg:.1f} |")


if __name__ == "__main__":
    main()
