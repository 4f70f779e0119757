"""Sections and cells whose truth is known, and networks that begin alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from napari_stenhance.methods.sinca.ensemble import SincaEnsemble, SincaRecipe
from napari_stenhance.methods.sinca.layout import SpotLayout
from napari_stenhance.methods.sinca.metacells import Attended
from napari_stenhance.methods.sinca.model import SincaModel
from napari_stenhance.methods.sinca.network import Parts, SincaNet
from napari_stenhance.methods.sinca.protocol import SpotCounts
from napari_stenhance.methods.sinca.training import SincaSchedule
from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import CellReference

CPU = torch.device("cpu")
QUICK = SincaRecipe(members=2, schedule=SincaSchedule(epochs=2, steps=2))
ENOUGH = SincaRecipe(members=2, schedule=SincaSchedule(epochs=5, steps=3))
LATTICES = ("square", "hexagonal", "irregular")


def lattice(kind: str, side: int, seed: int = 0) -> np.ndarray:
    row, column = (a.ravel().astype(float) for a in np.indices((side, side)))
    if kind == "hexagonal":
        return np.column_stack([column + row % 2 / 2, row * np.sqrt(3) / 2])
    if kind == "irregular":
        return np.random.default_rng(seed).random((side * side, 2)) * side
    return np.column_stack([column, row])


@dataclass(frozen=True)
class World:
    """A section of which all is known: shares of genes, and what the spots are made of."""

    spots: SpotCounts
    cells: CellReference
    truth: np.ndarray
    mixture: np.ndarray

    @property
    def unmeasured(self) -> np.ndarray:
        """Genes that the cells alone have: the last ones."""
        return np.arange(self.spots.counts.shape[1], len(self.cells.genes))


def world(
    kind: str = "square",
    side: int = 14,
    shared: int = 60,
    only: int = 16,
    *,
    capture: float = 0.7,
    other: float = 0.0,
    seed: int = 0,
) -> World:
    """Mix spots of four types by place; count them, and cells, by assays that capture unequally.

    Genes are markers of the types in turn. `capture` is the spread of the logarithm of each
    gene's capture efficiency in each assay; `other` transcripts come, for each that is of a gene
    of the cells, from genes that they lack.
    """
    rng = np.random.default_rng(seed)
    types, genes = 4, shared + only
    xy = lattice(kind, side, seed)
    centre = rng.random((types, 2)) * side
    near = np.exp(-((xy[:, None] - centre) ** 2).sum(axis=2) / (0.25 * side) ** 2)
    mixture = near / near.sum(axis=1, keepdims=True)
    marker = np.arange(genes) % types == np.arange(types)[:, None]
    profile = rng.gamma(2, 0.5, genes) * np.where(marker, 6.0, 1.0)
    profile /= profile.sum(axis=1, keepdims=True)
    of_spots, of_cells = profile * rng.lognormal(0, capture, (2, 1, genes))
    truth = mixture @ of_spots
    truth /= truth.sum(axis=1, keepdims=True)
    depth = rng.lognormal(np.log(600), 0.5, (len(xy), 1))
    counts = rng.poisson(depth * truth)
    library = counts.sum(axis=1) + rng.poisson(other * depth[:, 0])
    group = rng.integers(0, types, 160)
    share = (of_cells / of_cells.sum(axis=1, keepdims=True))[group]
    of_each = rng.poisson(rng.lognormal(np.log(400), 0.4, (160, 1)) * share)
    return World(
        SpotCounts(
            name="spots",
            xy=xy * 100,
            pitch=100.0,
            counts=sp.csr_array(counts[:, :shared].astype(np.float32)),
            library=library.astype(np.float64),
            columns=np.arange(shared),
        ),
        CellReference(
            name="cells",
            genes=tuple(f"G{n}" for n in range(genes)),
            counts=sp.csr_array(of_each.astype(np.float32)),
            groups=("A", "B", "C", "D"),
            group=group,
        ),
        truth / (1 + other),
        mixture,
    )


def fit(
    w: World, recipe: SincaRecipe = QUICK, seed: int = 0, attended: Attended = "cells"
) -> SincaModel:
    return SincaEnsemble(seed, CPU, attended, recipe).fit(w.spots, w.cells, Job())


def with_counts(w: World, counts: np.ndarray) -> World:
    return replace(w, spots=replace(w.spots, counts=sp.csr_array(counts.astype(np.float32))))


def logs(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return np.log1p(counts * 1e4 / np.maximum(library, 1)[:, None])


def weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def at_random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def place_of(xy: np.ndarray, most: int = 512) -> SpotLayout:
    return SpotLayout.of(xy, most, CPU)


def network_of(genes: int, *, begun: bool = True, **parts: Any) -> SincaNet:
    """Make a network as it begins, or one in which all parts do something."""
    axes = torch.linalg.qr(at_random(genes, 8))[0]
    torch.manual_seed(0)
    network = SincaNet(axes, Parts(width=8, heads=2, **parts)).eval()
    if not begun:
        with torch.no_grad():
            for number, parameter in enumerate(network.parameters()):
                parameter += 0.3 * at_random(number + 1, *parameter.shape)[0]
    return network


def run(network: SincaNet, spots: Tensor, cells: Tensor, seen: Tensor, place: SpotLayout) -> Tensor:
    """Return what the spots attend to, (spots, cells)."""
    with torch.inference_mode():
        found, keys = network(spots, cells, seen, place.waves, place.raster, place.windows)
        return network.attention(found, keys)
