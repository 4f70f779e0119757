"""Scores with their protocol: scales, parts that are kept, and what is written."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import napari_stenhance as st
from napari_stenhance.errors import Cancelled
from napari_stenhance.running.job import Event, Job, Progress
from napari_stenhance.scoring.ceiling import noise_ceiling
from napari_stenhance.scoring.gene_scores import score_spots
from napari_stenhance.scoring.normalisation import as_normalised, normalised
from napari_stenhance.scoring.scales import UNITS
from napari_stenhance.storage.cache import Cache
from napari_stenhance.tasks import gene_evaluation
from napari_stenhance.tasks.evaluate import evaluate
from napari_stenhance.tasks.evaluate_options import EvaluateOptions
from napari_stenhance.tasks.evaluation import Evaluation, Score
from test_cli import run
from test_impute import write_pair

DOCS = Path(__file__).parents[1] / "docs"
QUICK: dict[str, Any] = {
    "method": "histosge", "genes": "hvg:12", "epochs": 1, "device": "cpu", "scored": 8,
}  # fmt: skip


@pytest.fixture
def counts() -> sp.csr_array:
    rng = np.random.default_rng(0)
    share = rng.gamma(1, 1, 30)
    lam = rng.uniform(50, 500, (60, 1)) * share / share.sum() * rng.gamma(5, 0.2, (60, 30))
    return sp.csr_array(rng.poisson(lam).astype(np.float32))


def test_scales_are_what_their_names_say(counts: sp.csr_array) -> None:
    columns = np.array([3, 7, 11, 20])
    x = counts.toarray().astype(float)
    own, n = x[:, columns], x.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        normalised(counts, columns, "log1p-cp10k"), np.log1p(own / n * 1e4), rtol=1e-5
    )
    np.testing.assert_allclose(
        normalised(counts, columns, "log1p-cpm-panel"),
        np.log1p(own / np.maximum(own.sum(axis=1, keepdims=True), 1) * 1e6),
    )
    mu = n * x.sum(axis=0)[columns] / x.sum()
    z = (own - mu) / np.sqrt(mu + mu**2 / 100)
    np.testing.assert_allclose(
        normalised(counts, columns, "pearson-residuals"), z.clip(-(60**0.5), 60**0.5), rtol=1e-6
    )


@pytest.mark.parametrize("how", UNITS)
def test_a_perfect_prediction_is_perfect_on_every_scale(counts: sp.csr_array, how: Any) -> None:
    columns = np.arange(12)
    measured = normalised(counts, columns, "log1p-cp10k")
    brought = as_normalised(measured, counts, columns, how)
    np.testing.assert_allclose(brought, normalised(counts, columns, how), atol=2e-4)
    best = noise_ceiling(counts, columns, 0, how)
    assert 0 < best.r.mean() < 1


def test_a_flat_prediction_says_nothing_as_residuals(counts: sp.csr_array) -> None:
    """With the expectation of measured counts, it would follow depth."""
    columns = np.arange(12)
    flat = np.broadcast_to(normalised(counts, columns, "log1p-cp10k").mean(axis=0), (60, 12))
    brought = as_normalised(flat, counts, columns, "pearson-residuals")
    np.testing.assert_array_equal(brought, 0)


def test_a_spot_is_scored_over_genes() -> None:
    rng = np.random.default_rng(0)
    p, m = rng.normal(size=(2, 5, 9))
    found = score_spots(p, m)
    for n, row in found.iterrows():
        assert row["r"] == pytest.approx(np.corrcoef(p[n], m[n])[0, 1])
        assert row["RMSE"] == pytest.approx(np.sqrt(((p[n] - m[n]) ** 2).mean()))


class _Asked(HTMLParser):
    """Collects what a page would ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: set[str] = set()
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asked += [v or "" for k, v in attrs if k in {"src", "href", "srcset", "data"}]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_all_is_written_with_its_protocol(small_files: list[Path], tmp_path: Path) -> None:
    names = {kind: tmp_path / f"scores.{kind}" for kind in ("json", "csv", "html")}
    found = st.evaluate(
        small_files,
        split="sections",
        seeds="0-1",
        normalise="pearson-residuals",
        csv=names["csv"],
        json=names["json"],
        report=names["html"],
        **QUICK,
    )
    content = json.loads(names["json"].read_text("utf-8"))
    jsonschema.validate(content, json.loads((DOCS / "evaluation.schema.json").read_text("utf-8")))
    assert content["schema"] in (DOCS / "evaluation.schema.json").read_text("utf-8")
    protocol = content["protocol"]
    assert protocol["normalisation"] == {"name": "pearson-residuals", "unit": "Pearson residual"}
    assert [one["name"] for one in protocol["sections"]] == ["one", "two"]
    assert protocol["seeds"] == [0, 1]
    for score, one in zip(found, content["scores"], strict=True):
        assert (one["what"], one["hidden"], one["seed"]) == (score.what, score.hidden, score.seed)
        assert one["values"]["r"] == pytest.approx(score.values["r"])
        assert score.of_genes is not None
        assert one["genes"]["gene"] == list(score.of_genes.index)
        # The mean over genes is that of what each gene has.
        r = [v or 0 for v in one["genes"]["r"]]
        assert np.mean(r) == pytest.approx(score.values["r"], abs=1e-9)
    # SSIM of residuals is not known.
    assert content["scores"][0]["values"]["SSIM"] is None
    assert len(content["scores"][0]["spots"]["spot"]) == protocol["parts"][0]["hidden_spots"]
    # What has no seed is there once for each section.
    seeds = {what: [s.seed for s in found if s.what == what] for what in ("histosge", "ridge")}
    assert seeds == {"histosge": [0, 0, 1, 1], "ridge": [None, None]}
    table = pd.read_csv(names["csv"])
    assert set(table["normalisation"]) == {"pearson-residuals"}
    page = _Asked()
    page.feed(names["html"].read_text("utf-8"))
    assert page.asked
    assert all(one.startswith("data:") for one in page.asked)
    assert not page.tags & {"script", "link", "iframe"}
    text = re.sub(r"\s+", " ", page.said)
    for said in (
        "Hidden were whole sections", "Pearson residual", "noise ceiling", "share of ceiling",
        "standard deviation over 2 seeds", "Doubts", "measured beside predicted", "r over genes",
    ):  # fmt: skip
        assert said in text
    with pytest.raises(st.InputError, match="something lies here already"):
        st.evaluate(small_files, split="sections", report=names["html"], **QUICK)


@pytest.mark.parametrize("kind", ["domains", "imputation"])
def test_other_kinds_are_written_too(kind: str, small_files: list[Path], tmp_path: Path) -> None:
    names = {"json": tmp_path / "scores.json", "report": tmp_path / "scores.html"}
    quick: dict[str, Any] = {"device": "cpu", "seeds": "0-1", **names}
    if kind == "domains":
        found = st.evaluate(small_files[0], n_domains=2, runs=1, epochs=2, **quick)
        again = st.evaluate(small_files[0], n_domains=2, runs=1, epochs=2, device="cpu")
        told = "Nothing was hidden"
    else:
        spots, cells = write_pair(tmp_path / "pair")
        given: dict[str, Any] = {"method": "sinca", "reference": cells, "folds": 2, "epochs": 1}
        found = st.evaluate(spots, split="genes", genes="hvg:20", **given, **quick)
        again = st.evaluate(spots, genes="hvg:20", **given, device="cpu")
        told = "Hidden were genes that spots and cells share, dealt with each seed to 2 folds"
        own = found[0].of_genes
        assert own is not None
        assert np.median(own["Spearman"]) == pytest.approx(found[0].values["Spearman"])
        assert own.index.is_unique
        assert len(own) == found[0].values["genes"] == 20
    assert again[0] == found[0]
    content = json.loads(names["json"].read_text("utf-8"))
    jsonschema.validate(content, json.loads((DOCS / "evaluation.schema.json").read_text("utf-8")))
    assert {one["seeds"] for one in content["summary"]} == {2}
    page = _Asked()
    page.feed(names["report"].read_text("utf-8"))
    assert told in page.said
    assert all(one.startswith("data:") for one in page.asked)


def test_who_was_stopped_goes_on_with_the_same_numbers(
    small_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    real = gene_evaluation.predict_spots
    monkeypatch.setattr(
        gene_evaluation, "predict_spots", lambda *a, **k: (fitted.append(1), real(*a, **k))[1]
    )
    options = EvaluateOptions((small_files[0],), seeds="0-1", **QUICK)
    cache = Cache(tmp_path / "cache")

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.stage.startswith("Evaluating") and event.done == 1:
            job.cancel()

    job = Job(stop)
    with pytest.raises(Cancelled):
        evaluate(options, job, cache)
    assert len(fitted) == 1
    notes: list[Event] = []
    found = evaluate(options, Job(notes.append), cache)
    assert len(fitted) == 2, "one of two parts was there"
    again = evaluate(options, Job(), cache)
    assert len(fitted) == 2
    assert repr(again) == repr(found)
    for kept, one in zip(again.maps, found.maps, strict=True):
        np.testing.assert_array_equal(kept.predicted, one.predicted)
        np.testing.assert_array_equal(kept.tissue, one.tissue)
        assert (kept.genes, kept.tissue_box, kept.geometry) == (
            one.genes, one.tissue_box, one.geometry,
        )  # fmt: skip
    assert again.doubts == found.doubts != ()
    whole = evaluate(options, Job(), Cache(tmp_path / "other"))
    assert repr(whole) == repr(found)
    # More seeds need only these.
    evaluate(replace(options, seeds="0-2"), Job(), cache)
    assert len(fitted) == 2 + 2 + 1


def test_a_percentile_takes_twenty_seeds() -> None:
    def summary(seeds: int) -> Any:
        rng = np.random.default_rng(0)
        scores = [Score(n, "m", {"ARI": float(v)}) for n, v in enumerate(rng.random(seeds))]
        (found,) = Evaluation(tuple(scores)).summaries
        values = [score.values["ARI"] for score in scores]
        assert found.mean["ARI"] == pytest.approx(np.mean(values))
        return found, values

    few, _ = summary(19)
    assert math.isnan(few.low["ARI"])
    many, values = summary(20)
    assert many.low["ARI"] == pytest.approx(np.percentile(values, 5))
    assert many.sd["ARI"] == pytest.approx(np.std(values, ddof=1))
    (alone,) = Evaluation((Score(0, "m", {"ARI": 0.5}),)).summaries
    assert math.isnan(alone.sd["ARI"])


def test_the_spread_is_of_seeds_and_not_of_sections() -> None:
    scores = [
        Score(seed, "m", {"r": base + 0.1 * seed}, hidden=name)
        for seed in (0, 1)
        for name, base in (("a", 0.2), ("b", 0.8))
    ]
    (found,) = Evaluation(tuple(scores)).summaries
    assert (found.seeds, found.parts) == (2, 2)
    assert found.mean["r"] == pytest.approx(0.55)
    assert found.sd["r"] == pytest.approx(np.std([0.5, 0.6], ddof=1))


def test_what_cannot_be_hidden_or_compared_is_said(small_files: list[Path]) -> None:
    for options, said in (
        ({"method": "histosge", "split": "genes"}, "recovery, blocks or sections can be hidden"),
        ({"method": "sinca", "split": "blocks"}, "genes alone can be hidden"),
        ({"method": "histosge", "normalise": "log1p-cpm-panel", "scored": 1}, "all of its panel"),
        ({"method": "sinca", "normalise": "pearson-residuals"}, "an option of"),
        ({"split": "blocks"}, "an option of"),
    ):
        with pytest.raises(st.InputError, match=said):
            st.evaluate(small_files[0], **options)
    ran = run("evaluate", small_files[0], "--method", "histosge", "--normalise", "cpm", code=2)
    assert "log1p-cpm-panel" in ran.stderr
