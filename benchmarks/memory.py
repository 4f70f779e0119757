"""Peak memory on slides of 10,000² and 40,000² pixels, each in its own process.

`enhance` with `stain`, on all of their tissue; and `predict` with a random ViT-S/16, in 144
squares of 320 µm that lie evenly over the whole slide. Baseline: the smaller slide. Whoever holds a
whole slide pays sixteen times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyvips
import shapely

from napari_stenhance.results.result import ResultFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_sections import MPP, make_slide_pixels, make_spots, write_image

SIDES = (10_000, 40_000)
NETWORK, SQUARES, SQUARE_UM = "timm:vit_small_patch16_224?pretrained=false", 12, 320.0
CODE = """
from napari_stenhance.cli import main
from napari_stenhance.running.memory import peak_gb
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
print(peak_gb())
"""


def measured(cache: Path, *arguments: object) -> tuple[float, float]:
    """Run the command line; return seconds, and GB at the most."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        env={**os.environ, "STENHANCE_CACHE": str(cache)},
        check=True,
        capture_output=True,
        text=True,
    )
    return time.monotonic() - started, float(ran.stdout.split()[-1])


def write_squares(path: Path, side_um: float) -> None:
    """Write a tissue mask of squares that lie evenly over a slide."""
    step = side_um / SQUARES
    corners = (np.indices((SQUARES, SQUARES)).reshape(2, -1).T + 0.5) * step - SQUARE_UM / 2
    boxes = [shapely.box(x, y, x + SQUARE_UM, y + SQUARE_UM) for x, y in corners.tolist()]
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(box)}
        for box in boxes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        pixels, amounts = make_slide_pixels((2400, 2000), 0)
        small, model = folder / "small.h5ad", folder / "model.stenhance.zarr"
        write_image(folder / "small.jpg[Q=90]", pixels)
        make_spots(amounts, 0).write_h5ad(small)
        height, width = pixels.shape[:2]
        tile = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, 3, "uchar")
        measured(cache, "enhance", small, "--encoder", NETWORK, "--out", model, "--mpp", MPP)
        peaks: dict[str, float] = {}
        print("| slide, px | encoder | superpixels | time, s | peak memory, GB | ÷ first |")
        print("|---|---|---|---|---|---|")
        for side in SIDES:
            big, squares = folder / f"{side}.jpg", folder / f"{side}.geojson"
            repeated = tile.replicate(-(-side // width), -(-side // height)).crop(0, 0, side, side)
            repeated.copy(interpretation="srgb").write_to_file(f"{big}[Q=85]")
            write_squares(squares, side * MPP)
            for encoder, arguments in (
                ("stain", ("enhance", small, "--predict", big)),
                ("ViT-S/16", ("predict", model, "--on", big, "--tissue", squares)),
            ):
                out = folder / f"{side}-{encoder[:3]}.stenhance.zarr"
                seconds, peak = measured(cache, *arguments, "--out", out, "--mpp", MPP)
                first = peaks.setdefault(encoder, peak)
                tissue = int(ResultFolder.open(out).tissue().sum())
                print(
                    f"| {side}² | {encoder} | {tissue} | {seconds:.0f} | {peak:.2f} | "
                    f"{peak / first:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
