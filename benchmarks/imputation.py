"""SINCA-Net on genes that are hidden from it, against what needs no network, and without its parts.

Five folds over the genes that spots and cells share, each seed deals them anew. Spearman's r of
predicted and measured log1p CP10k over spots, the median over all genes; and beyond the library:
the partial correlation. The published network runs without its leak, seed 0 alone: it takes long.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial

import torch
from sinca_data import PAIRS, folder

from napari_stenhance.methods.sinca.ensemble import SincaEnsemble, SincaRecipe
from napari_stenhance.methods.sinca.network import Parts
from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.methods.sinca.reference.training import as_published, predict_held_out
from napari_stenhance.methods.sinca.training import SincaSchedule
from napari_stenhance.running.job import Job
from napari_stenhance.section.cells import open_cells
from napari_stenhance.section.section import open_section
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks.gene_folds import BEYOND, gene_scores, keep_genes
from napari_stenhance.tasks.gene_methods import baselines, imputing
from napari_stenhance.tasks.impute import see_shared

_SEEDS, _FOLDS = (0, 1, 2, 3, 4), 5
_CPU = torch.device("cpu")
_RECIPES = {
    "robust": SincaRecipe(),
    "robust, no convolution": SincaRecipe(parts=Parts(convolution=False)),
    "robust, no reference": SincaRecipe(parts=Parts(reference=False)),
    "robust, not trained": SincaRecipe(schedule=SincaSchedule(epochs=0)),
}


def scores_of(pair: str, seed: int, published: bool) -> dict[str, dict[str, float]]:
    """Score one pair with one seed: everything but the published network, or it alone."""
    of_spots, of_cells, most = PAIRS[pair]
    section = open_section(folder() / of_spots, cache=Cache.default())
    cells = open_cells(folder() / of_cells, section.need_spots()).cells
    genes = "all" if most is None else f"hvg:{most}"
    spots = keep_genes(see_shared(section, cells), cells, genes)
    own = [
        imputing(name, SincaEnsemble(seed, _CPU, recipe=recipe))
        for name, recipe in _RECIPES.items()
    ]
    as_coded = partial(predict_held_out, recipe=SincaReferenceRecipe())
    methods = [as_published(as_coded, _CPU, (False,))] if published else [*own, baselines]
    return gene_scores(spots, cells, methods, _FOLDS, seed, Job()).values


def main(
    pairs: Sequence[str] = tuple(PAIRS),
    seeds: Sequence[int] = _SEEDS,
    published: Sequence[int] = (0,),
) -> None:
    torch.set_num_threads(1)
    print("| pair | what | Spearman | beyond library | PCC | SSIM | RMSE | JS | genes | seeds |")
    print("|---" * 10 + "|", flush=True)
    for pair in pairs:
        for own, of in ((False, seeds), (True, published)):
            found = [scores_of(pair, seed, own) for seed in of]
            for what in found[0] if found else ():
                median = {
                    name: statistics.median(one[what][name] for one in found)
                    for name in ("Spearman", BEYOND, "PCC", "SSIM", "RMSE", "JS")
                }
                each = " ".join(f"{one[what]['Spearman']:.3f}" for one in found)
                row = [pair, what, *(f"{value:.3f}" for value in median.values())]
                print(f"| {' | '.join(row)} | {found[0][what]['genes']} | {each} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", default=list(PAIRS), metavar="PAIR")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(_SEEDS))
    parser.add_argument("--published", nargs="*", type=int, default=[0])
    main(**vars(parser.parse_args()))
