"""What is hidden, what is compared then, and what a prediction must beat, or cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import napari_stenhance as st
from napari_stenhance.scoring.baselines import Interpolation, by_depth, by_place, ridge
from napari_stenhance.scoring.ceiling import noise_ceiling
from napari_stenhance.scoring.gene_scores import bootstrap, overall, score_genes
from napari_stenhance.scoring.splits import beyond
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.gene_evaluation import hide_blocks, hide_sections
from test_cli import run

LATTICE = np.argwhere(np.ones((12, 12)))[:, ::-1] * 100.0


def _pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.sin(LATTICE @ rng.normal(0, 0.004, (2, 6)))
    measured = np.maximum(truth + rng.normal(0, 0.5, truth.shape), 0)
    depth = rng.uniform(500, 5000, len(LATTICE))
    return truth, measured, depth


def test_scores_of_a_gene_are_those_of_others_who_compute_them() -> None:
    predicted, measured, depth = _pair()
    scores = score_genes(predicted, measured, depth, LATTICE, 100.0)
    for gene, row in scores.iterrows():
        p, m = predicted[:, gene], measured[:, gene]
        assert row["r"] == pytest.approx(np.corrcoef(p, m)[0, 1])
        assert row["Spearman"] == pytest.approx(spearmanr(p, m).statistic)
        assert row["RMSE"] == pytest.approx(np.sqrt(((p - m) ** 2).mean()))
        assert row["AUROC"] == pytest.approx(roc_auc_score(m > 0, p))
        assert row["r with depth"] == pytest.approx(np.corrcoef(p, np.log(depth))[0, 1])
        assert row["predicted I"] > row["measured I"]
    same = score_genes(measured, measured, depth, LATTICE, 100.0)
    np.testing.assert_allclose(same[["r", "Spearman", "AUROC", "SSIM"]], 1)
    assert (scores["SSIM"] < 1).all()
    said = overall(same, measured, measured)
    assert (said["I agreement"], said["coexpression agreement"]) == pytest.approx((1, 1))
    # A gene that does not vary has no correlation, and takes its part of the mean from it.
    measured[:, 0] = 1
    again = score_genes(predicted, measured, depth, LATTICE, 100.0)
    assert np.isnan(again.loc[0, ["r", "AUROC"]]).all()
    mean = overall(again, predicted, measured)["r"]
    assert mean == pytest.approx(scores["r"][1:].sum() / 6)


def test_nine_of_ten_samples_hold_the_mean() -> None:
    predicted, measured, depth = _pair()
    mean = score_genes(predicted, measured, depth, LATTICE, 100.0)["r"].mean()
    ends = bootstrap(predicted, measured, depth, 0)
    assert ends == bootstrap(predicted, measured, depth, 0)
    for way in ("over spots", "over genes"):
        low, high = ends[f"r {way}"]
        assert low < mean < high
        assert high - low < 0.3


def test_the_noise_ceiling_is_what_the_truth_itself_reaches() -> None:
    rng = np.random.default_rng(0)
    spots, genes = 800, 60
    share = rng.gamma(4, 1, (spots, genes))
    share[:, :5] = 1
    share /= share.sum(axis=1, keepdims=True)
    depth = rng.uniform(200, 600, spots)
    counts = rng.poisson(share * depth[:, None])
    found = noise_ceiling(sp.csr_array(counts.astype(np.float32)), np.arange(genes), 0)
    measured = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    truth = np.log1p(share * 1e4)
    reached = [np.corrcoef(measured[:, g], truth[:, g])[0, 1] for g in range(5, genes)]
    assert found.r[5:].mean() == pytest.approx(np.mean(reached), abs=0.03)
    # Of genes that are the same everywhere, noise is all that there is.
    assert found.r[:5].mean() < 0.35 < found.r[5:].min()


def test_baselines_know_what_they_are_given() -> None:
    rng = np.random.default_rng(0)
    truth, _, depth = _pair()
    measured = truth + rng.normal(0, 0.5, truth.shape)
    known = rng.random(len(LATTICE)) < 0.5
    at, values, others = LATTICE[known], measured[known], LATTICE[~known]
    smooth = by_place(at, values, others, 0)
    nearest = Interpolation(at, values, 1)(others)
    off = [np.square(v - truth[~known]).mean() for v in (smooth, nearest)]
    assert off[0] < 0.5 * off[1]
    line = np.outer(np.log(depth), [2.0, -1.0]) + 3
    np.testing.assert_allclose(by_depth(depth[known], line[known], depth[~known]), line[~known])
    seen = rng.normal(size=(len(LATTICE), 8))
    linear = seen @ rng.normal(size=(8, 3))
    np.testing.assert_allclose(
        ridge(seen[known], linear[known], seen[~known]), linear[~known], atol=0.2
    )


def test_nothing_is_learned_from_beside_what_is_hidden(synthetic: st.Section) -> None:
    xy = synthetic.spots_um()
    parts = list(hide_blocks(synthetic, 3, 150.0, 0))
    assert (sum(part.hidden.astype(int) for part in parts) == 1).all()
    for part in parts:
        assert part.here is not None
        hidden, learned = xy[part.hidden], xy[part.here]
        away = np.hypot(*(hidden[:, None] - learned[None]).transpose(2, 0, 1)).min()
        assert away >= 150
        (section,) = part.learned
        np.testing.assert_array_equal(section.spots_um(), learned)
    assert beyond(xy, parts[0].hidden, 0.0).sum() == (~parts[0].hidden).sum()
    with pytest.raises(st.InputError, match="take fewer folds, or a smaller buffer"):
        list(hide_blocks(synthetic, 3, 1e5, 0))


def test_whole_sections_are_left_out_in_turn_or_as_named(synthetic: st.Section) -> None:
    spots = synthetic.need_spots()
    # Not the same spots: what is hidden is not learned from.
    one, two, three = (
        st.Section(slide=synthetic.slide, spots=spots[n:].copy(), name=name)
        for n, name in enumerate("abc")
    )
    said = [
        (part.name, [s.name for s in part.learned]) for part in hide_sections([one, two, three], [])
    ]
    assert said == [("a", ["b", "c"]), ("b", ["a", "c"]), ("c", ["a", "b"])]
    (part,) = hide_sections([one, two], [three])
    assert (part.name, part.learned) == ("c", (one, two))
    again = st.Section(slide=synthetic.slide, spots=spots[0:].copy(), name="a once more")
    (part,) = hide_sections([one, two], [again])
    assert (part.name, part.learned) == ("a once more", (two,))
    with pytest.raises(st.InputError, match="the same spots, and would be predicted from them"):
        list(hide_sections([one, again], []))
    with pytest.raises(st.InputError, match="none is left to learn from"):
        list(hide_sections([one], [again]))


def test_each_way_to_hide_is_scored_beside_its_baselines(
    small_files: list[Path], section_files: list[Path], tmp_path: Path
) -> None:
    quick = {"method": "histosge", "genes": "hvg:12", "epochs": 1, "device": "cpu", "scored": 8}
    table = tmp_path / "scores.csv"
    turns = st.evaluate(small_files, split="sections", csv=table, **quick)
    assert {score.hidden for score in turns} == {"one", "two"}
    assert {score.what for score in turns} == {
        "histosge", "mean", "depth alone", "ridge", "noise ceiling",
    }  # fmt: skip
    for score in turns:
        assert score.values["genes"] == 8
        if score.what == "depth alone":
            assert score.values["r given depth"] == pytest.approx(0, abs=1e-6)
        if score.what == "mean":
            assert score.values["r"] == 0
        if score.what not in {"mean", "noise ceiling"}:
            assert score.values["r over spots, from"] <= score.values["r over spots, to"]
    written = pd.read_csv(table)
    assert list(written["what"]) == [score.what for score in turns]
    np.testing.assert_allclose(written["r"], [score.values["r"] for score in turns])
    ran = run(
        "evaluate", section_files[0], "--method", "histosge", "--split", "blocks", "--folds", 2,
        "--buffer", 50, "--genes", "hvg:6", "--epochs", 1, "--device", "cpu",
        "--csv", tmp_path / "b.csv",
    )  # fmt: skip
    for said in ("over one, fold 1, one, fold 2", "Gaussian process", "ceiling: the best r"):
        assert said in ran.stdout
    assert "over spots, from" not in ran.stdout
    assert "r over spots, from" in (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "sections"}, "nothing to leave others out of"),
        ({"split": "blocks", "ratio": 0.3}, "option of the split recovery"),
        ({"buffer": 10.0}, "option of the split blocks"),
        ({"split": "blocks", "buffer": float("nan")}, "give 0 or more"),
        ({"split": "blocks", "folds": 1}, "give 2 or more"),
        ({"scored": 0}, "give 1 or more"),
    ],
)
def test_what_cannot_be_hidden_is_refused(
    small_files: list[Path], options: dict[str, object], said: str
) -> None:
    with pytest.raises(st.InputError, match=said):
        evaluate(EvaluateOptions((small_files[0],), method="histosge", **options))  # type: ignore[arg-type]


def test_domains_and_recovery_take_one_section(small_files: list[Path]) -> None:
    for more in ({}, {"method": "histosge"}):
        with pytest.raises(st.InputError, match="2 sections: give one"):
            st.evaluate(small_files, **more)
