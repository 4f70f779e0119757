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
_MAPS = 48
_SIDE_PX = 8
_FILTER_REACH_PX = 36
# Superpixels along the side of a block: its maps stay in the processor's cache.
_BLOCK = 64
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
        finest = f"{self.sigmas_um[0]:g} µm"
        doubt = f"Stain features finer than {finest} were replaced by those of {finest}"
        return (f"{doubt}: the slide has only {self.slide_mpp:.3g} µm per pixel.",)

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
    """Filter (…, y, x) with one symmetric kernel along both axes; the border is cut off.

    Sums of shifted views: several times faster than a convolution of single channels, and a value
    does not depend on where in the image it lies, to the last bit.
    """
    reach = len(kernel) // 2
    for axis in (-2, -1):
        size = image.shape[axis] - 2 * reach
        total = image.narrow(axis, reach, size) * float(kernel[reach])
        for n in range(1, reach + 1):
            pair = image.narrow(axis, reach - n, size) + image.narrow(axis, reach + n, size)
            total.add_(pair, alpha=float(kernel[reach + n]))
        image = total
    return image


def _encode(
    pixels: NDArray[np.uint8],
    density_of: NDArray[np.float32],
    sigmas_um: tuple[float, ...],
    device: torch.device | None,
) -> torch.Tensor:
    import torch

    # 116 µm around the core = 80 µm, the windows' reach, and 36 µm, the filters'.
    edge, inset = MEAN_WINDOW // 2, (MEAN_WINDOW - SPREAD_WINDOW) // 2
    rows, columns = ((n - 2 * _FILTER_REACH_PX) // _SIDE_PX for n in pixels.shape[:2])
    mean = torch.empty(_MAPS, rows, columns, device=device)
    square = torch.empty_like(mean)
    for top in range(0, rows, _BLOCK):
        for left in range(0, columns, _BLOCK):
            bottom, right = min(top + _BLOCK, rows), min(left + _BLOCK, columns)
            window = pixels[
                top * _SIDE_PX : bottom * _SIDE_PX + 2 * _FILTER_REACH_PX,
                left * _SIDE_PX : right * _SIDE_PX + 2 * _FILTER_REACH_PX,
            ]
            first, second = _moments(window, density_of, sigmas_um, device)
            mean[:, top:bottom, left:right] = first
            square[:, top:bottom, left:right] = second
    box = np.full(SPREAD_WINDOW, 1 / SPREAD_WINDOW)
    near = _filter(mean[..., inset:-inset, inset:-inset], box)
    spread = (_filter(square[..., inset:-inset, inset:-inset], box) - near * near).clamp_min(0)
    wide = _filter(mean, np.full(MEAN_WINDOW, 1 / MEAN_WINDOW))
    here = mean[..., edge:-edge, edge:-edge]
    return torch.stack([here, spread.sqrt(), wide], dim=1).flatten(0, 1).permute(1, 2, 0)


def _moments(
    pixels: NDArray[np.uint8],
    density_of: NDArray[np.float32],
    sigmas_um: tuple[float, ...],
    device: torch.device | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and mean square over superpixels of the 48 maps, each (48, rows, columns)."""
    import torch
    from torch.nn.functional import avg_pool2d

    density = torch.from_numpy(density_of[pixels]).to(device or "cpu")
    amounts = (density.flatten(0, 1) @ density.new_tensor(stain_matrix())).T.contiguous()
    images = {1: amounts.unflatten(1, pixels.shape[:2])}
    for um in (2, 4):
        images[um] = avg_pool2d(images[um // 2], 2)
    done: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}
    for sigma in set(sigmas_um):
        um = _SIGMA_UM_PX[sigma]
        side = _SIDE_PX // um
        cut = _FILTER_REACH_PX // um - int(_TRUNCATE * sigma / um) - 1
        pooled = []
        for stain in images[um]:
            maps = _filter_bank(stain, sigma / um)
            maps = maps[:, cut : maps.shape[1] - cut, cut : maps.shape[2] - cut]
            pooled.append((avg_pool2d(maps, side), avg_pool2d(maps * maps, side)))
        first, second = (
            torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*pooled, strict=True)
        )
        done[sigma] = first, second
    return (
        torch.cat([done[sigma][0] for sigma in sigmas_um]),
        torch.cat([done[sigma][1] for sigma in sigmas_um]),
    )


def _filter_bank(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Return Gaussian, gradient magnitude and |LoG| of one map, scale-normalised: (3, y, x)."""
    import torch

    smooth = _filter(image, _gaussian(sigma_px))
    centre = smooth[1:-1, 1:-1]
    left, right = smooth[1:-1, :-2], smooth[1:-1, 2:]
    up, down = smooth[:-2, 1:-1], smooth[2:, 1:-1]
    bank = torch.empty(3, *centre.shape, device=image.device)
    bank[0] = centre
    torch.hypot(right - left, down - up, out=bank[1]).mul_(0.5 * sigma_px)
    torch.sub(left + right + up + down, centre, alpha=4, out=bank[2]).abs_().mul_(sigma_px**2)
    return bank
