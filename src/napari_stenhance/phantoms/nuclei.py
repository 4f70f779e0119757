"""Draw nuclei: outlines of their own, chromatin that clumps, some of them out of focus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_stenhance.phantoms.cells import RIM_UM, PhantomNuclei, radius_at
from napari_stenhance.phantoms.window import Window

_AT_ONCE = 96
_SHARPEST_UM = np.float32(0.3)
_MEMBRANE_UM = np.float32(0.7)


def draw_nuclei(
    cells: PhantomNuclei, window: Window, haematoxylin: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Add the nuclei that a window shows to its stain, the darker one in front.

    Parameters
    ----------
    cells : PhantomNuclei
    window : Window
    haematoxylin : ndarray of float32, shape of the window
        Amounts of stain; changed in place.

    Returns
    -------
    ndarray of float32, shape of the window
        How far each pixel is covered by a nucleus, 0 to 1.
    """
    mpp, rows, columns = window.mpp, window.rows, window.columns
    margin = float(cells.reach_um.max(initial=0)) + mpp
    span = cells.within(rows.start * mpp - margin, rows.stop * mpp + margin)
    x = cells.xy_um[span, 0]
    near = (x > columns.start * mpp - margin) & (x < columns.stop * mpp + margin)
    chosen = np.flatnonzero(near) + span.start
    # Alike sizes together: they share the size of a stamp.
    chosen = chosen[np.argsort(cells.reach_um[chosen], kind="stable")]
    covered = np.zeros_like(haematoxylin)
    for low in range(0, len(chosen), _AT_ONCE):
        pixel, inside, amount = _stamp(cells, chosen[low : low + _AT_ONCE], window)
        np.maximum.at(haematoxylin.reshape(-1), pixel, amount)
        np.maximum.at(covered.reshape(-1), pixel, inside)
    return covered


def _stamp(
    cells: PhantomNuclei, which: NDArray[np.intp], window: Window
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Return which pixels of a window some nuclei cover, how far, and with how much stain."""
    mpp = np.float32(window.mpp)
    axes = cells.axes_um[which]
    reach = int(np.ceil(cells.reach_um[which].max() / mpp))
    around = np.arange(-reach, reach + 1)
    at = cells.xy_um[which] / window.mpp - 0.5
    middle = np.rint(at).astype(np.intp)
    off = (middle - at).astype(np.float32)
    dx = (around[None, None, :] + off[:, 0, None, None]) * mpp
    dy = (around[None, :, None] + off[:, 1, None, None]) * mpp
    cos, sin = (f(cells.angle[which])[:, None, None] for f in (np.cos, np.sin))
    u = (dx * cos + dy * sin) / axes[:, :1, None]
    v = (dy * cos - dx * sin) / axes[:, 1:, None]
    y = middle[:, 1, None, None] - window.rows.start + around[None, :, None]
    x = middle[:, 0, None, None] - window.columns.start + around[None, None, :]
    height, width = window.shape
    number, pixel_y, pixel_x = np.nonzero((y >= 0) & (x >= 0) & (y < height) & (x < width))
    u, v = u[number, pixel_y, pixel_x], v[number, pixel_y, pixel_x]
    outline = radius_at(np.arctan2(v, u)[:, None], cells.bumps[which][number])[:, 0]
    # Depth below the outline in micrometres, measured along the short axis.
    depth = (1 - np.hypot(u, v) / outline) * axes[number, 1]
    seen = depth > -RIM_UM
    number, depth = number[seen], depth[seen]
    y, x = y[number, pixel_y[seen], 0], x[number, 0, pixel_x[seen]]
    pixel = y * width + x
    inside = expit(2.2 * depth / (_SHARPEST_UM + cells.blur_um[which][number]))
    # Chromatin clumps, and gathers under the membrane.
    rim = np.exp(-((np.maximum(depth, 0) / _MEMBRANE_UM) ** 2))
    clumps = 1.3 * np.tanh(window.grain.ravel()[pixel]) + 0.8 * rim - 0.4
    amount = inside * cells.stain[which][number] * (1 + cells.chromatin[which][number] * clumps)
    return pixel, inside.astype(np.float32), amount.astype(np.float32)
