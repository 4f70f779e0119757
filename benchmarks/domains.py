"""Domains against anatomists: STAMGC `robust`, its ablations, `reference`, and smoothing alone.

Adjusted Rand index with the labels that the spots carry, as many domains as there are labels;
median, smallest and largest over the seeds 0 to 4. Then sections that are found together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
from napari_stenhance.methods.stamgc.expression import principal_scores
from napari_stenhance.methods.stamgc.graph import neighbours
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.methods.stamgc.recipe import StamgcRecipe
from napari_stenhance.methods.stamgc.reference import StamgcReference
from napari_stenhance.running.job import Job
from napari_stenhance.section.section import Section, open_section
from napari_stenhance.tasks.domain_options import spots_slices

SEEDS = range(5)
CPU = torch.device("cpu")
Labels = Sequence[NDArray[np.int64]]
Find = Callable[[list[Slice], int, int], Labels]


class Case(NamedTuple):
    """A section, the column that knows its domains, and the published group for such data."""

    path: str
    truth: str
    group: str


CASES = {
    "cortex 151673": Case("dlpfc/dlpfc_151673_5000genes.h5ad", "layer", "10x"),
    "visual cortex (cells)": Case(
        "starmap/starmap_visualcortex_1207x1020.h5ad", "layer", "MERFISH"
    ),
    "olfactory bulb": Case("mob/rep11.h5ad", "layer", "10x"),
    "breast A1": Case("her2st/A1", "label", "Human_Breast_Cancer"),
    "breast B1": Case("her2st/B1", "label", "Human_Breast_Cancer"),
    "breast C1": Case("her2st/C1", "label", "Human_Breast_Cancer"),
}


def known(section: Section, column: str) -> NDArray[np.object_]:
    labels = section.need_spots().obs[column]
    return labels.astype(object).where(labels.notna(), None).to_numpy()


def score(labels: NDArray[np.int64], truth: NDArray[np.object_]) -> float:
    there = np.array([label is not None for label in truth])
    return float(adjusted_rand_score(truth[there].astype(str), labels[there]))


def robust(**changes: object) -> Find:
    recipe = replace(StamgcRecipe(), **changes)  # type: ignore[arg-type]
    return lambda slices, number, seed: (
        StamgcEnsemble(seed, CPU, recipe).find(slices, number, Job()).labels
    )


def reference(group: str) -> Find:
    return lambda slices, number, seed: (
        StamgcReference(seed, CPU, group).find(slices, number, Job()).labels
    )


def smoothed(slices: list[Slice], number: int, seed: int) -> Labels:
    """Mean of a spot and its six neighbours on 20 principal axes; one mixture, tied covariance."""
    scores = principal_scores(slices, 3000, 20, 0)
    cuts = np.cumsum([len(s.xy) for s in slices])[:-1]
    means = [
        (part + part[neighbours(s.xy, 6)].sum(axis=1)) / 7
        for s, part in zip(slices, np.split(scores, cuts), strict=True)
    ]
    mixture = GaussianMixture(
        number, covariance_type="tied", n_init=5, max_iter=300, random_state=seed
    )
    return np.split(mixture.fit_predict(np.concatenate(means).astype(np.float64)), cuts)


def row(name: str, figures: list[list[float]]) -> None:
    cells = [f"{np.median(f):.3f} ({min(f):.2f}–{max(f):.2f})" for f in figures]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STENHANCE_TEST_DATA", default))
    wanted = sys.argv[1:] or list(CASES)
    sections = {name: open_section(folder / CASES[name].path) for name in wanted}
    truths = {name: known(section, CASES[name].truth) for name, section in sections.items()}

    def everywhere(find: Callable[[str], Find]) -> list[list[float]]:
        figures = []
        for name, section in sections.items():
            slices, truth = list(spots_slices([section], Job())), truths[name]
            number = len(set(truth) - {None})
            figures.append([score(find(name)(slices, number, seed)[0], truth) for seed in SEEDS])
        return figures

    print(f"| | {' | '.join(wanted)} |")
    print("|---" * (len(wanted) + 1) + "|", flush=True)
    row("neighbour means, one mixture", everywhere(lambda _: smoothed))
    row("`robust`", everywhere(lambda _: robust()))
    row("`robust`, regional weight 0", everywhere(lambda _: robust(regional=0.0)))
    row("`robust`, topological weight 0", everywhere(lambda _: robust(topological=0.0)))
    row("`robust`, both weights 0", everywhere(lambda _: robust(regional=0.0, topological=0.0)))
    row("`robust`, one run", everywhere(lambda _: robust(runs=1)))
    row("`reference`", everywhere(lambda name: reference(CASES[name].group)))
    if not sys.argv[1:]:
        together(sections, truths)


def together(sections: dict[str, Section], truths: dict[str, NDArray[np.object_]]) -> None:
    """Two patients, and one section cut in two halves, each found in one joint run."""
    cortex, layers = sections["cortex 151673"], truths["cortex 151673"]
    spots = cortex.need_spots()
    left = spots.obsm["spatial"][:, 0] < np.median(spots.obsm["spatial"][:, 0])
    halves = [
        Section(spots=ad.AnnData(half.X, half.obs, half.var, obsm=dict(half.obsm)), name=name)
        for name, half in (("left", spots[left].copy()), ("right", spots[~left].copy()))
    ]
    cases = {
        "breast B1 + C1": (
            [sections["breast B1"], sections["breast C1"]],
            [truths["breast B1"], truths["breast C1"]],
        ),
        "cortex 151673, two halves": (halves, [layers[left], layers[~left]]),
    }
    print("\n| found together | domains | first | second | both |")
    print("|---|---|---|---|---|", flush=True)
    for name, (parts, known_of) in cases.items():
        slices = list(spots_slices(parts, Job()))
        number = len(set(np.concatenate(known_of)) - {None})
        figures: list[list[float]] = [[], [], []]
        for seed in SEEDS:
            labels = robust()(slices, number, seed)
            for figure, found, truth in zip(
                figures,
                [*labels, np.concatenate(labels)],
                [*known_of, np.concatenate(known_of)],
                strict=True,
            ):
                figure.append(score(found, truth))
        row(f"{name} | {number}", figures)


if __name__ == "__main__":
    main()
