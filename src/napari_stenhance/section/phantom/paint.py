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

from napari_stenhance.section.phantom.anatomy import (
    ADIPOSE,
    GLASS,
    IMMUNE,
    NECROSIS,
    PITCH_UM,
    STROMA,
    TUMOUR,
    Anatomy,
    domain_of,
)
from napari_stenhance.section.phantom.cells import RIM_UM, Cells, fat_cells, radius_at
from napari_stenhance.section.phantom.noise import enlarge, generator, white

_HALO_PX = 40
_COARSE = 4
_NUCLEI_AT_ONCE = 96
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
    cells : Cells
    mpp : float
        Micrometres per pixel.
    """

    anatomy: Anatomy
    cells: Cells
    mpp: float

    @cached_property
    def dyes(self) -> Dyes:
        """The stain of this slide."""
        return Dyes.draw(self.anatomy.seed)

    @cached_property
    def _fat(self) -> cKDTree | None:
        centres = fat_cells(self.anatomy)
        return cKDTree(centres) if len(centres) > 1 else None

    @cached_property
    def _epithelium(self) -> cKDTree | None:
        centres = self.cells.xy_um[self.cells.domain == TUMOUR]
        return cKDTree(centres) if len(centres) > 1 else None

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
        wide_rows, wide_columns = (
            slice(s.start - _HALO_PX, s.stop + _HALO_PX) for s in (rows, columns)
        )
        haematoxylin, eosin = self._stains(wide_rows, wide_columns)
        blur = _SCANNER_UM / self.mpp
        core = (slice(_HALO_PX, -_HALO_PX), slice(_HALO_PX, -_HALO_PX))
        h, e = (ndimage.gaussian_filter(s, blur)[core] for s in (haematoxylin, eosin))
        h *= self.dyes.strength[0]
        e *= self.dyes.strength[1]
        pixels = np.empty((*h.shape, 3), np.uint8)
        for band in range(3):
            density = h * self.dyes.haematoxylin[band] + e * self.dyes.eosin[band]
            light = self.dyes.glass[band] * np.exp(-np.float32(np.log(10)) * density)
            light += _SENSOR_NOISE * white(self.anatomy.seed, f"sensor {band}", rows, columns)
            pixels[..., band] = np.clip(np.rint(light), 0, 255)
        return pixels

    def _stains(
        self, rows: slice, columns: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the amounts of haematoxylin and eosin in a window."""
        a, seed, mpp = self.anatomy, self.anatomy.seed, self.mpp
        centre = [np.arange(s.start, s.stop) + 0.5 for s in (rows, columns)]
        # What is smooth over several micrometres is drawn on a raster of 2 µm.
        coarse = [slice(s.start // _COARSE - 8, -(-s.stop // _COARSE) + 8) for s in (rows, columns)]
        on_coarse = [c / _COARSE - 0.5 - s.start for c, s in zip(centre, coarse, strict=True)]

        def enlarged(field: NDArray[np.float32]) -> NDArray[np.float32]:
            return enlarge(field, *(c * mpp / PITCH_UM - 0.5 for c in centre))

        def cloud(name: str, um: float) -> NDArray[np.float32]:
            sigma = um / (_COARSE * mpp)
            field = white(seed, name, coarse[0], coarse[1])
            field = ndimage.gaussian_filter(field, sigma, truncate=3)
            return enlarge(field * np.float32(2 * np.sqrt(np.pi) * sigma), *on_coarse)

        grain = ndimage.gaussian_filter(white(seed, "grain", rows, columns), 0.5 / mpp) / 0.6
        cloud_fine, cloud_wide = cloud("cloud 3", 3.0), cloud("cloud 5", 5.0)
        roughness = np.float32(0.05) * cloud_wide
        tissue = enlarged(a.tissue) + 0.002 * cloud_fine
        domain = domain_of(
            tissue,
            enlarged(a.necrosis) + roughness,
            enlarged(a.tumour) + roughness,
            enlarged(a.immune) + roughness,
            enlarged(a.adipose),
        )
        eosin = np.zeros(domain.shape, np.float32)
        haematoxylin = np.zeros(domain.shape, np.float32)
        fibre = enlarged(a.fibre)
        if (domain == STROMA).any() or (domain == IMMUNE).any():
            line = fibre * _FIBRES_PER_UNIT + 1.3 * cloud_wide + 0.5 * cloud_fine + _FIBRES / 2
            index = line.astype(np.int32)
            part = line - index
            table = self._fibres
            collagen = table[index % _FIBRES] * (1 - part) + table[(index + 1) % _FIBRES] * part
            patch = 0.5 + 0.5 * np.tanh(enlarged(a.mottle) + 0.3 * cloud_wide)
            stroma = domain == STROMA
            amount = 0.11 + 0.12 * patch + 0.04 * collagen + 0.025 * cloud_fine + 0.012 * grain
            # Clefts between bundles.
            amount *= expit(5 * (collagen + 1.8 + 0.6 * cloud_wide + patch))
            eosin[stroma] = np.maximum(amount, 0.02)[stroma]
            haematoxylin[stroma] = (0.06 - 0.035 * patch + 0.015 * cloud_fine)[stroma]
            immune = domain == IMMUNE
            eosin[immune] = (0.02 + 0.7 * amount)[immune]
            haematoxylin[immune] = (0.08 + 0.02 * cloud_fine)[immune]
        tumour = domain == TUMOUR
        if tumour.any() and self._epithelium is not None:
            border, reach = self._borders(self._epithelium, coarse, on_coarse)
            cytoplasm = 0.15 + 0.035 * cloud_fine + 0.02 * grain
            cytoplasm -= 0.05 * np.exp(-((border / 0.8) ** 2))
            # Where cells lie apart, light falls through between them.
            cytoplasm *= expit((10.0 + 1.5 * cloud_fine - reach) / 0.6)
            eosin[tumour] = np.maximum(cytoplasm, 0.015)[tumour]
            haematoxylin[tumour] = (0.8 * cytoplasm)[tumour]
        dead = domain == NECROSIS
        if dead.any():
            eosin[dead] = (0.24 + 0.05 * cloud_fine + 0.05 * grain + 0.03 * cloud_wide)[dead]
            haematoxylin[dead] = (0.08 + 0.03 * cloud_fine + 0.03 * grain)[dead]
        fat = domain == ADIPOSE
        if fat.any() and self._fat is not None:
            border, _ = self._borders(self._fat, coarse, on_coarse)
            membrane = np.exp(-((np.maximum(border - 0.7 - 0.5 * cloud_wide, 0) / 0.9) ** 2))
            eosin[fat] = (0.012 + 0.24 * membrane)[fat]
            haematoxylin[fat] = (0.03 * membrane)[fat]
        lumen = enlarged(a.lumen) + 0.06 * cloud_fine > 0
        eosin[lumen] = 0.012
        haematoxylin[lumen] = 0.004
        glass = domain == GLASS
        np.maximum(haematoxylin, 0, out=haematoxylin)
        covered = self._stamp_nuclei(haematoxylin, grain, rows, columns)
        # A nucleus holds little eosin.
        eosin *= 1 - 0.45 * covered
        thickness = 1 + 0.09 * enlarged(a.mottle)
        eosin *= thickness
        haematoxylin *= thickness
        eosin[glass] = 0.004
        haematoxylin[glass] = 0.002
        return haematoxylin, eosin

    def _borders(
        self, centres: cKDTree, coarse: list[slice], on_coarse: list[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return how far each pixel lies from the border between two cells, and from a centre."""
        step_um = _COARSE * self.mpp
        y, x = ((np.arange(s.start, s.stop) + 0.5) * step_um for s in coarse)
        xy = np.stack(np.meshgrid(x, y), axis=-1)
        distance = centres.query(xy, k=2)[0].astype(np.float32)
        border = (distance[..., 1] - distance[..., 0]) / 2
        return enlarge(border, *on_coarse), enlarge(distance[..., 0], *on_coarse)

    def _stamp_nuclei(
        self,
        haematoxylin: NDArray[np.float32],
        grain: NDArray[np.float32],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """Draw the nuclei that a window shows, the darker one in front; return what they cover."""
        cells, mpp = self.cells, self.mpp
        margin = float(cells.reach_um.max(initial=0)) + mpp
        span = cells.within(rows.start * mpp - margin, rows.stop * mpp + margin)
        x = cells.xy_um[span, 0]
        near = (x > columns.start * mpp - margin) & (x < columns.stop * mpp + margin)
        chosen = np.flatnonzero(near) + span.start
        # Alike sizes together: they share the size of a stamp.
        chosen = chosen[np.argsort(cells.reach_um[chosen], kind="stable")]
        covered = np.zeros_like(haematoxylin)
        for low in range(0, len(chosen), _NUCLEI_AT_ONCE):
            some = chosen[low : low + _NUCLEI_AT_ONCE]
            pixel, inside, amount = self._stamp(some, grain, rows, columns)
            np.maximum.at(haematoxylin.reshape(-1), pixel, amount)
            np.maximum.at(covered.reshape(-1), pixel, inside)
        return covered

    def _stamp(
        self, which: NDArray[np.intp], grain: NDArray[np.float32], rows: slice, columns: slice
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
        """Return which pixels of a window some nuclei cover, how far, and with how much stain."""
        cells, mpp = self.cells, np.float32(self.mpp)
        axes = cells.axes_um[which]
        reach = int(np.ceil(cells.reach_um[which].max() / mpp))
        around = np.arange(-reach, reach + 1)
        at = cells.xy_um[which] / self.mpp - 0.5
        middle = np.rint(at).astype(np.intp)
        off = (middle - at).astype(np.float32)
        dx = (around[None, None, :] + off[:, 0, None, None]) * mpp
        dy = (around[None, :, None] + off[:, 1, None, None]) * mpp
        cos, sin = (f(cells.angle[which])[:, None, None] for f in (np.cos, np.sin))
        u = (dx * cos + dy * sin) / axes[:, :1, None]
        v = (dy * cos - dx * sin) / axes[:, 1:, None]
        y = middle[:, 1, None, None] - rows.start + around[None, :, None]
        x = middle[:, 0, None, None] - columns.start + around[None, None, :]
        height, width = grain.shape
        number, pixel_y, pixel_x = np.nonzero((y >= 0) & (x >= 0) & (y < height) & (x < width))
        u, v = u[number, pixel_y, pixel_x], v[number, pixel_y, pixel_x]
        outline = radius_at(np.arctan2(v, u)[:, None], cells.bumps[which][number])[:, 0]
        # Depth below the outline in micrometres, measured along the short axis.
        depth = (1 - np.hypot(u, v) / outline) * axes[number, 1]
        seen = depth > -RIM_UM
        number, depth = number[seen], depth[seen]
        y, x = y[number, pixel_y[seen], 0], x[number, 0, pixel_x[seen]]
        pixel = y * width + x
        inside = expit(2.2 * depth / (np.float32(0.3) + cells.blur_um[which][number]))
        # Chromatin clumps, and gathers under the membrane.
        rim = np.exp(-((np.maximum(depth, 0) / np.float32(0.7)) ** 2))
        clumps = 1.3 * np.tanh(grain.ravel()[pixel]) + 0.8 * rim - 0.4
        amount = inside * cells.stain[which][number] * (1 + cells.chromatin[which][number] * clumps)
        return pixel, inside.astype(np.float32), amount.astype(np.float32)
