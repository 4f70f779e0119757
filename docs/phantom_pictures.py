"""Cut a phantom at three zooms, and lay another section beside it to compare.

python docs/phantom_pictures.py PHANTOM OUT.png [SECTION]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyvips

import napari_stenhance as st
from napari_stenhance.section.section import open_section

SIDE_PX = 600
GAP_PX = 8
# Side of what is shown, in micrometres; the first shows the whole slide.
ZOOMS_UM = (None, 900.0, 250.0)


def _busiest(slide: st.Slide, side_um: float) -> tuple[float, float]:
    """Return the centre of the window that is most varied: nests, stroma and their border."""
    _, _, right, bottom = slide.extent_um()
    step = 25.0
    small = slide.read((0, 0, right, bottom), step).mean(axis=2)
    half = max(int(side_um / step / 2), 2)
    best, where = -1.0, (right / 2, bottom / 2)
    for row in range(half, small.shape[0] - half, half):
        for column in range(half, small.shape[1] - half, half):
            window = small[row - half : row + half, column - half : column + half]
            score = float(window.std()) if (window > 225).mean() < 0.05 else -1.0
            if score > best:
                best, where = score, (column * step, row * step)
    return where


def row_of(path: Path) -> np.ndarray:
    slide = open_section(path).need_slide()
    x0, y0, x1, y1 = slide.extent_um()
    x, y = _busiest(slide, 900)
    panels = []
    for side in ZOOMS_UM:
        if side is None:
            side = max(x1 - x0, y1 - y0)
            box = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2)
        else:
            box = (x - side / 2, y - side / 2)
        panels.append(slide.read((*box, box[0] + side, box[1] + side), side / SIDE_PX))
        panels.append(np.full((SIDE_PX, GAP_PX, 3), 255, np.uint8))
    return np.concatenate(panels[:-1], axis=1)


def main(out: Path, *sections: Path) -> None:
    rows = [row_of(section) for section in sections]
    gap = np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8)
    picture = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    pyvips.Image.new_from_array(picture).write_to_file(str(out))


if __name__ == "__main__":
    phantom, picture, *beside = map(Path, sys.argv[1:])
    main(picture, phantom, *beside)
