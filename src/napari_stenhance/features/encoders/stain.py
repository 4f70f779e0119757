"""The `stain` encoder: multi-scale stain statistics; no weights, no download, runs on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.features.granulometry import REACH_PX, WIDTHS_UM, pattern_spectrum
from napari_stenhance.features.registry import Encoder

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job

SIGMAS_UM = (1.0, 2.0, 4.0, 8.0)
VERSION = 3
_FINEST_SIGMA_PX = 0.7
_STATISTICS = 144
_GRAINS = 2 * len(WIDTHS_UM)
_HALO_PX = 116
# Haematoxylin as whole numbers, to an optical density of 1.5.
_LEVELS_OF_ONE = 160


def stain_matrix() -> NDArray[np.float64]:
    """Return the 3 × 4 matrix from optical density (RGB) to stain amounts.

    Columns: haematoxylin, eosin, residual (orthogonal to both), total density (mean of RGB).

    References
    ----------
    Stain vectors: Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23:291-299 (2001).
    """
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    residual = np.cross(stains[0], stains[1])
    unmix = np.linalg.inv(np.vstack([stains, residual / np.linalg.norm(residual)]))
    return np.column_stack([unmix, np.full(3, 1 / 3)])


@dataclass(frozen=True)
class StainEncoder:
    """Smoothed value, gradient and |Laplacian| of four stain channels at four scales; grains.

    Channel order: for each σ (1, 2, 4, 8 µm), for each filter (Gaussian, gradient magnitude,
    |Laplacian of Gaussian|, scale-normalised), for each stain (haematoxylin, eosin, residual,
    total): mean over the superpixel, standard deviation over 72 µm, mean over 168 µm. Then the
    granulometry of haematoxylin: for each width (3 to 49 µm) what openings take and closings add
    (`pattern_spectrum`), mean over the superpixel.

    Attributes
    ----------
    slide_mpp : float
        Micrometres per pixel of the slide; a σ below 0.7 of its pixels is replaced by the finest
        one that is not. Grains narrower than two of its pixels are not seen.
    """

    slide_mpp: float
    name: str = "stain"
    dim: int = _STATISTICS + _GRAINS
    pitch_um: float = 8.0
    mpp: float = 1.0
    window_px: int = 8
    halo_px: int = _HALO_PX
    at_once: None = None

    @cached_property
    def sigmas_um(self) -> tuple[float, ...]:
        """The four σ in use, in micrometres."""
        fine = [s for s in SIGMAS_UM if s >= _FINEST_SIGMA_PX * self.slide_mpp]
        finest = fine[0] if fine else SIGMAS_UM[-1]
        return tuple(max(s, finest) for s in SIGMAS_UM)

    def fingerprint(self) -> str:
        """Identify the settings: `stain`, its version, and the σ in use."""
        return f"stain{VERSION}-" + "-".join(f"{s:g}" for s in self.sigmas_um)

    def doubts(self) -> tuple[str, ...]:
        """Say that a coarse slide lost the finest scales."""
        if self.sigmas_um == SIGMAS_UM:
            return ()
        finest = f"{self.sigmas_um[0]:g} µm"
        doubt = f"Stain features finer than {finest} were replaced by those of {finest}"
        unseen = [width for width in WIDTHS_UM if width < 2 * self.slide_mpp]
        if unseen:
            doubt += f", and grains of {unseen[-1]} µm and less are not seen"
        return (f"{doubt}: the slide has only {self.slide_mpp:.3g} µm per pixel.",)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode pixels of 1 µm, (y, x, 3), with 116 of them around: (rows, columns, 162)."""
        # Here, because numba takes a third of a second to load.
        from napari_stenhance.features.moments import superpixel_moments
        from napari_stenhance.features.windows import pool_windows

        density_of = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
        scales = tuple(sorted(set(self.sigmas_um)))
        moments = superpixel_moments(pixels, density_of, stain_matrix().astype(np.float32), scales)
        pooled = pool_windows(moments.reshape(*moments.shape[:3], -1))
        rows, columns = pooled.shape[:2]
        by_scale = pooled.reshape(rows, columns, len(scales), -1)
        if len(scales) < len(self.sigmas_um):
            by_scale = by_scale[:, :, [scales.index(sigma) for sigma in self.sigmas_um]]
        inside = slice(_HALO_PX - REACH_PX, REACH_PX - _HALO_PX)
        grains = pattern_spectrum(_haematoxylin(pixels[inside, inside], density_of))
        encoded = np.empty((rows, columns, self.dim), np.float32)
        encoded[..., :_STATISTICS] = by_scale.reshape(rows, columns, _STATISTICS)
        encoded[..., _STATISTICS:] = grains.reshape(rows, columns, _GRAINS)
        # Of a superpixel of 8 × 8 pixels.
        encoded[..., _STATISTICS:] /= np.float32(64 * _LEVELS_OF_ONE)
        return encoded


def _haematoxylin(pixels: NDArray[np.uint8], density_of: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Unmix haematoxylin, value by value, so that it is the same in any tile."""
    shares = (_LEVELS_OF_ONE * np.outer(stain_matrix()[:, 0], density_of)).astype(np.float32)
    amount = shares[0][pixels[..., 0]]
    amount += shares[1][pixels[..., 1]]
    amount += shares[2][pixels[..., 2]]
    return np.clip(amount, 0, 1.5 * _LEVELS_OF_ONE, out=amount).astype(np.uint8)


def _prepare(job: Job) -> None:
    """Compile the loops over pixels, once after installing; else load what was compiled then."""
    from napari_stenhance.features.moments import are_loops_ready

    if are_loops_ready():
        return
    with job.stage("Preparing stain features, long only once after installing", 1) as stage:
        # Of more superpixels than make one strip: those of whole slides do.
        StainEncoder(1.0).encode(np.zeros((240, 592, 3), np.uint8))
        stage.advance()


ENCODER = Encoder(
    "stain",
    lambda: f"stain{VERSION}",
    superpixels=lambda _device: lambda slide: StainEncoder(slide.scale()),
    prepare=_prepare,
    groups=(_STATISTICS, _GRAINS),
)
