"""STAMGC, preset `robust`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree
from sklearn.decomposition import TruncatedSVD
from sklearn.mixture import GaussianMixture

from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.running.job import Job
from napari_stenhance.section.spots import log1p_cp10k

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Robust:
    """Placeholder of the same interface, until the network is here."""

    seed: int
    device: torch.device

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        return {}

    def find(self, slices: Sequence[Slice], n_domains: int | None, job: Job) -> Domains:
        """Find domains of all slices together; None estimates how many."""
        import scipy.sparse as sp

        values, at = [], [0]
        for s in slices:
            if s.latent is not None:
                values.append(sp.csr_array(s.latent))
            else:
                values.append(log1p_cp10k(s.counts, np.asarray(s.counts.sum(axis=1)).ravel()))
            at.append(at[-1] + len(s.xy))
        scores = TruncatedSVD(min(10, values[0].shape[1]), random_state=self.seed).fit_transform(
            sp.vstack(values)
        )
        near = [
            scores[a + cKDTree(s.xy).query(s.xy, 7)[1]].mean(axis=1)
            for a, s in zip(at, slices, strict=False)
        ]
        k = n_domains or 5
        mixture = GaussianMixture(k, covariance_type="tied", random_state=self.seed)
        together = np.concatenate(near)
        label = mixture.fit_predict(together) + 1
        sure = mixture.predict_proba(together).max(axis=1)
        cut = at[1:-1]
        return Domains(
            tuple(np.split(label.astype(np.int64), cut)),
            tuple(np.split(sure.astype(np.float32), cut)),
            tuple(np.split(together.astype(np.float32), cut)),
            k,
            "" if n_domains else "BIC",
            () if n_domains else ((4, 0.1), (5, 0.2), (6, 0.15)),
        )
