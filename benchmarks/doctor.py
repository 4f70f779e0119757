"""The doctor: spots put elsewhere are found and named, and true ones raise no alarm.

Each section as it is; mirrored, turned, exchanged, at half and twice the scale, moved by 500 µm;
then turned by other angles and with counts dealt out anew, where no way that is tried is right.
Twice: all ways, as `doctor` tries them, and turns and scales alone, as `enhance` and the dock do:
these can only be silent about what was moved.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.phantoms.write import write_phantom
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.placement import judge_placement
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.storage.cache import Cache

MOVED_UM, FOUND_UM = 500.0, 40.0
SIZE_MM, PHANTOMS, SEED = 2.0, 20, 0
DISPLACED = 3
"""Phantoms whose spots are put elsewhere too."""
ANGLES = (30, 45, 135, 200)
REAL = ("her2st/C2", "her2st/C3", "her2st/C4", "mob/rep11.h5ad")
ONLY_TRUE = ("her2st/A1", "visium_placenta")
THUMBNAIL, OF_FULL = "image_lowres2000_dark.png", 0.2876
"""What A1 has of its slide, and pixels of it for each of the positions."""
Matrix = NDArray[np.float64]


def displacements(width: float, height: float) -> dict[str, Matrix]:
    """List what is done to positions in micrometres, (2, 3), for a slide of some extent."""
    moves = {
        f"moved {x:+g}, {y:+g}": [[1, 0, x], [0, 1, y]]
        for x, y in ((MOVED_UM, 0), (-MOVED_UM, 0), (0, MOVED_UM), (0, -MOVED_UM))
    }
    every = {
        "mirrored left to right": [[-1, 0, width], [0, 1, 0]],
        "mirrored top to bottom": [[1, 0, 0], [0, -1, height]],
        "turned by 180°": [[-1, 0, width], [0, -1, height]],
        "exchanged": [[0, 1, 0], [1, 0, 0]],
        "turned by 90°": [[0, -1, height], [1, 0, 0]],
        "turned by 270°": [[0, 1, 0], [-1, 0, width]],
        "exchanged and turned": [[0, -1, height], [-1, 0, width]],
        "half": [[0.5, 0, 0], [0, 0.5, 0]],
        "twice": [[2, 0, 0], [0, 2, 0]],
        **moves,
    }
    return {name: np.array(matrix, float) for name, matrix in every.items()}


def displaced(section: Section, matrix: Matrix) -> Section:
    """Put the spots elsewhere."""
    spots = section.need_spots().copy()
    xy = section.positions()[0] @ matrix[:, :2].T + matrix[:, 2]
    spots.obsm["spatial"] = xy / (section.mpp or 1.0)
    return replace(section, spots=spots, outside=True)


def wrong(section: Section) -> Iterator[Section]:
    """Make sections of which no way that is tried is right."""
    middle = section.positions()[0].mean(axis=0)
    for degrees in ANGLES:
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        yield displaced(section, np.column_stack([turn, middle - turn @ middle]))
    spots = section.need_spots()
    for seed in range(5):
        dealt = spots[np.random.default_rng(seed).permutation(spots.n_obs)].copy()
        dealt.obsm["spatial"] = np.asarray(spots.obsm["spatial"])
        yield replace(section, spots=dealt, outside=True)


def is_put_right(section: Section, matrix: Matrix, cache: Cache, *, moves: bool) -> str:
    """Tell what the doctor says of displaced spots: "named", "silent" or "wrong"."""
    elsewhere = displaced(section, matrix)
    found = judge_placement(elsewhere, cache, Job(), moves=moves)
    if not found.is_clear:
        return "silent"
    off = found.best.way(elsewhere.positions()[0]) - section.positions()[0]
    return "named" if np.abs(off).max() <= FOUND_UM else "wrong"


def sections(folder: Path) -> Iterator[tuple[str, Section, bool]]:
    """Open what is judged, and say whether its spots are put elsewhere too."""
    data = Path(os.environ.get("STENHANCE_TEST_DATA", "../shared/data"))
    for name in (*REAL, *ONLY_TRUE):
        section = open_section(data / name)
        if (data / name / THUMBNAIL).exists():
            spots = section.need_spots().copy()
            spots.obsm["spatial"] = np.asarray(spots.obsm["spatial"]) * OF_FULL
            scale = (section.mpp or 1.0) / OF_FULL
            section = open_section(spots, image=data / name / THUMBNAIL, mpp=scale)
        yield name, section, name in REAL
    for seed in range(SEED, SEED + PHANTOMS):
        path = folder / f"phantom {seed}"
        if not path.exists():
            write_phantom(path, SIZE_MM, seed)
        yield path.name, open_section(path), seed < SEED + DISPLACED


def main() -> None:
    cache = Cache.default()
    with tempfile.TemporaryDirectory() as scratch:
        for moves in (True, False):
            print(f"\n### {'All ways' if moves else 'Turns and scales alone'}\n")
            print("| section | as it is | put elsewhere | moved | turned otherwise or dealt anew |")
            print("|---|---|---|---|---|")
            for name, section, elsewhere in sections(Path(scratch)):
                stated = judge_placement(section, cache, Job(), moves=moves)
                true = f"{'ALARM' if stated.is_clear else 'well'}, r {stated.stated.r:.2f}"
                true += f", {stated.stated.on_tissue:.0%} on tissue"
                counts: dict[str, Counter[str]] = {"other": Counter(), "moved": Counter()}
                said: Counter[str] = Counter()
                if elsewhere:
                    for what, matrix in displacements(*stated.view.extent_um).items():
                        kind = "moved" if what.startswith("moved") else "other"
                        answer = is_put_right(section, matrix, cache, moves=moves)
                        counts[kind][answer] += 1
                        if answer == "wrong" or (answer == "silent" and (moves or kind == "other")):
                            print(f"  {name}, {what}: {answer}", file=sys.stderr)
                    said.update(
                        "offered" if judge_placement(one, cache, Job(), moves=moves).is_clear
                        else "none offered"
                        for one in wrong(section)
                    )  # fmt: skip
                cells = [_said(counts["other"]), _said(counts["moved"]), _said(said)]
                print(f"| {name} | {true} | {' | '.join(cells)} |", flush=True)


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "–"


if __name__ == "__main__":
    main()
