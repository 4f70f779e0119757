"""The cells of a phantom: where they lie, of what type they are, and how their nuclei look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit

from napari_stenhance.phantoms.anatomy import (
    ADIPOSE,
    DOMAINS,
    IMMUNE,
    NECROSIS,
    STROMA,
    TUMOUR,
    Anatomy,
)
from napari_stenhance.phantoms.genes import CELL_TYPES
from napari_stenhance.phantoms.noise import generator

HARMONICS = (2, 3, 4)
OUTLINE_POINTS = 16
RIM_UM = 1.3
_CYCLING, _T_CELL, _B_CELL = (CELL_TYPES.index(t) for t in ("cycling tumour", "T cell", "B cell"))
_ALONG_FIBRES = tuple(CELL_TYPES.index(t) for t in ("fibroblast", "endothelial", "adipocyte"))
_FAT_CELL_UM = 62.0

_LEAST_DISTANCE_UM = 4.6
# How far a cell lies from its place in the lattice, in distances between neighbours.
_JITTER = 0.3
# Distance between neighbouring cells in each compartment, in micrometres.
_SPACING_UM = {TUMOUR: 11.0, STROMA: 17.0, IMMUNE: 8.6, ADIPOSE: 40.0, NECROSIS: 17.0}
_ADIPOSE_PART = list(_SPACING_UM).index(ADIPOSE)
# Shares of the cell types, in the order of CELL_TYPES.
MIX = {
    TUMOUR: (0.74, 0.13, 0.03, 0.02, 0.05, 0.01, 0.02, 0.00),
    STROMA: (0.02, 0.00, 0.60, 0.17, 0.09, 0.03, 0.07, 0.02),
    IMMUNE: (0.01, 0.00, 0.05, 0.03, 0.47, 0.39, 0.05, 0.00),
    ADIPOSE: (0.00, 0.00, 0.08, 0.14, 0.03, 0.01, 0.09, 0.65),
    NECROSIS: (0.44, 0.00, 0.02, 0.01, 0.10, 0.02, 0.41, 0.00),
}


class Look(NamedTuple):
    """How the nuclei of a cell type look: mean and standard deviation."""

    area_um2: tuple[float, float]
    aspect: tuple[float, float]
    stain: tuple[float, float]
    bumps: float
    chromatin: float


# Aspect: long over short axis. Stain: optical density of haematoxylin. Chromatin: its contrast.
_LOOKS = (
    Look((58, 14), (1.28, 0.17), (0.64, 0.12), 0.07, 0.30),
    Look((78, 20), (1.25, 0.16), (0.82, 0.13), 0.10, 0.24),
    Look((36, 9), (2.70, 0.60), (0.62, 0.12), 0.04, 0.16),
    Look((29, 8), (3.10, 0.70), (0.74, 0.12), 0.03, 0.12),
    Look((28, 5), (1.13, 0.09), (0.94, 0.10), 0.03, 0.14),
    Look((35, 6), (1.12, 0.09), (0.86, 0.11), 0.03, 0.20),
    Look((46, 11), (1.55, 0.28), (0.50, 0.11), 0.10, 0.24),
    Look((25, 6), (2.60, 0.50), (0.68, 0.12), 0.03, 0.10),
)


@dataclass(frozen=True)
class PhantomNuclei:
    """All cells, ordered by row of the slide.

    Attributes
    ----------
    xy_um : ndarray of float64, shape (n, 2)
        Centres, (x, y) in micrometres from the slide's corner.
    kind, domain : ndarray of uint8, shape (n,)
        Numbers into `CELL_TYPES` and `DOMAINS`.
    area_um2, aspect, stain : ndarray of float32, shape (n,)
        Of the nucleus: area, long over short axis, optical density of haematoxylin.
    angle : ndarray of float32, shape (n,)
        Of the long axis, in radians from x towards y.
    bumps : ndarray of complex64, shape (n, 3)
        Amplitude and phase of what the radius adds to an ellipse, for each of `HARMONICS`.
    chromatin, blur_um : ndarray of float32, shape (n,)
        Contrast of the chromatin; how far the nucleus lies out of focus.
    """

    xy_um: NDArray[np.float64]
    kind: NDArray[np.uint8]
    domain: NDArray[np.uint8]
    area_um2: NDArray[np.float32]
    aspect: NDArray[np.float32]
    stain: NDArray[np.float32]
    angle: NDArray[np.float32]
    bumps: NDArray[np.complex64]
    chromatin: NDArray[np.float32]
    blur_um: NDArray[np.float32]

    @classmethod
    def grow(cls, anatomy: Anatomy) -> PhantomNuclei:
        """Place cells in every compartment and draw their types and nuclei."""
        draw = generator(anatomy.seed, "cells")
        xy, angle = _places(anatomy, draw)
        order = np.lexsort((xy[:, 0], xy[:, 1]))
        xy, angle = xy[order], angle[order]
        domain = anatomy.domain_at(xy)
        odds = _odds(anatomy, xy, domain).cumsum(axis=1)
        kind = (draw.random((len(xy), 1)) * odds[:, -1:] > odds).sum(axis=1).astype(np.uint8)

        def drawn(name: str, least: float) -> NDArray[np.float32]:
            mean, sd = np.array([getattr(look, name) for look in _LOOKS])[kind].T
            return np.maximum(draw.normal(mean, sd), least).astype(np.float32)

        area, aspect, stain = drawn("area_um2", 12), drawn("aspect", 1), drawn("stain", 0.25)
        # Dying nuclei shrink; some are dense, most are pale.
        dying = domain == NECROSIS
        area[dying] *= 0.45
        stain[dying] *= np.where(draw.random(int(dying.sum())) < 0.4, 1.1, 0.45)
        free = ~np.isin(kind, _ALONG_FIBRES) | ~np.isin(domain, (STROMA, ADIPOSE))
        angle[free] = draw.uniform(0, np.pi, int(free.sum()))
        bumps = draw.normal(0, 1, (len(xy), len(HARMONICS), 2)) @ np.array([1, 1j])
        bumps *= np.array([look.bumps for look in _LOOKS])[kind][:, None] / 2
        return cls(
            xy_um=xy,
            kind=kind,
            domain=domain,
            area_um2=area,
            aspect=aspect,
            stain=stain,
            angle=angle.astype(np.float32),
            bumps=bumps.astype(np.complex64),
            chromatin=np.array([look.chromatin for look in _LOOKS], np.float32)[kind],
            blur_um=np.minimum(draw.gamma(2, 0.2, len(xy)), 1.0).astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.xy_um)

    @cached_property
    def state(self) -> NDArray[np.int64]:
        """Cell type and compartment as one number, as `Program` counts them."""
        return self.kind.astype(np.int64) * len(DOMAINS) + self.domain

    @cached_property
    def axes_um(self) -> NDArray[np.float32]:
        """Long and short half axis of each nucleus, shape (n, 2)."""
        short = np.sqrt(self.area_um2 / (np.pi * self.aspect))
        return np.stack([short * self.aspect, short], axis=1)

    @cached_property
    def reach_um(self) -> NDArray[np.float32]:
        """How far the picture of each nucleus reaches from its centre, its blurred rim included."""
        long, short = self.axes_um.T
        return long * (1 + np.abs(self.bumps).sum(axis=1)) * (1 + RIM_UM / short)

    def within(self, low_um: float, high_um: float) -> slice:
        """Return which cells have their y between two bounds, in micrometres."""
        low, high = np.searchsorted(self.xy_um[:, 1], (low_um, high_um))
        return slice(int(low), int(high))

    def outlines_um(self, some: slice = slice(None)) -> NDArray[np.float32]:
        """Return the outlines of nuclei, shape (n, 16, 2): (x, y) from the slide's corner."""
        theta = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False, dtype=np.float32)
        radius = radius_at(theta[None], self.bumps[some])
        along = radius * np.cos(theta) * self.axes_um[some, :1]
        across = radius * np.sin(theta) * self.axes_um[some, 1:]
        cos, sin = (f(self.angle[some])[:, None] for f in (np.cos, np.sin))
        xy = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
        return (xy + self.xy_um[some, None]).astype(np.float32)


def radius_at(theta: NDArray[np.float32], bumps: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the radius of outlines, relative to their ellipse, at angles (n or 1, points)."""
    radius = np.ones(np.broadcast_shapes(theta.shape, (len(bumps), 1)), np.float32)
    for n, harmonic in enumerate(HARMONICS):
        amplitude, phase = np.abs(bumps[:, n, None]), np.angle(bumps[:, n, None])
        radius += amplitude * np.cos(harmonic * theta + phase)
    return radius


def _lattice(size_um: float, spacing: float, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return a hexagonal lattice over the slide whose points are shaken."""
    x = np.arange(0, size_um, spacing)
    y = np.arange(0, size_um, spacing * np.sqrt(3) / 2)
    xy = np.stack(np.meshgrid(x, y), axis=-1)
    xy[1::2, :, 0] += spacing / 2
    xy = xy.reshape(-1, 2)
    return np.asarray(xy + draw.normal(0, _JITTER * spacing, xy.shape))


def _places(
    anatomy: Anatomy, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place cells: each compartment has its own spacing, and no two cells overlap."""
    parts, angles = [], []
    for compartment, spacing in _SPACING_UM.items():
        xy = _lattice(anatomy.size_um, spacing, draw)
        if compartment == TUMOUR:
            # Nests thin out in places.
            xy = xy[draw.random(len(xy)) < 0.84 - 0.1 * anatomy.at(anatomy.mottle, xy)]
        elif compartment == STROMA:
            density = np.clip(0.7 + 0.3 * anatomy.at(anatomy.mottle, xy), 0.35, 1)
            xy = xy[draw.random(len(xy)) < density]
        here = (anatomy.domain_at(xy) == compartment) & (anatomy.at(anatomy.lumen, xy) < -0.05)
        here &= (xy > 0).all(axis=1) & (xy < anatomy.size_um).all(axis=1)
        xy = xy[here]
        angle = anatomy.at(anatomy.fibre_angle, xy) + draw.normal(0, 0.25, len(xy))
        parts.append(xy)
        angles.append(angle)
    fat = fat_cells(anatomy)
    on_fat = parts[_ADIPOSE_PART]
    if len(fat) > 1 and len(on_fat):
        # In fat, nuclei lie flat against the membranes.
        _, pair = cKDTree(fat).query(on_fat, k=2)
        first, second = fat[pair[:, 0]], fat[pair[:, 1]]
        across = second - first
        length = np.linalg.norm(across, axis=1, keepdims=True)
        unit = across / np.maximum(length, 1e-9)
        beyond = ((on_fat - (first + second) / 2) * unit).sum(axis=1, keepdims=True)
        parts[_ADIPOSE_PART] = on_fat - beyond * unit
        angles[_ADIPOSE_PART] = np.arctan2(unit[:, 1], unit[:, 0]) + np.pi / 2
    xy, angle = np.concatenate(parts), np.concatenate(angles)
    close = cKDTree(xy).query_pairs(_LEAST_DISTANCE_UM, output_type="ndarray")
    keep = np.ones(len(xy), bool)
    keep[close.max(axis=1)] = False
    keep &= (xy > 0).all(axis=1) & (xy < anatomy.size_um).all(axis=1)
    return xy[keep], angle[keep]


def _odds(
    anatomy: Anatomy, xy: NDArray[np.float64], domain: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return how likely each cell type is at each place, up to a factor: (places, types).

    Nests grow, and T cells enter them, at their rim; B cells gather in the middle of aggregates.
    """
    shares = np.zeros((len(DOMAINS), len(CELL_TYPES)))
    for compartment, mix in MIX.items():
        shares[compartment] = mix
    odds = shares[domain]
    tumour, immune = domain == TUMOUR, domain == IMMUNE
    rim = np.exp(-anatomy.at(anatomy.tumour, xy[tumour]) / 0.45)
    odds[tumour, _CYCLING] *= 0.15 + 2 * rim
    odds[tumour, _T_CELL] *= 0.3 + 1.6 * rim
    middle = expit((anatomy.at(anatomy.immune, xy[immune]) - 0.4) / 0.1)
    odds[immune, _B_CELL] *= 0.2 + 1.6 * middle
    odds[immune, _T_CELL] *= 1.6 - 1.3 * middle
    return odds


def fat_cells(anatomy: Anatomy) -> NDArray[np.float64]:
    """Return the centres of fat cells, whose membranes lie half-way between neighbours."""
    xy = _lattice(anatomy.size_um, _FAT_CELL_UM, generator(anatomy.seed, "fat cells"))
    return xy[anatomy.at(anatomy.adipose, xy) > -1]
