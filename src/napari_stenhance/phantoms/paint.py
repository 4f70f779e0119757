"""Paint a phantom: stains absorb light, a scanner blurs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import expit

from napari_stenhance.phantoms.anatomy import (
    ADIPOSE,
    GLASS,
    IMMUNE,
    NECROSIS,
    STROMA,
    TUMOUR,
    Anatomy,
    domain_of,
)
from napari_stenhance.phantoms.cells import PhantomNuclei, fat_cells
from napari_stenhance.phantoms.noise import generator, white
from napari_stenhance.phantoms.nuclei import draw_nuclei
from napari_stenhance.phantoms.window import Window

Ground = tuple[tuple[NDArray[np.floating], NDArray[np.floating]], ...]
"""Haematoxylin and eosin between the nuclei, of one or more compartments."""

_HALO_PX = 40
_FIBRES = 4096
_FIBRES_PER_UNIT = 70.0
_SENSOR_NOISE = 1.2
_SCANNER_UM = 0.38


class Dyes(NamedTuple):
    """What the stain of a slide looks like."""

    haematoxylin: NDArray[np.float32]
    eosin: NDArray[np.float32]
    strength: tuple[float, float]
    glass: NDArray[np.float32]

    @classmethod
    def draw(cls, seed: int) -> Dyes:
        """Draw colours and strengths as they vary from one staining to the next."""
        draw = generator(seed, "dyes")
        # Optical densities of red, green, blue.
        haematoxylin = np.array([0.70, 0.62, 0.33]) + draw.normal(0, 0.03, 3)
        eosin = np.array([0.22, 0.86, 0.44]) + draw.normal(0, 0.035, 3)
        strength = np.exp(draw.normal(0, 0.13, 2))
        return cls(
            (haematoxylin / np.linalg.norm(haematoxylin)).astype(np.float32),
            (eosin / np.linalg.norm(eosin)).astype(np.float32),
            (float(strength[0]), float(strength[1])),
            (np.array([245, 243, 245]) + draw.normal(0, 1.5, 3)).astype(np.float32),
        )


@dataclass(frozen=True)
class Painter:
    """Paints any window of a phantom's slide; a pixel does not depend on the window.

    Attributes
    ----------
    anatomy : Anatomy
    cells : PhantomNuclei
    mpp : float
        Micrometres per pixel.
    """

    anatomy: Anatomy
    cells: PhantomNuclei
    mpp: float

    @cached_property
    def dyes(self) -> Dyes:
        """The stain of this slide."""
        return Dyes.draw(self.anatomy.seed)

    @cached_property
    def _fat_cells(self) -> cKDTree:
        return cKDTree(fat_cells(self.anatomy))

    @cached_property
    def _tumour_cells(self) -> cKDTree:
        return cKDTree(self.cells.xy_um[self.cells.domain == TUMOUR])

    @cached_property
    def _fibres(self) -> NDArray[np.float32]:
        """A line of noise, as long as the slide has fibres side by side."""
        draw = generator(self.anatomy.seed, "fibres")
        fine = draw.standard_normal(_FIBRES)
        line = ndimage.gaussian_filter1d(fine, 1.0, mode="wrap") / 0.53
        line += (
            1.2 * ndimage.gaussian_filter1d(draw.standard_normal(_FIBRES), 5, mode="wrap") / 0.24
        )
        return (line / line.std()).astype(np.float32)

    def paint(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Paint a window of the slide, in pixels: (rows, columns, 3)."""
        seed, dyes = self.anatomy.seed, self.dyes
        wide = (slice(s.start - _HALO_PX, s.stop + _HALO_PX) for s in (rows, columns))
        stains = self._stains(Window(seed, self.mpp, *wide))
        core = (slice(_HALO_PX, -_HALO_PX), slice(_HALO_PX, -_HALO_PX))
        h, e = (
            ndimage.gaussian_filter(stain, _SCANNER_UM / self.mpp)[core] * np.float32(strength)
            for stain, strength in zip(stains, dyes.strength, strict=True)
        )
        pixels = np.empty((*h.shape, 3), np.uint8)
        for band in range(3):
            density = h * dyes.haematoxylin[band] + e * dyes.eosin[band]
            light = dyes.glass[band] * np.exp(-np.float32(np.log(10)) * density)
            light += _SENSOR_NOISE * white(seed, f"sensor {band}", rows, columns)
            pixels[..., band] = np.clip(np.rint(light), 0, 255)
        return pixels

    def _stains(self, w: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the amounts of haematoxylin and eosin in a window."""
        a = self.anatomy
        rough = np.float32(0.05) * w.wide
        domain = domain_of(
            w.of(a.tissue) + 0.002 * w.fine,
            w.of(a.necrosis) + rough,
            w.of(a.tumour) + rough,
            w.of(a.immune) + rough,
            w.of(a.adipose),
        )
        haematoxylin, eosin = (np.zeros(w.shape, np.float32) for _ in range(2))
        for compartments, ground in (
            ((STROMA, IMMUNE), self._stroma),
            ((TUMOUR,), self._epithelium),
            ((NECROSIS,), self._necrosis),
            ((ADIPOSE,), self._fat),
        ):
            if np.isin(domain, compartments).any():
                for number, (h, e) in zip(compartments, ground(w), strict=True):
                    here = domain == number
                    haematoxylin[here], eosin[here] = h[here], e[here]
        lumen = w.of(a.lumen) + 0.06 * w.fine > 0
        haematoxylin[lumen], eosin[lumen] = 0.004, 0.012
        np.maximum(haematoxylin, 0, out=haematoxylin)
        covered = draw_nuclei(self.cells, w, haematoxylin)
        # A nucleus holds little eosin.
        eosin *= 1 - 0.45 * covered
        thickness = 1 + 0.09 * w.of(a.mottle)
        haematoxylin *= thickness
        eosin *= thickness
        glass = domain == GLASS
        haematoxylin[glass], eosin[glass] = 0.002, 0.004
        return haematoxylin, eosin

    def _stroma(self, w: Window) -> Ground:
        """Collagen with clefts between its bundles; in immune aggregates, less of it."""
        line = w.of(self.anatomy.fibre) * _FIBRES_PER_UNIT + 1.3 * w.wide + 0.5 * w.fine
        line += _FIBRES / 2
        low = line.astype(np.int32)
        part = line - low
        fibres = self._fibres
        collagen = fibres[low % _FIBRES] * (1 - part) + fibres[(low + 1) % _FIBRES] * part
        patch = 0.5 + 0.5 * np.tanh(w.of(self.anatomy.mottle) + 0.3 * w.wide)
        eosin = 0.11 + 0.12 * patch + 0.04 * collagen + 0.025 * w.fine + 0.012 * w.grain
        eosin *= expit(5 * (collagen + 1.8 + 0.6 * w.wide + patch))
        stroma = 0.06 - 0.035 * patch + 0.015 * w.fine, np.maximum(eosin, 0.02)
        return stroma, (0.08 + 0.02 * w.fine, 0.02 + 0.7 * eosin)

    def _epithelium(self, w: Window) -> Ground:
        """Cytoplasm, paler at the borders of cells; light falls through where cells lie apart."""
        border, reach = w.borders(self._tumour_cells)
        cytoplasm = 0.15 + 0.035 * w.fine + 0.02 * w.grain
        cytoplasm -= 0.05 * np.exp(-((border / 0.8) ** 2))
        cytoplasm *= expit((10.0 + 1.5 * w.fine - reach) / 0.6)
        return ((0.8 * cytoplasm, np.maximum(cytoplasm, 0.015)),)

    def _necrosis(self, w: Window) -> Ground:
        """Debris."""
        haematoxylin = 0.08 + 0.03 * w.fine + 0.03 * w.grain
        return ((haematoxylin, 0.24 + 0.05 * w.fine + 0.05 * w.grain + 0.03 * w.wide),)

    def _fat(self, w: Window) -> Ground:
        """Membranes of cells that are empty otherwise."""
        border, _ = w.borders(self._fat_cells)
        membrane = np.exp(-((np.maximum(border - 0.7 - 0.5 * w.wide, 0) / 0.9) ** 2))
        return ((0.03 * membrane, 0.012 + 0.24 * membrane),)
