"""What the dock 'Genes' says of how far a gene can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stenhance.methods.decoder import Decoder
from napari_stenhance.results.gene_source import judge
from napari_stenhance.results.runs import said_of_held_out


@pytest.mark.parametrize(
    ("r", "given", "held_out", "said"),
    [
        ([0.423, 0.1], [0.238, 0.1], True, "r = 0.42, with depth held constant 0.24"),
        ([0.423, 0.1], [np.nan, 0.1], True, "r = 0.42"),
        ([np.nan, 0.1], [np.nan, 0.1], True, "not known, for it varies in no section that was"),
        ([np.nan, 0.1], [np.nan] * 2, True, "not known, for it does not vary in every section"),
        ([np.nan] * 2, [np.nan] * 2, False, "not known, for this recipe holds none out"),
    ],
)
def test_a_gene_without_a_held_out_r_says_why(
    r: list[float], given: list[float], held_out: bool, said: str
) -> None:
    ones = np.ones(2, "f4")
    decoder = Decoder(("A", "B"), None, ones, "log1p CP10k", np.array(r), np.array(given), ones)
    assert said_of_held_out(decoder, "A", held_out=held_out).startswith(said)


def test_what_is_not_known_is_not_unreliable() -> None:
    given, measured = np.array([0.1, 0.05, np.nan, -0.2]), np.array([False, False, False, True])
    assert list(judge(given, measured)) == ["reliable", "not reliable", "not known", "measured"]
    assert list(judge(given, measured, 0.2))[:2] == ["not reliable"] * 2
