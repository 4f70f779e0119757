"""How well genes were predicted of spots that were not learned from: each gene, and all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from napari_stenhance.scoring.maps import square_lattice, ssim
from napari_stenhance.scoring.metrics import gene_accuracy, pearson
from napari_stenhance.scoring.moran import morans_i, spot_links

if TYPE_CHECKING:
    import pandas as pd

_REPLICATES = 200
_INTERVAL = 5, 95


def score_genes(
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
    depth: NDArray[np.floating],
    xy_um: NDArray[np.float64],
    pitch_um: float,
    counted: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Compare each gene in spots that were not learned from.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
        In one unit.
    depth : ndarray, shape (spots,)
        Total count of each spot, over all genes that were measured.
    xy_um : ndarray of float64, shape (spots, 2)
    pitch_um : float
    counted : ndarray of bool, shape (spots, genes), optional
        Whether the gene was counted in the spot; by default where it was measured above 0.

    Returns
    -------
    DataFrame
        A row for each gene. `mean` of what was measured. `r` and `r given depth` as
        `gene_accuracy`; `r with depth` of the prediction; `Spearman`; `RMSE`; `AUROC`, of whether
        the gene was counted in a spot; `SSIM` of both maps over their largest value, where spots
        lie on a square lattice and nothing that was measured is negative; Moran's I of the
        `measured I` and of the `predicted I`. NaN where one is not defined.
    """
    import pandas as pd

    predicted, measured = (np.asarray(v, np.float64) for v in (predicted, measured))
    accuracy = gene_accuracy(predicted, measured, depth)
    ranks = rankdata(predicted, axis=0)
    links, lattice = spot_links(xy_um), square_lattice(xy_um, pitch_um)
    if measured.size and measured.min() < 0:
        lattice = None
    maps = np.maximum(np.stack([predicted, measured]), 0)
    found = {
        "mean": measured.mean(axis=0),
        "r": accuracy.r,
        "r given depth": accuracy.r_given_depth,
        "r with depth": pearson(predicted, np.log(np.maximum(depth, 1.0))[:, None]),
        "Spearman": pearson(ranks, rankdata(measured, axis=0)),
        "RMSE": np.sqrt(np.square(predicted - measured).mean(axis=0)),
        "AUROC": _auroc(ranks, measured > 0 if counted is None else counted),
        "SSIM": np.array(
            [np.nan if lattice is None else ssim(both, lattice) for both in np.moveaxis(maps, 2, 0)]
        ),
        "measured I": morans_i(measured, links),
        "predicted I": morans_i(predicted, links),
    }
    return pd.DataFrame(found)


def score_spots(predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> pd.DataFrame:
    """Compare each spot over genes.

    Parameters
    ----------
    predicted, measured : ndarray, shape (spots, genes)
        In one unit.

    Returns
    -------
    DataFrame
        A row for each spot. `r` over genes, NaN where one does not vary: what genes have in the
        mean makes much of it, so it says something beside that of the mean. `RMSE` over genes.
    """
    import pandas as pd

    p, m = (np.asarray(v, np.float64) for v in (predicted, measured))
    error = np.sqrt(np.square(p - m).mean(axis=1))
    return pd.DataFrame({"r": pearson(p.T, m.T), "RMSE": error})


def overall(
    scores: pd.DataFrame, predicted: NDArray[np.floating], measured: NDArray[np.floating]
) -> dict[str, float]:
    """Return means over genes, and how like the structure of what was predicted is.

    Parameters
    ----------
    scores : DataFrame
        Of `score_genes`.
    predicted, measured : ndarray, shape (spots, genes)

    Returns
    -------
    dict
        Means of the scores: of correlations, a gene for which there is none counts as 0. `I
        agreement` is Pearson's r over genes between measured and predicted Moran's I, `coexpression
        agreement` that over pairs of genes between their measured and predicted correlations.
    """
    of_nothing = scores[["r", "r given depth", "r with depth", "Spearman"]].fillna(0).mean()
    others = scores[["RMSE", "AUROC", "SSIM"]].mean()
    pairs = np.triu_indices(len(scores), 1)
    alike = [_correlations(v)[pairs] for v in (predicted, measured)]
    return {
        **{str(name): float(value) for name, value in [*of_nothing.items(), *others.items()]},
        "I agreement": _agreement(*scores[["predicted I", "measured I"]].to_numpy().T),
        "coexpression agreement": _agreement(*alike),
    }


def bootstrap(
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
    depth: NDArray[np.floating],
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Return from where to where mean r, and mean r given depth, go in nine of ten samples.

    Parameters
    ----------
    predicted, measured, depth : ndarray
        As of `score_genes`.
    seed : int

    Returns
    -------
    dict of str to (float, float)
        Of "r" and "r given depth", each "over spots", drawn anew with the same genes, and "over
        genes": 5th and 95th percentile of 200 samples.

    References
    ----------
    Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 7:1-26 (1979).
    """
    rng = np.random.default_rng(seed)
    spots, genes = measured.shape
    whole = np.nan_to_num(np.stack(gene_accuracy(predicted, measured, depth)))
    over: dict[str, list[NDArray[np.float64]]] = {"over spots": [], "over genes": []}
    for _ in range(_REPLICATES):
        drawn = rng.integers(0, spots, spots)
        again = gene_accuracy(predicted[drawn], measured[drawn], depth[drawn])
        over["over spots"].append(np.nan_to_num(np.stack(again)).mean(axis=1))
        over["over genes"].append(whole[:, rng.integers(0, genes, genes)].mean(axis=1))
    ends = {way: np.percentile(means, _INTERVAL, axis=0) for way, means in over.items()}
    return {
        f"{what} {way}": (float(found[0, at]), float(found[1, at]))
        for at, what in enumerate(("r", "r given depth"))
        for way, found in ends.items()
    }


def _auroc(ranks: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each column, from ranks (Mann and Whitney)."""
    yes = positive.sum(axis=0).astype(np.float64)
    both = yes * (len(positive) - yes)
    above = np.where(positive, ranks, 0).sum(axis=0) - yes * (yes + 1) / 2
    area: NDArray[np.float64] = np.where(both > 0, above / np.maximum(both, 1), np.nan)
    return area


def _correlations(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Pearson's r of all pairs of columns, (columns, columns); 0 where one is constant."""
    about = np.asarray(values, np.float64) - values.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(about, axis=0)
    about /= np.where(norm > 0, norm, 1)
    return about.T @ about


def _agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    both = np.stack([np.asarray(one, np.float64), np.asarray(other, np.float64)])
    both = both[:, np.isfinite(both).all(axis=0)]
    if both.shape[1] < 2:
        return float("nan")
    return float(pearson(both[0][:, None], both[1][:, None])[0])
