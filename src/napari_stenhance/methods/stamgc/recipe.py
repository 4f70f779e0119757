"""Hyperparameters of STAMGC with preset `robust`."""

from __future__ import annotations

from dataclasses import dataclass

from napari_stenhance.methods.stamgc.clustering import Clustering


@dataclass(frozen=True)
class StamgcRecipe:
    """Hyperparameters of `robust`.

    Attributes
    ----------
    genes : int
        Genes with the largest variance of log1p CP10k.
    expression_axes : int
        Principal axes of their expression.
    axes : int
        Principal axes of the smoothed scores: those that vary over the tissue.
    width : float
        σ of smoothing over both convolutions, as a share of the width with which neighbours
        predict a spot best: a spot also knows itself.
    neighbours : int
        Of the graph of both losses, before each spot drops the one least like it.
    reconstruction, regional, topological : float
        Weights of the losses: α, β, γ.
    epochs : int
    learning_rate : float
    runs : int
        Networks; each starts from other weights.
    clustering : {"mixture", "kmeans", "leiden"}
    refine : bool
        Give a spot the label that most of it and its neighbours have.
    exact_most : int
        Up to so many spots the losses compute all pairs; beyond, `drawn` spots stand for all.
    drawn : int
    """

    genes: int = 3000
    expression_axes: int = 50
    axes: int = 8
    width: float = 0.8
    neighbours: int = 6
    reconstruction: float = 1.0
    regional: float = 0.3
    topological: float = 0.7
    epochs: int = 50
    learning_rate: float = 1e-3
    runs: int = 5
    clustering: Clustering = "mixture"
    refine: bool = False
    exact_most: int = 2_000
    drawn: int = 512
