"""What a method learns from: the spots of one section with their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.source import FeatureSource
from napari_stenhance.methods.drawing import some_of
from napari_stenhance.running.job import Job
from napari_stenhance.running.numbers import counted, left_out
from napari_stenhance.section.distinct import DistinctPositions
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.lattice import array_numbers
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import log1p_cp10k

_SHALLOW = 0.02
"""Of all genes and spots: what is counted at all. Of spots of Visium it is more."""


@dataclass(frozen=True)
class TrainingSection:
    """The spots of one section, and the features under them.

    Attributes
    ----------
    name : str
    genes : tuple of str
    counts : csr_array of float32, shape (spots, genes)
        Raw; those of observations that share a position are summed, and are one spot.
    xy_um : ndarray of float64, shape (spots, 2)
        In micrometres of the world.
    spot_diameter_um : float
        Or the side of a square spot.
    footprints : Footprints
        Tissue superpixels under each spot.
    features : FeatureSource
    array_xy : ndarray of float64, shape (spots, 2), or None
        (column, row) on the array that the spots were printed on, if the section knows it.
    measured : ndarray of float64, shape (spots,), or None
        Total count of each spot, where `counts` are not all that was measured.
    shallow : bool
        Whether fewer than one gene in fifty is counted in a spot, of all spots of the section.
    """

    name: str
    genes: tuple[str, ...]
    counts: sp.csr_array[np.float32]
    xy_um: NDArray[np.float64]
    spot_diameter_um: float
    footprints: Footprints
    features: FeatureSource
    array_xy: NDArray[np.float64] | None = None
    measured: NDArray[np.float64] | None = None
    shallow: bool = False

    @classmethod
    def from_section(
        cls,
        section: Section,
        features: FeatureSource,
        footprints: Footprints,
        least_share: float,
        on_fault: NDArray[np.bool_] | None = None,
        most: int | None = None,
        job: Job | None = None,
    ) -> TrainingSection:
        """Take the spots of a section that lie on tissue and are not empty, and say what is left.

        Empty is a spot with less than `least_share` of the median count; 0 takes every spot. Those
        on faults of the slide are left out. Of more than `most`, these are drawn with a fixed seed.
        """
        spots, xy_um = section.need_spots(), section.spots_um()
        places = DistinctPositions.among(xy_um)
        counts = places.summed(sp.csr_array(spots.X, dtype=np.float32))
        counts.sum_duplicates()
        measured = None if section.library is None else places.totals(section.library)
        library = np.asarray(counts.sum(axis=1)).ravel() if measured is None else measured
        least = max(least_share * np.median(library), 1) if least_share else 0
        keep = (footprints.counts()[places.first] > 0) & (library >= least)
        if on_fault is not None and keep.any() and on_fault[places.first][keep].all():
            msg = (
                f"{section.where}: every spot lies on a pen mark, a fold, a bubble or out of "
                "focus; if the slide is right there, learn without looking at its quality."
            )
            raise InputError(msg, option="quality")
        if on_fault is not None:
            keep &= ~on_fault[places.first]
        if not keep.any():
            msg = (
                f"{section.where}: none of the {counted(spots.n_obs, 'spot')} lies on tissue and "
                "has counts; check the scale, and that image and positions belong together."
            )
            raise InputError(msg, option="mpp")
        job, shallow = job or Job(), _are_shallow(counts)
        lost, number = int((~keep).sum()), int(keep.sum())
        if lost:
            faulty = "" if on_fault is None or not on_fault.any() else ", on faults of the slide"
            which = f"off the tissue{faulty}, or nearly empty,"
            job.note(f"{section.name}: {left_out(lost, 'spot', which)}")
        if most is not None and number > most:
            # Of shallow ones, those that count more say more.
            weights = library[keep] if shallow else None
            chosen = some_of(number, most, np.random.default_rng(0), weights)
            drawn = np.flatnonzero(keep)[chosen]
            keep = np.isin(np.arange(len(keep)), drawn)
            job.note(f"{section.name}: {counted(most, 'spot', number)} were drawn to learn from.")
        rows, array_xy = places.first[keep], array_numbers(spots)
        return cls(
            name=section.name,
            genes=tuple(spots.var_names),
            counts=counts if keep.all() else counts[np.flatnonzero(keep)],
            xy_um=xy_um[rows],
            spot_diameter_um=section.geometry().spot_diameter_um,
            footprints=footprints.only(rows),
            features=features,
            array_xy=None if array_xy is None else array_xy[rows],
            measured=None if measured is None else measured[keep],
            shallow=shallow,
        )

    def only(self, spots: NDArray[np.int64]) -> TrainingSection:
        """Return some of its spots, given in ascending order."""
        return replace(
            self,
            counts=self.counts[spots],
            xy_um=self.xy_um[spots],
            footprints=self.footprints.only(spots),
            array_xy=None if self.array_xy is None else self.array_xy[spots],
            measured=None if self.measured is None else self.measured[spots],
        )

    @cached_property
    def library(self) -> NDArray[np.float64]:
        """Total count of each spot, over all genes that were measured."""
        if self.measured is not None:
            return self.measured
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64).ravel()

    def counts_of(self, genes: Sequence[str]) -> sp.csr_array[np.float32]:
        """Return the raw counts of some genes, (spots, genes), sparse."""
        if tuple(genes) == self.genes:
            return self.counts
        position = {gene: n for n, gene in enumerate(self.genes)}
        return self.counts[:, [position[gene] for gene in genes]]

    def log1p_cp10k(self, genes: Sequence[str]) -> sp.csr_array[np.float32]:
        """Return log(1 + counts per 10,000 of the spot) of some genes, (spots, genes), sparse."""
        return log1p_cp10k(self.counts_of(genes), self.library)


def _are_shallow(counts: sp.csr_array[np.float32]) -> bool:
    return counts.nnz < _SHALLOW * counts.shape[0] * counts.shape[1]


def input_identity(section: Section) -> dict[str, Any]:
    """Return what decides what is computed from a section: name, slide, scale and spots."""
    slide = section.slide
    return {
        "name": section.name,
        **({"slide_sha256": None} if slide is None else slide.identity()),
        **({} if slide is None or slide.tissue is None else {"tissue_sha256": slide.tissue.sha256}),
        "mpp": section.mpp,
        "spots_sha256": section.counts_sha256,
    }
