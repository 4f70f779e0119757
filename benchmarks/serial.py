"""Serial sections laid over one another, and pairs of sections that are none.

Fitted to outline and stain; the r of expression of nearest spots was not looked at (in brackets: of
how many spots). "moved alone": without the turn. Then images that were made of slides: other
colours, haematoxylin alone in brown, and as blue light on black; turned, at a scale that no file
says.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray
from scipy import ndimage
from timing import seconds

from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.displacement import Displacement
from napari_stenhance.scoring.likeness import SpotPair
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.align import align_pair

SERIAL = ("her2st/C2", "her2st/C3", "her2st/C4")
OTHERS = ("mob/rep11.h5ad",)
PHANTOMS, SIZE_MM = 3, 2.0
MADE_UM, MADE_DEG, SMALLER = 6.0, 160, 0.55
Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def row(reference: Section, section: Section, cache: Cache) -> str:
    found = []
    took = seconds(lambda: found.append(align_pair(reference, section, cache, Job())))
    (laid,) = found
    best = laid.alignment.best
    cells = [
        f"{section.name} over {reference.name}",
        "yes" if best.mirrored else "no",
        f"{best.turned_deg:+.1f}",
        f"{best.moved_um[0]:+.0f}, {best.moved_um[1]:+.0f}",
        f"{best.overlap:.0%}",
        f"{best.r:.2f}",
        f"{laid.alignment.ahead:.2f}",
    ]
    if laid.aligned is None:
        cells += ["–"] * 3
    else:
        pair = SpotPair(reference, section)
        moved = Displacement("moved alone", np.column_stack([np.eye(2), best.moved_um]))
        for way in (best.way, moved, None):
            like = pair.likeness(way)
            cells.append(f"{like.r:.2f} ({like.spots})")
    return f"| {' | '.join([*cells, laid.alignment.why_not or 'believed', f'{took:.1f}'])} |"


def made_images(section: Section) -> Iterator[tuple[str, Pixels, Matrix]]:
    """Make images of a slide, and tell where (x, y, 1) of its micrometres lie on them."""
    slide = section.need_slide()
    density = -np.log10((slide.read(slide.extent_um(), MADE_UM) + 1.0) / 256)
    nuclei = np.clip(density[..., 0] - 0.3 * density[..., 1], 0, None)
    light = ndimage.gaussian_filter(np.clip(density[..., 0], 0, None), 1)
    noise = np.random.default_rng(0).normal(6, 2, (*light.shape, 1))
    height, width = light.shape
    angle = np.deg2rad(MADE_DEG)
    turn = SMALLER * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width, height]) / 2
    moved = SMALLER * middle + (20, -10) - turn @ middle
    back = np.linalg.inv(turn)[::-1, ::-1]
    # The centre of the first full-resolution pixel is 0 µm.
    corner = np.full(2, (MADE_UM - slide.scale()) / 2)
    matrix = np.column_stack([turn / MADE_UM, moved - turn @ corner / MADE_UM])
    for kind, pixels in (
        ("other colours", 255 * 10 ** -(density[..., [2, 0, 1]] * 0.7)),
        ("brown nuclei", 255 * 10 ** -(nuclei[..., None] * (0.9, 0.6, 0.2) + 0.05 * density)),
        ("light on black", np.minimum(light[..., None] * (10, 30, 260), 255) + noise),
    ):
        ground = np.percentile(pixels[::7, ::7], 10 if kind == "light on black" else 98, (0, 1))
        shape = round(height * SMALLER), round(width * SMALLER)
        seen = [
            ndimage.affine_transform(
                pixels[..., n], back, -back @ moved[::-1], shape, order=1, cval=ground[n]
            )
            for n in range(3)
        ]
        yield kind, np.clip(np.stack(seen, axis=-1), 0, 255).astype(np.uint8), matrix


def image_row(section: Section, kind: str, pixels: Pixels, matrix: Matrix, folder: Path) -> str:
    file = folder / f"{section.name} {kind}.png"
    pyvips.Image.new_from_array(pixels).write_to_file(str(file))
    image = open_section(file)
    laid = align_pair(section, image, Cache(folder / "cache"), Job())
    spots = section.positions()[0]
    to_slide = np.array(laid.to_dict()["matrix_px"]) * (section.mpp or 1.0)
    seen = spots @ matrix[:, :2].T + matrix[:, 2]
    off = np.hypot(*(seen @ to_slide[:, :2].T + to_slide[:, 2] - spots).T)
    said = laid.alignment.why_not or "believed"
    scale = f"{laid.mpp:.2f} ({MADE_UM / SMALLER:.2f})"
    return f"| {section.name}, {kind} | {scale} | {np.median(off):.0f} | {off.max():.0f} | {said} |"


def main() -> None:
    data = Path(os.environ.get("STENHANCE_TEST_DATA", "../shared/data"))
    cache = Cache.default()
    print(
        "| pair | mirrored | turned, ° | moved, µm | area shared | r of stain | ahead "
        "| r of spots, aligned | moved alone | as they lie | | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    serial = [open_section(data / name) for name in SERIAL]
    for reference, section in permutations(serial, 2):
        print(row(reference, section, cache), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        others = [open_section(data / name) for name in OTHERS]
        for seed in range(PHANTOMS):
            write_phantom(Path(folder) / str(seed), SIZE_MM, seed)
            others.append(open_section(Path(folder) / str(seed)))
        for reference, section in permutations([serial[0], *others], 2):
            print(row(reference, section, cache), flush=True)

    print("\n| image | µm per pixel (true) | off, median, µm | most | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for section in (serial[0], serial[2], open_section(data / OTHERS[0])):
            for made in made_images(section):
                print(image_row(section, *made, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
