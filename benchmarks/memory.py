"""Peak memory of `enhance` on slides of 10,000² and 40,000² pixels, each in its own process.

Baseline: the smaller slide. Whoever holds a whole slide pays sixteen times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyvips

from napari_stenhance.results.result import ResultFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_sections import MPP, make_slide_pixels, make_spots, write_image

SIDES = (10_000, 40_000)
CODE = """
from napari_stenhance.cli import main
from napari_stenhance.running.memory import peak_gb
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
print(peak_gb())
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels, amounts = make_slide_pixels((2400, 2000), 0)
        write_image(folder / "small.jpg[Q=90]", pixels)
        make_spots(amounts, 0).write_h5ad(folder / "small.h5ad")
        height, width = pixels.shape[:2]
        tile = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, 3, "uchar")
        peaks = {}
        print("| slide, px | superpixels of tissue | time, s | peak memory, GB | ÷ first |")
        print("|---|---|---|---|---|")
        for side in SIDES:
            big = tile.replicate(-(-side // width), -(-side // height)).crop(0, 0, side, side)
            big.copy(interpretation="srgb").write_to_file(str(folder / f"{side}.jpg[Q=85]"))
            out = folder / f"{side}.stenhance.zarr"
            arguments = ["enhance", folder / "small.h5ad", "--predict", folder / f"{side}.jpg"]
            started = time.monotonic()
            ran = subprocess.run(
                [sys.executable, "-c", CODE, *arguments, "--out", out, "--mpp", str(MPP)],
                env={**os.environ, "STENHANCE_CACHE": str(folder / "cache")},
                check=True,
                capture_output=True,
                text=True,
            )
            peaks[side] = float(ran.stdout.split()[-1])
            tissue = int(ResultFolder.open(out).tissue().sum())
            print(
                f"| {side}² | {tissue} | {time.monotonic() - started:.0f} | {peaks[side]:.2f} | "
                f"{peaks[side] / peaks[SIDES[0]]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
