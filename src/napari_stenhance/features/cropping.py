"""Read square crops around positions."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from napari_stenhance.section.slide import Slide


def read_crops(
    slide: Slide, xy_um: NDArray[np.float64], size_um: float, side: int
) -> NDArray[np.uint8]:
    """Read crops of one size around positions (x, y), as `side` pixels: (n, side, side, 3).

    Their pixels lie on one lattice over the slide, so that a crop does not depend on which others
    are read; beyond the slide all is white.
    """
    pixel_um = size_um / side
    corner = np.array(slide.extent_um()[:2])
    # Rounded twice, so that a crop halfway between pixels does not hang on the last bit.
    start = np.round((xy_um - corner) / pixel_um - side / 2, 6)
    first = np.floor(start + 0.5).astype(np.int64)
    crops = np.empty((len(first), side, side, 3), np.uint8)
    block_of = first // (2 * side)
    for block in np.unique(block_of, axis=0):
        here = (block_of == block).all(axis=1)
        low, high = first[here].min(axis=0), first[here].max(axis=0) + side
        x0, y0 = corner + low * pixel_um
        x1, y1 = corner + high * pixel_um
        pixels = slide.read((x0, y0, x1, y1), pixel_um)
        x, y = (first[here] - low).T
        windows = sliding_window_view(pixels, (side, side), axis=(0, 1))
        crops[here] = windows[y, x].transpose(0, 2, 3, 1)
    return crops
