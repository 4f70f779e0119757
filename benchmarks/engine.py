"""How busy a device is kept: a bare network, `encode`, and the way from a slide to the cache.

Random weights. The slide is tiled JPEG, its tissue that of a phantom, repeated.

A bare network is given standardised pictures that lie in its device's memory, in the best of
several batches. `encode` is given crops in the machine's memory, as they are read. From the slide
to the cache is all that a run does. Baseline: the bare network, in the same precision.

Then where the time goes, of each image, in ms: in the network, in handing pixels over to it and
vectors back (beyond the network), and in waiting for the slide and for the cache (beyond `encode`).
Reading is beside it, in threads: what of it is not hidden is in the waiting.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import torch

from napari_stenhance.features.cropping import read_crops
from napari_stenhance.features.encoded import CHUNK, EncodedCrops
from napari_stenhance.features.registry import find_encoder
from napari_stenhance.features.source import CropLayout, FeatureSettings
from napari_stenhance.phantoms.anatomy import Anatomy
from napari_stenhance.phantoms.nuclei import PhantomNuclei
from napari_stenhance.phantoms.paint import Painter
from napari_stenhance.running.device import describe_device, resolve_device, threads
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.running.prefetch import prefetch
from napari_stenhance.section.slide import Slide
from napari_stenhance.section.tissue_mask import TissueMask
from napari_stenhance.storage.cache import Cache

SMALL, LARGE = "ViT-S/16", "ViT-L/16"
NETWORKS = {SMALL: "timm:vit_small_patch16_224", LARGE: "timm:vit_large_patch16_224"}
BATCHES = {"cuda": (32, 64, 128, 256, 512), "cpu": (1, 4, 8, 16), "mps": (8, 32)}
CROP_UM, PITCH_UM, TILE, PAINTED = 112.0, 56.0, 256, 2048
SECONDS = {"cuda": 5.0, "cpu": 12.0, "mps": 10.0}
SLIDES = {"0.5 µm": 0.5, "0.25 µm": 0.25}
"""By their scale: at the finer one four times as many pixels are decoded for a crop."""


def write_slide(path: Path, mpp: float, side: int) -> None:
    """Repeat tiles of painted tissue over a pyramid."""
    anatomy = Anatomy.grow(PAINTED * mpp, 0)
    painter = Painter(anatomy, PhantomNuclei.grow(anatomy), mpp)
    whole = slice(0, PAINTED)
    painted = painter.paint(whole, whole)
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(int(np.log2(side / 1024))):
            at, edge = side // 2**level, PAINTED // 2**level
            if level:
                painted = painted.reshape(edge, 2, edge, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
            step = max(edge // TILE, 1)
            kinds = [
                imagecodecs.jpeg_encode(
                    np.resize(painted[y : y + TILE, x : x + TILE], (TILE, TILE, 3)), 85
                )
                for y in range(0, step * TILE, TILE)
                for x in range(0, step * TILE, TILE)
            ]
            across = -(-at // TILE)
            tif.write(
                (kinds[i % step * step + j % step] for i in range(across) for j in range(across)),
                shape=(at, at, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                tile=(TILE, TILE),
                compression="jpeg",
                subfiletype=int(level > 0),
                metadata=None,
            )


def rate(do: Callable[[], int], least: float) -> float:
    """Count how many a second, over at least so many seconds, after one round to warm up."""
    do()
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < least:
        done += do()
    return done / took


@dataclass(frozen=True)
class Measured:
    """Images per second."""

    precision: str
    bare: float
    batch: int
    encode: float
    slides: dict[str, tuple[float, float]]
    """From slide to cache, and reading alone."""


def bare(encoder: Any, device: torch.device) -> tuple[float, int]:
    """Return images per second of the network by itself, and in which batch."""
    forward = encoder._forward
    found = []
    for batch in BATCHES[device.type]:
        pictures = torch.randn(batch, 3, encoder.side_px, encoder.side_px, device=device)
        pictures = pictures.to(getattr(torch, forward.precision))

        def once(pictures: torch.Tensor = pictures) -> int:
            with torch.inference_mode():
                for _ in range(8 if device.type == "cuda" else 1):
                    forward.replicas[0].model.forward_features(pictures)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return len(pictures) * (8 if device.type == "cuda" else 1)

        found.append((rate(once, SECONDS[device.type] / 5), batch))
    return max(found)


def measure(name: str, device: torch.device, slides: dict[str, Slide]) -> Measured:
    encoder = find_encoder(f"{name}?pretrained=false")
    assert encoder.crops is not None
    network: Any = encoder.crops(device)
    least = SECONDS[device.type]
    alone, batch = bare(network, device)
    n = max(round(alone * least) // CHUNK * CHUNK, 4 * CHUNK)
    slide = slides["0.5 µm"]
    side = int(np.ceil(np.sqrt(network.batch)))
    y, x = np.mgrid[:side, :side].reshape(2, -1)[:, : network.batch] * PITCH_UM + 500
    crops = read_crops(slide, np.column_stack([x, y]), CROP_UM, network.side_px)
    with ThreadPoolExecutor(network.at_once) as pool:

        def several() -> int:
            list(pool.map(lambda _: network.encode(crops), range(4 * network.at_once)))
            return 4 * network.at_once * len(crops)

        encode = rate(several, least)
    ends = {
        what: (from_slide(one, encoder, device, n), reading(one, network.side_px, n))
        for what, one in slides.items()
    }
    return Measured(network._forward.precision, alone, batch, encode, ends)


def from_slide(slide: Slide, encoder: Any, device: torch.device, n: int) -> float:
    """Extract the crops around so many superpixels into an empty cache."""
    layout = CropLayout((CROP_UM,), PITCH_UM)
    with tempfile.TemporaryDirectory() as folder:
        settings = FeatureSettings(encoder, device, Cache(Path(folder)), crops=layout)
        encoded = [0]

        def listen(event: Event) -> None:
            if isinstance(event, Progress) and event.stage.startswith("Encoding"):
                encoded.append(event.total)

        source = EncodedCrops(slide, settings, Job(listen), layout)
        needed = np.zeros(source.tissue.shape, bool)
        needed[: -(-n // needed.shape[1])] = True
        source.encoder.encode(read_crops(slide, np.zeros((1, 2)), CROP_UM, source.encoder.side_px))
        started = time.perf_counter()
        source.extract(needed)
        took = time.perf_counter() - started
        return encoded[-1] / took


def reading(slide: Slide, side_px: int, n: int) -> float:
    """Read the same crops and do nothing with them."""
    side = 16
    across = int(slide.shape[1] * slide.scale() / PITCH_UM)
    blocks = min(max(n // side**2, 2 * threads()), 64 * threads())
    y, x = np.mgrid[:side, :side].reshape(2, -1)

    def read(number: int) -> int:
        row, column = divmod(number, across // side)
        at = np.column_stack([x + column * side, y + row * side]) * PITCH_UM
        return len(read_crops(slide, at, CROP_UM, side_px))

    started = time.perf_counter()
    done = sum(prefetch(read, range(blocks), threads()))
    return done / (time.perf_counter() - started)


def main() -> None:
    device = resolve_device("auto")
    print(f"{describe_device(device)}; {threads()} threads, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        slides = {}
        for what, mpp in SLIDES.items():
            path = Path(folder) / f"{mpp}.tif"
            write_slide(path, mpp, round(20_000 * 0.5 / mpp) if device.type == "cuda" else 8192)
            slide = Slide.open(path, mpp=mpp, cache=Cache(Path(folder) / "cache"))
            rows, columns = (int(-(-n * mpp // 8)) for n in slide.shape)
            mask = TissueMask.given(np.ones((rows, columns), bool), slide)
            slides[what] = replace(slide, tissue=mask)
        ends = "".join(f" from a slide of {what} | ÷ bare | reading alone |" for what in SLIDES)
        print(f"| images/s | precision | bare, in batches of | bare | `encode` | ÷ bare |{ends}")
        print("|---" * (6 + 3 * len(SLIDES)) + "|")
        spent = []
        for label, name in NETWORKS.items():
            if label == LARGE and device.type == "cpu":
                continue  # an image takes seconds
            found = measure(name, device, slides)
            cells = "".join(
                f" {end:,.0f} | {end / found.bare:.2f} | {read:,.0f} |"
                for end, read in found.slides.values()
            )
            print(
                f"| {label} | {found.precision} | {found.batch} | {found.bare:,.0f} | "
                f"{found.encode:,.0f} | {found.encode / found.bare:.2f} |{cells}",
                flush=True,
            )
            for what, (end, read) in found.slides.items():
                network, handed, whole, reads = (
                    1000 / each for each in (found.bare, found.encode, end, read)
                )
                spent.append(
                    f"| {label}, {what} | {whole:.2f} | {network:.2f} | {handed - network:.2f} | "
                    f"{whole - handed:.2f} | {reads:.2f} |"
                )
        print("\n| ms an image | in all | network | handing over | waiting | reading, beside it |")
        print("|---" * 6 + "|")
        print("\n".join(spent), flush=True)


if __name__ == "__main__":
    main()
