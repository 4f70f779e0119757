"""Serial sections laid over one another, and pairs of sections that are none.

Fitted to outline and stain; the r of expression of nearest spots was not looked at (in brackets: of
how many spots). "moved alone": without the turn.
"""

from __future__ import annotations

import os
import tempfile
from itertools import permutations
from pathlib import Path

import numpy as np
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


if __name__ == "__main__":
    main()
