"""STAMGC, preset `reference`: the published recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from napari_stenhance.errors import InputError
from napari_stenhance.methods.stamgc.expression import published_features
from napari_stenhance.methods.stamgc.graph import (
    blocks,
    gaussian_smoother,
    neighbours,
    normalised_adjacency,
    prune,
    to_torch,
    union_graph,
)
from napari_stenhance.methods.stamgc.groups import FIDUCIAL_PITCHES, GROUPS, Group
from napari_stenhance.methods.stamgc.losses import Pairs, regional_loss, topological_loss
from napari_stenhance.methods.stamgc.network import StamgcEncoder
from napari_stenhance.methods.stamgc.protocol import Domains, Slice
from napari_stenhance.running.device import inference_errors
from napari_stenhance.running.job import Job
from napari_stenhance.running.random import seeded

EXACT_MOST = 20_000
"""Up to so many spots all pairs are computed; beyond, `DRAWN` spots stand for all."""
DRAWN = 512
_AXES = 20
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 5e-4
_SPREADS = 10
"""Slices are laid side by side, so many σ apart."""


@dataclass(frozen=True)
class StamgcReference:
    """STAMGC as published, in a named configuration.

    Attributes
    ----------
    seed : int
        2025 in the publication.
    device : torch.device
    group : str
        One of `GROUPS`; empty: "10x" on a Visium lattice, else "default".
    epochs : int or None
        By default the group's.
    """

    seed: int
    device: torch.device
    group: str = ""
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.group and self.group not in GROUPS:
            msg = f"Group {self.group}: there is no such group; choose {', '.join(GROUPS)}."
            raise InputError(msg, option="group")

    def describe(self) -> dict[str, Any]:
        """Return the hyperparameters as provenance."""
        chosen = {"group": self.group or "by lattice"}
        values = asdict(GROUPS[self.group]) if self.group else {}
        return {**values, **chosen, **({"epochs": self.epochs} if self.epochs else {})}

    def find(self, slices: Sequence[Slice], n_domains: int | None, job: Job) -> Domains:
        """Find domains of all slices together; None takes the number of the group."""
        if any(s.counts is None for s in slices):
            msg = "The preset reference works on counts; use robust for the superpixels of a field."
            raise InputError(msg, option="preset")
        visium = all(s.fiducial is not None for s in slices)
        group = GROUPS[self.group or ("10x" if visium else "default")]
        number = n_domains or group.domains
        features = published_features(slices, group.genes, group.min_cells, group.min_counts)
        if len(features) < number:
            msg = f"{number} domains of {len(features)} spots cannot be; ask for fewer."
            raise InputError(msg, option="n_domains")
        cuts = np.cumsum([len(s.xy) for s in slices])[:-1]
        # The last slice's scale is taken for all, as published.
        sigma = _sigma(slices[-1], group)
        smooth = gaussian_smoother(stitched(slices, sigma, group), sigma) @ features
        graph = [
            union_graph(prune(neighbours(s.xy, group.neighbours), part, 1))
            for s, part in zip(slices, np.split(smooth, cuts), strict=True)
        ]
        together = blocks(graph)
        label = _k_means(smooth, number, self.seed)
        with inference_errors("Training STAMGC"), seeded(self.seed, self.device):
            embedding = self._train(group, features, together, label, job)
        found = _k_means(embedding, number, self.seed) + 1
        return Domains(
            labels=tuple(np.split(found, cuts)),
            confidence=tuple(np.split(np.full(len(found), np.nan, np.float32), cuts)),
            embedding=tuple(np.split(embedding, cuts)),
            n_domains=number,
        )

    def _train(
        self,
        group: Group,
        features: NDArray[np.float32],
        graph: Any,
        label: NDArray[np.int64],
        job: Job,
    ) -> NDArray[np.float32]:
        """Train on all spots at once; the last epoch's weights embed them."""
        pairs = Pairs.from_graph(graph, label, self.device)
        spread = to_torch(normalised_adjacency(graph), self.device)
        seen = torch.tensor(features, device=self.device)
        network = StamgcEncoder(
            features.shape[1], group.hidden, group.width, 4, group.branch_width
        ).to(self.device)
        optimiser = torch.optim.Adam(
            network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
        )
        drawn = None if len(features) <= EXACT_MOST else DRAWN
        epochs = self.epochs or group.epochs
        with job.stage("Training STAMGC", epochs) as stage:
            for _ in range(epochs):
                embedding, branched, rebuilt = network(seen, spread)
                loss = (
                    group.reconstruction * torch.nn.functional.mse_loss(rebuilt, seen)
                    + group.regional * regional_loss(embedding, pairs, drawn)
                    + group.topological * topological_loss(branched, pairs, drawn)
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                stage.advance()
        network.eval()
        with torch.inference_mode():
            return network(seen, spread)[0].cpu().numpy()


def stitched(slices: Sequence[Slice], sigma: float, group: Group) -> NDArray[np.float64]:
    """Lay slices to the right of the first, in their order: positions of all, (spots, 2).

    Between two lie 10 σ, too far for smoothing to reach across, or nothing in the group of
    horizontal integration, whose slices continue one another. Visium's rows count upwards here.
    """
    gap = 0.0 if group.side_by_side else _SPREADS * sigma
    upwards = [s.xy * [1, -1 if group.in_fiducials else 1] for s in slices]
    corner = upwards[0].min(axis=0)
    placed = []
    for xy in upwards:
        placed.append(xy + (corner - xy.min(axis=0)))
        corner[0] += np.ptp(xy[:, 0]) + gap
    return np.concatenate(placed)


def _sigma(s: Slice, group: Group) -> float:
    """Return σ in the unit of the coordinates."""
    if not group.in_fiducials:
        return group.smooth
    if s.fiducial is None:
        return group.smooth * FIDUCIAL_PITCHES * s.pitch
    return group.smooth * s.fiducial


def _k_means(values: NDArray[np.float32], number: int, seed: int) -> NDArray[np.int64]:
    """Cluster at most 20 principal axes with K-means, ten starts."""
    axes = min(_AXES, *values.shape)
    scores = PCA(axes, random_state=seed).fit_transform(values)
    label: NDArray[np.int64] = KMeans(number, n_init=10, random_state=seed).fit_predict(scores)
    return label.astype(np.int64)
