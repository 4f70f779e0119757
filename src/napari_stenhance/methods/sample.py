"""What a method learns from: the spots of one section with their features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_stenhance.errors import InputError
from napari_stenhance.features.extract import FeatureMap
from napari_stenhance.section.footprint import Footprints
from napari_stenhance.section.section import Section
from napari_stenhance.section.spots import log1p_cp10k

_EMPTY_SHARE = 0.05


@dataclass(frozen=True)
class Sample:
    """The spots of one section, and the feature map under them.

    Attributes
    ----------
    name : str
    genes : tuple of str
    counts : csr_array of float32, shape (spots, genes)
        Raw.
    xy_um : ndarray of float64, shape (spots, 2)
        In micrometres of the world.
    footprints : Footprints
        Tissue superpixels under each spot.
    features : FeatureMap
    """

    name: str
    genes: tuple[str, ...]
    counts: sp.csr_array[np.float32]
    xy_um: NDArray[np.float64]
    footprints: Footprints
    features: FeatureMap

    @classmethod
    def of(cls, section: Section, features: FeatureMap, footprints: Footprints) -> Sample:
        """Take the spots of a section that lie on tissue and have counts.

        A spot with less than a twentieth of the median count is empty: its proportions are noise.
        """
        spots = section.need_spots()
        counts = sp.csr_array(spots.X, dtype=np.float32)
        counts.sum_duplicates()
        library = np.asarray(counts.sum(axis=1)).ravel()
        keep = (footprints.counts() > 0) & (library > _EMPTY_SHARE * np.median(library))
        if not keep.any():
            msg = (
                f"{section.where}: none of the {spots.n_obs} spots lies on tissue and has counts; "
                "check the scale (--mpp) and that image and positions belong together."
            )
            raise InputError(msg)
        new = np.cumsum(keep) - 1
        pair = keep[footprints.spot]
        kept = Footprints(
            new[footprints.spot[pair]], footprints.row[pair], footprints.column[pair], keep.sum()
        )
        return cls(
            name=section.name,
            genes=tuple(spots.var_names),
            counts=counts[np.flatnonzero(keep)],
            xy_um=section.spots_um()[keep],
            footprints=kept,
            features=features,
        )

    @cached_property
    def library(self) -> NDArray[np.float64]:
        """Total count of each spot, over all genes of the section."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64).ravel()

    def log1p_cp10k(self, genes: Sequence[str]) -> sp.csr_array[np.float32]:
        """Return log(1 + counts per 10,000 of the spot) of some genes, (spots, genes), sparse."""
        return log1p_cp10k(self.counts[:, self._columns(genes)], self.library)

    def totals(self, genes: Sequence[str]) -> NDArray[np.float64]:
        """Return the total count of some genes over all spots, shape (genes,)."""
        total = np.asarray(self.counts.sum(axis=0, dtype=np.float64)).ravel()
        return total[self._columns(genes)]

    def _columns(self, genes: Sequence[str]) -> list[int]:
        position = {gene: n for n, gene in enumerate(self.genes)}
        return [position[gene] for gene in genes]


def counts_hash(section: Section) -> str:
    """Return the SHA-256 of ids, counts and positions of a section's spots."""
    spots = section.need_spots()
    counts = sp.csr_array(spots.X, dtype=np.float64)
    counts.sum_duplicates()
    digest = hashlib.sha256()
    digest.update("\n".join([*spots.obs_names, "", *spots.var_names]).encode())
    for part in (counts.data, counts.indices, counts.indptr):
        digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    digest.update(np.ascontiguousarray(spots.obsm["spatial"], dtype=np.float64).tobytes())
    return digest.hexdigest()
