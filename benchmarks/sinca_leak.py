"""SINCA-Net as published on genes that it was shown, and on the same genes when they are hidden.

Fold 0 of the published ten, 100 epochs. The five published figures are in the published space,
log1p of counts; the last columns are the median over genes of Spearman's r with the measured log1p
CP10k, of what is predicted as it is, and after prediction as counts is divided by the library.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from sinca_data import PAIRS, Pair, cp10k, gene_folds, load

from napari_stenhance.methods.sinca.reference.recipe import SincaReferenceRecipe
from napari_stenhance.methods.sinca.reference.training import dense_log1p, predict_held_out
from napari_stenhance.running.job import Job
from napari_stenhance.scoring.imputation import published, rank_correlation


def rows(pair: Pair, fold: int, seed: int, epochs: int) -> dict[str, list[float]]:
    """Return the figures of each read-out of one fold, with and without the leak."""
    recipe = SincaReferenceRecipe(epochs=epochs)
    unknown = gene_folds(pair.spots.shape[1])[fold][1]
    truth = dense_log1p(pair.spots[:, unknown])
    measured = cp10k(pair.spots[:, unknown].toarray(), pair.library)
    found = {}
    for leak in (True, False):
        started = time.monotonic()
        held_out = predict_held_out(
            pair.spots,
            pair.cells,
            pair.xy,
            unknown,
            recipe,
            leak=leak,
            seed=seed,
            device=torch.device("cpu"),
            job=Job(),
        )
        seconds = time.monotonic() - started
        how = "as published, shown" if leak else "hidden"
        for name, values in (("output", held_out.output), ("attention", held_out.attended)):
            divided = cp10k(np.expm1(values).clip(min=0), pair.library)
            found[f"{how}: {name}"] = [
                *published(values, truth).values(),
                float(np.median(rank_correlation(values, measured))),
                float(np.median(rank_correlation(divided, measured))),
                seconds,
            ]
    return found


def main(
    names: Sequence[str] = tuple(PAIRS),
    seeds: Sequence[int] = (42,),
    folds: Sequence[int] = (0,),
    epochs: int = 100,
) -> None:
    torch.set_num_threads(1)
    figures = ("PCC", "SSIM", "RMAE", "JS (Jaccard)", "ACC (Spearman)")
    print(f"| pair, seed, fold, read-out | {' | '.join(figures)} | as is | ÷ library | seconds |")
    print("|---" * (len(figures) + 4) + "|", flush=True)
    for name in names:
        pair = load(name)
        for seed in seeds:
            for fold in folds:
                for read_out, values in rows(pair, fold, seed, epochs).items():
                    cells = [*(f"{v:.3f}" for v in values[:-1]), f"{values[-1]:.0f}"]
                    print(
                        f"| {name}, {seed}, {fold}, {read_out} | {' | '.join(cells)} |", flush=True
                    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PAIRS), metavar="PAIR")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--folds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=100)
    main(**vars(parser.parse_args()))
