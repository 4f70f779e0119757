"""The published configurations of STAMGC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Hyperparameters that were tuned for one kind of data.

    Attributes
    ----------
    smooth : float
        σ of the smoothing for pseudo-labels and pruning: in diameters of Visium's fiducials where
        `in_fiducials`, else in the unit of the coordinates.
    in_fiducials : bool
    neighbours : int
    domains : int
        Used where no number is given.
    epochs : int
    genes : int
    min_cells, min_counts : int
        A gene is kept if so many spots hold it, and it has so many counts.
    reconstruction, regional, topological : float
        Weights of the losses: α, β, γ.
    hidden, width, branch_width : int
    side_by_side : bool
        Slices continue one another, and smoothing crosses their seam.
    """

    smooth: float
    in_fiducials: bool
    neighbours: int
    domains: int
    epochs: int
    genes: int
    min_cells: int
    min_counts: int
    reconstruction: float
    regional: float
    topological: float
    hidden: int = 128
    width: int = 64
    branch_width: int = 32
    side_by_side: bool = False


GROUPS = {
    "10x": Group(2, True, 6, 7, 200, 3000, 50, 10, 8, 0.3, 0.7),
    "10x-1": Group(2, True, 6, 5, 200, 3000, 50, 10, 8, 0.3, 0.7),
    "Human_Breast_Cancer": Group(2, True, 6, 20, 300, 3000, 3, 10, 1, 0.85, 0.15),
    "Stereo_seq": Group(50, False, 3, 7, 200, 3000, 195, 292, 6, 0.1, 0.9),
    "MERFISH": Group(50, False, 5, 11, 300, 254, 3, 10, 1, 0.4, 0.6),
    "osmFISH": Group(400, False, 4, 11, 600, 33, 3, 10, 1, 0.5, 0.5, 64, 32, 16),
    "Slide_seqV2": Group(50, False, 3, 14, 300, 1933, 3, 10, 10, 0.3, 0.7),
    "integration_horizontal": Group(
        2, True, 6, 26, 300, 3000, 10, 10, 7, 0.1, 0.9, side_by_side=True
    ),
    "10x_integration_vertical": Group(2, True, 6, 7, 200, 3000, 50, 10, 8, 0.3, 0.7),
    "MERFISH_integration_vertical": Group(50, False, 5, 11, 300, 254, 3, 10, 1, 0.4, 0.6),
    "integration_cross_stage": Group(50, False, 4, 18, 300, 3000, 3, 10, 20, 0.35, 0.65),
    "default": Group(50, False, 5, 14, 300, 3000, 3, 10, 20, 0.5, 0.5),
}
"""By their published names; "default" was spelled "defualt"."""

FIDUCIAL_PITCHES = 144.56 / 138
"""Diameter of a fiducial of Visium in spot pitches, for spots that state none."""
