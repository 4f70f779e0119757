"""One section laid over another, by outline and stain: turned and moved, never stretched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, optimize

from napari_stenhance.features.coarse import CoarseView
from napari_stenhance.scoring.displacement import Displacement

if TYPE_CHECKING:
    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_PITCH_UM, _SIDE_MOST, _COARSE_SIDE = 24.0, 512, 96
_SMOOTH_UM = 60.0
_COLOURS, _RED = (0, 1, 2), (0,)
_STEP_DEG, _STEP_PERCENT, _REFINED = 4, 5, 4
_APART_DEG, _APART_UM = 20.0, 500.0

# Of serial sections; of other pairs, and of what is dealt anew, the first is never so far ahead
# (docs/alignment.md).
_OVERLAP_LEAST, _R_LEAST, _AHEAD = 0.5, 0.2, 0.05


@dataclass(frozen=True, eq=False)
class RigidFit:
    """One way to lay a section over another.

    Attributes
    ----------
    way : Displacement
        From micrometres of the section to those of the other.
    turned_deg : float
        Clockwise as it is looked at, −180 … 180; after it was mirrored left to right, if it was.
    mirrored : bool
    moved_um : tuple of float
        How far, along (x, y), the middle of its tissue then moves.
    overlap : float
        Share that both have of the area that either covers.
    r : float
        Pearson r of the density of their stain there.
    scaled : float
        By how much it was made larger; 1 where the scale of the section is known.
    score : float
        What was sought, from −1 to 1: the mean of twice the shared area over the sum of both
        areas, and of the cosine of both densities, each less its mean, with 0 outside tissue.
    """

    way: Displacement
    turned_deg: float
    mirrored: bool
    moved_um: tuple[float, float]
    overlap: float
    r: float
    scaled: float
    score: float


@dataclass(frozen=True, eq=False)
class SectionAlignment:
    """How one section may lie over another.

    Attributes
    ----------
    mpp : float
        Micrometres per full-resolution pixel of the section: where no file says it, as it fits.
    is_fitted : bool
        Whether that scale is of the fit.
    fits : tuple of RigidFit
        Ways that are quite other, the best first; a mirrored one only where it is clearly better
        than all that are not.
    """

    mpp: float
    is_fitted: bool
    fits: tuple[RigidFit, ...]

    @property
    def best(self) -> RigidFit:
        """The best of them."""
        return self.fits[0]

    @property
    def ahead(self) -> float:
        """By how much the best fits better than the next that is quite another."""
        return self.best.score - max((fit.score for fit in self.fits[1:]), default=-1.0)

    @property
    def why_not(self) -> str:
        """Why it is not to be believed; empty where it is."""
        best = self.best
        if best.overlap < _OVERLAP_LEAST:
            return f"only {best.overlap:.0%} of the area that both cover is shared"
        if best.r < _R_LEAST:
            return f"the stain of both is not alike (r {best.r:.2f})"
        if self.ahead < _AHEAD:
            return f"it would fit about as well {self.fits[1].way.name}"
        return ""


def align_sections(
    reference: Section, section: Section, cache: Cache, job: Job
) -> SectionAlignment:
    """Find how to turn and move a section, and mirror it if that is clearly better, onto another.

    All turns are tried in steps of 4°, with all shifts at once, by Fourier transforms; the best
    that are quite other are then fitted closely. Spots and what they measured are not looked at.

    Parameters
    ----------
    reference, section : Section
        Each with a slide or a picture of the tissue. The reference has a scale; a slide without
        one is also scaled, first so that both cover the same area.
    cache : Cache
    job : Job

    Raises
    ------
    InputError
        If one of these is missing, or no tissue is found.
    """
    view = CoarseView.of_section(reference, _PITCH_UM, _SIDE_MOST, cache, job)
    is_fitted = section.mpp is None and section.slide is not None
    if is_fitted:
        section = _as_large(section, view, cache, job)
    other = CoarseView.of_section(section, _PITCH_UM, _SIDE_MOST, cache, job)
    pitch = max(view.grid.pitch_um, other.grid.pitch_um)
    # Nuclei glow, as a rule: of stains in glass, haematoxylin takes away red, and eosin hardly.
    nuclei = view.glows != other.glows
    fixed, moving = (
        TissueStain.of_view(one, pitch, _RED if nuclei and not one.glows else _COLOURS)
        for one in (view, other)
    )
    by = max(1, round(max(*fixed.tissue.shape, *moving.tissue.shape) / _COARSE_SIDE))
    found = _try_all(fixed.coarser(by), moving.coarser(by), section.name, job)
    fits = []
    with job.stage(f"Fitting {section.name} to {reference.name}", len(found)) as stage:
        for start in found:
            fits.append(_refined(fixed, moving, start, by, is_fitted=is_fitted))
            stage.advance()
    fits.sort(key=lambda fit: fit.score - _AHEAD * fit.mirrored, reverse=True)
    mpp = (section.mpp or 1.0) * fits[0].scaled
    return SectionAlignment(mpp, is_fitted, tuple(_quite_other(fits)))


def _as_large(section: Section, view: CoarseView, cache: Cache, job: Job) -> Section:
    """Give a slide without a scale that at which its tissue is as large as that of another."""
    slide = section.need_slide()
    area = view.tissue.sum() * view.grid.pitch_um**2
    for _ in range(2):
        # How large tissue is found depends somewhat on the scale.
        at = max(view.extent_um) / max(slide.shape) if section.mpp is None else section.mpp
        section = replace(section, mpp=at, doubts=())
        seen = CoarseView.of_section(section, _PITCH_UM, _SIDE_MOST, cache, job)
        larger = np.sqrt(area / (seen.tissue.sum() * seen.grid.pitch_um**2))
        section = replace(section, mpp=at * float(larger))
    return section


@dataclass(frozen=True, eq=False)
class TissueStain:
    """Where tissue is, and how dense its stain: cut out around the tissue.

    Attributes
    ----------
    tissue : ndarray of float32, shape (rows, columns)
        Share of each pixel that is tissue.
    density : ndarray of float32, shape (rows, columns)
        Smoothed optical density less its mean over the tissue; 0 outside.
    corner_um : tuple of float
        (x, y) of the centre of the first pixel.
    pitch_um : float
    """

    tissue: NDArray[np.float32]
    density: NDArray[np.float32]
    corner_um: tuple[float, float]
    pitch_um: float

    @classmethod
    def of_view(cls, view: CoarseView, pitch_um: float, channels: Sequence[int]) -> TissueStain:
        """Take it from some channels of a coarse view, at a pitch that is no finer than that."""
        raw = np.mean([view.density(channel) for channel in channels], axis=0, dtype=np.float32)
        zoom, own = view.grid.pitch_um / pitch_um, view.grid.pitch_um
        tissue = view.tissue.astype(np.float32)
        sigma = _SMOOTH_UM / own
        weight = np.maximum(ndimage.gaussian_filter(tissue, sigma), 1e-3)
        smooth = ndimage.gaussian_filter(raw, sigma) / weight
        density = (smooth - smooth[view.tissue].mean()) * tissue
        rows, columns = (np.flatnonzero(view.tissue.any(axis=axis)) for axis in (1, 0))
        cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        (x, y) = view.grid.centres_um(cut[0].start, cut[1].start)
        tissue, density = tissue[cut], density[cut]
        if zoom < 1:
            shape = np.maximum(np.ceil(np.array(tissue.shape) * zoom), 1).astype(int)
            scale = np.full(2, 1 / zoom)
            # Integers are centres of pixels, whose corners lie on each other.
            offset = np.full(2, (1 / zoom - 1) / 2)
            tissue, density = (
                ndimage.affine_transform(one, scale, offset, tuple(shape), order=1)
                for one in (tissue, density)
            )
            x, y = (float(v) + offset[0] * own for v in (x, y))
        return cls(tissue, density, (float(x), float(y)), pitch_um)

    def coarser(self, by: int) -> TissueStain:
        """Average squares of pixels."""
        rows, columns = (-(-n // by) for n in self.tissue.shape)
        wide = ((0, rows * by - self.tissue.shape[0]), (0, columns * by - self.tissue.shape[1]))

        def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
            blocks = np.pad(values, wide).reshape(rows, by, columns, by)
            averaged: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
            return averaged

        more = (by - 1) / 2 * self.pitch_um
        x, y = self.corner_um
        corner = x + more, y + more
        return TissueStain(mean(self.tissue), mean(self.density), corner, self.pitch_um * by)

    @property
    def middle(self) -> NDArray[np.float64]:
        """The (row, column) of the middle of the tissue."""
        return np.array(ndimage.center_of_mass(self.tissue))

    @property
    def middle_um(self) -> NDArray[np.float64]:
        """The (x, y) of the middle of the tissue in micrometres."""
        middle: NDArray[np.float64] = self.middle[::-1] * self.pitch_um + self.corner_um
        return middle


@dataclass(frozen=True)
class _Start:
    """A way that is to be fitted closely: where the middle of the tissue comes to lie."""

    mirrored: bool
    turned_deg: float
    x_um: float
    y_um: float
    score: float


def _turn(mirrored: bool, turned_deg: float) -> NDArray[np.float64]:
    """Return the matrix of (x, y): y points down, so that this turns clockwise on the screen."""
    angle = np.deg2rad(turned_deg)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return matrix @ np.diag([-1.0, 1.0]) if mirrored else matrix


def _try_all(fixed: TissueStain, moving: TissueStain, name: str, job: Job) -> list[_Start]:
    """Return the ways that score best of those that are quite other, at all shifts at once."""
    side = int(np.ceil(np.hypot(*moving.tissue.shape))) + 2
    shape = tuple(fft.next_fast_len(n + side, real=True) for n in fixed.tissue.shape)
    of_fixed = [fft.rfft2(one, shape) for one in (fixed.tissue, fixed.density)]
    areas = float(fixed.tissue.sum() + moving.tissue.sum())
    power = _power(fixed, moving)
    angles = range(0, 360, _STEP_DEG)
    found: list[_Start] = []
    with job.stage(f"Turning {name}", 2 * len(angles)) as stage:
        for mirrored in (False, True):
            for angle in angles:
                turned = _turned(moving, _turn(mirrored, angle), side)
                shared, like = (
                    fft.irfft2(one * np.conj(fft.rfft2(other, shape)), shape)
                    for one, other in zip(of_fixed, turned, strict=True)
                )
                score = shared / areas + like / (2 * power)
                row, column = np.unravel_index(np.argmax(score), shape)
                # Beyond the far edge of the reference it begins before the near one.
                at = [
                    int(n) if n < size else int(n) - whole
                    for n, size, whole in zip((row, column), fixed.tissue.shape, shape, strict=True)
                ]
                middle = (np.array(at) + (side - 1) / 2)[::-1] * fixed.pitch_um + fixed.corner_um
                x, y = (float(v) for v in middle)
                found.append(_Start(mirrored, angle, x, y, float(score.max())))
                stage.advance()
    found.sort(key=lambda one: one.score, reverse=True)
    kept: list[_Start] = []
    for mirrored in (False, True):
        few: list[_Start] = []
        for one in found:
            if one.mirrored == mirrored and len(few) < _REFINED and not _near_any(one, few):
                few.append(one)
        kept += few
    return kept


def _near_any(one: _Start, others: list[_Start]) -> bool:
    return any(
        _between_deg(one.turned_deg, other.turned_deg) <= _APART_DEG
        and np.hypot(one.x_um - other.x_um, one.y_um - other.y_um) <= _APART_UM
        for other in others
    )


def _between_deg(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def _power(fixed: TissueStain, moving: TissueStain) -> float:
    """Return what the product of both densities is at most."""
    squares = [float((one.density.astype(np.float64) ** 2).sum()) for one in (fixed, moving)]
    return max(float(np.sqrt(squares[0] * squares[1])), 1e-9)


def _turned(
    moving: TissueStain, turn: NDArray[np.float64], side: int
) -> Iterator[NDArray[np.float32]]:
    """Turn tissue and density around the middle of the tissue, on a square around it."""
    back = np.linalg.inv(turn)[::-1, ::-1]
    offset = moving.middle - back @ np.full(2, (side - 1) / 2)
    for one in (moving.tissue, moving.density):
        yield ndimage.affine_transform(
            one, back, offset, (side, side), order=1, mode="grid-constant"
        )


def _refined(
    fixed: TissueStain, moving: TissueStain, start: _Start, coarse: int, *, is_fitted: bool
) -> RigidFit:
    """Fit one way closely: turn, shift, and scale where that is fitted, all at once."""
    at = np.argwhere(fixed.tissue > 0)
    xy = at[:, ::-1] * fixed.pitch_um + fixed.corner_um
    tissue, density = (one[tuple(at.T)] for one in (fixed.tissue, fixed.density))
    power = _power(fixed, moving)
    middle = moving.middle_um

    def seen(found: NDArray[np.float64]) -> list[NDArray[np.float32]]:
        turn = _turn(start.mirrored, found[0])
        old = (xy - found[1:3]) @ turn / _scale(found) + middle
        rows = ((old - moving.corner_um) / moving.pitch_um)[:, ::-1].T
        # Tissue may reach to the edge of its slide: a hair beyond, it is still nearly all there.
        return [
            ndimage.map_coordinates(one, rows, order=1, mode="grid-constant")
            for one in (moving.tissue, moving.density)
        ]

    def score(found: NDArray[np.float64]) -> float:
        of_tissue, of_density = seen(found)
        shared, like = float(tissue @ of_tissue), float(density @ of_density)
        larger = _scale(found)
        whole = float(fixed.tissue.sum()) + larger**2 * float(moving.tissue.sum())
        return shared / whole + like / (2 * power * larger)

    step = coarse * fixed.pitch_um
    begin = np.array([start.turned_deg, start.x_um, start.y_um, *([0.0] * is_fitted)])
    steps = [_STEP_DEG, step, step, *([_STEP_PERCENT] * is_fitted)]
    around = begin + np.vstack([np.zeros(len(begin)), np.diag(steps)])
    fitted = optimize.minimize(
        lambda found: -score(found),
        begin,
        method="Nelder-Mead",
        options={"initial_simplex": around, "xatol": 0.05, "fatol": 1e-5, "maxfev": 300},
    )
    best = fitted.x
    of_tissue, of_density = seen(best)
    shared = float(tissue @ of_tissue)
    both = (tissue > 0) & (of_tissue > 0.5)
    varies = both.sum() > 2 and min(np.ptp(density[both]), np.ptp(of_density[both])) > 0
    r = float(np.corrcoef(density[both], of_density[both])[0, 1]) if varies else 0.0
    turned, larger = float((best[0] + 180) % 360 - 180), _scale(best)
    turn = larger * _turn(start.mirrored, turned)
    (x, y), moved = best[1:3], best[1:3] - middle
    matrix = np.column_stack([turn, (x, y) - turn @ middle])
    way = Displacement(_named(start.mirrored, turned, moved), matrix)
    areas = float(fixed.tissue.sum()) + larger**2 * float(moving.tissue.sum())
    moved_um = float(moved[0]), float(moved[1])
    overlap = shared / (areas - shared)
    return RigidFit(way, turned, start.mirrored, moved_um, overlap, r, larger, score(best))


def _scale(found: NDArray[np.float64]) -> float:
    """Return by how much what is fitted is larger: its last number, where that is fitted."""
    return float(np.exp(found[3] / 100)) if len(found) > 3 else 1.0


def _named(mirrored: bool, turned: float, moved: NDArray[np.float64]) -> str:
    parts = ["mirrored left to right"] * mirrored
    way = "clockwise" if turned >= 0 else "counter-clockwise"
    parts += [f"turned by {abs(turned):.1f}° {way}"] * (round(abs(turned), 1) > 0)
    # A zero has no sign.
    x, y = np.round(moved) + 0.0
    parts.append(f"its middle moved by {x:+.0f} µm in x and {y:+.0f} µm in y")
    return ", ".join(parts)


def _quite_other(fits: list[RigidFit]) -> Iterator[RigidFit]:
    """Leave out ways that have become one."""
    kept: list[RigidFit] = []
    for fit in fits:
        if all(
            fit.mirrored != one.mirrored
            or _between_deg(fit.turned_deg, one.turned_deg) > _APART_DEG
            or np.hypot(*np.subtract(fit.moved_um, one.moved_um)) > _APART_UM
            for one in kept
        ):
            kept.append(fit)
            yield fit
