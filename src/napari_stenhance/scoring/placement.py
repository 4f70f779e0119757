"""How well spots fit their slide as they are placed, and in other ways: mirrored, turned, moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import ndimage

from napari_stenhance.features.coarse import CoarseView
from napari_stenhance.scoring.displacement import Displacement
from napari_stenhance.section.spots import log1p_cp10k

if TYPE_CHECKING:
    import anndata as ad

    from napari_stenhance.running.job import Job
    from napari_stenhance.section.section import Section
    from napari_stenhance.storage.cache import Cache

_PITCH_UM, _SIDE_MOST = 8.0, 1500
_NEAR_SPOT_UM, _AROUND_UM, _COARSE_UM = 24.0, (72.0, 168.0), 32.0
_SPOTS_MOST, _GENES, _AXES = 4000, 500, 3
_FOLDS, _RIDGE = 5, 0.3
_REACH_UM, _STEP_UM, _FINE = 1000.0, 125.0, 4
_FACTORS = (0.5, 2.0)

# On sections whose true place is known, true ways have r of .47 and more, and no other way comes
# closer than .08 (docs/registration.md).
_TISSUE_LEAST, _TISSUE_LOST = 0.85, 0.02
_R_LEAST, _R_MORE, _R_ALONE = 0.3, 0.08, 0.05
_NEAR_UM = 300.0
LEAST_SPOTS = 50
"""With fewer, how well the stain predicts what they measured says too little."""


@dataclass(frozen=True, eq=False)
class PlacementFit:
    """How well spots fit in one way.

    Attributes
    ----------
    way : Displacement
    on_tissue : float
        Share of the spots whose centre lies on tissue.
    r : float
        How well the stain under spots predicts what they measured: the mean Pearson r of their
        depth and of the first three axes of their expression, each on parts of the tissue that were
        left out.
    """

    way: Displacement
    on_tissue: float
    r: float


@dataclass(frozen=True, eq=False)
class PlacedSpots:
    """Spots that were placed.

    Attributes
    ----------
    xy_um : ndarray of float64, shape (spots, 2)
        As stated.
    depth : ndarray of float64, shape (spots,)
        log(1 + total count).
    diameter_um : float
    """

    xy_um: NDArray[np.float64]
    depth: NDArray[np.float64]
    diameter_um: float


@dataclass(frozen=True, eq=False)
class Placement:
    """How well the spots of a section fit its slide, in each way.

    Attributes
    ----------
    fits : tuple of PlacementFit
        How the spots lie now first: as stated, or as a registration places them.
    view : CoarseView
        The slide, as it was looked at.
    spots : PlacedSpots
        As stated; of very many, 4000 that were drawn.
    """

    fits: tuple[PlacementFit, ...]
    view: CoarseView
    spots: PlacedSpots

    @property
    def stated(self) -> PlacementFit:
        """As the files say."""
        return self.fits[0]

    @property
    def best(self) -> PlacementFit:
        """The way that fits best: as stated, unless another fits clearly better.

        That other way has nearly all spots on tissue and no fewer than before, predicts what they
        measured, better than where they are, and better than any way that is quite another.
        """
        good = [one for one in self.fits[1:] if one.on_tissue >= _TISSUE_LEAST]
        if not good:
            return self.stated
        best = max(good, key=lambda one: one.r)
        others = [one.r for one in good if _apart_um(one.way, best.way) > _NEAR_UM]
        clear = (
            best.on_tissue >= self.stated.on_tissue - _TISSUE_LOST
            and best.r >= _R_LEAST
            and best.r >= self.stated.r + _R_MORE
            and best.r >= max(others, default=-1) + _R_ALONE
        )
        return best if clear else self.stated

    def ranked(self, number: int) -> list[PlacementFit]:
        """Return what is stated, the best, and others that fit well; none near another."""
        best = self.best
        others = sorted(self.fits, key=lambda one: (one is best, one.r * one.on_tissue))[::-1]
        listed = [self.stated]
        for fit in others:
            if len(listed) < number and all(
                _apart_um(fit.way, one.way) > _NEAR_UM for one in listed
            ):
                listed.append(fit)
        return listed

    @property
    def is_clear(self) -> bool:
        """Whether another way fits clearly better than what is stated."""
        return self.best is not self.stated

    @property
    def is_well(self) -> bool:
        """Whether what is stated fits well by itself: on tissue, and as the stain says."""
        stated = self.stated
        return not self.is_clear and stated.on_tissue >= _TISSUE_LEAST and stated.r >= _R_LEAST


def _apart_um(one: Displacement, other: Displacement) -> float:
    """Return how far two ways place spots from each other that only move; else infinite."""
    if not np.array_equal(one.matrix[:, :2], other.matrix[:, :2]):
        return np.inf
    return float(np.hypot(*(one.matrix[:, 2] - other.matrix[:, 2])))


def judge_placement(section: Section, cache: Cache, job: Job, *, moves: bool = True) -> Placement:
    """Try the flips and turns of the slide, half and twice the scale, and shifts.

    Each is judged by how many spots lie on tissue, and by how well the colours of the stain under
    and around spots predict their depth and expression: ridge regression, on five sets of blocks
    that are left out in turn.

    Parameters
    ----------
    section : Section
        With spots, a scale, and a slide or a picture of the tissue.
    cache : Cache
    job : Job
    moves : bool
        Whether shifts are tried, which takes most of the time.

    Raises
    ------
    InputError
        If one of these is missing, or no tissue is found.
    """
    spots = section.need_spots()
    look = StainLook.of_section(section, cache, job)
    chosen = some_spots(spots.n_obs)
    xy, measured = section.positions()[0][chosen], _measured(spots, chosen)
    ways = [*_turns(*look.view.extent_um), *_scales(section)]
    if section.registration is not None:
        ways[0] = replace(ways[0], name="as placed")
    if moves:
        ways += _moves((0.0, 0.0), _STEP_UM, _REACH_UM)
    fits = []
    with job.stage(f"Trying ways to place the spots of {section.name}", len(ways)) as stage:
        for way in ways:
            fits.append(look.fit(way, xy, measured))
            stage.advance()
    moved = max((one for one in fits if np.isfinite(one.way.moved_um)), key=lambda one: one.r)
    if moves and moved.way.moved_um:
        step = _STEP_UM / _FINE
        near = _moves(tuple(moved.way.matrix[:, 2]), step, _STEP_UM / 2)
        fits += [look.fit(way, xy, measured) for way in near]
    placed = PlacedSpots(xy, measured[:, 0], section.geometry().spot_diameter_um)
    return Placement(tuple(fits), look.view, placed)


def some_spots(number: int) -> NDArray[np.intp]:
    """Draw so many spots that all ways are tried within seconds."""
    drawn = np.random.default_rng(0).permutation(number)[:_SPOTS_MOST]
    return np.sort(drawn)


def _measured(spots: ad.AnnData, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return depth, and the first axes of log1p CP10k of the genes most often seen: (spots, 4)."""
    counts = sp.csr_array(spots.X[chosen], dtype=np.float32)
    library = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    often = np.argsort(-seen, kind="stable")[:_GENES]
    values = log1p_cp10k(sp.csr_array(counts[:, often]), library).toarray().astype(np.float64)
    values -= values.mean(axis=0)
    _, axes = np.linalg.eigh(values.T @ values)
    return np.column_stack([np.log1p(library), values @ axes[:, ::-1][:, :_AXES]])


def _turns(width: float, height: float) -> Iterator[Displacement]:
    """List what may happen to an image, undone, in the frame of the slide."""
    for name, matrix in (
        ("as stated", [[1, 0, 0], [0, 1, 0]]),
        ("mirrored left to right", [[-1, 0, width], [0, 1, 0]]),
        ("mirrored top to bottom", [[1, 0, 0], [0, -1, height]]),
        ("turned by 180°", [[-1, 0, width], [0, -1, height]]),
        ("x and y exchanged", [[0, 1, 0], [1, 0, 0]]),
        ("turned by 90° clockwise", [[0, -1, width], [1, 0, 0]]),
        ("turned by 90° counter-clockwise", [[0, 1, 0], [-1, 0, height]]),
        ("x and y exchanged, and turned by 180°", [[0, -1, width], [-1, 0, height]]),
    ):
        yield Displacement(name, np.array(matrix, np.float64))


def _scales(section: Section) -> Iterator[Displacement]:
    """List scales: half, twice, and that of pixels of a smaller picture."""
    small = 1.0 if section.picture is None else section.picture.factor
    for factor in dict.fromkeys((*_FACTORS, small, 1 / small)):
        if factor != 1:
            yield Displacement(f"scaled by {factor:.4g}", factor * np.eye(2, 3))


def _moves(around: tuple[float, ...], step: float, reach: float) -> Iterator[Displacement]:
    """List shifts around one, but for none at all."""
    steps = np.arange(-reach, reach + step / 2, step)
    for dx in steps + around[0]:
        for dy in steps + around[1]:
            if dx or dy:
                name = f"moved by {dx:+.0f} µm in x and {dy:+.0f} µm in y"
                yield Displacement(name, np.array([[1, 0, dx], [0, 1, dy]]))


@dataclass(frozen=True, eq=False)
class StainLook:
    """The colours of a slide, under and around each place of a grid.

    Attributes
    ----------
    view : CoarseView
    near, around : ndarray of float32, shape (rows, columns, channels)
        Optical densities of red, green and blue of tissue: their mean under a spot, and mean and
        standard deviation close to it; and in wider circles, for squares of pixels.
    side : int
        How many pixels such a square is wide.
    """

    view: CoarseView
    near: NDArray[np.float32]
    around: NDArray[np.float32]
    side: int

    @classmethod
    def of_section(cls, section: Section, cache: Cache, job: Job) -> StainLook:
        """Read the slide of a section, or its picture, coarsely."""
        view = CoarseView.of_section(section, _PITCH_UM, _SIDE_MOST, cache, job)
        pitch, weight = view.grid.pitch_um, view.tissue.astype(np.float32)
        spot = max(round(section.geometry().spot_diameter_um / pitch), 1)
        under = np.maximum(ndimage.uniform_filter(weight, spot), 1e-3)
        side = max(int(_COARSE_UM / pitch), 1)
        coarse_weight = _averaged(weight, side)
        near, around = [], []
        for channel in range(3):
            job.check()
            density = view.density(channel)
            near.append(ndimage.uniform_filter(density, spot) / under)
            near += _mean_and_sd(density, density**2, weight, _NEAR_SPOT_UM / pitch)
            coarse = _averaged(density, side), _averaged(density**2, side)
            for um in _AROUND_UM:
                around += _mean_and_sd(*coarse, coarse_weight, um / pitch / side)
        return cls(view, np.stack(near, axis=-1), np.stack(around, axis=-1), side)

    def fit(
        self, way: Displacement, xy_um: NDArray[np.float64], measured: NDArray[np.float64]
    ) -> PlacementFit:
        """Tell how well spots fit in one way."""
        xy = way(xy_um)
        grid = self.view.grid
        at = np.rint(grid.position(xy)).astype(np.int64)
        inside = ((at >= 0) & (at < grid.shape)).all(axis=1)
        on_tissue = np.zeros(len(at), bool)
        on_tissue[inside] = self.view.tissue[tuple(at[inside].T)]
        there = at[on_tissue]
        seen = np.zeros((len(at), self.near.shape[2] + self.around.shape[2] + 1))
        seen[on_tissue, :-1] = np.concatenate(
            [self.near[tuple(there.T)], self.around[tuple(there.T // self.side)]], axis=1
        )
        seen[:, -1] = on_tissue
        r = _predicted_r(seen, measured, _folds(xy))
        return PlacementFit(way, float(on_tissue.mean()), r)


def _averaged(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Average squares of pixels; what lacks at the far edges is glass."""
    rows, columns = (-(-n // side) for n in values.shape)
    wide = [(0, n * side - size) for n, size in zip((rows, columns), values.shape, strict=True)]
    blocks = np.pad(values, wide).reshape(rows, side, columns, side)
    averaged: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _mean_and_sd(
    density: NDArray[np.float32],
    squares: NDArray[np.float32],
    weight: NDArray[np.float32],
    sigma: float,
) -> list[NDArray[np.float32]]:
    """Return mean and standard deviation around each pixel, of tissue alone."""
    around = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-3)
    mean = ndimage.gaussian_filter(density, sigma) / around
    spread = ndimage.gaussian_filter(squares, sigma) / around - mean**2
    return [mean, np.sqrt(np.maximum(spread, 0))]


def _folds(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Deal spots to folds by blocks: five by five, so that each fold has one in every row."""
    share = np.linspace(0, 1, _FOLDS + 1)[1:-1]
    column, row = (np.searchsorted(np.quantile(v, share), v) for v in xy.T)
    folds: NDArray[np.int64] = (column + 2 * row) % _FOLDS
    return folds


def _predicted_r(
    seen: NDArray[np.float64], measured: NDArray[np.float64], fold: NDArray[np.int64]
) -> float:
    """Return the mean r of what ridge regression predicts of spots that it did not learn from."""
    sd = seen.std(axis=0)
    seen = (seen - seen.mean(axis=0)) / np.where(sd > 0, sd, 1)
    predicted = np.zeros_like(measured)
    for out in range(_FOLDS):
        learned = fold != out
        if learned.all() or not learned.any():
            continue
        mean, centre = seen[learned].mean(axis=0), measured[learned].mean(axis=0)
        known = seen[learned] - mean
        square = known.T @ known + _RIDGE * learned.sum() * np.eye(known.shape[1])
        weights = np.linalg.solve(square, known.T @ (measured[learned] - centre))
        # Without the mean that was learned, which alone would correlate: it lacks this fold.
        predicted[~learned] = (seen[~learned] - mean) @ weights
    varies = (predicted.std(axis=0) > 0) & (measured.std(axis=0) > 0)
    found = [
        np.corrcoef(one, other)[0, 1] if known else 0.0
        for one, other, known in zip(predicted.T, measured.T, varies, strict=True)
    ]
    return float(np.mean(found))
