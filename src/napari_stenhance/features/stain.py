"""The `stain` encoder: multi-scale stain statistics; no weights, no download, runs on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

SIGMAS_UM = (1.0, 2.0, 4.0, 8.0)
SPREAD_WINDOW = 9
MEAN_WINDOW = 21
VERSION = 1
_FINEST_SIGMA_PX = 0.7
_TRUNCATE = 4
# µm per pixel at which each σ is computed, so that it spans one or two pixels.
_SIGMA_UM_PX = {1.0: 1, 2.0: 1, 4.0: 2, 8.0: 4}


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
    """Smoothed value, gradient and |Laplacian| of four stain channels at four scales, pooled.

    Channel order: for each σ (1, 2, 4, 8 µm), for each filter (Gaussian, gradient magnitude,
    |Laplacian of Gaussian|, scale-normalised), for each stain (haematoxylin, eosin, residual,
    total): mean over the superpixel, standard deviation over 72 µm, mean over 168 µm.

    Attributes
    ----------
    slide_mpp : float
        Micrometres per pixel of the slide; a σ below 0.7 of its pixels is replaced by the finest
        one that is not.
    device : torch.device, optional
        By default the CPU.
    """

    slide_mpp: float
    device: torch.device | None = None
    name: str = "stain"
    dim: int = 144
    pitch_um: float = 8.0
    mpp: float = 1.0
    window_px: int = 8
    halo_px: int = 116

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
        return (
            f"The slide has only {self.slide_mpp:.3g} µm per pixel: stain features finer than "
            f"{self.sigmas_um[0]:g} µm were replaced by those of {self.sigmas_um[0]:g} µm.",
        )

    @cached_property
    def _density_of(self) -> NDArray[np.float32]:
        """Optical density of each 8-bit value."""
        density: NDArray[np.float32] = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
        return density

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode pixels of 1 µm, (y, x, 3), with 116 of them around: (rows, columns, 144)."""
        import torch

        with torch.inference_mode():
            return _encode(pixels, self._density_of, self.sigmas_um, self.device).cpu().numpy()


def _gaussian(sigma_px: float) -> NDArray[np.float64]:
    reach = int(_TRUNCATE * sigma_px)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return np.asarray(kernel / kernel.sum())


def _filter(image: torch.Tensor, kernel: NDArray[np.float64]) -> torch.Tensor:
    """Filter (n, 1, y, x) with one kernel along both axes; the border is cut off."""
    from torch.nn.functional import conv2d

    weights = image.new_tensor(kernel)
    return conv2d(conv2d(image, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))


def _encode(
    pixels: NDArray[np.uint8],
    density_of: NDArray[np.float32],
    sigmas_um: tuple[float, ...],
    device: torch.device | None,
) -> torch.Tensor:
    import torch
    from torch.nn.functional import avg_pool2d

    density = torch.from_numpy(density_of[pixels]).to(device or "cpu")
    amounts = (density @ density.new_tensor(stain_matrix())).permute(2, 0, 1)[:, None].contiguous()
    images = {1: amounts}
    for um in (2, 4):
        images[um] = avg_pool2d(images[um // 2], 2)
    # 116 µm = 80 µm, half of the widest window in whole superpixels, and 36 µm for the filters.
    first, second = [], []
    done: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}
    for sigma in sigmas_um:
        if sigma not in done:
            um = _SIGMA_UM_PX[sigma]
            maps = _filter_bank(images[um], sigma / um)
            cut = 36 // um - (amounts.shape[-1] // um - maps.shape[-1]) // 2
            maps = maps[..., cut : maps.shape[-2] - cut, cut : maps.shape[-1] - cut]
            done[sigma] = avg_pool2d(maps, 8 // um), avg_pool2d(maps * maps, 8 // um)
        first.append(done[sigma][0])
        second.append(done[sigma][1])
    mean, square = torch.cat(first), torch.cat(second)
    inset = (MEAN_WINDOW - SPREAD_WINDOW) // 2
    box = np.full(SPREAD_WINDOW, 1 / SPREAD_WINDOW)
    near = _filter(mean[..., inset:-inset, inset:-inset], box)
    spread = (_filter(square[..., inset:-inset, inset:-inset], box) - near * near).clamp_min(0)
    wide = _filter(mean, np.full(MEAN_WINDOW, 1 / MEAN_WINDOW))
    edge = MEAN_WINDOW // 2
    here = mean[..., edge:-edge, edge:-edge]
    pooled = torch.cat([here, spread.sqrt(), wide], dim=1)
    return pooled.reshape(-1, *pooled.shape[2:]).permute(1, 2, 0)


def _filter_bank(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Return Gaussian, gradient magnitude and |LoG|, scale-normalised, as (3 n, 1, y, x)."""
    import torch

    smooth = _filter(image, _gaussian(sigma_px))
    centre = smooth[..., 1:-1, 1:-1]
    left, right = smooth[..., 1:-1, :-2], smooth[..., 1:-1, 2:]
    up, down = smooth[..., :-2, 1:-1], smooth[..., 2:, 1:-1]
    gradient = (0.5 * sigma_px) * torch.sqrt((right - left) ** 2 + (down - up) ** 2)
    laplacian = (sigma_px**2) * (left + right + up + down - 4 * centre).abs()
    return torch.cat([centre, gradient, laplacian])
